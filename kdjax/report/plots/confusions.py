"""Confusion matrices as sparse cells, summed over seeds: their size is that of what was confused, not of classes²."""

from dataclasses import dataclass

import numpy as np

WHOLE = 100
"""Up to so many classes are drawn all."""
LARGEST = 40
"""Of more, so many are drawn: those with the largest confusions."""


@dataclass(frozen=True)
class Cells:
    """Counts of a [K, K] matrix, true by predicted, where they are not 0.

    Attributes:
      classes: [K] names.
      true, predicted: [n] classes of each cell; no pair twice.
      count: [n] images.
      images: [K] images of each true class.
    """

    classes: list[str]
    true: np.ndarray
    predicted: np.ndarray
    count: np.ndarray
    images: np.ndarray

    @property
    def percent(self) -> np.ndarray:
        """[n] of the images of the true class."""
        return 100 * self.count / self.images[self.true]


def add(results: list[dict]) -> Cells:
    """The sum of the confusion matrices of the results, all of the same classes."""
    names = results[0]["classes"]
    rows = np.concatenate([np.array(result["last"]["confusion"], np.int64).reshape(-1, 3) for result in results])
    keys, where = np.unique(rows[:, 0] * len(names) + rows[:, 1], return_inverse=True)
    true, predicted = np.divmod(keys, len(names))
    count = np.bincount(where, weights=rows[:, 2], minlength=len(keys))
    return Cells(names, true, predicted, count, np.bincount(true, weights=count, minlength=len(names)))


def difference(ours: Cells, theirs: Cells) -> Cells:
    """ours - theirs, of equally many images of each class."""
    size = len(ours.classes)
    keys = np.concatenate([part.true * size + part.predicted for part in (ours, theirs)])
    keys, where = np.unique(keys, return_inverse=True)
    count = np.bincount(where, weights=np.concatenate([ours.count, -theirs.count]), minlength=len(keys))
    return Cells(ours.classes, *np.divmod(keys, size), count, np.maximum(ours.images, theirs.images))


def largest(cells: Cells) -> np.ndarray:
    """[n'] the cells beside the diagonal that are not 0, by size of their count, the largest first."""
    beside = np.flatnonzero((cells.true != cells.predicted) & (cells.count != 0))
    return beside[np.argsort(-np.abs(cells.count[beside]), kind="stable")]


def chosen(cells: Cells) -> np.ndarray:
    """[k] sorted: all classes, or the LARGEST that take part in the largest confusions."""
    if len(cells.classes) <= WHOLE:
        return np.arange(len(cells.classes))
    order = largest(cells)
    taking_part = dict.fromkeys(np.stack([cells.true[order], cells.predicted[order]], axis=1).ravel().tolist())
    return np.sort(np.array(list(taking_part)[:LARGEST], int))


def matrix(cells: Cells, members: np.ndarray) -> np.ma.MaskedArray:
    """[k, k] percentages of the images of the true class, of the classes in `members`; masked where it has none."""
    place = np.full(len(cells.classes), -1)
    place[members] = np.arange(len(members))
    true, predicted = place[cells.true], place[cells.predicted]
    inside = (true >= 0) & (predicted >= 0)
    found = np.zeros([len(members)] * 2)
    found[true[inside], predicted[inside]] = cells.percent[inside]
    return np.ma.masked_where(np.broadcast_to(cells.images[members, None] == 0, found.shape), found)
