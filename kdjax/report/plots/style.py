"""How all pictures look: colours that all kinds of colour vision tell apart, markers, sizes of text, short names."""

import itertools
from typing import NamedTuple

from kdjax.runs.task import Score

INK, GREY, LIGHT = "#222222", "#888888", "#dddddd"
TEACHER = "#D55E00"
"""Okabe and Ito's vermilion: the teacher's alone, no method has it."""
MAIN = "#0072B2"
COLOURS = (MAIN, "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#332288", "#882255")
"""Okabe and Ito's palette without vermilion and its yellow, too pale for a line on white; two of Tol's darker ones."""
MARKERS, DASHES = "osD^vPX*", ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))

RC = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "text.parse_math": False,  # a class may be called "$5 note"
    "svg.hashsalt": "kdjax",  # else the ids in the file are random
    "pdf.fonttype": 42,  # publishers refuse the other kind
}


class Look(NamedTuple):
    """What tells one method's line from all others."""

    colour: str
    marker: str
    dash: object


def looks(methods, baseline: str | None) -> dict[str, Look]:
    """{method: its look}: no two alike among the first 280, no two of one colour among the first seven.

    The numbers of colours, markers and dashes have no common factor, so that the three together repeat late.
    """
    cycle = zip(itertools.cycle(COLOURS), itertools.cycle(MARKERS), itertools.cycle(DASHES), strict=False)
    return {name: Look(INK, "o", "-") if name == baseline else Look(*next(cycle)) for name in methods}


def short(text: str, most: int = 40) -> str:
    """`text` on one line, its middle left out beyond `most` characters: both ends tell names apart."""
    text = " ".join(str(text).split())
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - half]}…{text[-half:]}"


def rounded(value: float, score: Score) -> str:
    """ "94.2" of a number as it is drawn: with a digit less than in tables."""
    return f"{value:.{score.digits - 1}f}"


def spread(summary: dict, score: Score) -> str:
    """ "94.2 ± 0.4" of {"mean", "std"} as they are drawn; without a spread if there is none."""
    mean, std = (None if value is None else rounded(value, score) for value in (summary["mean"], summary["std"]))
    return mean if std is None else f"{mean} ± {std}"


def on_test(score: Score) -> str:
    """Of an axis: "top-1 on the test split (%)"."""
    return f"{score.title} on the test split" + (f" ({score.unit})" if score.unit else "")


def minus(score: Score, other: str) -> str:
    """The same of differences: "top-1 minus that of student, percentage points"."""
    return f"{score.title} minus that of {other}" + (f",{score.difference_unit}" if score.unit else "")
