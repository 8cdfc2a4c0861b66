"""Students that can be shipped: the metric against bytes, latency and FLOPs, their front and what was chosen."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from scipy import special

from kdjax.report.choose.case import COSTS, NETWORK, Candidate, Choice, common
from kdjax.report.plots import canvas, style
from kdjax.report.plots.pictures import save
from kdjax.report.statistics import CONFIDENCE

MARKS = {NETWORK: "o", "float32": "s", "int8": "D", "LiteRT float32": "v", "LiteRT int8": "^"}


def write(choice: Choice, out: Path, complain: Callable[[str], None] | None = None) -> list[Path]:
    """Draws front.png, .svg and .pdf; see kdjax.report.plots.pictures.write."""
    return save([("front", front, choice)], out, ["front"], complain)


def front(choice: Choice) -> Figure | None:
    """A panel a cost that is known: means with their 95 % intervals over seeds; those on the front are filled."""
    known = [name for name in COSTS if any(getattr(each, name) for each in choice.candidates)]
    if not known:
        return None
    figure, panels = canvas.panels(len(known), 3, (4.2, 3.6), sharey=True)
    scale = choice.score.scale
    means = [scale * each.mean for each in choice.candidates]
    ends = [scale * end for each in choice.candidates for end in _interval(each)]
    kept = choice.teacher[1] * (choice.wanted.keep if choice.higher_is_better else 1 / choice.wanted.keep)
    lines = [scale * choice.teacher[1], scale * kept]
    for axes, name in zip(panels, known, strict=True):
        axes.set_ylim(*canvas.limits(common(choice), means, ends, lines))
        for each in choice.candidates:
            if getattr(each, name):
                _mark(axes, each, getattr(each, name) / COSTS[name][1], choice)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 1.5, 2, 3, 5, 7)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(COSTS[name][0])
        canvas.reference(axes, choice.score, lines[0], "teacher", style.TEACHER, upright=False)
        share = f"{100 * choice.wanted.keep:g} % of it"
        canvas.reference(axes, choice.score, lines[1], share, style.GREY, upright=False)
        if name in choice.wanted.limits:
            axes.axvline(choice.wanted.limits[name] / COSTS[name][1], color=style.GREY, linewidth=1, linestyle=":")
    panels[0].set_ylabel(style.on_test(choice.score))
    canvas.legend(figure, *panels, loc="outside lower center", ncols=5)
    figure.suptitle(
        "filled: on the front of all three costs; line: 95 % interval over seeds; circled: chosen", fontsize=10
    )
    return figure


def _interval(candidate: Candidate) -> tuple[float, ...]:
    if candidate.std is None:
        return ()
    half = float(special.stdtrit(candidate.n - 1, (1 + CONFIDENCE) / 2)) * candidate.std / np.sqrt(candidate.n)
    return candidate.mean - half, candidate.mean + half


def _mark(axes: Axes, candidate: Candidate, x: float, choice: Choice) -> None:
    y, low_high = choice.score.scale * candidate.mean, _interval(candidate)
    if canvas.cut(common(choice), axes.get_ylim(), y):
        return
    if low_high:
        axes.plot([x, x], [choice.score.scale * end for end in low_high], color=style.GREY, linewidth=0.8, zorder=1)
    face = style.MAIN if candidate.front else "white"
    mark = MARKS.get(candidate.form, "P")
    axes.plot([x], [y], mark, color=style.MAIN, markerfacecolor=face, markersize=6, label=candidate.form)
    if candidate == choice.chosen:
        axes.plot([x], [y], "o", color=style.INK, markerfacecolor="none", markersize=13, label="chosen")
    if candidate.front:
        axes.annotate(style.short(candidate.row, 24), (x, y), (5, -9), textcoords="offset points", fontsize=7)
