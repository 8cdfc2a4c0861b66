"""Lines of learning to rank, `grade qid:7 1:0.3 2:1.5 # comment`: what they say, and what is wrong with them.

Nothing here needs JAX.
"""

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kdjax.data.text.texts import finite, refuse


@dataclass
class Items:
    """The lines of a file, one after the other."""

    path: Path
    grades: list[float] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)  # [M] the qid of each, () where lines have none
    places: list[int] = field(default_factory=list)  # of features, all lines joined
    values: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)  # [M] features of each line
    numbers: list[int] = field(default_factory=list)  # [M] its line
    problems: list[str] = field(default_factory=list)


class Queries(NamedTuple):
    """The queries of a file."""

    names: list[str]  # the qid of each, or its number, where lines have none
    features: list[np.ndarray]  # of each [L, F] float32
    lines: list[np.ndarray]  # of each [L] the numbers of its lines


def queries(path: Path, width: int) -> Queries:
    """The queries of a file, of whose features the first `width` are read and others left out.

    Raises:
      ValueError: it cannot be read, or lines are wrong, each named.
    """
    items = items_of(path)
    refuse(items.problems, "lines")
    edges = bounds(items)
    parts = list(itertools.pairwise(edges))
    whole = dense(items, max(width, max(items.places, default=0)))[:, :width]
    names = [items.queries[begin] if items.queries else str(at) for at, (begin, _) in enumerate(parts, 1)]
    numbers = np.array(items.numbers)
    return Queries(names, [whole[b:e] for b, e in parts], [numbers[b:e] for b, e in parts])


def items_of(path: Path) -> Items:
    """The lines of a file; what is wrong with them is among them.

    Raises:
      ValueError: it cannot be read or has none.
    """
    items, seen = Items(path), {}
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            for number, line in enumerate(file, 1):
                fields = line.partition("#")[0].split()
                if fields and (problem := _line(items, seen, number, fields)):
                    items.problems.append(f"{path.name}, line {number}: {problem}")
    except OSError as error:
        raise ValueError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    if not items.grades and not items.problems:
        raise ValueError(f"{str(path)!r} has no lines")
    return items


def _line(items: Items, seen: dict[str, int], number: int, fields: list[str]) -> str:
    """Adds a line to the items; what is wrong with it, "" if nothing. `seen`: qid -> the line it was last on."""
    grade, (query, rest) = finite(fields[0]), _query(fields[1:])
    if grade is None or grade < 0:
        return f"the grade must be a number of 0 or more, got {fields[0]!r}"
    if (query == "") != (not items.queries) and items.grades:
        return "a qid on some lines and none on others"
    if query:
        if query in seen and items.queries[-1] != query:
            return (
                f"qid {query} again, after others; line {seen[query]} has it too. The lines of a query stand together"
            )
        seen[query] = number
    places, values = [], []
    for pair in rest:
        place, _, value = pair.partition(":")
        found = finite(value)
        if not place.isdecimal() or int(place) < 1 or found is None:
            return f"expected feature:value with a feature from 1 and a finite value, got {pair!r}"
        places.append(int(place))
        values.append(found)
    if len(set(places)) < len(places):
        twice = next(place for place in places if places.count(place) > 1)
        return f"feature {twice} stands there twice"
    items.grades.append(grade)
    items.numbers.append(number)
    items.lengths.append(len(places))
    items.places += places
    items.values += values
    items.queries += [query] if query else []
    return ""


def _query(fields: list[str]) -> tuple[str, list[str]]:
    """(the qid of a line, "" without one, its features)."""
    if fields and fields[0].startswith("qid:"):
        return fields[0].removeprefix("qid:"), fields[1:]
    return "", fields


def bounds(items: Items) -> np.ndarray:
    """[Q + 1] where the lines of each query begin.

    Raises:
      ValueError: lines have no qid, and no file says the sizes of queries.
    """
    count = len(items.grades)
    if items.queries:
        changes = [at for at in range(1, count) if items.queries[at] != items.queries[at - 1]]
        return np.array([0, *changes, count])
    beside = items.path.with_name(f"{items.path.name}.query")
    try:
        sizes = beside.read_text().split()
    except OSError as error:
        raise ValueError(
            f"{items.path.name}, line {items.numbers[0]}: no qid, and {beside.name} beside it, which would say "
            f"the sizes of queries, cannot be read: {error.strerror or error}"
        ) from error
    wrong = next((at for at, size in enumerate(sizes, 1) if not size.isdecimal() or int(size) < 1), None)
    if wrong:
        raise ValueError(f"{beside.name}, number {wrong}: the size of a query is 1 or more, got {sizes[wrong - 1]!r}")
    starts = np.cumsum([0, *map(int, sizes)])
    if starts[-1] != count:
        raise ValueError(f"{beside.name} counts {starts[-1]:,} lines, {items.path.name} has {count:,}")
    return starts


def dense(items: Items, width: int) -> np.ndarray:
    """[M, width] the features, 0 where a line has none."""
    rows = np.repeat(np.arange(len(items.lengths)), items.lengths)
    found = np.zeros((len(items.lengths), width), np.float32)
    found[rows, np.array(items.places, np.int64) - 1] = items.values
    return found
