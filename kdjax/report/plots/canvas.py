"""What several pictures draw: limits of axes, dots of seeds, whiskers that the frame may cut, lines for the teacher."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from kdjax.report import statistics
from kdjax.report.plots import style
from kdjax.report.plots.figure import Figure
from kdjax.runs.task import Score, Task

# ---- limits


def floor(values: np.ndarray, point: float = 1.0) -> float:
    """Where the axis may begin: above a minority of values that lie so far below the rest that they would squeeze it.

    Values are cut off where the gap above them is more than twice the span of all that lies above (3 points or more).
    """
    ordered = np.sort(values)
    least = 3 * point
    cuts = [
        (ordered[i] - ordered[i - 1]) / max(ordered[-1] - ordered[i], least) for i in range(1, (len(ordered) + 1) // 2)
    ]
    return ordered[1 + int(np.argmax(cuts))] if cuts and max(cuts) > 2 else ordered[0]


def point(task: Task, values: np.ndarray) -> float:
    """What is small on an axis: a percentage point, else a hundredth of the largest value."""
    return 1.0 if task.primary.unit == "%" else float(np.abs(values).max()) / 100 or 1.0


def cut(task: Task, low_high: tuple[float, float], value: float) -> bool:
    """Whether an axis leaves a value out, at its worse end."""
    return value < low_high[0] if task.higher_is_better else value > low_high[1]


def limits(task: Task, values, whiskers=(), lines=(), reach: float = 1.0) -> tuple[float, float]:
    """Limits of an axis that the values fill.

    Args:
      values: what must be seen, but for those that `floor` cuts off at the worse end.
      whiskers: ends of error bars, seen when they lie within `reach` times the values' own span of them.
      lines: numbers (or None) that are seen when they lie within half that span.
    """
    mirrored = lambda numbers: [None if number is None else task.sign * number for number in numbers]  # noqa: E731
    values = task.sign * np.asarray(values, float)
    low, high = _limits(values, mirrored(whiskers), mirrored(lines), reach, point(task, values))
    return (low, high) if task.higher_is_better else (-high, -low)


def _limits(values: np.ndarray, whiskers, lines, reach: float, least: float) -> tuple[float, float]:
    """The same where more is better."""
    low, high = first, last = floor(values, least), values.max()
    span = max(high - low, least)
    for room, others in ((reach * span, whiskers), (span / 2, lines)):
        for other in others:
            if other is not None and first - room <= other <= last + room:
                low, high = min(low, other), max(high, other)
    room = 0.05 * max(high - low, least)
    below = 5 * room if values.min() < first else room  # the value of what is cut off is written there
    return low - below, high + room


def ends(score: Score, summaries) -> list[float]:
    """Of the error bars of summaries: an axis in percent has no need to leave 0 to 100."""
    low, high = (0.0, 100.0) if score.unit == "%" else (-math.inf, math.inf)
    known = [s for s in summaries if s["std"] is not None]
    return [end for s in known for end in (max(s["mean"] - s["std"], low), min(s["mean"] + s["std"], high))]


# ---- marks


def whisker(
    axes: Axes,
    at: float,
    low: float,
    high: float,
    *,
    colour: str = style.INK,
    upright: bool = False,
    alpha: float = 1.0,
) -> None:
    """A line from low to high at `at`, as far as the axis goes: it ends in a cap, or in an arrow where it is cut.

    The limits must be set before. An upright one runs along y.
    """
    first, last = axes.get_ylim() if upright else axes.get_xlim()
    inside = max(low, first), min(high, last)
    if inside[0] > inside[1]:
        return
    if upright:
        draw = lambda values, **look: axes.plot([at] * len(values), values, color=colour, alpha=alpha, **look)  # noqa: E731
    else:
        draw = lambda values, **look: axes.plot(values, [at] * len(values), color=colour, alpha=alpha, **look)  # noqa: E731
    draw(inside, linewidth=1.2)
    for end, full, arrow in zip(inside, (low, high), "v^" if upright else "<>", strict=True):
        mark = arrow if end != full else "_" if upright else "|"
        draw([end], marker=mark, markersize=6, clip_on=False)


def strip_limits(task: Task, values: list[np.ndarray], lines=()) -> tuple[float, float]:
    """Limits for the dots of `strip` and its error bars."""
    return limits(task, np.concatenate(values), ends(task.primary, map(statistics.summary, values)), lines)


def strip(axes: Axes, task: Task, values: list[np.ndarray], colours: list[str], low_high: tuple[float, float]) -> None:
    """A line of dots a row, seeds side by side, with mean and standard deviation; the first row on top."""
    axes.set_xlim(*low_high)
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    for y, (row, colour) in enumerate(zip(values, colours, strict=True)):
        summary = statistics.summary(row)
        if not len(row):
            continue
        offsets = np.linspace(-0.22, 0.22, len(row)) if len(row) > 1 else np.zeros(1)
        axes.plot(row, y + offsets, "o", color=colour, alpha=0.55, markersize=4.5, markeredgewidth=0)
        if not cut(task, low_high, summary["mean"]):
            if summary["std"] is not None:
                whisker(axes, y, summary["mean"] - summary["std"], summary["mean"] + summary["std"])
            axes.plot([summary["mean"]], [y], "d", color=style.INK, markersize=6)
        point_out(axes, task, row, y)


def point_out(axes: Axes, task: Task, row: np.ndarray, y: float) -> None:
    """An arrow to the side with the values that the axis leaves out, the worst first."""
    outside = sorted((value for value in row if cut(task, axes.get_xlim(), value)), key=lambda value: task.sign * value)
    if not outside:
        return
    summary, score = statistics.summary(row), task.primary
    apart = cut(task, axes.get_xlim(), summary["mean"])
    text = style.spread(summary, score) if apart else ", ".join(style.rounded(value, score) for value in outside[:3])
    off_the_side(axes, task, y, text)


def off_the_side(axes: Axes, task: Task, y: float, text: str) -> None:
    """An arrow to the worse side of a line of dots, and a text at it."""
    left = task.higher_is_better
    axes.annotate(
        text,
        xy=(0 if left else 1, y),
        xytext=(16 if left else -16, 0),
        ha="left" if left else "right",
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        va="center",
        fontsize=8,
        arrowprops={"arrowstyle": "->", "color": style.INK},
    )


def reference(
    axes: Axes, score: Score, value: float | None, name: str, colour: str, *, upright: bool = True, dash="--"
) -> None:
    """A line at `value`, its name in the legend; off the axis, the name says on which side."""
    if value is None:
        return
    named = f"{name} {style.rounded(value, score)}"
    low, high = axes.get_xlim() if upright else axes.get_ylim()
    if low <= value <= high:
        line = axes.axvline if upright else axes.axhline
        line(value, color=colour, linestyle=dash, linewidth=1.2, label=named)
    else:
        side = ("→" if upright else "↑") if value > high else ("←" if upright else "↓")
        axes.plot([], [], color=colour, linestyle=dash, label=f"{named} {side} off the axis")


def legend(parent: Axes | Figure, *panels: Axes, **options) -> None:
    """A legend in `parent` of what is drawn in `panels`, each name once; none when nothing has a name."""
    pairs = [zip(*axes.get_legend_handles_labels(), strict=True) for axes in panels]
    found = {label: handle for handles in pairs for handle, label in handles}
    if found:
        parent.legend(list(found.values()), list(found), **options)


def panels(number: int, columns: int, size: tuple[float, float], **options) -> tuple[Figure, list[Axes]]:
    """A figure and `number` axes of `size` inches in lines of `columns`; the axes left over are hidden."""
    columns = min(columns, number)
    lines = math.ceil(number / columns)
    figure = Figure(figsize=(1.5 + size[0] * columns, 1.2 + size[1] * lines), layout="constrained")
    every = list(figure.subplots(lines, columns, squeeze=False, **options).flat)
    for axes in every[number:]:
        axes.set_visible(False)
    for axes in every[max(0, number - columns) : number]:  # the lowest of its column has the numbers
        axes.xaxis.set_tick_params(labelbottom=True)
    return figure, every[:number]


# ---- axes


def epoch_axis(axes: Axes, epochs) -> None:
    """From the first to the last epoch, whole numbers at the ticks."""
    first, last = min(epochs), max(epochs)
    axes.set_xlim((first, last) if first < last else (first - 0.5, last + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(lambda epoch, _: f"{epoch:.0f}")


def _ticks(axes: Axes, values: list[float], there) -> None:
    """Those of the values, from the highest down, that stand a seventh of the y axis apart in its scale `there`."""
    low, high = there(axes.get_ylim()[0]), there(axes.get_ylim()[1])
    kept = []
    for value in sorted((value for value in values if low <= there(value) <= high), reverse=True):
        if not kept or there(kept[-1]) - there(value) >= (high - low) / 7:
            kept.append(value)
    axes.yaxis.set_major_locator(FixedLocator(kept[::-1]))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_locator(NullLocator())


LOGARITHMIC = 80.0
"""From so many percent on, a curve's axis is logarithmic in the error."""


def score_axis(axes: Axes, task: Task, values: np.ndarray) -> str:
    """A y axis that the values of learning curves fill; returns its name.

    Where percentages of which more is better come near 100 it is logarithmic in 100.2 - value: 94 and 96 percent stand
    as far apart as 40 and 60.
    """
    low, high, percent = values.min(), values.max(), task.primary.unit == "%"
    if not percent or not task.higher_is_better or high < LOGARITHMIC:
        room = 0.04 * max(high - low, point(task, values))
        axes.set_ylim(max(low - room, 0.0) if percent else low - room, high + room)
        return style.on_test(task.primary)
    there, back = (lambda p: -np.log10(np.maximum(100.2 - p, 1e-3)), lambda y: 100.2 - 10**-y)
    axes.set_yscale("function", functions=(there, back))
    room = 0.04 * max(there(high) - there(low), 0.1)
    low, high = max(back(there(low) - room), 0.0), min(back(there(high) + room), 100.0)
    axes.set_ylim(low, high)
    round_numbers = [p for p in (0, 20, 40, 60, 80, 90, 95, 98, 99, 99.5, 100) if low <= p <= high]
    few = [p for p in MaxNLocator(5).tick_values(low, high) if low <= p <= high]
    _ticks(axes, round_numbers if len(round_numbers) > 2 else few, there)
    return f"{style.on_test(task.primary)}, logarithmic in the error"


def loss_axis(axes: Axes, values: np.ndarray) -> None:
    """A y axis that the losses fill: logarithmic where all are positive and spread over more than a factor of ten."""
    values = values[np.isfinite(values)]
    if not len(values):
        return
    low, high = values.min(), values.max()
    if low > 0 and high > 10 * low:
        axes.set_yscale("log")
        axes.set_ylim(low / (high / low) ** 0.04, high * (high / low) ** 0.04)
        _ticks(axes, [digit * 10.0**k for k in range(-30, 31) for digit in (1, 2, 5)], np.log10)
    else:
        room = 0.04 * (high - low) or 0.04 * max(abs(high), 1e-9)
        axes.set_ylim(low - room, high + room)


def row_names(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names)


def beside(axes: Axes, texts: list[str]) -> None:
    """A text at the right of each row."""
    for y, text in enumerate(texts):
        axes.text(1.015, y, text, transform=axes.get_yaxis_transform(), va="center", fontsize=8.5)
