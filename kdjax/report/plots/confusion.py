"""Which classes are taken for which: by the best method, and by the best distilled one less by the baseline."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import FuncNorm, PowerNorm

from kdjax.report.plots import confusions, style, subject
from kdjax.report.plots.confusions import Cells
from kdjax.report.plots.figure import Figure
from kdjax.report.plots.subject import Experiment

NUMBERED = 20
"""Up to so many classes the cells have numbers."""


def confusion(experiment: Experiment) -> Figure | None:
    """True against predicted class of the method with the best mean score, summed over seeds, rows as percentages."""
    candidates = _candidates(experiment)
    best = _best(experiment, candidates)
    if best is None:
        return None
    cells = confusions.add([run["result"] for run in candidates[best]])
    lines = ["most often confused (true → predicted)", ""]
    lines += [f"{cells.percent[i]:3.0f} %  {_names(cells, i)}" for i in confusions.largest(cells)[:15]]
    figure, axes, bar, members = _figure(cells, lines)
    # The square root makes confusions of a few percent visible beside a diagonal of nearly 100.
    image = _matrix(axes, cells, members, cmap="Blues", norm=PowerNorm(0.5, 0, 100))
    _numbers(axes, image, "{:.0f}", dark=lambda value: value > 40)
    figure.colorbar(image, cax=bar, label="% of the true class")
    what = f"confusion of {experiment.label(best)} (best mean {experiment.score.title})" + _of(cells, members)
    subject.wide(figure, subject.title(experiment, what, {best: candidates[best]}))
    return figure


def confusion_difference(experiment: Experiment) -> Figure | None:
    """The same of the best method other than the baseline, minus the baseline's, over the seeds that both have."""
    candidates = _candidates(experiment)
    baseline = {run["config"]["seed"]: run for run in candidates.pop(experiment.baseline, [])}
    both = {name: [run for run in runs if run["config"]["seed"] in baseline] for name, runs in candidates.items()}
    best = _best(experiment, {name: runs for name, runs in both.items() if runs})
    if best is None:
        return None
    theirs = [baseline[run["config"]["seed"]]["result"] for run in both[best]]
    cells = confusions.difference(confusions.add([run["result"] for run in both[best]]), confusions.add(theirs))
    lines = ["largest changes in points (true → predicted)", ""]
    lines += [f"{_points(cells.percent[i])}  {_names(cells, i)}" for i in confusions.largest(cells)[:15]]
    figure, axes, bar, members = _figure(cells, lines)
    half = float(np.abs(confusions.matrix(cells, members)).max() or 1.0)
    image = _matrix(axes, cells, members, cmap="RdBu", norm=FuncNorm((_root, _square), -half, half))
    _numbers(axes, image, "{:+.0f}", dark=lambda value: abs(value) > 0.5 * half)
    ticks = np.array([-half, -half / 4, 0, half / 4, half])
    figure.colorbar(image, cax=bar, label="percentage points of the true class", ticks=ticks, format=_point_tick)
    what = f"confusion of {experiment.label(best)} minus that of {experiment.label(experiment.baseline)}"
    more = "; on the diagonal more is better, beside it less"
    subject.wide(figure, subject.title(experiment, what + _of(cells, members), {best: both[best]}, more))
    return figure


def _point_tick(value: float, _) -> str:
    return f"{value:+.1f}".replace("-", "\N{MINUS SIGN}") if value else "0"


def _root(value):
    """Signed, for the same reason."""
    return np.sign(value) * np.sqrt(np.abs(value))


def _square(value):
    return np.sign(value) * np.square(value)


def _candidates(experiment: Experiment) -> dict[str, list[dict]]:
    """{method: its finished runs}, where all of them have a confusion matrix."""
    rows = {name: subject.finished(runs) for name, runs in experiment.rows.items()}
    return {
        name: runs for name, runs in rows.items() if runs and all(r["result"]["last"].get("confusion") for r in runs)
    }


def _best(experiment: Experiment, candidates: dict) -> str | None:
    return max(candidates, key=experiment.better, default=None)


def _names(cells: Cells, i: int) -> str:
    return " → ".join(style.short(cells.classes[k], 36) for k in (cells.true[i], cells.predicted[i]))


def _points(value: float) -> str:
    return f"{value:+4.0f}".replace("-", "\N{MINUS SIGN}")


def _of(cells: Cells, members: np.ndarray) -> str:
    total = len(cells.classes)
    return "" if len(members) == total else f"; {len(members)} of {total:,} classes, those of the largest cells"


def _figure(cells: Cells, lines: list[str]) -> tuple[Figure, Axes, Axes, np.ndarray]:
    """A figure with room for the names: axes of the matrix and of its colours, the list at the right, the classes."""
    members = confusions.chosen(cells)
    inches = 0.3 if len(members) <= NUMBERED else 0.22 if len(members) <= confusions.LARGEST else 0.16
    side = max(4.0, inches * len(members))
    names = 0.6 + 0.0085 * _font(len(members)) * max(len(style.short(cells.classes[k], 36)) for k in members)
    listed = 0.2 + 0.07 * max(map(len, lines))
    figure = Figure(figsize=(side + names + 1.2 + listed, side + names + 0.6), layout="constrained")
    axes = figure.subplots()
    bar = axes.inset_axes([1 + 0.12 / side, 0, 0.16 / side, 1])
    text = "\n".join(lines)
    axes.text(1 + 1.1 / side, 1, text, transform=axes.transAxes, va="top", fontsize=8, linespacing=1.5)
    return figure, axes, bar, members


def _font(classes: int) -> int:
    return 9 if classes <= NUMBERED else 7


def _matrix(axes: Axes, cells: Cells, members: np.ndarray, **colours):
    """The image; a class without test images has an empty row."""
    names = [style.short(cells.classes[k], 36) for k in members]
    image = axes.imshow(confusions.matrix(cells, members), interpolation="nearest", **colours)
    axes.set_facecolor(style.LIGHT)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=_font(len(names)))
    axes.set_yticks(range(len(names)), names, fontsize=_font(len(names)))
    axes.set(xlabel="predicted", ylabel="true", anchor="NW")
    axes.tick_params(length=0)
    axes.grid(visible=False)
    return image


def _numbers(axes: Axes, image, form: str, dark) -> None:
    """Each cell's number, where there is room for it; what rounds to 0 has none."""
    values = image.get_array().filled(0)
    if len(values) > NUMBERED:
        return
    for (true, predicted), value in np.ndenumerate(values):
        if abs(value) >= 0.5:
            text, ink = form.format(value).replace("-", "\N{MINUS SIGN}"), "white" if dark(value) else style.INK
            axes.text(predicted, true, text, ha="center", va="center", fontsize=7.5, color=ink)
