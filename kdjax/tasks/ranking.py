"""Ranking: a graded relevance for each item of a list, and a score for each, by whose order they are shown."""

import numpy as np

from kdjax.tasks import ranked
from kdjax.tasks.task import Task

K = 10
"""The ranks that count, but in MAP: what a first page shows."""


def scores(logits, target) -> dict:
    """{"ndcg@10": [B]}; logits [B, L], target [B, L] float32 grades, below 0 at padding."""
    return {"ndcg@10": ranked.ndcg(ranked.places(logits, target, target >= 0), K)}


def report(logits: np.ndarray, target: np.ndarray, teacher_logits: np.ndarray | None = None) -> dict:
    """What result.json says of a model on a split, means over its queries.

    Args:
      logits: [N, L]; target: [N, L]; teacher_logits: [N, L] of the teacher on the same queries, or None.

    Returns:
      ndcg@10, with the grade as gain, ndcg_exp@10, with 2^grade - 1; mrr@10, recall@10, hr@10 and map, of which an item
      is relevant whose grade is above 0 (kdjax.tasks.ranked); agreement, the share of its first ten items that a
      student has in common with its teacher, and kendall, Kendall's tau-b of both rankings over the queries that have
      one (None without a teacher); examples [N], ndcg@10 of each query to four digits, by which tables pair queries.
    """
    valid, logits = target >= 0, logits.astype(np.float64)
    place = ranked.places(logits, target.astype(np.float64), valid)
    ndcg = ranked.ndcg(place, K)
    found = {
        "ndcg@10": ndcg,
        "ndcg_exp@10": ranked.ndcg(place, K, exponential=True),
        "mrr@10": ranked.mrr(place, K),
        "recall@10": ranked.recall(place, K),
        "hr@10": ranked.hit_rate(place, K),
        "map": ranked.average_precision(place),
    }
    return {
        **{name: float(np.mean(values)) for name, values in found.items()},
        **_agreement(logits, target, teacher_logits),
        "examples": np.round(ndcg, 4).tolist(),
    }


def _agreement(logits: np.ndarray, target: np.ndarray, teacher: np.ndarray | None) -> dict:
    if teacher is None:
        return {"agreement": None, "kendall": None}
    tau = ranked.kendall(logits, teacher, target >= 0)
    known = tau[~np.isnan(tau)]
    of_first = float(np.mean(agreement(logits, teacher, target)))
    return {"agreement": of_first, "kendall": float(known.mean()) if len(known) else None}


def agreement(student: np.ndarray, teacher: np.ndarray, target: np.ndarray) -> np.ndarray:
    """[N] the share of the first ten items, by scores [N, L], that student and teacher have in common."""
    return ranked.overlap(student.astype(np.float64), teacher.astype(np.float64), target >= 0, K)


def check_data(dataset) -> None:
    """Raises a ValueError unless every query of a kdjax.data.Dataset has a list of grades, and there are no classes."""
    if dataset.classes:
        raise ValueError(f"{dataset.name} has classes; config.task='ranking' is for lists with a grade for each item")
    for name, arrays in dataset.splits.items():
        target = np.asarray(arrays.target)
        if target.ndim != 2 or not target.size or target.dtype != np.float32 or not np.isfinite(target).all():
            raise ValueError(
                f"{dataset.name}, {name}: there must be a list of finite float32 grades [N, L] a query, -1 at padding, "
                f"and at least one; got {target.dtype} {list(target.shape)}"
            )
        valid = target >= 0
        if len(empty := np.flatnonzero(~valid.any(axis=1))):
            raise ValueError(f"{dataset.name}, {name}: query {empty[0]} has no item with a grade of 0 or more")
        told = arrays.input.get("mask") if isinstance(arrays.input, dict) else None
        if told is not None and not np.array_equal(told, valid):
            raise ValueError(f"{dataset.name}, {name}: the inputs' mask is not where grades are 0 or more")


TASK = Task(
    name="ranking",
    primary="ndcg@10",
    higher_is_better=True,
    unit="",
    columns=(
        ("ndcg@10", "nDCG@10", ""),
        ("ndcg_exp@10", "nDCG@10 of 2^g-1", ""),
        ("mrr@10", "MRR@10", ""),
        ("recall@10", "recall@10", ""),
        ("hr@10", "HR@10", ""),
        ("map", "MAP", ""),
        ("agreement", "overlap@10", ""),
        ("kendall", "Kendall's tau", ""),
    ),
    loss="listnet",
    outputs=lambda classes: 1,
    scores=scores,
    report=report,
    agreement=agreement,
    check_data=check_data,
    lists=True,
    protocol=(
        "nDCG@10 has an item's grade as its gain (as trec_eval); what ties counts as the mean of its orders; a query "
        "without a relevant item counts 0."
    ),
)
