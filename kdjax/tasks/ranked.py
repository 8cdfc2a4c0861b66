"""How well lists are ranked: nDCG, MRR, recall, hit rate, MAP, and how far two rankings agree.

Sizes: Q queries, L items of a list, of which `valid` [Q, L] are no padding. Scores are finite; a grade is 0 or more, an
item is relevant where it is above 0. Every function takes arrays of NumPy (float64, for what is reported) or of JAX.

Items that tie are taken in every order alike: a value is the mean over all orders of what ties, as McSherry & Najork
2008 (ECIR, "Computing information retrieval performance measures efficiently in the presence of tied scores") work out,
so that neither the order of a file nor a constant score earns anything. A query without a relevant item scores 0 and
counts in a mean, as trec_eval has it.
"""

from typing import Any, NamedTuple

import numpy as np


class Places(NamedTuple):
    """Where the items of a list stand, [Q, R] each: of all of its items, or, which is enough, of its relevant ones.

    Numbers over a whole catalogue add: `above` and `tied` may be sums over its parts.
    """

    above: Any  # items of the list whose score is higher
    tied: Any  # items of the list whose score is the same, this one included
    grades: Any  # 0 where an item is not relevant, or is padding
    relevant_above: Any  # relevant items whose score is higher
    relevant_tied: Any  # relevant items whose score is the same, this one included
    size: int  # the most items that a list has


def ranks(scores, valid) -> tuple:
    """(above, tied): how many valid items of a list [Q, L] score higher than each, and as high, itself included.

    Of padding both mean nothing.
    """
    xp = scores.__array_namespace__()
    keys = xp.where(valid, -scores, xp.inf)
    order = xp.argsort(keys, axis=-1)
    ordered = xp.take_along_axis(keys, order, axis=-1)
    starts_one = xp.ones_like(valid[..., :1])
    new = xp.concat([starts_one, ordered[..., 1:] != ordered[..., :-1]], axis=-1)
    length = scores.shape[-1]
    starts = xp.sort(xp.where(new, xp.arange(length)[None], length), axis=-1)
    starts = xp.concat([starts, xp.full_like(starts[..., :1], length)], axis=-1)
    group = xp.cumsum(new, axis=-1) - 1
    first, end = (xp.take_along_axis(starts, g, axis=-1) for g in (group, group + 1))
    back = xp.argsort(order, axis=-1)
    return xp.take_along_axis(first, back, axis=-1), xp.take_along_axis(end - first, back, axis=-1)


def places(scores, grades, valid) -> Places:
    """The Places of all items of lists [Q, L]."""
    xp = scores.__array_namespace__()
    relevant = valid & (grades > 0)
    counts = ranks(scores, valid)
    return Places(
        *counts, xp.where(relevant, grades, 0).astype(scores.dtype), *ranks(scores, relevant), grades.shape[1]
    )


def counted(above: np.ndarray, tied: np.ndarray, grades: np.ndarray, size: int) -> Places:
    """The Places of relevant items alone [Q, R], of what was counted over a catalogue of so many items.

    Args:
      above, tied: [Q, R] items of a user's or query's catalogue that score higher and as high (itself included).
      grades: [Q, R], 0 where a query has fewer than R relevant items.
    """
    relevant = grades > 0
    counts = ranks(-above.astype(np.float64), relevant)
    return Places(above, tied, np.where(relevant, grades, 0).astype(np.float64), *counts, size)


def within(place, k: int):
    """[Q, R] the share of all orders of what ties in which an item stands among the first k; (above, tied) first."""
    above, tied = place[:2]
    xp = above.__array_namespace__()
    first = xp.clip(k - above, 0, tied)
    return first / xp.where(tied > 0, tied, 1)


def ndcg(place: Places, k: int, exponential: bool = False):
    """[Q] discounted cumulative gain of the first k over the best possible; discounts 1 / log2(rank + 1).

    Järvelin & Kekäläinen 2002 (doi:10.1145/582415.582418). An item's gain is its grade, as in trec_eval, ir-measures
    and scikit-learn; `exponential`: 2^grade - 1 (Burges et al. 2005), as in LightGBM, allRank and rax. Of grades 0 and
    1 both are one.
    """
    xp = place.grades.__array_namespace__()
    gains = xp.exp2(place.grades) - 1 if exponential else place.grades
    discounts = xp.asarray(1 / np.log2(np.arange(2, k + 2)), dtype=gains.dtype)
    summed = xp.concat([xp.zeros_like(discounts[:1]), xp.cumsum(discounts)])
    last = xp.clip(place.above + place.tied, 0, k)
    tied = xp.where(place.tied > 0, place.tied, 1).astype(gains.dtype)
    found = xp.sum(gains * (summed[last] - summed[xp.clip(place.above, 0, k)]) / tied, axis=-1)
    best = -xp.sort(-gains, axis=-1)[:, :k]
    ideal = best @ discounts[: best.shape[1]]
    return xp.where(ideal > 0, found / xp.where(ideal > 0, ideal, 1), 0)


def recall(place: Places, k: int):
    """[Q] the share of a query's relevant items that stand among the first k."""
    xp = place.grades.__array_namespace__()
    relevant = (place.grades > 0).astype(place.grades.dtype)
    share = within(place, k).astype(relevant.dtype)
    return xp.sum(relevant * share, axis=-1) / xp.clip(xp.sum(relevant, axis=-1), 1, None)


def hit_rate(place: Places, k: int):
    """[Q] 1 where a relevant item stands among the first k (success@k), else 0; with ties, the share of orders."""
    return 1 - _none(place, k)[:, -1]


def mrr(place: Places, k: int):
    """[Q] 1 / rank of the first relevant item, 0 where it stands behind the first k."""
    xp = place.grades.__array_namespace__()
    none = _none(place, k)
    before = xp.concat([xp.ones_like(none[:, :1]), none[:, :-1]], axis=-1)
    return (before - none) @ xp.asarray(1 / np.arange(1, none.shape[1] + 1), dtype=none.dtype)


def average_precision(place: Places):
    """[Q] the mean over a query's relevant items of the precision at their ranks (MAP, of all queries)."""
    xp = place.grades.__array_namespace__()
    relevant = place.grades > 0
    dtype = place.grades.dtype
    harmonic = xp.asarray(np.concatenate([[0], np.cumsum(1 / np.arange(1, place.size + 1))]), dtype=dtype)
    above, tied, before, inside = (xp.where(relevant, x, 1) for x in (*place[:2], *place[3:5]))
    reciprocals = harmonic[above + tied] - harmonic[above]  # of the ranks that these items take in turn
    above, tied, before, inside = (x.astype(dtype) for x in (above, tied, before, inside))
    others = (inside - 1) / xp.clip(tied - 1, 1, None)  # the share of relevant ones among those that tie with one
    precision = ((before + 1) * reciprocals + others * (tied - (above + 1) * reciprocals)) / tied
    total = xp.clip(xp.sum(relevant, axis=-1), 1, None).astype(dtype)
    return xp.sum(xp.where(relevant, precision, 0), axis=-1) / total


def _none(place: Places, k: int):
    """[Q, k] the share of orders in which no relevant item stands among the first 1, 2, ..., k.

    Of the items that tie with the first relevant one, n of which r are relevant, m stand before a rank: none of
    them is relevant in (n - r) (n - r - 1) ... / n (n - 1) ... of the orders.
    """
    xp = place.grades.__array_namespace__()
    relevant = place.grades > 0
    first = xp.argmin(xp.where(relevant, place.above, place.size), axis=-1)[:, None]
    above, tied, inside = (xp.take_along_axis(x, first, axis=-1) for x in (*place[:2], place.relevant_tied))
    drawn = xp.arange(min(k, place.size))[None] - above  # of those that tie, before each rank
    kept = xp.clip(tied - inside - drawn, 0, None) / xp.clip(tied - drawn, 1, None)
    kept = xp.where(drawn < 0, 1, kept).astype(place.grades.dtype)
    return xp.where(xp.any(relevant, axis=-1)[:, None], xp.cumprod(kept, axis=-1), 1)


def overlap(student, teacher, valid, k: int):
    """[Q] the share of the first k items that two rankings, scores [Q, L] each, have in common.

    Of fewer than k items, 1. What ties in either stands among them with the share of its orders, each on its own.
    """
    xp = student.__array_namespace__()
    both = within(ranks(student, valid), k) * within(ranks(teacher, valid), k)
    return xp.sum(xp.where(valid, both, 0), axis=-1) / xp.clip(xp.sum(valid, axis=-1), 1, k)


def kendall(student: np.ndarray, teacher: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """[Q] Kendall's tau-b of two rankings, scores [Q, L] each; NaN where either scores all items alike."""
    from scipy.stats import kendalltau  # slow to import

    found = np.full(len(valid), np.nan)
    for query, items in enumerate(valid):
        s, t = student[query, items], teacher[query, items]
        if len(np.unique(s)) > 1 and len(np.unique(t)) > 1:
            found[query] = kendalltau(s, t).statistic
    return found
