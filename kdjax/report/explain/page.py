"""An explanation as a page."""

import numpy as np

from kdjax import tables
from kdjax.report import forms
from kdjax.report.explain.findings import Findings, differences, listed
from kdjax.report.wording import DASH, MINUS, clean, counted

PICTURES = {
    "transfer": "What each class gained in recall, against the teacher's; a line reaches to where the teacher is.",
    "reliability": "How often a prediction of some confidence is right; below the diagonal it is too sure.",
    "examples": "Test examples that were most often fixed and broken: class, what most seeds named before and after.",
    "cka": "Linear CKA of stages, rows the teacher's from shallow to deep, columns the student's: before and after.",
}


def summary(found: Findings) -> list[list[str]]:
    """Header, and a line a measure: both means and the difference with its interval."""
    lines = [["", found.subject.baseline, found.subject.method, "difference [95 %]"]]
    for (title, both), test in zip(found.measures.items(), differences(found).values(), strict=True):
        percent = "order" not in title
        lines.append([title, *(_mean(list(own.values()), percent) for own in both), _difference(test, percent)])
    return lines


def _number(value: float | None, percent: bool, sign: str = "") -> str:
    if value is None or np.isnan(value):
        return DASH
    shown = f"{100 * value:{sign}.2f}" if percent else f"{value:{sign}.3f}"
    return shown.replace("-", MINUS)


def _mean(values: list[float], percent: bool) -> str:
    text = _number(float(np.mean(values)), percent)
    return text if len(values) < 2 or text == DASH else f"{text} ± {_number(float(np.std(values, ddof=1)), percent)}"


def _difference(test: dict, percent: bool) -> str:
    text = _number(test["difference"], percent, "+")
    if test["low"] is None:
        return text
    return f"{text} [{_number(test['low'], percent, '+')}, {_number(test['high'], percent, '+')}]"


def markdown(found: Findings, pictures: list[str]) -> str:
    """The page; `pictures` are names of files beside it."""
    s = found.subject
    parts = [f"# {forms.escape(clean(s.experiment))}: what {forms.escape(clean(s.method))} passed on"]
    cells = [[forms.escape(cell) for cell in line] for line in summary(found)]
    parts.append(tables.markdown(cells))
    parts.append(
        f"Means ± sample standard deviation over {counted(len(s.seeds), 'seed')} on {len(s.labels):,} test examples; "
        "shares in percent. Copies its errors: of the examples on which the teacher is wrong, those on which the "
        "student names the same wrong class. Calibration error: Guo et al. 2017, 15 bins; the pictures pool all seeds. "
        "Order: the rank correlation, mean over examples, of student's and teacher's logits of the classes that an "
        "example is not of (logits were kept in 16 bits, which ties some)."
    )
    parts.append("\n".join(f"- {forms.escape(clean(text))}" for text in found.said))
    for stem, text in PICTURES.items():
        if f"{stem}.png" in pictures:
            parts.append(f"## {text}\n\n![{stem}]({stem}.png)")
    if found.similar is None:
        parts.append("Stages were not compared: there are no checkpoints here, or --no-stages was given.")
    if isinstance(found.seen, str) and found.seen and found.examples:
        parts.append(f"Examples stand by their number in the test split alone: {forms.escape(clean(found.seen))}.")
    parts += [_listed(found, "fixed"), _listed(found, "broken")]
    return "\n\n".join(filter(None, parts)) + "\n"


def _listed(found: Findings, what: str) -> str:
    """The examples that were fixed, or broken, in most seeds."""
    rows = listed(found, what)
    if not rows:
        return ""
    texts = found.texts
    keys = [*list(rows[0])[:5], what]
    head = [*keys[:-1], "seeds"]
    cells = [
        [forms.escape(clean(str(cell))) for cell in line] for line in [head, *([row[k] for k in keys] for row in rows)]
    ]
    text = f"## Most often {what}; what a student named in most seeds\n\n{tables.markdown(cells, texts=5)}"
    lines = [
        f"- {row['example']}: {forms.escape(clean(short(texts[row['example']], LONGEST)))}" for row in rows if texts
    ]
    return "\n\n".join(filter(None, (text, "\n".join(lines))))


def short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


LONGEST = 200
"""Characters of a text that a page shows."""
