"""The best of k trials of each method that kdjax tune has tried, on the validation split."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kdjax.report.plots import canvas, style
from kdjax.report.tuning import expected_best
from kdjax.report.wording import listed
from kdjax.runs.task import TOP1, Score


def score(tuned: dict) -> Score:
    """What a tuned.json has chosen by."""
    told = tuned["score"]
    return TOP1 if told["key"] == TOP1.key else Score(told["key"], told["key"], told["unit"])


def best_of(tuned: dict) -> Figure:
    """Expected best mean score of k = 1 .. n trials; a trial that diverged counts as the worst of its method.

    One that was stopped counts with its score at that epoch.
    """
    told, up = score(tuned), tuned["score"]["higher_is_better"]
    (figure, (axes,)) = canvas.panels(1, 1, (6.2, 3.8))
    looks = style.looks(tuned["methods"], tuned["config"].get("baseline", "student"))
    for name, method in tuned["methods"].items():
        known = [trial["mean"] for trial in method["trials"] if trial["mean"] is not None]
        worst = (min if up else max)(known)
        values = [*known, *[worst] * (len(method["trials"]) - len(known))]
        heights = told.scale * expected_best(values, up)
        look = looks[name]
        axes.plot(
            range(1, len(heights) + 1),
            heights,
            color=look.colour,
            marker=look.marker,
            linestyle=look.dash,
            markersize=4,
            label=style.short(name, 24),
        )
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    early = f"; stopped ones by their score at epoch {listed(tuned['halve'])}" if tuned.get("halve") else ""
    axes.set_xlabel(f"trials of {tuned['trials']}{early}")
    axes.set_ylabel(f"expected best {told.title} on validation" + (f" ({told.unit})" if told.unit else ""))
    canvas.legend(figure, axes, loc="outside right upper", fontsize=8)
    return figure
