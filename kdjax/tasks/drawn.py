"""Recommendation as papers report it that rank an item against n drawn ones, beside the ranking of all items.

What is reported is the mean over all draws of n different items that the user has not had: it depends on the item's
place among all items alone, so that nothing is drawn and no seed decides. Such scores are no estimate of those over all
items and may order two networks the other way (Krichene and Rendle 2020, doi:10.1145/3394486.3403226): they are here to
stand beside published ones. A user with several items to be found has none, NaN.
"""

from dataclasses import replace

from kdjax.tasks import recommendation
from kdjax.tasks.task import Task

KINDS = (("hr", "HR"), ("ndcg", "nDCG"))

CUTS = (5, 10)
"""The places that count."""


def scored(above, tied, items, drawn: int, k: int) -> tuple:
    """([B], [B]): HR@k and nDCG@k of an item among `drawn` others, the means over all draws and all orders of ties.

    Of r items that score higher, of M, j are among n drawn ones by the hypergeometric distribution. With t ties r is
    one of t numbers alike; the sum over them is the distribution of an order statistic of n + 1 among M + 1.

    Args:
      above, tied: [B] int32 how many of all items score higher, and as high, the item included.
      items: [B] int32 M, how many items may be drawn: at least twice `drawn`.
    """
    import jax.numpy as jnp

    single = _share(above, items, drawn, k)
    before, after = (1 - jnp.cumsum(_share(r, items + 1, drawn + 1, k), 1) for r in (above, above + tied))
    scale = (items + 1).astype(single.dtype) / (tied * (drawn + 1)).astype(single.dtype)
    share = jnp.where((tied > 1)[:, None], (after - before) * scale[:, None], single)
    return share.sum(1), (share / jnp.log2(jnp.arange(2, k + 2, dtype=share.dtype))[None]).sum(1)


def _share(above, items, drawn: int, k: int):
    """[B, k] the probability that j = 0, 1, ..., k - 1 of `above` [B] items are among `drawn` of `items` [B]."""
    import jax.numpy as jnp

    r, m = above.astype(jnp.float32)[:, None], items.astype(jnp.float32)[:, None]
    left = m - jnp.arange(drawn, dtype=jnp.float32)[None]
    share = [jnp.exp(jnp.log1p(-jnp.minimum(r / left, 1.0)).sum(1, keepdims=True))]
    for j in range(k - 1):
        odds = (r - j) * (drawn - j) / ((j + 1) * jnp.maximum(m - r - drawn + j + 1, 1.0))
        share.append(share[-1] * jnp.maximum(odds, 0.0))
    return jnp.concatenate(share, axis=1)


def against(drawn: int) -> Task:
    """The task of recommendation with HR and nDCG among so many drawn items besides, at 5 and 10 places.

    One's own for config.task by its import path: `among_100 = kdjax.tasks.drawn.against(100)`.
    """
    names = {k: (f"hr@{k}/{drawn}", f"ndcg@{k}/{drawn}") for k in CUTS}

    def scores(logits, target) -> dict:
        import jax.numpy as jnp

        place = recommendation.places(logits, target)
        had, wanted = ((target < -1).sum(1), (target >= 0).sum(1))
        found = recommendation.scored(place)
        for k, pair in names.items():
            values = scored(place.above[:, 0], place.tied[:, 0], logits.shape[1] - had - 1, drawn, k)
            found |= {name: jnp.where(wanted == 1, x, jnp.nan) for name, x in zip(pair, values, strict=True)}
        return found

    def check_data(dataset) -> None:
        recommendation.check_data(dataset)
        for name, split in dataset.splits.items():
            if name != "train" and (left := len(dataset.catalogue) - (split.target != -1).sum(1).max()) < 2 * drawn:
                raise ValueError(
                    f"{dataset.name}, {name}: a user has {left} items left, and scores among {drawn} drawn ones need "
                    f"{2 * drawn}; config.task='recommendation' ranks all of them"
                )

    columns = tuple((f"{kind}@{k}/{drawn}", f"{title}@{k} of {drawn}", "") for k in CUTS for kind, title in KINDS)
    told = f"{recommendation.TASK.protocol} Scores 'of {drawn}' are among the item to be found and {drawn} drawn ones "
    told += "that the user has not had, the mean over all draws."
    return replace(
        recommendation.TASK,
        name=f"recommendation_{drawn}",
        columns=(*recommendation.TASK.columns, *columns),
        scores=scores,
        check_data=check_data,
        protocol=told,
    )


TASK = against(499)
