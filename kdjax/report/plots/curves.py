"""Test score and training loss against the epoch."""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from kdjax.report import statistics
from kdjax.report.plots import canvas, style, subject
from kdjax.report.plots.figure import Figure
from kdjax.report.plots.subject import Experiment

ONE_AXES = 6
"""Up to so many methods share one axes of learning curves."""


def curves(experiment: Experiment) -> Figure | None:
    """Mean over seeds, band from lowest to highest; unfinished runs as thin lines, a cross where one diverged.

    Few methods share an axes for the score and one for the training loss beside it; many have a panel each.
    """
    rows = {name: runs for name, runs in experiment.strongest().items() if drawn(runs, of_score(experiment))}
    if not rows:
        return None
    figure = _together(experiment, rows) if len(rows) <= ONE_AXES else _apart(experiment, rows)
    text = subject.title(experiment, "learning curves", rows, more="; mean and range of the seeds")
    subject.wide(figure, text)
    return figure


class Curve(NamedTuple):
    """A number of metrics.jsonl, drawn `scale` times as large."""

    key: str
    scale: int = 1


LOSS = Curve("loss")


def of_score(experiment: Experiment) -> Curve:
    return Curve(f"test_{experiment.score.key}", experiment.score.scale)


def drawn(runs: list[dict], curve: Curve) -> bool:
    """Whether a run has more than one epoch to draw."""
    return any(len(series(run, curve)) > 1 for run in runs)


def _together(experiment: Experiment, rows: dict[str, list[dict]]) -> Figure:
    figure, score = Figure(figsize=(11, 4.8), layout="constrained"), of_score(experiment)
    left, right = figure.subplots(1, 2)
    for name, runs in rows.items():
        draw(left, runs, score, experiment.looks[name], experiment.label(name))
        draw(right, runs, LOSS, experiment.looks[name])
    scores = every(rows, score)
    left.set_ylabel(canvas.score_axis(left, experiment.task, scores[:, 1]))
    right.set_ylabel("training loss, all terms with their weights")
    losses = every(rows, LOSS)
    canvas.loss_axis(right, losses[:, 1])
    for axes in (left, right):
        canvas.epoch_axis(axes, np.append(losses[:, 0], scores[:, 0]))
        axes.set_xlabel("epoch")
    canvas.legend(figure, left, loc="outside lower center", ncols=3)
    return figure


def _apart(experiment: Experiment, rows: dict[str, list[dict]]) -> Figure:
    """A panel a method, the baseline's curves in grey behind it."""
    figure, panels = canvas.panels(len(rows), 4, (2.3, 1.75), sharex=True, sharey=True)
    behind, score = experiment.rows.get(experiment.baseline, []), of_score(experiment)
    for axes, (name, runs) in zip(panels, rows.items(), strict=True):
        if name != experiment.baseline:
            draw(axes, behind, score, BEHIND)
        draw(axes, runs, score, BEHIND if name == experiment.baseline else FRONT)
        axes.set_title(experiment.label(name), fontsize=9)
    values = every({**rows, "": behind}, score)
    figure.supylabel(canvas.score_axis(panels[0], experiment.task, values[:, 1]), fontsize=9)
    canvas.epoch_axis(panels[0], values[:, 0])
    figure.supxlabel("epoch", fontsize=9)
    return figure


BEHIND, FRONT = style.Look(style.GREY, "o", "-"), style.Look(style.MAIN, "o", "-")


def series(run: dict, curve: Curve) -> np.ndarray:
    """[epochs that have it, 2]: epoch of the main stage and what is drawn."""
    key, scale = curve
    rows = [(row["epoch"], scale * row[key]) for row in run["history"] if row["epoch"] > 0 and row.get(key) is not None]
    return np.array(rows, float).reshape(-1, 2)


def every(rows: dict[str, list[dict]], curve: Curve) -> np.ndarray:
    """[points, 2]: the series of all runs, one after the other."""
    return np.concatenate([series(run, curve) for runs in rows.values() for run in runs])


def mean(runs: list[dict], curve: Curve) -> tuple[list[float], np.ndarray]:
    """Epochs that all the runs have, and [runs, epochs] of the values there."""
    tables = [dict(series(run, curve)) for run in runs]
    epochs = sorted(set.intersection(*map(set, tables))) if tables else []
    return epochs, np.array([[table[epoch] for epoch in epochs] for table in tables])


def draw(axes: Axes, runs: list[dict], curve: Curve, look: style.Look, label: str = "") -> None:
    """Mean and range of the finished runs at the epochs that all have; each other run on its own."""
    done = subject.finished(runs)
    epochs, values = mean(done, curve)
    if epochs:
        means = [statistics.summary(column)["mean"] for column in values.T]
        axes.fill_between(epochs, values.min(0), values.max(0), color=look.colour, alpha=0.15, linewidth=0)
        axes.plot(epochs, means, color=look.colour, linestyle=look.dash, linewidth=1.5, label=label or None)
    for run in runs:
        points = series(run, curve)
        if run not in done and len(points):
            end = "x" if subject.diverged([run]) else ""
            axes.plot(*points.T, color=look.colour, linewidth=0.8, linestyle=":", marker=end, markevery=[-1])
