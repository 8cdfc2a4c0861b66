"""Lists of items, as many as each query has, made arrays of one length."""

import numpy as np

from kdjax.data.arrays import Arrays


def padded(features: np.ndarray, grades: np.ndarray, starts: np.ndarray, length: int) -> Arrays:
    """Items [M, F] and grades [M], those of a query one after the other, as lists of `length` items.

    `starts`: [Q + 1] where each query's begin, and M. The input is {"features": [Q, length, F] float32, 0 at padding,
    "mask": [Q, length]}, the target [Q, length] float32, -1 at padding.
    """
    counts = np.diff(starts)
    mask = np.arange(length)[None] < counts[:, None]
    found = np.zeros((*mask.shape, features.shape[1]), np.float32)
    target = np.full(mask.shape, -1, np.float32)
    found[mask], target[mask] = features, grades
    return Arrays({"features": found, "mask": mask}, target)
