"""Recommendation: all items of a catalogue in an order for each user, in which what the user took later stands high.

A target [L] is as kdjax.losses.items reads it: first the items to be found, then those that the user had, which are not
ranked. Every other item is: no metric here is over a sample. What ties is taken in every order alike
(kdjax.tasks.ranked), so that a network that gives one score to all is as good as chance.
"""

import numpy as np

from kdjax.tasks import ranked
from kdjax.tasks.task import Task

PLACES = 10
"""The places that count."""

LIST = 20
"""The first items of each user that are kept."""


def scores(logits, target) -> dict:
    """{"ndcg@10", "hr@10", "recall@10", "mrr@10"}, each [B] float32 in 0..1, as kdjax.tasks.ranked has them.

    Args:
      logits: [B, I] float32, a score for each item; target: [B, L] int32.
    """
    return scored(places(logits, target))


def scored(place: ranked.Places) -> dict:
    """The same of where the items to be found stand."""
    return {
        f"ndcg@{PLACES}": ranked.ndcg(place, PLACES),
        f"hr@{PLACES}": ranked.hit_rate(place, PLACES),
        f"recall@{PLACES}": ranked.recall(place, PLACES),
        f"mrr@{PLACES}": ranked.mrr(place, PLACES),
    }


def _allowed(logits, target):
    """[B, I] bool: the items that are ranked for each user."""
    import jax.numpy as jnp

    had = jnp.where(target < -1, -2 - target, logits.shape[1])
    rows = jnp.arange(len(target))[:, None]
    return jnp.ones(logits.shape, bool).at[rows, had].set(False, mode="drop")


def places(logits, target) -> ranked.Places:
    """Where the items to be found stand, [B, L]: all items are counted, one place of the target after the other.

    All at once would be [B, L, I], gigabytes.
    """
    import jax
    import jax.numpy as jnp

    found, allowed = target >= 0, _allowed(logits, target)
    last = jnp.where(found, 1 + jnp.arange(target.shape[1])[None], 0).max()  # to be found come first: the others wait
    column = lambda table, place: jax.lax.dynamic_index_in_dim(table, place, 1)  # noqa: E731  [B, 1]
    zeros = jnp.zeros(target.shape, jnp.int32)

    def filled(higher, equal):
        """[B, L] twice: the sums of what is true of each place."""

        def fill(place, tables):
            made = ((test(place)).sum(1, dtype=jnp.int32) for test in (higher, equal))
            write = jax.lax.dynamic_update_index_in_dim
            return [write(table, sums, place, 1) for table, sums in zip(tables, made, strict=True)]

        return jax.lax.fori_loop(0, last, fill, [zeros, zeros])

    def own(place):
        return jnp.take_along_axis(logits, jnp.maximum(column(target, place), 0), 1)

    above, tied = filled(lambda at: allowed & (logits > own(at)), lambda at: allowed & (logits == own(at)))
    counts = filled(lambda at: found & (above < column(above, at)), lambda at: found & (above == column(above, at)))
    return ranked.Places(above, tied, found.astype(logits.dtype), *counts, logits.shape[1])


def keep(logits, target):
    """[B, 20] float32: the numbers of the first items of each user's list; of equal scores the lowest number first.

    NaN where a score is not finite. 40,000 users times 50,000 items would be eight gigabytes.
    """
    import jax
    import jax.numpy as jnp

    finite = jnp.isfinite(logits).all(1, keepdims=True)
    ranked = jnp.where(_allowed(logits, target), logits, -jnp.inf)
    _, items = jax.lax.top_k(ranked, min(LIST, logits.shape[1]))
    return jnp.where(finite, items.astype(jnp.float32), jnp.nan)


def report(lists: np.ndarray, target: np.ndarray, teacher_lists: np.ndarray | None = None) -> dict:
    """{"agreement": the mean share of the first ten items that student and teacher have in common}, None without one.

    Args:
      lists: [N, 20] of `keep`. What else a result says are the means of `scores`.
    """
    return {"agreement": None if teacher_lists is None else float(np.mean(agreement(lists, teacher_lists, target)))}


def agreement(student: np.ndarray, teacher: np.ndarray, target) -> np.ndarray:
    """[N] share of the first ten items of the lists [N, 20] that both have."""
    first = student[:, :PLACES, None] == teacher[:, None, :PLACES]
    return first.any(2).mean(1)


def check_data(dataset) -> None:
    """Raises a ValueError unless every example of a kdjax.data.Dataset has items to be found, before all others."""
    if not dataset.catalogue:
        raise ValueError(f"{dataset.name} has no catalogue; config.task='recommendation' is for users and items")
    for name, arrays in dataset.splits.items():
        target = np.asarray(arrays.target)
        if target.ndim != 2 or target.dtype != np.int32 or not (target[:, :1] >= 0).all():
            raise ValueError(
                f"{dataset.name}, {name}: a target is items [N, L] int32, those to be found first, one at least; got "
                f"{target.dtype} {list(target.shape)}"
            )


TASK = Task(
    name="recommendation",
    primary=f"ndcg@{PLACES}",
    higher_is_better=True,
    unit="",
    columns=(
        (f"ndcg@{PLACES}", f"nDCG@{PLACES}", ""),
        (f"hr@{PLACES}", f"HR@{PLACES}", ""),
        (f"recall@{PLACES}", f"recall@{PLACES}", ""),
        (f"mrr@{PLACES}", f"MRR@{PLACES}", ""),
        ("agreement", f"overlap@{PLACES}", ""),
    ),
    loss="item_softmax",
    outputs=lambda choices: choices,
    scores=scores,
    report=report,
    agreement=agreement,
    check_data=check_data,
    keep=keep,
    protocol=(
        "All items that a user has not had are ranked, and none of those that the user had; what ties counts as the "
        "mean of its orders."
    ),
)
