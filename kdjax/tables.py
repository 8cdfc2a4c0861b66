"""Tables as texts, whatever stands in them: markdown as GitHub shows it, CSV of full precision, a terminal's."""

import csv as csvlib
import io
import math
from collections.abc import Iterable, Sequence


def markdown(rows: Sequence[Sequence[str]], texts: int = 1, padded: bool = True) -> str:
    """A table of cells that are markdown already, the first row its header.

    Args:
      texts: columns that stand to the left; the others, numbers, stand to the right.
      padded: whether cells of a column are made equally long, for those who read the source.
    """
    measured = rows if padded else rows[:1]
    widths = [max(2, *(len(row[i]) for row in measured)) for i in range(len(rows[0]))]
    rule = ["-" * width if i < texts else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    lines = [rows[0], rule, *rows[1:]]
    if padded:
        lines = [[_pad(cell, widths[i], i < texts) for i, cell in enumerate(line)] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _pad(cell: str, width: int, left: bool) -> str:
    return cell.ljust(width) if left else cell.rjust(width)


def csv(rows: Iterable[dict]) -> str:
    """A line a dictionary, the keys of all as the header; None is empty, and so is what a dictionary lacks."""
    rows, file = list(rows), io.StringIO()
    header = list(dict.fromkeys(key for row in rows for key in row))
    writer = csvlib.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(["" if row.get(key) is None else row[key] for key in header] for row in rows)
    return file.getvalue()


def milliseconds(median: float, spread: float) -> str:
    """Median ± interquartile range, to three digits of the median."""
    digits = max(0, 2 - math.floor(math.log10(median)))
    return f"{median:.{digits}f} ± {spread:.{digits}f}"


def terminal(header: Sequence, rows: Iterable[Sequence], title=None, wrapped: bool = False):
    """A rich table of strings or rich texts, all columns but the first to the right.

    Args:
      title: a rich text above it, or None.
      wrapped: whether the first column may be broken where there is no room for it, in a long name too; no other is.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    plain = lambda cell: Text(cell) if isinstance(cell, str) else cell  # noqa: E731
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), title=title, title_justify="left")
    for i, name in enumerate(header):
        side, broken = "right" if i else "left", wrapped and not i
        table.add_column(plain(name), justify=side, no_wrap=not broken, overflow="fold" if broken else "ellipsis")
    for row in rows:
        table.add_row(*map(plain, row))
    return table
