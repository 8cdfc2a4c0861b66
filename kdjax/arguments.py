"""Values of options as they are typed: names, integers and ranges of them, differences."""

import math
import re
import sys
from collections.abc import Collection

PROGRAM = "kdjax"


def names(text: str) -> tuple[str, ...]:
    """The names of "kd,rkd"."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def integers(text: str, option: str) -> tuple[int, ...]:
    """The numbers of "0,1,2", of "0-4", or of both."""
    numbers = []
    for part in names(text):
        match = re.fullmatch(r"(-?\d+)(?:-(\d+))?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if not 0 <= last - first < MOST:
            raise ValueError(f"{option} takes integers like 0,1,2 or 0-4, got {text!r}")
        numbers += range(first, last + 1)
    return tuple(numbers)


MOST = 10_000
"""Seeds of one range: more are a slip of the finger."""


def difference(text: str, option: str, units: Collection[str]) -> float:
    """A difference as tables compute with it: typed in percentage points where scores are shares, a fraction then.

    Args:
      units: of the scores of all experiments that it is for (kdjax.runs.task.Score), "%" for shares.
    """
    if len(units) > 1:
        named = ", ".join(unit or "a plain number" for unit in sorted(units))
        raise ValueError(f"{option} is one number, but the experiments' scores are in {named}: give them one by one")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    shares = "%" in units
    if not 0 <= value <= (100 if shares else sys.float_info.max):
        valid = "percentage points from 0 to 100, like 0.5" if shares else "a number from 0 on, like 0.01"
        raise ValueError(f"{option} takes {valid}, got {text!r}")
    return value / 100 if shares else value
