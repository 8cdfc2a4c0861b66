"""Pictures of a grid of experiments: differences to the reference as a heat map, and the critical-difference diagram.

grid                 a square a method and column: difference in points, * the best, ~ what cannot be told from it
critical_difference  average ranks, bars over what cannot be told apart (Demšar 2006), from five columns on
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from kdjax.report import ranks
from kdjax.report.grid.comparison import Cell, Comparison
from kdjax.report.plots import canvas, style
from kdjax.report.plots.figure import Figure
from kdjax.report.plots.pictures import save
from kdjax.runs.task import Score

MOST_ROWS, MOST_COLUMNS = 60, 40
"""The size of a picture is bounded: the rows of best average, or the first, and the first columns are drawn."""


def write(comparison: Comparison, out: Path, complain: Callable[[str], None] | None = None) -> list[Path]:
    """Draws what applies as PNG, SVG and PDF and returns the files; see kdjax.report.plots.pictures.write."""
    drawn = [(draw.__name__, draw, comparison) for draw in (grid, critical_difference)]
    return save(drawn, out, [stem for stem, _, _ in drawn], complain)


# ---- the heat map


def grid(comparison: Comparison) -> Figure | None:
    """Differences to the reference, blue where better and orange where worse; the number in each square."""
    task, score = comparison.task, comparison.task.primary
    rows = [*comparison.ranked, *(row for row in comparison.rows if row not in set(comparison.ranked))]
    rows = [row for row in rows if row != comparison.reference][:MOST_ROWS]
    columns = range(len(comparison.columns))[:MOST_COLUMNS]
    cells = [[comparison.cells.get((row, i)) for i in columns] for row in rows]
    shown = lambda cell: np.nan if cell is None or cell.difference is None else score.scale * cell.difference  # noqa: E731
    values = np.array([[shown(cell) for cell in of_row] for of_row in cells])
    if not np.isfinite(values).any():
        return None
    heads = ["\n".join(style.short(texts[i], 18) for _, texts in comparison.heads) for i in columns]
    tall = 0.16 * len(comparison.heads)
    longest = max(len(line) for head in heads for line in head.split("\n"))
    each = min(max(0.75, 0.085 * longest), 1.4)
    figure = Figure(figsize=(2.6 + each * len(columns), 1.7 + tall + 0.27 * len(rows)), layout="constrained")
    axes = figure.subplots()
    least = 0.1 * canvas.point(task, values[np.isfinite(values)])
    most = max(float(np.nanquantile(np.abs(values), 0.9)), least)  # a few that fail would make all others pale
    colours = "PuOr" if task.higher_is_better else "PuOr_r"
    image = axes.imshow(values, cmap=colours, vmin=-most, vmax=most, aspect="auto")
    for (y, x), value in np.ndenumerate(values):
        _square(axes, score, x, y, cells[y][x], dark=abs(value) > 0.65 * most)
    axes.set_xticks(range(len(columns)), heads, fontsize=8)
    axes.set_yticks(range(len(rows)), [style.short(row) for row in rows])
    axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, location="bottom", fraction=0.05, pad=0.02, aspect=40, extend="both")
    tied = any(cell and cell.tied for row in cells for cell in row)
    marks = "\n* best of the column" + (", ~ cannot be told from it (Holm within the column, 5 %)" if tied else "")
    bar.set_label(f"{style.minus(score, style.short(comparison.reference))}{marks}")
    titles = ", ".join(title for title, _ in comparison.heads)
    figure.suptitle(f"difference in {score.title} to {style.short(comparison.reference)}, by {titles}", fontsize=10)
    return figure


def _square(axes: Axes, score: Score, x: int, y: int, cell: Cell | None, dark: bool) -> None:
    if cell is None or cell.difference is None:
        axes.text(x, y, "–", ha="center", va="center", fontsize=8, color=style.GREY)
        return
    mark = " *" if cell.best else " ~" if cell.tied else ""
    ink = "white" if dark else style.INK
    weight = "bold" if cell.best else "normal"
    look = {"ha": "center", "va": "center", "fontsize": 8, "color": ink, "fontweight": weight}
    axes.text(x, y, score.signed(cell.difference) + mark, **look)


# ---- the critical-difference diagram


def critical_difference(comparison: Comparison) -> Figure | None:
    """Average ranks on a line, the best to the left; a bar joins rows whose ranks do not differ enough."""
    test, rows = comparison.friedman, comparison.ranked
    if test is None:
        return None
    average = np.array([comparison.averages[row].rank for row in rows])
    told = test.p < ranks.ALPHA
    groups = ranks.cliques(average, test.critical) if told else [(0, len(rows) - 1)]
    half = (len(rows) + 1) // 2
    bars = 0.55 * len(groups)
    depth = 1.2 + bars + half
    figure = Figure(figsize=(8, 1.5 + 0.24 * depth), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_xlim(1 - 0.32 * (test.k - 1), test.k + 0.32 * (test.k - 1))
    axes.set_ylim(depth, -2.6)
    _scale(axes, test)
    for number, (first, last) in enumerate(groups):
        room, y = 0.01 * (test.k - 1), 0.7 + 0.55 * number
        ends = [average[first] - room, average[last] + room]
        axes.plot(ends, [y, y], color=style.INK, linewidth=3.5, solid_capstyle="butt")
    for i, row in enumerate(rows):
        left = i < half
        y = 1.2 + bars + (i if left else len(rows) - 1 - i)
        edge = 1 - 0.06 * (test.k - 1) if left else test.k + 0.06 * (test.k - 1)
        colour = style.MAIN if row == comparison.reference else style.INK
        axes.plot([average[i], average[i], edge], [0, y, y], color=colour, linewidth=0.9)
        name, rank = style.short(row, 30), f"{average[i]:.2f}"
        text = f"{name}  {rank} " if left else f" {rank}  {name}"
        axes.text(edge, y, text, ha="right" if left else "left", va="center", fontsize=8.5, color=colour)
    p = "< 0.001" if test.p < 0.001 else f"= {test.p:.3f}"
    joined = "bars join what Nemenyi's test cannot tell apart at 5 %" if told else "no two rows can be told apart"
    figure.suptitle(f"average rank over {test.n} columns, Friedman's test: p {p}\n{joined}", fontsize=10)
    return figure


def _scale(axes: Axes, test: ranks.Friedman) -> None:
    axes.plot([1, test.k], [0, 0], color=style.INK, linewidth=1)
    step = max(1, round(test.k / 12))
    for rank in [*range(1, test.k, step), test.k]:
        axes.plot([rank, rank], [0, -0.2], color=style.INK, linewidth=1)
        if rank == test.k or test.k - rank >= step / 2:
            axes.text(rank, -0.3, str(rank), ha="center", va="bottom", fontsize=8)
    end = 1 + test.critical
    axes.plot([1, 1, 1, end, end, end], [-1.65, -1.35, -1.5, -1.5, -1.35, -1.65], color=style.GREY, linewidth=1.2)
    label = f"critical difference {test.critical:.2f}"
    axes.text(1 + test.critical / 2, -1.75, label, ha="center", va="bottom", fontsize=8, color=style.GREY)
