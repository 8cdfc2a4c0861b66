"""The score against each hyperparameter that config.ablate changes."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, NullLocator

from kdjax.report.plots import canvas, style, subject
from kdjax.report.plots.figure import Figure
from kdjax.report.plots.subject import Experiment
from kdjax.runs.task import Task

MOST_PANELS = 24
"""More hyperparameters than these are not drawn."""


def ablation(experiment: Experiment) -> Figure | None:
    """A panel a hyperparameter: mean and standard deviation of each value, the method's own among them."""
    found = {}
    for name, runs in experiment.rows.items():
        changed = runs[0]["config"].get("ablation")
        if changed and subject.finished(runs):
            found.setdefault((name.partition(",")[0], tuple(changed)), []).append(name)
    if not found:
        return None
    kept = dict(list(found.items())[:MOST_PANELS])
    figure, panels = canvas.panels(len(kept), 3, (4, 3.4))
    for axes, ((base, paths), names) in zip(panels, kept.items(), strict=True):
        _panel(axes, experiment, base, paths, _points(experiment, base, paths, names))
    canvas.legend(figure, *panels, loc="outside lower center", ncols=3, fontsize=8)
    figure.supylabel(style.on_test(experiment.score), fontsize=9)
    what = "ablation" + (f", {len(kept)} of {len(found)} panels" if len(kept) < len(found) else "")
    rows = {name: experiment.rows[name] for names in kept.values() for name in names}
    subject.wide(figure, subject.title(experiment, what, rows, "; mean ± standard deviation"))
    return figure


def _points(experiment: Experiment, base: str, paths, names: list[str]) -> dict:
    """{value: its row}; numbers in their order, text as it comes. The base's own row stands at its own value."""
    rows = {}
    for name in names:
        changed = experiment.rows[name][0]["config"]["ablation"]
        rows.setdefault(_value([changed[path] for path in paths]), name)
    own = experiment.rows.get(base, [])
    if subject.finished(own):
        value = _value([_at(own[0]["config"].get("spec"), path) for path in paths])
        if value is not None:
            rows.setdefault(value, base)
    numbers = all(isinstance(value, float) for value in rows)
    return {value: rows[value] for value in (sorted(rows) if numbers else rows)}


def _at(spec: dict | None, path: str):
    for key in path.split("."):
        spec = spec.get(key) if isinstance(spec, dict) else None
    return spec


def _value(values: list):
    """A float for one number, text for anything else, None where a value is not set."""
    if any(value is None for value in values):
        return None
    if len(values) == 1 and isinstance(values[0], int | float) and not isinstance(values[0], bool):
        return float(values[0])
    return ", ".join(map(str, values))


def _panel(axes: Axes, experiment: Experiment, base: str, paths, points: dict) -> None:
    texts = [f"{value:g}" if isinstance(value, float) else style.short(value, 24) for value in points]
    x = _positions(axes, list(points), texts)
    sums = [experiment.summary(name) for name in points.values()]
    seeds = [experiment.values(name) for name in points.values()]
    at = {"mean": None, "std": None}
    if experiment.baseline in experiment.records:
        at = experiment.summary(experiment.baseline)
    everything = np.concatenate([*seeds, [] if at["mean"] is None else [at["mean"]]])
    score, task = experiment.score, experiment.task
    axes.set_ylim(*canvas.limits(task, everything, canvas.ends(score, [*sums, at]), (experiment.teacher,)))
    canvas.reference(axes, score, at["mean"], experiment.baseline, style.GREY, upright=False, dash="-")
    if at["std"] is not None:
        axes.axhspan(at["mean"] - at["std"], at["mean"] + at["std"], color=style.GREY, alpha=0.15, linewidth=0)
    canvas.reference(axes, score, experiment.teacher, "teacher", style.TEACHER, upright=False)
    _draw(axes, task, x, seeds, sums, [name == base for name in points.values()])
    if base in points.values():
        axes.plot([], [], "d", color=style.MAIN, markerfacecolor="white", label="the method's own value")
    axes.set_xlabel(style.short(", ".join(paths), 60))
    axes.set_title(style.short(base), fontsize=9)


def _draw(axes: Axes, task: Task, x: list[float], seeds: list[np.ndarray], sums: list[dict], own: list[bool]) -> None:
    limits = axes.get_ylim()
    means = [np.nan if canvas.cut(task, limits, s["mean"]) else s["mean"] for s in sums]
    axes.plot(x, means, color=style.MAIN, linewidth=1, alpha=0.6)
    for at, row, summary, mine in zip(x, seeds, sums, own, strict=True):
        axes.plot([at] * len(row), row, "o", color=style.MAIN, alpha=0.35, markersize=4, markeredgewidth=0)
        if canvas.cut(task, limits, summary["mean"]):
            arrow, y, end = ("↓", 0.02, "baseline") if task.higher_is_better else ("↑", 0.98, "top")
            text, look = f"{style.rounded(summary['mean'], task.primary)} {arrow}", {"ha": "center", "va": end}
            axes.annotate(text, (at, y), xycoords=axes.get_xaxis_transform(), fontsize=8, **look)
            continue
        if summary["std"] is not None:
            low_high = summary["mean"] - summary["std"], summary["mean"] + summary["std"]
            canvas.whisker(axes, at, *low_high, colour=style.MAIN, upright=True)
        face = "white" if mine else style.MAIN
        axes.plot([at], [summary["mean"]], "d", color=style.MAIN, markerfacecolor=face, markersize=7)


def _positions(axes: Axes, values: list, names: list[str]) -> list[float]:
    """Where the values stand: on a logarithmic axis when they are nearer to a geometric row, text side by side."""
    x = values if all(isinstance(value, float) for value in values) else list(map(float, range(len(values))))
    if x is values and _geometric(values):
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    long = max(map(len, names)) * len(names) > 48
    axes.set_xticks(x, names, rotation=45 if long else 0, ha="right" if long else "center", rotation_mode="anchor")
    return x


def _geometric(values: list[float]) -> bool:
    if len(values) < 3 or values[0] <= 0:
        return False
    steps, ratios = np.diff(values), np.diff(np.log(values))
    return np.std(ratios) / np.mean(ratios) < np.std(steps) / np.mean(steps)
