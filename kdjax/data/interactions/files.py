"""Files of interactions, `user item [rating] [time]` a line: what is in them, and what is wrong with them by its line.

Fields stand between tabs, commas, `::` or blanks, as the first line has them. Read alike are MovieLens' u.data and
ratings.dat, RecBole's .inter (whose header names and types its columns), lists of `user item` in the order of time as
those of SASRec and BERT4Rec, and csv files with a header.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdjax.data.text.files import text_of
from kdjax.data.text.texts import class_order, finite, refuse

COLUMNS = ("user", "item", "rating", "time")
"""What the columns of a file without a header are, as many as it has."""

NAMES = {
    "user": ("user", "user_id", "userid", "uid"),
    "item": ("item", "item_id", "itemid", "iid", "movieid", "movie_id", "product_id", "productid"),
    "rating": ("rating", "stars", "score"),
    "time": ("time", "timestamp", "unixreviewtime"),
}
"""Our column -> what headers call it, in small letters."""


@dataclass(frozen=True)
class Interactions:
    """Interactions in the order of their files, users and items numbered."""

    users: tuple[str, ...]  # name of user 0, 1, ...
    items: tuple[str, ...]
    user: np.ndarray  # [N] int32
    item: np.ndarray  # [N] int32
    time: np.ndarray | None  # [N] float64, in any unit; None: files have no times, their order is that of time
    file: np.ndarray  # [N] int32, which of `files` each stands in
    line: np.ndarray  # [N] int32, from 1
    files: tuple[str, ...]  # their names

    def __len__(self) -> int:
        return len(self.user)

    def place(self, number: int) -> str:
        """Where an interaction stands, "u.data, line 12"."""
        return f"{self.files[self.file[number]]}, line {self.line[number]}"


class Lines:
    """Rows of one file: [user, item, rating or None, time or None, line], and `problems`, a sentence each."""

    def __init__(self, path: Path):
        self.path, self.rows, self.problems, self.has = path, [], [], frozenset()

    def problem(self, line: int, told: str) -> None:
        self.problems.append(f"{self.path.name}, line {line}: {told}")


def read(paths: list[Path], names: tuple[str, ...] = (), least_rating: float = 0.0) -> Interactions:
    """The interactions of some files.

    Args:
      names: of all columns in order, of "user", "item", "rating", "time" and others that are skipped, where files have
        no header; (): what their number says.
      least_rating: those with a lower rating are left out; 0: none is.

    Raises:
      ValueError: a file that cannot be read or is empty; with file and line, an empty or missing user or item, a rating
        or time that is no number, a line with another number of fields than the first; `least_rating` without ratings.
    """
    files = [_lines(path, names) for path in paths]
    refuse([problem for lines in files for problem in lines.problems], "lines")
    timed = {"time" in lines.has for lines in files}
    if len(timed) > 1:
        raise ValueError(f"of {', '.join(lines.path.name for lines in files)} some have a time and some have none")
    if least_rating and any("rating" not in lines.has for lines in files):
        raise ValueError(f"config.data.kwargs.least_rating is {least_rating}, but {paths[0].name} has no ratings")
    rows = [(number, row) for number, lines in enumerate(files) for row in lines.rows]
    rows = [(number, row) for number, row in rows if not least_rating or row[2] >= least_rating]
    if not rows:
        raise ValueError(f"{paths[0].name} has no interaction with a rating of at least {least_rating}")
    users, items = (class_order(row[column] for _, row in rows) for column in (0, 1))
    numbers = [{name: number for number, name in enumerate(names)} for names in (users, items)]
    whole = lambda values: np.fromiter(values, np.int32, len(rows))  # noqa: E731
    return Interactions(
        users=users,
        items=items,
        user=whole(numbers[0][row[0]] for _, row in rows),
        item=whole(numbers[1][row[1]] for _, row in rows),
        time=np.array([row[3] for _, row in rows]) if timed == {True} else None,
        file=whole(number for number, _ in rows),
        line=whole(row[4] for _, row in rows),
        files=tuple(path.name for path in paths),
    )


def _lines(path: Path, names: tuple[str, ...]) -> Lines:
    try:
        text, bad = text_of(path.read_bytes())
    except OSError as error:
        raise ValueError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    found = Lines(path)
    for number, told in bad:
        found.problem(number, told)
    numbered = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not numbered:
        raise ValueError(f"{str(path)!r} is empty")
    first = numbered[0][1]
    separator = next((each for each in ("\t", "::", ",") if each in first), None)  # None: any blanks
    columns = names or _header(first.split(separator))
    if columns and not names:
        numbered = numbered[1:]
    columns = columns or _by_number(path, first.split(separator))
    if missing := [name for name in ("user", "item") if name not in columns]:
        raise ValueError(f"{str(path)!r} has no column {missing[0]!r}, only {', '.join(columns)}: see columns.names")
    found.has = frozenset(columns) & set(COLUMNS)
    places = [columns.index(name) if name in columns else -1 for name in COLUMNS]
    for number, line in numbered:
        cells = [cell.strip() for cell in line.split(separator)]
        if len(cells) != len(columns):
            found.problem(number, f"{len(cells)} fields, but there are {len(columns)} columns, {', '.join(columns)}")
        else:
            _row(found, number, [cells[place] if place >= 0 else None for place in places])
    return found


def _header(cells: list[str]) -> tuple[str, ...]:
    """The columns that a first line names, () if it is no header; ":float" and the like behind a name are types."""
    plain = [cell.strip().strip('"').partition(":")[0].lower() for cell in cells]
    ours = {name: column for column, known in NAMES.items() for name in known}
    columns = tuple(ours.get(name, name) for name in plain)
    return columns if {"user", "item"} <= set(columns) else ()


def _by_number(path: Path, cells: list[str]) -> tuple[str, ...]:
    if not 2 <= len(cells) <= len(COLUMNS):
        raise ValueError(
            f"{path.name}, line 1: {len(cells)} fields; without a header a line is `user item [rating] [time]`. "
            "config.data.columns.names says what all columns are, as ('user', 'item', '-', 'time')"
        )
    return COLUMNS[: len(cells)]


def _row(found: Lines, line: int, cells: list[str | None]) -> None:
    """Adds one row, or what is wrong with it."""
    user, item, *others = cells
    for name, value in (("user", user), ("item", item)):
        if not value:
            return found.problem(line, f"the {name} is empty")
    numbers = []
    for name, value in zip(("rating", "time"), others, strict=True):
        number = None if value is None else finite(value)
        if value is not None and number is None:
            return found.problem(line, f"the {name} {value!r} is no finite number")
        numbers.append(number)
    found.rows.append((user, item, *numbers, line))
