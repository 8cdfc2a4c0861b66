"""What was passed on: a method beside the student alone and their teacher, from the predictions that runs kept.

    kdjax explain runs/digits kd

`compare` computes everything; `page` and kdjax.report.plots.explain show it. Nothing here imports JAX: how alike the
stages of the networks are is computed by kdjax.ship.similarity, and handed over.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from kdjax import tables
from kdjax.files import write_text
from kdjax.report.explain.findings import Findings, compare, listed
from kdjax.report.explain.page import markdown, summary
from kdjax.report.explain.subject import read as read


def write(found: Findings, out) -> list[Path]:
    """explain.md, classes.csv, examples.csv and the pictures under `out`; returns the pictures."""
    from kdjax.report.plots import explain as pictures

    out = Path(out)
    drawn = pictures.write(found, out)
    write_text(out / "explain.md", markdown(found, [path.name for path in drawn if path.suffix == ".png"]))
    subject, rows = found.subject, []
    for k, name in enumerate(subject.classes):
        own = {
            "examples": int(np.sum(subject.labels == k)),
            "teacher": found.teacher[k],
            subject.baseline: found.before[k],
        }
        rows.append({"class": name, **own, subject.method: found.after[k], "gain": found.gain[k]})
    write_text(out / "classes.csv", tables.csv([{k: _known(v) for k, v in row.items()} for row in rows]))
    texts = found.texts
    told = [{**row, **({"text": texts.get(row["example"])} if texts else {})} for row in found.examples]
    write_text(out / "examples.csv", tables.csv(told))
    return drawn


def _known(value):
    return None if isinstance(value, float) and np.isnan(value) else value


def main(args, similar=None, shown=None) -> None:
    """`kdjax explain RUN METHOD [--against=ROW] [--out=DIR]`: prints the numbers, writes the page and pictures.

    Args:
      similar: (subject) -> what kdjax.ship.similarity says of its stages, or None.
      shown: (a run's directory, examples) -> what kdjax.ship.shown says of these, or why it does not.
    """
    from rich.console import Console
    from rich.text import Text

    subject = read(args.run, args.method, args.against)
    found = compare(subject, similar(subject) if similar else None)
    numbers = [row["example"] for what in ("fixed", "broken") for row in listed(found, what)]
    if shown and numbers:
        found = replace(found, seen=shown(subject.paths["after"], list(dict.fromkeys(numbers))))
    out = args.out or f"{str(args.run).rstrip('/')}/explain-{args.method.replace('/', '_')}"
    write(found, out)
    console = Console(highlight=False)
    head, *lines = summary(found)
    console.print(tables.terminal(head, lines))
    for text in found.said:
        console.print(Text(text))
    console.print(f"{out}/explain.md has the pictures, examples.csv what was fixed and broken", soft_wrap=True)
