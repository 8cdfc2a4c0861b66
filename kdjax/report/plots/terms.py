"""What each method minimised: training loss and its terms beside the test score."""

import numpy as np
from matplotlib.axes import Axes

from kdjax.report import statistics
from kdjax.report.plots import canvas, style, subject
from kdjax.report.plots.curves import BEHIND, FRONT, LOSS, Curve, draw, drawn, every, mean, of_score, series
from kdjax.report.plots.figure import Figure
from kdjax.report.plots.subject import Experiment


def terms(experiment: Experiment) -> Figure | None:
    """Two panels a method: the score over the baseline's, and means over the seeds of the loss and of its terms."""
    score, curve = experiment.score, of_score(experiment)
    rows = {name: runs for name, runs in experiment.strongest().items() if drawn(runs, curve) and _named(runs)}
    if not rows:
        return None
    figure, panels = canvas.panels(2 * len(rows), 6 if len(rows) > 2 else 2, (2.35, 1.8))
    behind = experiment.rows.get(experiment.baseline, [])
    values = every({**rows, "": behind}, curve)
    for left, right, (name, runs) in zip(panels[::2], panels[1::2], rows.items(), strict=True):
        draw(left, behind, curve, BEHIND)
        if name != experiment.baseline:
            draw(left, runs, curve, FRONT)
        canvas.score_axis(left, experiment.task, values[:, 1])
        left.set_title(f"{experiment.label(name)}: {score.title}", fontsize=8.5)
        right.set_title("loss and terms", fontsize=8.5)
        _losses(right, runs)
        canvas.epoch_axis(left, values[:, 0])
        canvas.epoch_axis(right, values[:, 0])
        for axes in (left, right):
            axes.tick_params(labelsize=7)
    figure.supxlabel("epoch", fontsize=9)
    unit = f" ({score.unit})" if score.unit else ""
    text = subject.title(experiment, f"training loss and its terms beside test {score.title}{unit}", rows)
    subject.wide(figure, f"{text}; the loss adds the terms, each times its weight; the baseline in grey")
    return figure


def _named(runs: list[dict]) -> list[str]:
    """The keys of the terms' losses in metrics.jsonl, in their order there."""
    rows = (row for run in runs for row in run["history"] if row["epoch"] > 0)
    return list(dict.fromkeys(key for row in rows for key in row if key.startswith("loss/")))


def _losses(axes: Axes, runs: list[dict]) -> None:
    looks = style.looks(_named(runs), None)
    heights = []
    chosen = subject.finished(runs) or [run for run in runs if len(series(run, LOSS)) > 1]
    for key, look in {"loss": style.Look(style.INK, "o", "-"), **looks}.items():
        epochs, values = mean(chosen, Curve(key))
        means = [statistics.summary(column)["mean"] for column in values.T] if epochs else []
        label = style.short(key.removeprefix("loss/"), 20)
        thick = 1.8 if key == "loss" else 1.1
        axes.plot(epochs, means, color=look.colour, linestyle=look.dash, linewidth=thick, label=label)
        heights += means
    canvas.loss_axis(axes, np.array(heights))
    canvas.legend(axes, axes, fontsize=6.5, loc="upper right", handlelength=1.6, labelspacing=0.2, borderpad=0.1)
