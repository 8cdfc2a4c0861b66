"""Search: a query finds its documents among all of a catalogue, by the products of embeddings.

Queries and documents are embedded apart, every document once, and every one of them is ranked for each query, exactly:
no part is drawn, and scores are in memory for so many queries at a time as CELLS allows.
"""

from collections.abc import Iterable

import numpy as np

from kdjax.tasks import ranked
from kdjax.tasks.ranking import check_data
from kdjax.tasks.task import Task

K = 10
"""The places that count."""

CELLS = 2**25
"""Scores that are in memory at a time: 128 MB."""


def products(queries: np.ndarray, documents: np.ndarray) -> Iterable[np.ndarray]:
    """Yields the scores [q, M] of some queries [N, D] after the other for all documents [M, D], float32."""
    rows = max(1, CELLS // max(len(documents), 1))
    for start in range(0, len(queries), rows):
        yield queries[start : start + rows] @ documents.T


def found(scores: Iterable[np.ndarray], items: np.ndarray, grades: np.ndarray) -> np.ndarray:
    """What is kept of a search, [N, 10 + 2 R] float32: first documents, and where the relevant ones stand.

    Args:
      scores: [q, M] of some queries after the other, as `products` yields.
      items: [N, L] documents of a query's list, -1 at padding; grades: [N, L], below 0 at padding.

    Returns:
      of each query its first ten documents, of equal scores the lowest number first (-1 beyond the catalogue); then for
      each of its relevant documents, in the order of the list, how many of the catalogue score higher, and after these
      how many as high, itself included; 0 for fewer than R. A row is NaN where a score is not finite.
    """
    most = max(1, int((grades > 0).sum(axis=1).max()))
    made, row = np.zeros((len(items), K + 2 * most), np.float32), 0
    for block in scores:
        for of_query in block:
            made[row] = _query(of_query, items[row][grades[row] > 0], most)
            row += 1
    return made


def _query(scores: np.ndarray, relevant: np.ndarray, most: int) -> np.ndarray:
    """A row of `found`: `scores` [M] of one query, `relevant` numbers of documents."""
    row = np.zeros(K + 2 * most, np.float32)
    if not np.isfinite(scores).all():
        return np.full_like(row, np.nan)
    found = first(scores, min(K, len(scores)))
    row[:K] = np.pad(found, (0, K - len(found)), constant_values=-1)
    ordered, own = np.sort(scores), scores[relevant]
    begin, end = (np.searchsorted(ordered, own, side) for side in ("left", "right"))
    row[K : K + len(own)], row[K + most : K + most + len(own)] = len(ordered) - end, end - begin
    return row


def first(scores: np.ndarray, count: int) -> np.ndarray:
    """The numbers of the largest scores [M], of equal ones the lowest number first."""
    least = np.partition(scores, len(scores) - count)[len(scores) - count]
    (at_least,) = np.nonzero(scores >= least)
    return at_least[np.argsort(-scores[at_least], kind="stable")][:count]


def place(kept: np.ndarray, grades: np.ndarray, documents: int) -> ranked.Places:
    """Where the relevant documents stand, of what `found` has kept."""
    most = (kept.shape[1] - K) // 2
    own = np.zeros((len(grades), most), np.float64)
    for row, of_query in enumerate(grades):
        relevant = of_query[of_query > 0]
        own[row, : len(relevant)] = relevant
    above, tied = (kept[:, at : at + most].astype(np.int64) for at in (K, K + most))
    return ranked.counted(above, tied, own, documents)


def scores(kept: np.ndarray, grades: np.ndarray, documents: int) -> dict[str, np.ndarray]:
    """{"mrr@10", "ndcg@10", "recall@10", "hr@10", "map"}, each [N] in 0..1, as kdjax.tasks.ranked has them.

    Args:
      kept: [N, 10 + 2 R] of `found`; grades: [N, L]; documents: of the catalogue.
    """
    where = place(kept, grades, documents)
    return {
        f"mrr@{K}": ranked.mrr(where, K),
        f"ndcg@{K}": ranked.ndcg(where, K),
        f"recall@{K}": ranked.recall(where, K),
        f"hr@{K}": ranked.hit_rate(where, K),
        "map": ranked.average_precision(where),
    }


def report(kept: np.ndarray, grades: np.ndarray, teacher: np.ndarray | None = None) -> dict:
    """{"agreement": the mean share of the first ten documents that student and teacher have in common}, None without.

    What else a result says are the means of `scores`.
    """
    return {"agreement": None if teacher is None else float(np.mean(agreement(kept, teacher, grades)))}


def agreement(student: np.ndarray, teacher: np.ndarray, target) -> np.ndarray:
    """[N] share of the first ten documents, of what `found` keeps, that both have."""
    return (student[:, :K, None] == teacher[:, None, :K]).any(2).mean(1)


def check(dataset) -> None:
    """Raises a ValueError unless every query of a kdjax.data.Dataset has grades, and there are documents."""
    if dataset.documents is None:
        raise ValueError(
            f"{dataset.name} has no documents; config.task='search' is for queries and texts, of a source as "
            "query_documents, trec, wands or esci"
        )
    check_data(dataset)


TASK = Task(
    name="search",
    primary=f"mrr@{K}",
    higher_is_better=True,
    unit="",
    columns=(
        (f"mrr@{K}", f"MRR@{K}", ""),
        (f"ndcg@{K}", f"nDCG@{K}", ""),
        (f"recall@{K}", f"recall@{K}", ""),
        (f"hr@{K}", f"HR@{K}", ""),
        ("map", "MAP", ""),
        ("agreement", f"overlap@{K}", ""),
    ),
    loss="in_batch_documents",
    outputs=lambda classes: 1,
    scores=scores,
    report=report,
    agreement=agreement,
    check_data=check,
    lists=True,
    catalogue=True,
    keep=found,
    protocol=(
        "Every document of the catalogue is ranked for each query, those that were not judged as irrelevant ones; what "
        "ties counts as the mean of its orders; a query without a relevant document counts 0."
    ),
)
