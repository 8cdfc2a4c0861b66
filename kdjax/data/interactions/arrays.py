"""Interactions as examples: one a user, whose history a network may see and whose items it is to find.

The input of an example is {"user": its number, "history": [T] its last items in the order of time, right-aligned, -1
before them}. The target [L] holds items as kdjax.losses.items reads them: first those to be found, as their numbers;
then those that the user had before, which are not ranked, as -2 - number; -1 is padding. In the training split every
item of the user is one to be found, in the order of time.
"""

import numpy as np

from kdjax.data.arrays import Arrays, Dataset
from kdjax.data.interactions.splits import TEST, TRAIN, VALIDATION, Parts


def dataset(parts: Parts, length: int, name: str) -> Dataset:
    """The splits of `parts`, histories of `length` items."""
    data, split = parts.data, parts.split
    none = np.zeros(len(split), bool)
    validation = None
    if (split == VALIDATION).any():
        validation = _examples(parts, split == VALIDATION, split == TRAIN, length)
    return Dataset(
        train=_examples(parts, split == TRAIN, none, length),
        validation=validation,
        test=_examples(parts, split == TEST, split != TEST, length),
        classes=(),
        name=name,
        warnings=parts.remarks,
        kind="interactions",
        users=data.users,
        catalogue=data.items,
    )


def _examples(parts: Parts, wanted: np.ndarray, known: np.ndarray, length: int) -> Arrays:
    """An example for every user who has some that are `wanted`; its history is what is `known`, or all in training."""
    data = parts.data
    users = np.unique(data.user[wanted])
    row = np.full(len(data.users), -1)
    row[users] = np.arange(len(users))
    known = known & (row[data.user] >= 0)
    asked = np.bincount(row[data.user[wanted]], minlength=len(users))
    had = np.bincount(row[data.user[known]], minlength=len(users))
    target = np.full((len(users), (asked + had).max()), -1, np.int32)
    _fill(target, row[data.user[wanted]], data.item[wanted], np.zeros(len(users), np.int64))
    _fill(target, row[data.user[known]], -2 - data.item[known], asked)
    before = known if known.any() else wanted
    history = np.full((len(users), length), -1, np.int32)
    counts = np.bincount(row[data.user[before]], minlength=len(users))
    _fill(history, row[data.user[before]], data.item[before], length - counts)
    return Arrays({"user": users.astype(np.int32), "history": history}, target)


def _fill(table: np.ndarray, row: np.ndarray, values: np.ndarray, begin: np.ndarray) -> None:
    """Writes values, sorted by row, into each row of a table from the place `begin` on; those before place 0 not."""
    counts = np.bincount(row, minlength=len(table))
    place = begin[row] + np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
    inside = place >= 0
    table[row[inside], place[inside]] = values[inside]
