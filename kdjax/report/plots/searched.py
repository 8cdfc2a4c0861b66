"""What each hyperparameter did among the trials of kdjax tune: every method in a row, every dimension of its space."""

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from kdjax.report.plots import best_of, canvas, style

MOST = 24
"""Rows in one picture: of more methods the first."""


def searched(tuned: dict) -> Figure:
    """Mean validation score of each trial over each value that it had; chosen ones filled, trial 0 crossed.

    Those that were stopped are small and grey, at their score there.
    """
    told, methods = best_of.score(tuned), list(tuned["methods"].items())[:MOST]
    columns = max((len(method["space"]) for _, method in methods), default=1) or 1
    figure, every = canvas.panels(len(methods) * columns, columns, (2.3, 1.7))
    for number, (name, method) in enumerate(methods):
        row = every[number * columns : (number + 1) * columns]
        row[0].set_ylabel(f"{style.short(name, 18)}\n{told.header}", fontsize=7)
        for axes, axis in zip(row, method["space"], strict=False):
            _panel(axes, axis, method, told)
        for axes in row[len(method["space"]) :]:
            axes.set_axis_off()
    early = "; grey: where they were stopped" if tuned.get("halve") else ""
    title = f"{tuned['experiment']}: {tuned['trials']} trials a method, on the validation split{early}"
    figure.suptitle(title, fontsize=9)
    return figure


def _panel(axes, axis: dict, method: dict, told) -> None:
    known = [(n, trial) for n, trial in enumerate(method["trials"]) if trial["mean"] is not None]
    for number, trial in known:
        chosen = number == method["trial"]
        face = style.TEACHER if chosen else "white" if number else style.INK
        point = (trial["values"][axis["path"]], told.scale * trial["mean"])
        early = "stopped" in trial
        edge = style.TEACHER if chosen else style.GREY if early else style.MAIN
        shape, size = "x" if not number and not chosen else "o", 3 if early else 5
        axes.plot(*point, shape, color=edge, markerfacecolor=face, markersize=size)
    for trial in method["trials"]:
        if trial["mean"] is None:
            axes.axvline(trial["values"][axis["path"]], color=style.GREY, linestyle=":", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(axis["low"] / 1.1, axis["high"] * 1.1)
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 3)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(labelsize=6)
    axes.set_xlabel(style.short(axis["path"].removeprefix("optimizer."), 26), fontsize=7)
