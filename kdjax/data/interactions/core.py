"""The k-core of interactions: users and items that have at least a number of each other (papers' 5-core)."""

from dataclasses import replace

import numpy as np

from kdjax.data.interactions.files import Interactions


def core(data: Interactions, least: int) -> Interactions:
    """The most interactions in which every user has `least` different items, every item as many users; all below 2.

    Raises:
      ValueError: there are none.
    """
    if least < 2:
        return data
    pair = data.user.astype(np.int64) * len(data.items) + data.item
    _, first, inverse = np.unique(pair, return_index=True, return_inverse=True)
    user, item = data.user[first], data.item[first]
    kept = np.ones(len(first), bool)
    before = len(first) + 1
    while kept.sum() < before:
        before = kept.sum()
        for side, names in ((user, data.users), (item, data.items)):
            kept &= np.bincount(side[kept], minlength=len(names))[side] >= least
    if not kept.any():
        raise ValueError(f"{data.files[0]}: no interaction is in a {least}-core (config.data.kwargs.core)")
    return _numbered(data, np.flatnonzero(kept[inverse]))


def _numbered(data: Interactions, index: np.ndarray) -> Interactions:
    """Some interactions, whose users and items are numbered anew in the same order."""
    taken = {name: getattr(data, name)[index] for name in ("file", "line")}
    for name in ("user", "item"):
        used, taken[name] = np.unique(getattr(data, name)[index], return_inverse=True)
        taken[name] = taken[name].astype(np.int32)
        names = getattr(data, f"{name}s")
        taken[f"{name}s"] = tuple(names[number] for number in used)
    return replace(data, **taken, time=None if data.time is None else data.time[index])
