"""Which rows are for training, validation and test: as a column says, or drawn, groups kept together."""

import numpy as np

from kdjax.data.subsets import stratified
from kdjax.streams import stream

NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test",),
}
"""Our split -> what it is called in a column or a file's name."""


def named(value) -> str | None:
    """The split that a cell or a file's name means; None: none of them."""
    word = str(value).strip().lower()
    return next((split for split, names in NAMES.items() if word in names), None)


def drawn(label: np.ndarray, groups, fraction: float, seed: int, role: str, field: str) -> np.ndarray:
    """[N] bool: the rows of a part that is held out, about `fraction` of them.

    Args:
      label: [N]; classes keep their shares where there are no groups.
      groups: [N] of any values, rows of equal value fall on one side; None: there are none.
      role: see `kdjax.streams`; field: names the fraction in messages.

    Raises:
      ValueError: one of both sides would be empty.
    """
    wanted = round(fraction * len(label))
    held = np.zeros(len(label), bool)
    if groups is None:
        held[stratified(label, wanted, seed, role)] = True
    else:
        _, inverse, sizes = np.unique(groups.astype(str), return_inverse=True, return_counts=True)
        order = stream(seed, role, 0).generator().permutation(len(sizes))
        before = np.cumsum(sizes[order]) - sizes[order]  # rows in the groups that come earlier
        held = np.isin(inverse, order[before + sizes[order] / 2 <= wanted])
    if held.all() or not held.any():
        what = "rows" if groups is None else f"rows in {len(sizes):,} groups"
        raise ValueError(f"{field}={fraction} of {len(label):,} {what} leaves a split empty")
    return held
