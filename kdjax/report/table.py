"""The comparison table: lines of runs.jsonl -> markdown, CSV, LaTeX, terminal. The same lines give the same bytes.

Everything is computed once, on all lines, as `records` of full precision, which are the rows of the CSV; the other
forms print them. `shown` are the lines of the rows to show, None for all: it changes no number. `rope`, if it is given,
adds the probabilities of a difference beyond it (kdjax.report.effects.posterior): a fraction where scores are shares.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kdjax import tables
from kdjax.files import write_text
from kdjax.report import cells, footnotes, forms, paired, protocol
from kdjax.report import latex as tex
from kdjax.report.cells import Grid
from kdjax.report.records import Experiment, class_records, selected, sized
from kdjax.report.records import experiments as experiments
from kdjax.report.records import records as records
from kdjax.report.wording import clean, listed
from kdjax.runs import identity
from kdjax.runs.gather import gather as gather
from kdjax.runs.gather import read as read


class Parts(NamedTuple):
    """What every form of a table prints, as finished plain text."""

    grids: list[Grid]  # methods, teacher beside student, groups of classes: those that apply
    footnotes: list[str]
    protocol: list[tuple[str, str]]  # (title, text) of each paragraph


def parts(runs: list[dict], shown: list[dict] | None = None, rope: float | None = None) -> Parts:
    """The tables of the experiments that have lines among `shown`, see `kdjax.report.records.selected`."""
    found = selected(runs, shown, rope)
    made = _grids(found)
    return Parts(made, _footnotes(found), _protocol(found, _columns(made)))


def markdown(runs: list[dict], shown: list[dict] | None = None, rope: float | None = None) -> str:
    """The methods table, teacher beside student, groups of classes, footnotes and protocol, for GitHub."""
    made, notes, paragraphs = parts(runs, shown, rope)
    texts = [forms.markdown(grid) for grid in made]
    texts.append("  \n".join(forms.escape(note) for note in notes))
    texts.append("\n".join(f"- **{forms.escape(title)}.** {forms.escape(t)}" for title, t in paragraphs))
    return "\n\n".join(text for text in texts if text) + "\n"


def rows(runs: list[dict], shown: list[dict] | None = None, rope: float | None = None) -> list[dict]:
    """`records` with d_z and the footnotes of each row: what the CSV has."""
    found = selected(runs, shown, rope)
    marks, _ = cells.notes_of(found)
    records_ = [paired.flat(sized(record)) for experiment in found for record in experiment.records]
    made = [{**row, "notes": " ".join(notes)} for row, notes in zip(records_, marks, strict=True)]
    return made + [{**row, "notes": footnotes.reference(part.task)} for part in found for row in part.references]


def csv(runs: list[dict], shown: list[dict] | None = None, rope: float | None = None) -> str:
    """`rows` as CSV: a line a row, full precision, empty where something is unknown."""
    return tables.csv(rows(runs, shown, rope))


def latex(runs: list[dict], shown: list[dict] | None = None, rope: float | None = None) -> str:
    """The same as LaTeX, see `kdjax.report.latex`."""
    return tex.document(*parts(runs, shown, rope))


def write(runs: list[dict], out, shown: list[dict] | None = None, rope: float | None = None) -> list[Path]:
    """Writes runs.jsonl, table.md, .csv and .tex, classes.csv and the pictures under `out`; returns their paths.

    runs.jsonl has all runs, as the numbers of those that are shown depend on the others.
    """
    from kdjax.report import plots

    return [*write_texts(runs, out, shown, rope), *plots.write(runs, Path(out), shown)]


def write_texts(runs: list[dict], out, shown: list[dict] | None = None, rope: float | None = None) -> list[Path]:
    """What `write` writes, but for the pictures."""
    out = Path(out)
    lines = [json.dumps(line, allow_nan=False, separators=(",", ":")) + "\n" for line in runs]
    texts = {
        "runs.jsonl": "".join(lines),
        "table.md": markdown(runs, shown, rope),
        "table.csv": csv(runs, shown, rope),
        "table.tex": latex(runs, shown, rope),
        "classes.csv": tables.csv(class_records(selected(runs, shown))),
    }
    for name, text in texts.items():
        write_text(out / name, text)
    return [out / name for name in texts]


# ---- what all forms have


def _grids(found: list[Experiment]) -> list[Grid]:
    made = (
        *cells.methods(found),
        cells.probabilities(found),
        cells.changed(found),
        cells.costs(found),
        cells.groups(found),
    )
    return [grid for grid in made if grid.rows]


def _columns(made: list[Grid]) -> list[str]:
    return [name for grid in made for name in grid.header]


def _footnotes(found: list[Experiment]) -> list[str]:
    """Those of rows with their marks, then those of the whole."""
    _, notes = cells.notes_of(found)
    whole = [note for part in found for note in footnotes.remarks(part.lines, part.records)]
    for part in (part for part in found if part.references):
        names = [row["row"] for row in part.references]
        whole.append(f"{listed(names)}: {footnotes.reference(part.task)}")
    marked = [f"{cells.superscript([number])} {note}" for number, note in enumerate(notes, 1)]
    lines = [line for part in found for line in part.lines]
    return [clean(note) for note in (*marked, *dict.fromkeys(whole), *identity.across(lines))]


def _protocol(found: list[Experiment], columns: list[str]) -> list[tuple[str, str]]:
    """(title, text) of each paragraph: those of experiments, then what the columns of costs are."""
    of_each = [
        (f"{experiment.name}: {title}" if len(found) > 1 else title, text)
        for experiment in found
        for title, text in protocol.protocol(experiment, columns)
    ]
    noun = footnotes.example([line for experiment in found for line in experiment.lines])
    return [(clean(title), clean(text)) for title, text in (*of_each, *protocol.costs(columns, noun))]


# ---- the terminal


@dataclass(frozen=True)
class Terminal:
    """The same for a terminal, as a rich renderable: columns that a narrow one has no room for are left out."""

    found: list[Experiment]

    def __rich_console__(self, console, options):
        from rich.text import Text

        columns = []
        for grid in _grids(self.found):
            kept, drawn = _fitting(grid, self._spare(), console, options)
            columns += [grid.header[i] for i in kept]
            yield drawn
        for note in _footnotes(self.found):
            yield Text(note)
        for title, text in _protocol(self.found, columns):
            yield Text.assemble((f"{title}. ", "bold"), (text, "dim"))

    def _spare(self) -> list[str]:
        """SPARE, before it the columns of tasks that it does not know."""
        own = dict.fromkeys(score.header for part in self.found for score in part.task.columns)
        return [*(name for name in own if name not in SPARE), *SPARE]


def terminal(runs: list[dict], shown: list[dict] | None = None, rope: float | None = None) -> Terminal:
    """A rich renderable of methods, costs, groups of classes, footnotes and protocol."""
    return Terminal(selected(runs, shown, rope))


SPARE = (
    *("trials", "precision", "recall", "bytes", "F1", "agreement", "Δ published", "published", "FLOPs", "best epoch"),
    paired.COLUMN,
)
"""Columns that a narrow terminal does without, the first to go first. The files have them all."""


def _fitting(grid: Grid, spare: list[str], console, options):
    """(the columns that there is room for, the table of these); those in `spare` are left out in their order."""
    kept, spare = list(range(len(grid.header))), [name for name in spare if name in grid.header[1:]]
    while True:
        table = _rich(grid, kept)
        if not spare or console.measure(table, options=options.update(width=10_000)).maximum <= options.max_width:
            return kept, table
        kept.remove(grid.header.index(spare.pop(0)))


def _rich(grid: Grid, columns: list[int]):
    header, *rows = ([row[i] for i in columns] for row in (grid.header, *grid.rows))
    return tables.terminal(header, rows, wrapped=True)
