"""Texts as a source reads them, before they are tokenized, and the one message about those that cannot be used."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

LONGEST = 65_536
"""Characters of a text above which it is refused: a sentence, a title or a review is none; an open quote makes one."""

LISTED = 20
"""Bad rows that a message names, however many there are."""

MANY = 100
"""Rows above which a label that is another one in every second row is taken for no label."""


@dataclass(frozen=True)
class Texts:
    """Texts of one split, indexed as an array [N] of them would be."""

    first: np.ndarray  # [N] object: str, not empty
    second: np.ndarray | None  # [N] object: str; None: there is no second column
    places: np.ndarray  # [N] object: where each stands, "reviews.csv, line 12"
    groups: np.ndarray | None = None  # [N] object: str, what must not stand on both sides of a split

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, index) -> "Texts":
        take = lambda column: None if column is None else column[index]  # noqa: E731
        return Texts(self.first[index], take(self.second), self.places[index], take(self.groups))


def objects(values: Iterable) -> np.ndarray:
    """[N] array of Python objects; numpy does not look into them."""
    values = list(values)
    array = np.empty(len(values), object)
    array[:] = values
    return array


def refuse(problems: list[str], what: str = "rows") -> None:
    """Raises a ValueError that names the problems, up to a bound, if there are any."""
    if len(problems) == 1:
        raise ValueError(problems[0])
    if problems:
        shown = [*problems[:LISTED], *([f"and {len(problems) - LISTED:,} more"] if len(problems) > LISTED else [])]
        raise ValueError(f"{len(problems):,} {what} cannot be used:" + "".join(f"\n  {line}" for line in shown))


def finite(text: str) -> float | None:
    """The number that a text says; None: it says none, or none that is finite."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def wrong_text(value, column: str) -> str:
    """What is wrong with a cell that should be a text, "" if nothing."""
    if not isinstance(value, str):
        return f"{column!r} is {'missing' if missing(value) else f'no text but {value!r}'}"
    if not value.strip():
        return f"{column!r} is empty"
    if len(value) > LONGEST:
        return (
            f"{column!r} has {len(value):,} characters, more than {LONGEST:,}: an open quote before it, or no column "
            "of texts; shorten it or leave the row out"
        )
    return ""


def missing(value) -> bool:
    """Whether a cell holds nothing: null, NaN in any spelling, or an empty text."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return isinstance(value, str) and value.strip().lower() in ("", "nan")


def label_of(value) -> str | None:
    """The name of the class that a cell says; None where it says none. A whole number is written without a point."""
    if missing(value) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else None
    return str(value).strip()


def names_nothing(classes: int, rows: int) -> bool:
    """Whether a column is taken for no label: it is another one in every second row, of more than MANY."""
    return rows > MANY and classes > rows / 2


def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of classes in the order of their labels: whole numbers by their value, all else as text."""
    names = set(names)
    whole = all(name.lstrip("-").isdecimal() for name in names)
    return tuple(sorted(names, key=(lambda name: (int(name), name)) if whole else str))
