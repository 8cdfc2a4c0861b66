"""Pictures of an experiment, drawn from the lines of runs.jsonl alone.

    accuracy    last-epoch top-1 of every method, each seed a dot
    curves      top-1 on the test split against the epoch
    ablation    top-1 against a hyperparameter, when config.ablate has rows
    confusion   true against predicted class of the best method
    groups      accuracy of classes with few, medium and many training images, when their numbers differ
    shots       top-1 against labelled images a class, when experiments differ in data.shots

The same lines give the same bytes: nothing random is drawn, and the files carry no date and no version.
"""

import io
import itertools
import math
import os
import re
from pathlib import Path

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, NullLocator

from kdjax import classes as classwise
from kdjax.classes import between

INK, GREY, LIGHT = "#222222", "#888888", "#dddddd"
TEACHER = "#D55E00"
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Okabe and Ito's palette for all kinds of colour vision, without its yellow, too pale for a line on white."""
MARKERS, DASHES = "osD^vP", ("-", "--", ":", "-.")

STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "savefig.dpi": 150,
    "text.parse_math": False,  # a class may be called "$5 note"
}

ONE_AXES = 6
"""Up to so many methods share one axes of learning curves."""


def write(runs: list[dict], out: Path) -> list[Path]:
    """Draws every picture that applies and returns the files, each written whole or not at all.

    Args:
      runs: lines of runs.jsonl, {"run", "result" (None when missing), "config", "history"}, in the order of the table.
      out: the directory for the pictures, made if need be. Runs of one experiment give accuracy.png and so on; runs
        of several give accuracy-<experiment>.png and so on, and shots.png over all.
    """
    students = [run for run in runs if run["config"]["method"] != "teacher"]
    experiments = _experiments(students)
    written = []
    with style.context(["default", STYLE]):
        for name, group in experiments.items():
            suffix = f"-{name}" if len(experiments) > 1 else ""
            for draw in (accuracy, curves, ablation, confusion, groups):
                written += _save(draw(group), Path(out) / f"{draw.__name__}{suffix}.png")
        written += _save(shots(students), Path(out) / "shots.png")
    return written


# ---- reading the lines


def _experiments(runs: list[dict]) -> dict[str, list[dict]]:
    """{experiment, fit for a file's name: its runs}, in the order of the lines."""
    experiments = {}
    for run in runs:
        name = re.sub(r"[^\w.+-]", "_", run["config"].get("experiment", ""))
        experiments.setdefault(name, []).append(run)
    return experiments


def _shots(run: dict) -> int:
    return (run["config"].get("data") or {}).get("shots", 0)


def _rows(runs: list[dict]) -> dict[str, list[dict]]:
    """{method: its runs}, in the order of the lines."""
    rows = {}
    for run in runs:
        rows.setdefault(run["config"]["method"], []).append(run)
    return rows


def _done(runs: list[dict]) -> list[dict]:
    return [run for run in runs if run["result"] and run["result"]["status"] == "done"]


def _diverged(runs: list[dict]) -> list[dict]:
    return [run for run in runs if run["result"] and run["result"]["status"] == "diverged"]


def _top1(runs: list[dict]) -> np.ndarray:
    """Last-epoch top-1 of the finished runs, in percent, by seed."""
    return np.array([100 * run["result"]["last"]["top1"] for run in _by_seed(_done(runs))])


def _by_seed(runs: list[dict]) -> list[dict]:
    return sorted(runs, key=lambda run: run["config"]["seed"])


def _baseline(runs: list[dict]) -> list[dict]:
    """The runs of the student without distillation."""
    return [run for run in runs if run["config"]["method"] == run["config"].get("baseline")]


def _teacher_top1(runs: list[dict]) -> float | None:
    """Top-1 of the experiment's teacher in percent, as measured; not that of a student that teaches another."""
    for run in runs:
        result = run["result"]
        if result and result.get("teacher") and "teacher" not in (run["config"].get("spec") or {}):
            return 100 * result["teacher"]["top1"]
    return None


def _label(runs: list[dict]) -> str:
    return str(runs[0]["config"].get("row") or runs[0]["config"]["method"])


def _spread(values) -> float:
    """Sample standard deviation; nan for fewer than two values."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def _mean_text(values) -> str:
    spread = f" ± {_spread(values):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}"


def _title(runs: list[dict], what: str) -> str:
    """Data set, subject, seeds and last epoch, as every picture says them."""
    done = _done(runs)
    counts = {len(group) for lines in _experiments(done).values() for group in _rows(lines).values()}
    epochs = {run["result"]["epochs"] for run in done}
    named = next((run["result"].get("dataset") for run in runs if run["result"]), runs[0]["config"].get("experiment"))
    seeds = f"{between(counts)} seed{'s' * (counts != {1})}" if counts else "no finished run"
    return f"{named}: {what}\n{seeds}" + (f", last epoch ({between(epochs)})" if epochs else "")


# ---- drawing and saving


def _save(figure: Figure | None, path: Path) -> list[Path]:
    """Writes the PNG beside its place and renames it; [] for a picture that does not apply."""
    if figure is None:
        return []
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(buffer.getvalue())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return [path]


def _floor(values: np.ndarray) -> float:
    """Where the axis may begin: above a minority of values that lie so far below the rest that they would squeeze it.

    Values are cut off where the gap above them is more than twice the span of all that lies above (3 points or more).
    """
    ordered = np.sort(values)
    cuts = [
        (ordered[i] - ordered[i - 1]) / max(ordered[-1] - ordered[i], 3.0) for i in range(1, (len(ordered) + 1) // 2)
    ]
    return ordered[1 + int(np.argmax(cuts))] if cuts and max(cuts) > 2 else ordered[0]


def _limits(values: np.ndarray, lines=()) -> tuple[float, float]:
    """Axis limits with room around the values, and around those of `lines` that are near enough."""
    low, high = _floor(values), values.max()
    reach = 2 * max(high - low, 3.0)
    for line in lines:
        if line is not None and low - reach <= line <= high + reach:
            low, high = min(low, line), max(high, line)
    room = max(high - low, 1.0)
    below = 0.24 if values.min() < low else 0.06  # the value of what is cut off is written there
    return low - below * room, high + 0.06 * room


def _strip(axes: Axes, values: list[np.ndarray], colours: list[str], limits: tuple[float, float]) -> None:
    """One line of dots per row, seeds side by side, with mean and standard deviation; the first row on top."""
    low, high = limits
    for y, (row, colour) in enumerate(zip(values, colours, strict=True)):
        if not len(row):
            continue
        offsets = np.linspace(-0.22, 0.22, len(row)) if len(row) > 1 else np.zeros(1)
        axes.plot(row, y + offsets, "o", color=colour, alpha=0.55, markersize=4.5, markeredgewidth=0)
        if np.mean(row) >= low:
            axes.errorbar(np.mean(row), y, xerr=_error(row), fmt="d", color=INK, markersize=6, capsize=3, linewidth=1.2)
        _point_out(axes, row, y, low)
    axes.set_xlim(low, high)
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def _error(values) -> float | None:
    return _spread(values) if len(values) > 1 else None


def _point_out(axes: Axes, row: np.ndarray, y: float, low: float) -> None:
    """An arrow to the left with the values that the axis leaves out."""
    outside = np.sort(row[row < low])
    if not len(outside):
        return
    text = _mean_text(row) if np.mean(row) < low else ", ".join(f"{value:.1f}" for value in outside[:3])
    axes.annotate(
        text,
        xy=(0, y),
        xytext=(16, 0),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        va="center",
        fontsize=8,
        arrowprops={"arrowstyle": "->", "color": INK},
    )


def _reference_lines(axes: Axes, teacher: float | None, baseline: np.ndarray) -> None:
    """The teacher as a dashed line, the baseline's mean as a thin one; an arrow for a teacher off the axis."""
    low, high = axes.get_xlim()
    if len(baseline) and low <= np.mean(baseline) <= high:
        axes.axvline(np.mean(baseline), color=GREY, linewidth=1, label=f"baseline {np.mean(baseline):.1f}")
    if teacher is None:
        return
    if low <= teacher <= high:
        axes.axvline(teacher, color=TEACHER, linestyle="--", linewidth=1.2, label=f"teacher {teacher:.1f}")
    else:
        side = "→" if teacher > high else "←"
        axes.plot([], [], color=TEACHER, linestyle="--", label=f"teacher {teacher:.1f} {side} off the axis")


def _legend(parent: Axes | Figure, axes: Axes | None = None, **style) -> None:
    """A legend in `parent` of what is drawn in `axes` (itself if None), unless nothing has a name."""
    handles, labels = (axes or parent).get_legend_handles_labels()
    if handles:
        parent.legend(handles, labels, **style)


def _row_colours(rows: dict[str, list[dict]]) -> list[str]:
    """Grey for the baseline, one colour for all others: the rows are told apart by their place."""
    return [GREY if _baseline(runs) else COLOURS[0] for runs in rows.values()]


# ---- the pictures


def accuracy(runs: list[dict]) -> Figure | None:
    """Last-epoch top-1 by method: a dot a seed, mean and standard deviation, teacher and baseline as lines."""
    rows = _rows(runs)
    values = [_top1(group) for group in rows.values()]
    if not any(map(len, values)):
        return None
    figure = Figure(figsize=(8.5, 1.7 + 0.32 * len(rows)), layout="constrained")
    axes = figure.subplots()
    teacher, baseline = _teacher_top1(runs), _top1(_baseline(runs))
    _strip(axes, values, _row_colours(rows), _limits(np.concatenate(values), (teacher,)))
    _reference_lines(axes, teacher, baseline)
    axes.set_yticks(range(len(rows)), [_label(group) for group in rows.values()])
    for y, group in enumerate(rows.values()):
        axes.text(1.015, y, _summary(group), transform=axes.get_yaxis_transform(), va="center", fontsize=8.5)
    axes.set_xlabel("top-1 on the test split (%); dots: seeds, mark: mean ± standard deviation")
    axes.set_title(_title(runs, "top-1 by method"))
    _legend(figure, axes, loc="outside lower center", ncols=2)
    return figure


def _summary(runs: list[dict]) -> str:
    """Mean and spread of a row, and what became of the runs that have none."""
    values, diverged = _top1(runs), len(_diverged(runs))
    missing = len(runs) - len(values) - diverged
    lost = [f"{count} {what}" for count, what in ((diverged, "diverged"), (missing, "missing")) if count]
    parts = [_mean_text(values)] if len(values) else []
    return "  ".join([*parts, f"({', '.join(lost)})"] if lost else parts)


def curves(runs: list[dict]) -> Figure | None:
    """Test top-1 against the epoch: mean over seeds, band from lowest to highest; unfinished runs as thin lines.

    The axis is logarithmic in the error, on which 94 and 96 percent stand as far apart as 40 and 60.
    """
    rows = {name: group for name, group in _rows(runs).items() if any(len(_curve(run)) > 1 for run in group)}
    if not rows:
        return None
    baseline = _baseline(runs)
    if len(rows) <= ONE_AXES:
        figure = Figure(figsize=(8.5, 5), layout="constrained")
        panels = [figure.subplots()]
        _overlaid(panels[0], rows)
    else:
        columns = 4
        lines = math.ceil(len(rows) / columns)
        figure = Figure(figsize=(10.5, 1.2 + 1.75 * lines), layout="constrained")
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        panels = list(grid.flat)
        for axes, group in itertools.zip_longest(panels, rows.values()):
            _panel(axes, group, baseline)
    _error_axis(panels[0], np.concatenate([_curve(run)[:, 1] for run in runs if len(_curve(run))]))
    figure.supxlabel("epoch", fontsize=9)
    figure.supylabel("top-1 on the test split (%), logarithmic in the error", fontsize=9)
    figure.suptitle(_title(runs, "learning curves") + "; mean and range of the seeds", fontsize=10)
    return figure


def _curve(run: dict) -> np.ndarray:
    """[epochs evaluated, 2]: epoch and test top-1 in percent."""
    rows = [(row["epoch"], 100 * row["test_top1"]) for row in run["history"] if row.get("test_top1") is not None]
    return np.array(rows, float).reshape(-1, 2)


def _overlaid(axes: Axes, rows: dict[str, list[dict]]) -> None:
    colours = iter(COLOURS)
    for group in rows.values():
        colour = GREY if _baseline(group) else next(colours)
        _draw_curves(axes, group, colour, _label(group))
    _legend(axes, loc="lower right")


def _panel(axes: Axes, runs: list[dict] | None, baseline: list[dict]) -> None:
    """A method's curves, and those of the baseline in grey; an axes without a method is hidden."""
    if runs is None:
        axes.set_visible(False)
        return
    if not _baseline(runs):
        _draw_curves(axes, baseline, GREY, "")
    _draw_curves(axes, runs, GREY if _baseline(runs) else COLOURS[0], "")
    axes.set_title(_label(runs), fontsize=9)


def _draw_curves(axes: Axes, runs: list[dict], colour: str, label: str) -> None:
    """Mean and range of the finished runs at the epochs that all have; each other run on its own."""
    done = _done(runs)
    tables = [dict(_curve(run)) for run in done]
    epochs = sorted(set.intersection(*map(set, tables))) if tables else []
    if epochs:
        values = np.array([[table[epoch] for epoch in epochs] for table in tables])
        axes.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.2, linewidth=0)
        axes.plot(epochs, values.mean(0), color=colour, linewidth=1.5, label=label)
    for run in runs:
        curve = _curve(run)
        if run not in done and len(curve):
            end = "x" if _diverged([run]) else ""
            axes.plot(*curve.T, color=colour, linewidth=0.8, linestyle=":", marker=end, markevery=[-1])


def _error_axis(axes: Axes, values: np.ndarray) -> None:
    """A y axis logarithmic in 100.2 - top-1, so that 100 percent has a place too."""
    low, high = max(values.min() - 1, 0.0), min(values.max() + 0.3 * (100.2 - values.max()), 100.0)
    axes.set_yscale("function", functions=(lambda p: -np.log10(np.maximum(100.2 - p, 1e-3)), lambda y: 100.2 - 10**-y))
    round_numbers = [p for p in (0, 20, 40, 60, 80, 90, 95, 98, 99, 99.5) if low <= p <= high]
    ticks = round_numbers if len(round_numbers) > 2 else [p for p in MaxNLocator(5).tick_values(low, high) if p <= high]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(lambda p, _: f"{p:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(low, high)


def ablation(runs: list[dict]) -> Figure | None:
    """Top-1 against each ablated hyperparameter; the method's own value takes part, the baseline is a line."""
    panels = {}
    for run in runs:
        if run["config"].get("ablation") and _done([run]):
            base = run["config"]["method"].partition(",")[0]
            panels.setdefault((base, tuple(run["config"]["ablation"])), []).append(run)
    if not panels:
        return None
    columns = min(len(panels), 3)
    lines = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(2 + 4 * columns, 1 + 3.4 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes, item in itertools.zip_longest(grid.flat, panels.items()):
        if item is None:
            axes.set_visible(False)
            continue
        (base, paths), ablated = item
        own = [run for run in runs if run["config"]["method"] == base]
        _ablation_panel(axes, base, paths, _points(ablated, own, paths), _top1(_baseline(runs)))
    figure.supylabel("top-1 on the test split (%)", fontsize=9)
    figure.suptitle(_title(runs, "ablation") + "; mean ± standard deviation", fontsize=10)
    return figure


def _points(ablated: list[dict], own: list[dict], paths) -> dict:
    """{ablated value: (top-1 of the seeds, whether it is the method's own value)}, by value; text as it comes."""
    runs, mine = {}, set()
    for run in ablated:
        runs.setdefault(_value(run["config"]["ablation"][path] for path in paths), []).append(run)
    for run in own:
        value = _value(_at(run["config"].get("spec"), path) for path in paths)
        if value is not None and _done([run]) and (value in mine or value not in runs):
            mine.add(value)
            runs.setdefault(value, []).append(run)
    values = list(runs)
    if all(isinstance(value, float) for value in values):
        values.sort()
    return {value: (_top1(runs[value]), value in mine) for value in values}


def _at(spec: dict | None, path: str):
    for key in path.split("."):
        spec = spec.get(key) if isinstance(spec, dict) else None
    return spec


def _value(values):
    """A float for one number, text for anything else, None where a value is not set."""
    values = list(values)
    if any(value is None for value in values):
        return None
    if len(values) == 1 and isinstance(values[0], int | float) and not isinstance(values[0], bool):
        return float(values[0])
    return ", ".join(map(str, values))


def _ablation_panel(axes: Axes, base: str, paths, points: dict, baseline: np.ndarray) -> None:
    names = [f"{value:g}" if isinstance(value, float) else value for value in points]
    x = _positions(axes, list(points), names)
    rows = [row for row, _ in points.values()]
    low, high = _limits(np.concatenate([*rows, baseline]))
    if len(baseline):
        _band(axes, baseline)
    means = np.array([np.mean(row) for row in rows])
    axes.plot(x, np.where(means >= low, means, math.nan), color=COLOURS[0], linewidth=1, alpha=0.6)
    for at, (row, own) in zip(x, points.values(), strict=True):
        axes.plot([at] * len(row), row, "o", color=COLOURS[0], alpha=0.35, markersize=4, markeredgewidth=0)
        face = "white" if own else COLOURS[0]
        axes.errorbar(at, np.mean(row), yerr=_error(row), fmt="d", color=COLOURS[0], mfc=face, markersize=7, capsize=3)
        if np.mean(row) < low:
            text = f"{np.mean(row):.1f} ↓"
            axes.annotate(text, (at, 0.02), xycoords=axes.get_xaxis_transform(), ha="center", fontsize=8)
    if any(own for _, own in points.values()):
        axes.plot([], [], "d", color=COLOURS[0], mfc="white", label=f"{base}'s own value")
    axes.set_ylim(low, high)
    axes.set_xlabel(", ".join(paths))
    axes.set_title(base, fontsize=9)
    _legend(axes, fontsize=8)


def _positions(axes: Axes, values: list, names: list[str]) -> list[float]:
    """Where the values stand: on a logarithmic axis when they are nearer to a geometric row, text side by side."""
    x = values if all(isinstance(value, float) for value in values) else list(map(float, range(len(values))))
    if x is values and _geometric(values):
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(x, names)
    return x


def _geometric(values: list[float]) -> bool:
    if len(values) < 3 or values[0] <= 0:
        return False
    steps, ratios = np.diff(values), np.diff(np.log(values))
    return np.std(ratios) / np.mean(ratios) < np.std(steps) / np.mean(steps)


def _band(axes: Axes, baseline: np.ndarray) -> None:
    mean, spread = np.mean(baseline), _spread(baseline)
    axes.axhline(mean, color=GREY, linewidth=1.2, label="baseline")
    if len(baseline) > 1:
        axes.axhspan(mean - spread, mean + spread, color=GREY, alpha=0.15, linewidth=0)


def confusion(runs: list[dict]) -> Figure | None:
    """True against predicted class of the method with the best mean top-1, summed over seeds, rows as percentages."""
    candidates = [
        group for group in _rows(_done(runs)).values() if all(r["result"]["last"].get("confusion") for r in group)
    ]
    if not candidates:
        return None
    best = max(candidates, key=lambda group: np.mean(_top1(group)))
    classes = best[0]["result"]["classes"]
    counts = np.sum([classwise.confusion(run["result"]) for run in best], axis=0)
    font = 9 if len(classes) <= 20 else 6
    lines = _confused_pairs(counts, classes)
    side = max(4.0, 0.145 * len(classes))
    names = 0.3 + 0.009 * font * max(map(len, classes))  # inches for the names at the axes
    pairs = 0.2 + 0.07 * max(map(len, lines))  # and for the list
    figure = Figure(figsize=(side + names + pairs, side + names + 0.8), layout="constrained")
    axes, listing = figure.subplots(1, 2, width_ratios=(side, pairs))
    _matrix(axes, counts, classes, font)
    listing.text(0, 1, "\n".join(lines), va="top", fontsize=8, linespacing=1.5)
    listing.axis("off")
    figure.suptitle(_title(best, f"confusion of {_label(best)} (best mean top-1)"), fontsize=10)
    return figure


def _matrix(axes: Axes, counts: np.ndarray, classes: list[str], font: int) -> None:
    """The matrix, its rows percentages; a class without test images has an empty row."""
    totals = counts.sum(1, keepdims=True)
    percent = np.ma.masked_where(np.broadcast_to(totals == 0, counts.shape), 100 * counts / np.maximum(totals, 1))
    # The square root makes confusions of a few percent visible beside a diagonal of nearly 100.
    axes.imshow(percent, cmap="Blues", norm=PowerNorm(0.5, 0, 100), interpolation="nearest")
    axes.set_facecolor(LIGHT)
    axes.set_xticks(range(len(classes)), classes, rotation=90, fontsize=font)
    axes.set_yticks(range(len(classes)), classes, fontsize=font)
    axes.set(xlabel="predicted", ylabel="true", anchor="NW")
    axes.tick_params(length=0)
    axes.grid(visible=False)
    if len(classes) <= 20:
        for (true, predicted), value in np.ndenumerate(percent.filled(0)):
            if value >= 0.05:
                ink, text = "white" if value > 40 else INK, f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"
                axes.text(predicted, true, text, ha="center", va="center", fontsize=7.5, color=ink)


def _confused_pairs(counts: np.ndarray, classes: list[str], most=15) -> list[str]:
    """Lines of text: the pairs of classes most often confused."""
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    lines = ["most often confused (true → predicted)", ""]
    for true, predicted in zip(*np.unravel_index(order, wrong.shape), strict=True):
        if wrong[true, predicted]:
            share = 100 * wrong[true, predicted] / counts[true].sum()
            lines.append(f"{share:3.0f} %  {classes[true]} → {classes[predicted]}")
    return lines


def groups(runs: list[dict]) -> Figure | None:
    """Accuracy of classes with few, medium and many training images: the thirds of the classes by their number.

    Drawn when their numbers differ enough (kdjax.classes.UNEVEN). Each class counts the same.
    """
    done = [run for run in _done(runs) if classwise.uneven(run["result"])]
    if not done:
        return None
    rows = _rows(done)
    values = [[_group_accuracies(group, number) for group in rows.values()] for number in range(3)]
    limits = _limits(np.concatenate([*itertools.chain(*values)]))
    figure = Figure(figsize=(11, 1.6 + 0.32 * len(rows)), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for number, name in enumerate(classwise.GROUPS):
        _strip(panels[number], values[number], _row_colours(rows), limits)
        panels[number].set_title(
            f"{name}: {classwise.group_sizes([run['result'] for run in done], number)}", fontsize=9
        )
    panels[0].set_yticks(range(len(rows)), [_label(group) for group in rows.values()])
    figure.supxlabel("mean accuracy of the group's classes (%)", fontsize=9)
    figure.suptitle(_title(done, "accuracy by a class's number of training images"), fontsize=10)
    return figure


def _group_accuracies(runs: list[dict], number: int) -> np.ndarray:
    """By seed, without the seeds whose group has no test images."""
    values = 100 * np.array([classwise.group_accuracy(run["result"], number) for run in _by_seed(runs)])
    return values[np.isfinite(values)]


def shots(runs: list[dict]) -> Figure | None:
    """Top-1 against labelled images a class, a line a method; all images stand at their mean number a class."""
    panels = {}
    for run in _done(runs):
        if not run["config"].get("ablation") and (_shots(run) or run["result"].get("train_counts")):
            panels.setdefault(_same_task(run), []).append(run)
    panels = {key: group for key, group in panels.items() if len({_shots(run) for run in group}) > 1}
    if not panels:
        return None
    figure = Figure(figsize=(8.5, 0.6 + 4.6 * len(panels)), layout="constrained")
    for axes, group in zip(figure.subplots(len(panels), squeeze=False).flat, panels.values(), strict=True):
        _shots_panel(axes, group)
    return figure


def _same_task(run: dict) -> tuple[str, str, str]:
    """What experiments must share to stand on one axes: data set, teacher and the teacher's accuracy aside, student."""
    teacher = run["config"].get("teacher") or {}
    student = run["result"].get("student") or {}
    return str(run["result"].get("dataset")), str(teacher.get("model")), str(student.get("model"))


def _shots_panel(axes: Axes, runs: list[dict]) -> None:
    ticks = {_images(run): str(_shots(run)) if _shots(run) else f"all ({_images(run):g})" for run in runs}
    rows = {name: group for name, group in _rows(runs).items() if len({_shots(run) for run in group}) > 1}
    looks = zip(itertools.cycle(COLOURS), itertools.cycle(MARKERS), itertools.cycle(DASHES), strict=False)
    for number, group in enumerate(rows.values()):
        colour, marker, dash = (INK, "o", "-") if _baseline(group) else next(looks)
        x = sorted({_images(run) for run in group})
        values = [_top1([run for run in group if _images(run) == images]) for images in x]
        shifted = np.array(x) * 1.012 ** (number - len(rows) / 2)  # beside each other, so that the bars can be read
        axes.errorbar(
            shifted, [np.mean(row) for row in values], yerr=[_error(row) or 0.0 for row in values], label=_label(group),
            color=colour, marker=marker, linestyle=dash, markersize=5, capsize=2, linewidth=1.3,
        )  # fmt: skip
    teacher = _teacher_top1(runs)
    low, high = _limits(np.concatenate([_top1(group) for group in rows.values()]))
    axes.set_ylim(low, high)
    if teacher is not None and low <= teacher <= high:
        axes.axhline(teacher, color=TEACHER, linestyle="--", linewidth=1, label=f"teacher {teacher:.1f}")
    elif teacher is not None:
        side = "↑" if teacher > high else "↓"
        axes.plot([], [], color=TEACHER, linestyle="--", label=f"teacher {teacher:.1f} {side} off the axis")
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(sorted(ticks), [ticks[x] for x in sorted(ticks)])
    axes.set(xlabel="labelled training images a class", ylabel="top-1 on the test split (%)")
    axes.set_title(_title(runs, "top-1 by labelled images; mean ± standard deviation"))
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)


def _images(run: dict) -> float:
    """Labelled images a class: the shots, or the mean of the training set's classes where all images are used."""
    return float(_shots(run) or round(np.mean(run["result"]["train_counts"]), 1))
