"""Which class was taken for which, and the precision, recall and F1 of each class from those counts alone.

A matrix of 10,000 classes would take 800 MB; its cells that are not zero are at most as many as the examples.
"""

import math

import numpy as np


def cells(labels: np.ndarray, predicted: np.ndarray) -> list[list[int]]:
    """[[true class, predicted class, examples], ...], sorted, without zeros, of classes [N] and [N]."""
    pairs, examples = np.unique(np.stack([labels, predicted]), axis=1, return_counts=True)
    return [[int(t), int(p), int(n)] for (t, p), n in zip(pairs.T, examples, strict=True)]


def totals(cells: list[list[int]], classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """([K] examples of each class, [K] predictions of it, [K] right ones)."""
    true, predicted, count = np.array(cells, np.int64).reshape(-1, 3).T
    right = true == predicted
    summed = [(true, count), (predicted, count), (true[right], count[right])]
    return tuple(np.bincount(place, number, classes).astype(np.int64) for place, number in summed)


def class_scores(cells: list[list[int]], classes: int) -> dict[str, np.ndarray]:
    """{"recall", "precision", "f1"}: [K] fractions; nan for classes without examples.

    A class that is never predicted has precision and F1 of 0.
    """
    true, predicted, hits = totals(cells, classes)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = {
            "recall": hits / true,
            "precision": np.where(predicted > 0, hits / predicted, 0.0),
            "f1": 2 * hits / (true + predicted),
        }
    return {name: np.where(true > 0, values, math.nan) for name, values in found.items()}
