"""Retrieval: an example finds those of its class among all others of its split, by the cosine of embeddings.

What is scored is a network's `embedding`, whatever its classifier says, so that any encoder of images or of texts can
be searched by. Every example of a split is a query once, and all others are its catalogue, exactly: no part of them is
drawn.
"""

import numpy as np

from kdjax.tasks import ranked
from kdjax.tasks.classification import check_data
from kdjax.tasks.task import Task

ROWS = 512
"""Queries whose similarities to the whole catalogue are in memory at a time."""


def scores(embeddings: np.ndarray, target: np.ndarray) -> dict:
    """{"recall@1": [N], "recall@5": [N], "map": [N]}, on the host; embeddings [N, D] and classes [N] of a whole split.

    recall@k is that of metric learning (Jégou et al. 2011; Park et al. 2019, RKD): 1 where one of the first k is of the
    query's class, which rankings call a hit. NaN for a query that is the only one of its class. What ties counts as the
    mean of its orders, see `kdjax.tasks.ranked`.
    """
    found = [_part(*part) for part in _similarities(embeddings, target)]
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def _similarities(embeddings: np.ndarray, target: np.ndarray):
    """Yields (cosines [Q, N], whether of the query's class [Q, N], whether another example [Q, N]) by ROWS queries."""
    unit = embeddings.astype(np.float32)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    places = np.arange(len(unit))
    for start in range(0, len(unit), ROWS):
        own = places[start : start + ROWS]
        yield unit[own] @ unit.T, target[own, None] == target[None], own[:, None] != places[None]


def _part(cosines: np.ndarray, alike: np.ndarray, others: np.ndarray) -> dict:
    """The scores of some queries, by how many of the catalogue stand above each relevant example and beside it."""
    alike = alike & others
    most = max(int(alike.sum(axis=1).max()), 1)
    above, tied, grades = (np.zeros((len(cosines), most), np.int64) for _ in range(3))
    for query, of_query in enumerate(cosines):
        ordered, own = np.sort(of_query[others[query]]), of_query[alike[query]]
        first, end = (np.searchsorted(ordered, own, side) for side in ("left", "right"))
        above[query, : len(own)], tied[query, : len(own)] = len(ordered) - end, end - first
        grades[query, : len(own)] = 1
    place = ranked.counted(above, tied, grades, cosines.shape[1])
    found = {"recall@1": ranked.hit_rate(place, 1), "recall@5": ranked.hit_rate(place, 5)}
    found["map"] = ranked.average_precision(place)
    return {name: np.where(grades.any(axis=1), values, np.nan) for name, values in found.items()}


def report(embeddings: np.ndarray, target: np.ndarray, teacher: np.ndarray | None = None) -> dict:
    """What result.json says of a model on a split: means of its scores over the queries that count.

    Args:
      embeddings: [N, D]; target: [N]; teacher: [N, D'] of the teacher on the same examples, or None.

    Returns:
      recall@1, recall@5 and map; agreement, the share of the ten nearest that student and teacher have in common (None
      without a teacher); examples, the average precision of each query to four digits, by which tables pair queries.
    """
    found = scores(embeddings, target)
    counted = found["map"][~np.isnan(found["map"])]
    return {
        **{name: float(np.nanmean(values)) for name, values in found.items()},
        "agreement": None if teacher is None else float(np.mean(agreement(embeddings, teacher, target))),
        "examples": np.round(counted, 4).tolist(),
    }


def agreement(student: np.ndarray, teacher: np.ndarray, target: np.ndarray) -> np.ndarray:
    """[N] the share of its ten nearest that a query has in common by two networks' embeddings, [N, D] and [N, D']."""
    both = zip(_similarities(student, target), _similarities(teacher, target), strict=True)
    return np.concatenate([ranked.overlap(ours, theirs, others, 10) for (ours, _, others), (theirs, *_) in both])


def check(dataset) -> None:
    """Raises a ValueError unless examples have classes, of which each split but train has one with two examples."""
    check_data(dataset)
    for name, arrays in dataset.splits.items():
        if name != "train" and np.bincount(arrays.target).max() < 2:
            raise ValueError(f"{dataset.name}, {name}: no two examples share a class, so there is nothing to find")


TASK = Task(
    name="retrieval",
    primary="map",
    higher_is_better=True,
    unit="",
    columns=(
        ("map", "mAP", ""),
        ("recall@1", "recall@1", ""),
        ("recall@5", "recall@5", ""),
        ("agreement", "overlap@10", ""),
    ),
    loss="in_batch",
    outputs=lambda classes: classes,
    scores=scores,
    report=report,
    agreement=agreement,
    check_data=check,
    strata=lambda target: target,
    reads="embedding",
    whole=True,
    protocol=(
        "Every test example is a query to all others, by the cosine of embeddings; recall@k is 1 where one of the "
        "first k is of its class; a query without another example of its class does not count."
    ),
)
