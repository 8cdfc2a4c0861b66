"""What markdown needs of plain text."""

import re

from kdjax import tables
from kdjax.report.cells import Grid


def markdown(grid: Grid) -> str:
    """A table whose cells are plain text."""
    return tables.markdown([[escape(cell) for cell in row] for row in (grid.header, *grid.rows)])


def escape(text: str) -> str:
    """`text` as markdown prints it."""
    text = re.sub(r"([\\|*`<])", r"\\\1", text)
    text = re.sub(r"\](?=[(\[:])", r"\]", text)  # else a link
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\_", text)  # inside a word it means nothing
