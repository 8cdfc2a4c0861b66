"""Tables and pictures as HTML: for notebooks, and what `kdjax.report.page` is made of. Nothing here runs a script."""

import base64
from collections.abc import Iterable, Sequence
from html import escape

from kdjax.report.cells import Grid
from kdjax.report.grid import texts
from kdjax.report.grid.comparison import Comparison
from kdjax.report.wording import clean


def fragment(runs: list[dict]) -> str:
    """The table of runs with footnotes and protocol, and below it the differences to the baseline as a picture."""
    from kdjax.report import table
    from kdjax.report.plots import pictures

    drawn = pictures.svgs(runs, complain=lambda message: None, which=(pictures.forest,))
    images = [picture(svg, "difference of each method to the baseline") for svg in drawn.values()]
    return "\n".join(["<div>", *parts(*table.parts(runs)), *images, "</div>"])


def grid(comparison: Comparison) -> str:
    """Experiments side by side, with what stands below them."""
    titles = texts.head(comparison)
    columns = zip(*(own for _, own in titles), strict=True)
    header = [_lines(title for title, _ in titles), *map(_lines, columns)]
    rows = [[escape(clean(row)), *map(_cell, cells)] for row, cells in texts.body(comparison)]
    return "\n".join(["<div>", table_of(header, rows), *map(paragraph, texts.below(comparison)), "</div>"])


def parts(grids: Sequence[Grid], notes: Sequence[str], paragraphs: Sequence[tuple[str, str]]) -> list[str]:
    """Tables, footnotes, and the protocol folded away; see `kdjax.report.table.Parts`."""
    tables = [table_of(map(escape, made.header), [map(escape, row) for row in made.rows]) for made in grids]
    protocol = "\n".join(f"<p><b>{escape(title)}.</b> {escape(text)}</p>" for title, text in paragraphs)
    folded = [f"<details><summary>Protocol</summary>\n{protocol}\n</details>"] if paragraphs else []
    return [*tables, *map(paragraph, notes), *folded]


def table_of(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of cells that are HTML already; the first column is text, the others stand to the right."""
    head = "".join(f"<th{_side(i)}>{cell}</th>" for i, cell in enumerate(header))
    body = ("<tr>" + "".join(f"<td{_side(i)}>{cell}</td>" for i, cell in enumerate(row)) + "</tr>" for row in rows)
    whole = "\n".join([f"<thead><tr>{head}</tr></thead>", "<tbody>", *body, "</tbody>"])
    return f'<div style="overflow-x: auto"><table>\n{whole}\n</table></div>'


def paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def picture(svg: str, alt: str) -> str:
    """An SVG as an image of its own: names inside it meet no others of the page."""
    data = base64.b64encode(svg.encode()).decode()
    return (
        f'<img alt="{escape(alt)}" src="data:image/svg+xml;base64,{data}" style="max-width: 100%; background: white">'
    )


def _side(column: int) -> str:
    return f' style="text-align: {"right" if column else "left"}"'


def _lines(cells: Iterable[str]) -> str:
    return "<br>".join(escape(cell) for cell in cells if cell)


def _cell(cell: texts.Shown) -> str:
    value = escape(cell.value)
    value = f"<b>{value}</b>" if cell.best else f"<u>{value}</u>" if cell.tied else value
    return "<br>".join(filter(None, (value + escape(cell.marks), escape(cell.difference), escape(cell.published))))
