"""The numbers of an explanation, over seeds."""

from dataclasses import dataclass

import numpy as np

from kdjax.report import statistics
from kdjax.report.explain import numbers
from kdjax.report.explain.subject import Subject
from kdjax.report.wording import counted

SHOWN = 12
"""So many examples and classes are shown of each kind."""


@dataclass(frozen=True)
class Findings:
    """Shares are fractions; what is not known is NaN.

    Attributes:
      teacher, before, after, gain: [K] recalls, and the last two's difference; means over seeds.
      measures: title -> (by seed: the baseline's, the method's), what `summary` compares.
      reliable: name -> ([BINS] examples, confidence, accuracy, error), all seeds together.
      examples: those that were fixed or broken in any seed, the most often fixed first, the most often broken last.
      similar: {"stages of teacher", "before" and "after": [teacher's, student's] CKA}; None where it was not computed.
      said: sentences.
      seen: example -> its image [H, W, C] or its text, of those that are `listed`; why not, where they were not read.
    """

    subject: Subject
    teacher: np.ndarray
    before: np.ndarray
    after: np.ndarray
    measures: dict[str, tuple[dict[int, float], dict[int, float]]]
    reliable: dict[str, tuple]
    examples: list[dict]
    similar: dict | None
    said: list[str]
    seen: dict | str = ""

    @property
    def gain(self) -> np.ndarray:
        return self.after - self.before

    @property
    def texts(self) -> dict[int, str]:
        """Of `seen` those that are texts."""
        seen = self.seen if isinstance(self.seen, dict) else {}
        return {i: each for i, each in seen.items() if isinstance(each, str)}


def listed(found: Findings, what: str) -> list[dict]:
    """The examples that were "fixed", or "broken", in most seeds: SHOWN of them."""
    return sorted((row for row in found.examples if row[what]), key=lambda row: -row[what])[:SHOWN]


def compare(subject: Subject, similar: dict | None = None) -> Findings:
    """What a method has that the baseline has not, and whose it is."""
    s, labels, teacher = subject, subject.labels, subject.teacher
    recalls = [np.mean([numbers.recall(own[seed], labels) for seed in s.seeds], axis=0) for own in (s.before, s.after)]
    both = lambda of: tuple({seed: of(own[seed]) for seed in s.seeds} for own in (s.before, s.after))  # noqa: E731
    orders = both(lambda logits: numbers.order(logits, teacher, labels))
    picked = lambda name: tuple({seed: each[name] for seed, each in own.items()} for own in orders)  # noqa: E731
    measures = {
        "top-1": both(lambda logits: float(np.mean(logits.argmax(1) == labels))),
        "agrees with teacher": both(lambda logits: numbers.agreement(logits, teacher)),
        "copies its errors": both(lambda logits: numbers.copied(logits, teacher, labels)),
        "calibration error": both(lambda logits: numbers.reliability(logits, labels)[-1]),
        "order, Spearman": picked("spearman"),
        "order, Kendall": picked("kendall"),
    }
    pooled = lambda own: numbers.reliability(np.concatenate([own[k] for k in s.seeds]), np.tile(labels, len(s.seeds)))  # noqa: E731
    reliable = {
        "teacher": numbers.reliability(teacher, labels),
        s.baseline: pooled(s.before),
        s.method: pooled(s.after),
    }
    changed = np.stack([numbers.changes(s.before[seed], s.after[seed], labels) for seed in s.seeds])
    found = (numbers.recall(teacher, labels), *recalls)
    said = [_changed(s, changed), _transfer(s, *found), _apart(s)]
    return Findings(s, *found, measures, reliable, _examples(s, changed), similar, said)


def _changed(s: Subject, changed: np.ndarray) -> str:
    """How many examples were fixed and broken, and whether the teacher was right there."""
    right = np.tile(s.teacher.argmax(1) == s.labels, (len(changed), 1))
    fixed, broken = changed > 0, changed < 0
    share = lambda which, of: f"{100 * of[which].mean():.0f} %" if which.any() else "–"  # noqa: E731
    return (
        f"Fixed {fixed.sum(1).mean():.1f} and broken {broken.sum(1).mean():.1f} of {len(s.labels):,} test examples, "
        f"mean over {counted(len(changed), 'seed')}; the teacher is right on {share(fixed, right)} of the fixed and on "
        f"{share(broken, right)} of the broken ones, on {100 * right[0].mean():.0f} % of all."
    )


def _transfer(s: Subject, teacher: np.ndarray, before: np.ndarray, after: np.ndarray) -> str:
    """Whether classes gain where the teacher knows more than the student."""
    known = np.isfinite(teacher)
    if known.sum() < 3:
        return "Too few classes to say where the gain is."
    rows = np.stack([after - before, teacher - before])[:, known]
    found = float(numbers.spearman(rows[:1], rows[1:])[0])
    told = "has no rank correlation" if np.isnan(found) else f"has a rank correlation of {found:.2f}"
    return (
        f"Over {known.sum()} classes the gain in recall {told} with how far the teacher is ahead of {s.baseline} there "
        "(part of it is regression to the mean, as both have the baseline's recall in them)."
    )


def _apart(s: Subject) -> str:
    """Agreement of the students with each other."""
    values = [numbers.agreement(s.before[seed], s.after[seed]) for seed in s.seeds]
    return f"{s.method} and {s.baseline} of one seed name the same class on {100 * np.mean(values):.1f} % of examples."


def _examples(s: Subject, changed: np.ndarray) -> list[dict]:
    net = changed.sum(0)
    order = [i for i in np.argsort(-net, kind="stable") if changed[:, i].any()]
    name = lambda k: s.classes[int(k)]  # noqa: E731
    most = lambda own, i: name(np.bincount([own[seed][i].argmax() for seed in s.seeds]).argmax())  # noqa: E731
    return [
        {
            "example": int(i),
            "class": name(s.labels[i]),
            "teacher": name(s.teacher[i].argmax()),
            s.baseline: most(s.before, i),
            s.method: most(s.after, i),
            "fixed": int((changed[:, i] > 0).sum()),
            "broken": int((changed[:, i] < 0).sum()),
        }
        for i in order
    ]


def differences(found: Findings) -> dict[str, dict]:
    """Title -> `kdjax.report.statistics.paired` of the method against the baseline, over seeds where both are known."""
    known = lambda own: {seed: value for seed, value in own.items() if np.isfinite(value)}  # noqa: E731
    return {title: statistics.paired(known(after), known(before)) for title, (before, after) in found.measures.items()}
