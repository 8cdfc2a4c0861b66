"""Documents that stand in training lists as irrelevant ones besides those that were judged: drawn, or ranked highest.

What is known of a query, [N, R] with -1 at padding, is left out: all that is relevant, and what its list has already.
"""

from collections.abc import Iterable

import numpy as np

from kdjax.data.arrays import Arrays
from kdjax.tasks.search import first


def hardest(scores: Iterable[np.ndarray], known: np.ndarray, count: int, skip: int = 0) -> np.ndarray:
    """[N, count] int32 of each query the documents of the highest scores but what is known, the first `skip` left out.

    Of equal scores the lowest number comes first; -1 where there are no more documents.

    Args:
      scores: finite, [q, M] of some queries after the other.
    """
    made = np.full((len(known), count), -1, np.int32)
    for row, of_query in enumerate(each for block in scores for each in block):
        own = np.unique(known[row][known[row] >= 0])
        left = np.array(of_query)
        left[own] = -np.inf
        found = first(left, min(skip + count, len(left) - len(own)))[skip:] if len(own) < len(left) else own[:0]
        made[row, : len(found)] = found
    return made


def drawn(rng: np.random.Generator, known: np.ndarray, count: int, documents: int) -> np.ndarray:
    """[N, count] int32 of each query different documents of a catalogue of so many, none of them known."""
    made = np.full((len(known), count), -1, np.int32)
    for row, own in enumerate(known):
        own = np.unique(own[own >= 0])
        wanted = min(count, documents - len(own))
        found = own[:0]
        while len(found) < wanted:
            more = np.append(found, rng.integers(0, documents, 2 * wanted + 2))
            more = more[np.sort(np.unique(more, return_index=True)[1])]  # each once, in the order of the draw
            found = more[~np.isin(more, own)][:wanted]
        made[row, : len(found)] = found
    return made


def extended(arrays: Arrays, documents: np.ndarray) -> Arrays:
    """The lists [N, L] with those documents [N, n] after what they have, of grade 0; -1 is padding."""
    items = np.concatenate([arrays.input["items"], documents], axis=1)
    grades = np.where(documents >= 0, np.float32(0), np.float32(-1))
    return Arrays({**arrays.input, "items": items}, np.concatenate([arrays.target, grades], axis=1))
