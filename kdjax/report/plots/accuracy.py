"""The last epoch's score by method."""

from kdjax.report.plots import canvas, style, subject
from kdjax.report.plots.figure import Figure
from kdjax.report.plots.subject import Experiment


def accuracy(experiment: Experiment) -> Figure | None:
    """A dot a seed, mean and standard deviation; teacher and baseline as lines."""
    rows = experiment.strongest()
    values, score = [experiment.values(name) for name in rows], experiment.score
    if not any(map(len, values)):
        return None
    figure = Figure(figsize=(8.5, 1.8 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    limits = canvas.strip_limits(experiment.task, values, (experiment.teacher,))
    canvas.strip(axes, experiment.task, values, colours(experiment, rows), limits)
    if experiment.baseline in experiment.records:
        mean = experiment.summary(experiment.baseline)["mean"]
        canvas.reference(axes, score, mean, experiment.baseline, style.GREY, dash="-")
    canvas.reference(axes, score, experiment.teacher, "teacher", style.TEACHER)
    canvas.row_names(axes, [experiment.label(name) for name in rows])
    canvas.beside(axes, [_text(experiment, name) for name in rows])
    axes.set_xlabel(f"{style.on_test(score)}; dots: seeds, mark: mean ± standard deviation")
    subject.wide(figure, subject.title(experiment, f"{score.title} by method", rows))
    canvas.legend(figure, axes, loc="outside lower center", ncols=2)
    return figure


def colours(experiment: Experiment, rows) -> list[str]:
    """Grey for the baseline, one colour for all others: the rows are told apart by their place."""
    return [style.GREY if name == experiment.baseline else style.MAIN for name in rows]


def _text(experiment: Experiment, name: str) -> str:
    """Mean and spread of a row, and what became of the runs that have none."""
    summary, lost = experiment.summary(name), subject.lost(experiment.rows[name])
    parts = [] if summary["mean"] is None else [style.spread(summary, experiment.score)]
    return "  ".join([*parts, lost] if lost else parts)
