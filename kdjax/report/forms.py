"""Tables as texts: markdown as GitHub shows it, CSV of full precision."""

import csv as csvlib
import io
import re

from kdjax.report.grids import Grid


def csv(rows: list[dict]) -> str:
    """A line a dictionary, the keys of all as the header; None is empty, and so is what a dictionary lacks."""
    file = io.StringIO()
    writer = csvlib.writer(file, lineterminator="\n")
    header = list(dict.fromkeys(key for row in rows for key in row))
    writer.writerow(header)
    writer.writerows(["" if row.get(key) is None else row[key] for key in header] for row in rows)
    return file.getvalue()


def markdown(grid: Grid) -> str:
    """A table whose cells are plain text."""
    return lined_up([[escape(cell) for cell in row] for row in (grid.header, *grid.rows)])


def lined_up(rows: list[list[str]]) -> str:
    """A table of cells that are markdown already, the first row its header; all columns but the first to the right."""
    widths = [max(2, *(len(row[i]) for row in rows)) for i in range(len(rows[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [[_pad(cell, width, i) for i, (cell, width) in enumerate(zip(row, widths, strict=True))] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:]))


def _pad(cell: str, width: int, column: int) -> str:
    return cell.rjust(width) if column else cell.ljust(width)


def escape(text: str) -> str:
    """`text` as markdown prints it."""
    text = re.sub(r"([\\|*`<])", r"\\\1", text)
    text = re.sub(r"\](?=[(\[:])", r"\]", text)  # else a link
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\_", text)  # inside a word it means nothing
