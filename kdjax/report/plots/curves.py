"""Test top-1 and training loss against the epoch."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdjax.report import statistics
from kdjax.report.plots import canvas, style, subject
from kdjax.report.plots.subject import Experiment

ONE_AXES = 6
"""Up to so many methods share one axes of learning curves."""


def curves(experiment: Experiment) -> Figure | None:
    """Mean over seeds, band from lowest to highest; unfinished runs as thin lines, a cross where one diverged.

    Few methods share an axes for top-1 and one for the training loss beside it; many have a panel each.
    """
    rows = {name: runs for name, runs in experiment.strongest().items() if drawn(runs)}
    if not rows:
        return None
    figure = _together(experiment, rows) if len(rows) <= ONE_AXES else _apart(experiment, rows)
    text = subject.title(experiment, "learning curves", rows, more="; mean and range of the seeds")
    subject.wide(figure, text)
    return figure


def drawn(runs: list[dict]) -> bool:
    """Whether a run has more than one epoch to draw."""
    return any(len(series(run, "test_top1")) > 1 for run in runs)


def _together(experiment: Experiment, rows: dict[str, list[dict]]) -> Figure:
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, runs in rows.items():
        draw(left, runs, "test_top1", experiment.looks[name], experiment.label(name))
        draw(right, runs, "loss", experiment.looks[name])
    left.set_ylabel(canvas.accuracy_axis(left, every(rows, "test_top1")[:, 1]))
    right.set_ylabel("training loss, all terms with their weights")
    losses = every(rows, "loss")
    canvas.loss_axis(right, losses[:, 1])
    for axes in (left, right):
        canvas.epoch_axis(axes, np.append(losses[:, 0], every(rows, "test_top1")[:, 0]))
        axes.set_xlabel("epoch")
    canvas.legend(figure, left, loc="outside lower center", ncols=3)
    return figure


def _apart(experiment: Experiment, rows: dict[str, list[dict]]) -> Figure:
    """A panel a method, the baseline's curves in grey behind it."""
    figure, panels = canvas.panels(len(rows), 4, (2.3, 1.75), sharex=True, sharey=True)
    behind = experiment.rows.get(experiment.baseline, [])
    for axes, (name, runs) in zip(panels, rows.items(), strict=True):
        if name != experiment.baseline:
            draw(axes, behind, "test_top1", BEHIND)
        draw(axes, runs, "test_top1", BEHIND if name == experiment.baseline else FRONT)
        axes.set_title(experiment.label(name), fontsize=9)
    values = every({**rows, "": behind}, "test_top1")
    figure.supylabel(canvas.accuracy_axis(panels[0], values[:, 1]), fontsize=9)
    canvas.epoch_axis(panels[0], values[:, 0])
    figure.supxlabel("epoch", fontsize=9)
    return figure


BEHIND, FRONT = style.Look(style.GREY, "o", "-"), style.Look(style.MAIN, "o", "-")


def series(run: dict, key: str) -> np.ndarray:
    """[epochs that have it, 2]: epoch of the main stage and a number of metrics.jsonl; top-1 in percent."""
    scale = 100 if key.endswith("top1") else 1
    rows = [(row["epoch"], scale * row[key]) for row in run["history"] if row["epoch"] > 0 and row.get(key) is not None]
    return np.array(rows, float).reshape(-1, 2)


def every(rows: dict[str, list[dict]], key: str) -> np.ndarray:
    """[points, 2]: the series of all runs, one after the other."""
    return np.concatenate([series(run, key) for runs in rows.values() for run in runs])


def mean(runs: list[dict], key: str) -> tuple[list[float], np.ndarray]:
    """Epochs that all the runs have, and [runs, epochs] of the values there."""
    tables = [dict(series(run, key)) for run in runs]
    epochs = sorted(set.intersection(*map(set, tables))) if tables else []
    return epochs, np.array([[table[epoch] for epoch in epochs] for table in tables])


def draw(axes: Axes, runs: list[dict], key: str, look: style.Look, label: str = "") -> None:
    """Mean and range of the finished runs at the epochs that all have; each other run on its own."""
    done = subject.finished(runs)
    epochs, values = mean(done, key)
    if epochs:
        means = [statistics.summary(column)["mean"] for column in values.T]
        axes.fill_between(epochs, values.min(0), values.max(0), color=look.colour, alpha=0.15, linewidth=0)
        axes.plot(epochs, means, color=look.colour, linestyle=look.dash, linewidth=1.5, label=label or None)
    for run in runs:
        curve = series(run, key)
        if run not in done and len(curve):
            end = "x" if subject.diverged([run]) else ""
            axes.plot(*curve.T, color=look.colour, linewidth=0.8, linestyle=":", marker=end, markevery=[-1])
