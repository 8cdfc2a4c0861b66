"""Values of options as they are typed: names, integers and ranges of them, percentage points."""

import re


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


def points(text: str, option: str) -> float:
    """A difference that is given in percentage points, as a fraction."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 100:
        raise ValueError(f"{option} takes percentage points from 0 to 100, like 0.5, got {text!r}")
    return value / 100
