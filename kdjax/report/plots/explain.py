"""Pictures of what was passed on: the map of classes, reliability diagrams, and how alike stages are."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from kdjax.report.explain.findings import Findings, listed
from kdjax.report.plots import canvas, style
from kdjax.report.plots.pictures import save

NAMED = 25
"""Up to so many classes all are named, of more those that changed most."""


def write(found: Findings, out: Path, complain: Callable[[str], None] | None = None) -> list[Path]:
    """Draws what applies as PNG, SVG and PDF; see kdjax.report.plots.pictures.write."""
    drawn = [(draw.__name__, draw, found) for draw in (transfer, reliability, examples, cka)]
    return save(drawn, out, [stem for stem, _, _ in drawn], complain)


def transfer(found: Findings) -> Figure | None:
    """A point a class: the gain in recall against the teacher's; a thin line up to what the teacher has."""
    known = np.isfinite(found.teacher)
    if not known.any():
        return None
    teacher, gain, ahead = (100 * each[known] for each in (found.teacher, found.gain, found.teacher - found.before))
    names = [name for name, there in zip(found.subject.classes, known, strict=True) if there]
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color=style.INK, linewidth=1)
    for x, y, most in zip(teacher, gain, ahead, strict=True):
        axes.plot([x, x], [y, most], color=style.LIGHT, linewidth=1, zorder=1)
        axes.plot([x], [most], "_", color=style.TEACHER, markersize=7, label="as far as the teacher is ahead")
    axes.plot(teacher, gain, "o", color=style.MAIN, markersize=5, label="gain")
    places = {}
    for i in np.argsort(-np.abs(gain))[:NAMED]:
        places.setdefault((round(teacher[i], 1), round(gain[i], 1)), []).append(style.short(names[i], 18))
    for place, own in places.items():
        axes.annotate(style.short(", ".join(own)), place, (4, 3), textcoords="offset points", fontsize=7)
    axes.set_xlabel("teacher's recall (%)")
    axes.set_ylabel(
        f"recall of {style.short(found.subject.method)} minus {style.short(found.subject.baseline)}, points"
    )
    canvas.legend(axes, axes, fontsize=8, loc="best")
    figure.suptitle(f"{style.short(found.subject.experiment)}: what each class gained", fontsize=10)
    return figure


def reliability(found: Findings) -> Figure | None:
    """Accuracy against confidence, an area of points as the number of examples in a bin."""
    figure, panels = canvas.panels(len(found.reliable), 3, (3.0, 2.9), sharex=True, sharey=True)
    for axes, (name, (counts, confidence, accuracy, error)) in zip(panels, found.reliable.items(), strict=True):
        colour = style.TEACHER if name == "teacher" else style.MAIN
        axes.plot([0, 100], [0, 100], color=style.GREY, linewidth=1, linestyle="--")
        there = counts > 0
        axes.plot(100 * confidence[there], 100 * accuracy[there], color=colour, linewidth=1)
        area = 8 + 150 * counts[there] / counts.sum()
        axes.scatter(100 * confidence[there], 100 * accuracy[there], s=area, color=colour, alpha=0.7, linewidths=0)
        axes.set_title(f"{style.short(name, 24)}: error {100 * error:.1f} points")
        axes.set_xlim(0, 102)
        axes.set_ylim(0, 102)
    figure.supxlabel("confidence (%)", fontsize=9)
    figure.supylabel("accuracy (%)", fontsize=9)
    return figure


def examples(found: Findings) -> Figure | None:
    """The images that were fixed, then those that were broken: class, and what was named before and after."""
    kinds = {what: listed(found, what) for what in ("fixed", "broken")}
    if not isinstance(found.seen, dict) or found.texts:
        return None
    lines = [(what, rows[i : i + ACROSS]) for what, rows in kinds.items() for i in range(0, len(rows), ACROSS)]
    if not lines:
        return None
    figure, panels = canvas.panels(len(lines) * ACROSS, ACROSS, (1.15, 1.45))
    for number, axes in enumerate(panels):
        what, rows = lines[number // ACROSS]
        axes.set_axis_off()
        if number % ACROSS >= len(rows):
            continue
        row = rows[number % ACROSS]
        axes.imshow(np.squeeze(found.seen[row["example"]]), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        before, after = (style.short(row[name], 10) for name in (found.subject.baseline, found.subject.method))
        told = f"{style.short(row['class'], 16)}\n{before} → {after}"
        axes.set_title(told, fontsize=7, color=style.MAIN if what == "fixed" else style.TEACHER)
    figure.suptitle(
        "test examples that were fixed, then broken; class, and what most seeds named before → after", fontsize=8
    )
    return figure


ACROSS = 6
"""Images in a line."""


def cka(found: Findings) -> Figure | None:
    """Two matrices of numbers, the baseline's and the method's stages against the teacher's."""
    if found.similar is None:
        return None
    figure, panels = canvas.panels(2, 2, (3.2, 2.9), sharey=True)
    for axes, key, name in zip(
        panels, ("before", "after"), (found.subject.baseline, found.subject.method), strict=True
    ):
        values = np.array(found.similar[key])
        axes.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for (y, x), value in np.ndenumerate(values):
            ink = "white" if value > 0.6 else style.INK
            axes.text(x, y, "–" if np.isnan(value) else f"{value:.2f}", ha="center", va="center", fontsize=8, color=ink)
        stages = found.similar["stages"]
        axes.set_xticks(range(values.shape[1]), stages[key], fontsize=8)
        axes.set_yticks(range(values.shape[0]), stages["teacher"], fontsize=8)
        axes.grid(visible=False)
        axes.set_title(style.short(name, 24))
    figure.supxlabel("stages of the student", fontsize=9)
    figure.supylabel("stages of the teacher", fontsize=9)
    return figure
