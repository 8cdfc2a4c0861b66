"""The score against labelled images a class, over experiments that differ in data.shots."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from kdjax.report.plots import canvas, style, subject
from kdjax.report.plots.figure import Figure
from kdjax.report.plots.subject import Experiment

ONE_AXES = 10
"""Up to so many methods share an axes."""


def sets(experiments: list[Experiment]) -> list[dict[float, Experiment]]:
    """[{labelled images a class: experiment}], rising: those that share data set, teacher and student, two or more.

    An experiment with a number of images that its set has already begins another set.
    """
    found = {}
    for experiment in experiments:
        number = images(experiment) if subject.finished(experiment.runs) else None
        if number is not None:
            same = found.setdefault(_shared(experiment), [])
            free = next((members for members in same if number not in members), None)
            if free is None:
                same.append(free := {})
            free[number] = experiment
    return [dict(sorted(members.items())) for same in found.values() for members in same if len(members) > 1]


def shots(together: dict[float, Experiment]) -> Figure | None:
    """A line a method over a set of experiments; all images stand at their mean number a class."""
    rows = _rows(together)
    if not rows:
        return None
    figure = _overlaid(together, rows) if len(rows) <= ONE_AXES else _apart(together, rows)
    figure.supxlabel("labelled training images a class", fontsize=9)
    figure.supylabel(style.on_test(_first(together).score), fontsize=9)
    subject.wide(figure, _title(together, rows))
    return figure


def images(experiment: Experiment) -> float | None:
    """Labelled images a class: the shots, or the mean of the training set's classes where all images are used."""
    few = _few(experiment)
    if few:
        return float(few)
    counts = next((run["result"].get("train_counts") for run in subject.finished(experiment.runs)), None)
    return round(float(np.mean(counts)), 1) if counts else None


def _few(experiment: Experiment) -> int:
    return (experiment.runs[0]["config"].get("data") or {}).get("shots") or 0


def _first(together: dict[float, Experiment]) -> Experiment:
    return next(iter(together.values()))


def _shared(experiment: Experiment) -> tuple:
    """What experiments must share to stand on one axes: score, data set, teacher and student, not how good this is."""
    run = subject.finished(experiment.runs)[0]
    teacher, student = (run["config"].get("teacher") or {}), (run["result"].get("student") or {})
    scored = experiment.score, experiment.task.higher_is_better
    return *scored, str(run["result"].get("dataset")), str(teacher.get("model")), str(student.get("model"))


def _rows(together: dict[float, Experiment]) -> dict[str, list[tuple[float, dict]]]:
    """{method: (images a class, its summary) of the experiments that have it}, of methods that two or more have."""
    rows = {}
    for number, experiment in together.items():
        for name, runs in experiment.rows.items():
            summary = experiment.summary(name)
            if summary["mean"] is not None and not runs[0]["config"].get("ablation"):
                rows.setdefault(name, []).append((number, summary))
    return {name: points for name, points in rows.items() if len(points) > 1}


def _teacher(together: dict[float, Experiment]) -> float | None:
    """As drawn; None where experiments have different ones, as there is no one line then."""
    tops = {experiment.teacher for experiment in together.values()}
    return tops.pop() if len(tops) == 1 else None


def _axes(axes: Axes, together: dict[float, Experiment], rows: dict) -> None:
    """Limits that the rows fill, ticks at the experiments."""
    points = [summary for pairs in rows.values() for _, summary in pairs]
    task, means = _first(together).task, [summary["mean"] for summary in points]
    axes.set_ylim(*canvas.limits(task, means, canvas.ends(task.primary, points), (_teacher(together),)))
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    ticks = [f"{number:g}" if _few(experiment) else f"all ({number:g})" for number, experiment in together.items()]
    axes.set_xticks(list(together), ticks)


def _draw(axes: Axes, rows: dict, looks: dict[str, style.Look], labels: dict[str, str]) -> None:
    """A line a method, beside each other so that the bars can be read."""
    for number, (name, pairs) in enumerate(rows.items()):
        look, shift = looks[name], 1.025 ** (number - (len(rows) - 1) / 2)
        x = [images * shift for images, _ in pairs]
        for at, (_, summary) in zip(x, pairs, strict=True):
            if summary["std"] is not None:
                low_high = summary["mean"] - summary["std"], summary["mean"] + summary["std"]
                canvas.whisker(axes, at, *low_high, colour=look.colour, upright=True, alpha=0.45)
        means = [summary["mean"] for _, summary in pairs]
        axes.plot(
            x, means, color=look.colour, marker=look.marker, linestyle=look.dash, markersize=5.5, linewidth=1.5,
            label=labels.get(name),
        )  # fmt: skip


def _overlaid(together: dict[float, Experiment], rows: dict) -> Figure:
    figure = Figure(figsize=(9.5, 5.4), layout="constrained")
    axes = figure.subplots()
    _axes(axes, together, rows)
    names = dict.fromkeys(name for experiment in together.values() for name in experiment.rows)
    looks = style.looks(names, _first(together).baseline)
    _draw(axes, rows, looks, {name: style.short(name) for name in rows})
    canvas.reference(axes, _first(together).score, _teacher(together), "teacher", style.TEACHER, upright=False)
    canvas.legend(figure, axes, loc="outside right center", fontsize=8)
    return figure


def _apart(together: dict[float, Experiment], rows: dict) -> Figure:
    """A panel a method, the baseline in grey beside it."""
    baseline = _first(together).baseline
    behind = {baseline: rows[baseline]} if baseline in rows else {}
    others = [name for name in rows if name != baseline][: subject.MOST_ROWS]
    figure, panels = canvas.panels(len(others), 4, (2.4, 2.0), sharex=True, sharey=True)
    looks = {baseline: style.Look(style.GREY, "o", "-")}
    for axes, name in zip(panels, others, strict=True):
        _axes(axes, together, {**behind, **{other: rows[other] for other in others}})
        _draw(axes, {**behind, name: rows[name]}, {**looks, name: style.Look(style.MAIN, "o", "-")}, {})
        axes.set_title(style.short(name), fontsize=9)
    return figure


def _title(together: dict[float, Experiment], rows: dict) -> str:
    """As of one experiment, with the names of all."""
    first = _first(together)
    names = [style.short(experiment.name, 30) for experiment in together.values()]
    named = ", ".join(names) if len(names) <= 3 else f"{names[0]} to {names[-1]}"
    done = [subject.finished(e.rows[name]) for e in together.values() for name in rows if name in e.rows]
    return subject.heading(named, f"{first.score.title} by labelled images", first, done, "; mean ± standard deviation")
