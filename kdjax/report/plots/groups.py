"""Accuracy of the classes with few, medium and many training images."""

import itertools

import numpy as np

from kdjax.report import classes
from kdjax.report.plots import canvas, subject
from kdjax.report.plots.accuracy import colours
from kdjax.report.plots.figure import Figure
from kdjax.report.plots.subject import Experiment
from kdjax.runs.task import CLASSIFICATION


def groups(experiment: Experiment) -> Figure | None:
    """A panel for each third of the classes by their number of training images; each class counts the same.

    Drawn when their numbers differ enough (kdjax.report.classes.UNEVEN).
    """
    kept = {name: _uneven(runs) for name, runs in experiment.strongest().items()}
    rows = {name: runs for name, runs in kept.items() if runs}
    if not rows:
        return None
    results = [run["result"] for runs in rows.values() for run in runs]
    values = [[_accuracies(runs, number) for runs in rows.values()] for number in range(len(classes.GROUPS))]
    figure = Figure(figsize=(11, 1.7 + 0.3 * len(rows)), layout="constrained")
    panels = figure.subplots(1, len(classes.GROUPS), sharey=True)
    limits = canvas.strip_limits(CLASSIFICATION, list(itertools.chain(*values)))
    for number, (axes, name) in enumerate(zip(panels, classes.GROUPS, strict=True)):
        canvas.strip(axes, CLASSIFICATION, values[number], colours(experiment, rows), limits)
        axes.set_title(f"{name}: {classes.group_sizes(results, number)}", fontsize=9)
    canvas.row_names(panels[0], [experiment.label(name) for name in rows])
    figure.supxlabel(
        "mean accuracy of the group's classes (%); dots: seeds, mark: mean ± standard deviation", fontsize=9
    )
    subject.wide(figure, subject.title(experiment, "accuracy by a class's number of training images", rows))
    return figure


def _uneven(runs: list[dict]) -> list[dict]:
    return [run for run in subject.finished(runs) if classes.uneven(run["result"])]


def _accuracies(runs: list[dict], number: int) -> np.ndarray:
    """[seeds], without the seeds whose group has no test images."""
    values = 100 * np.array([classes.group_accuracy(run["result"], number) for run in runs])
    return values[np.isfinite(values)]
