"""The statistic of the table: each method's paired difference to the baseline with its confidence interval."""

import numpy as np
from matplotlib.lines import Line2D

from kdjax.report import statistics
from kdjax.report.plots import canvas, style, subject
from kdjax.report.plots.figure import Figure
from kdjax.report.plots.subject import Experiment
from kdjax.runs.task import Score, Task


def forest(experiment: Experiment) -> Figure | None:
    """Differences in the last epoch's score, the best on top; filled where Holm's test over all rows is significant."""
    score, task = experiment.score, experiment.task
    records = {name: experiment.records[name] for name in experiment.strongest() if name != experiment.baseline}
    known = sorted(
        (name for name in records if records[name]["difference"] is not None),
        key=lambda name: -task.sign * records[name]["difference"],
    )
    if not known:
        return None
    names = [*known, *(name for name in records if name not in known)]
    figure = Figure(figsize=(9, 2.0 + 0.3 * len(names)), layout="constrained")
    axes = figure.subplots()
    known_ends = [records[name][end] for name in known for end in ("low", "high")]
    ends = [score.scale * end for end in known_ends if end is not None]
    axes.set_xlim(*_limits(task, np.array([score.scale * records[name]["difference"] for name in known]), ends))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.axvline(0, color=style.INK, linewidth=1)
    for y, name in enumerate(known):
        _row(axes, task, y, records[name])
    canvas.row_names(axes, [experiment.label(name) for name in names])
    canvas.beside(axes, [_text(records[name], score, experiment.rows[name]) for name in names])
    unit = "points" if score.unit == "%" else score.unit or "difference"
    header = f"{unit} [95 %], Holm's p" if ends else unit
    grey = {"va": "bottom", "fontsize": 8.5, "color": style.GREY}
    axes.text(1.015, -0.75, header, transform=axes.get_yaxis_transform(), **grey)
    interval = "; line: 95 % interval, seeds paired" if ends else ""
    below = "" if task.higher_is_better else "; below 0 is better"
    axes.set_xlabel(f"{style.minus(score, experiment.baseline)}{below}{interval}")
    rows = {name: experiment.rows[name] for name in (*records, experiment.baseline) if name in experiment.rows}
    subject.wide(figure, subject.title(experiment, f"difference in {score.title} to {experiment.baseline}", rows))
    figure.legend(handles=_key(experiment), loc="outside lower center", ncols=2)
    return figure


def significant(record: dict) -> bool:
    """Whether the difference stands after Holm's correction over the whole experiment."""
    return record["p_holm"] is not None and record["p_holm"] < 1 - statistics.CONFIDENCE


def _limits(task: Task, differences: np.ndarray, ends: list[float]) -> tuple[float, float]:
    """Limits around the differences and 0, also where a few far on the worse side are cut off."""
    low, high = canvas.limits(task, [*differences, 0.0], ends, reach=3.0)
    room = 0.05 * max(high, 0.0) - 0.05 * min(low, 0.0)
    return (-room, high) if low >= 0 else (low, room) if high <= 0 else (low, high)


def _row(axes, task: Task, y: float, record: dict) -> None:
    scale = task.primary.scale
    difference = scale * record["difference"]
    if canvas.cut(task, axes.get_xlim(), difference):
        canvas.off_the_side(axes, task, y, task.primary.signed(record["difference"]))
        return
    if record["low"] is not None:
        canvas.whisker(axes, y, scale * record["low"], scale * record["high"], colour=style.MAIN)
    face = style.MAIN if significant(record) else "white"
    axes.plot([difference], [y], "o", color=style.MAIN, markerfacecolor=face, markersize=7)


def _text(record: dict, score: Score, runs: list[dict]) -> str:
    parts = []
    if record["difference"] is not None:
        parts.append(score.signed(record["difference"]))
    if record["low"] is not None:
        p = "p <0.001" if record["p_holm"] < 0.001 else f"p {record['p_holm']:.3f}"
        parts.append(f"[{score.signed(record['low'])}, {score.signed(record['high'])}]  {p}")
    return "  ".join([*parts, subject.lost(runs)] if subject.lost(runs) else parts)


def _key(experiment: Experiment) -> list[Line2D]:
    """What filled and open marks mean, whether or not both are there."""
    family = sum(record["p"] is not None for record in experiment.records.values())
    if not family:
        return [_mark("white", "no test: fewer than two seeds are paired, or they all differ alike")]
    many = f"Holm over {family} comparison{'s' * (family != 1)}"
    return [_mark(style.MAIN, f"p < {1 - statistics.CONFIDENCE:.2f}, {many}"), _mark("white", "not significant")]


def _mark(face: str, label: str) -> Line2D:
    return Line2D([], [], marker="o", linestyle="", color=style.MAIN, markerfacecolor=face, label=label)
