"""Losses on all items of a catalogue, of which a user is to get some: what a target says, losses without a teacher.

Sizes: B users, I items, L places of a target, P positives. The logits [B, I] are scores of every item. A target [B, L]
holds items: a number i >= 0 is one to be found, -2 - i is item i that the user has had already, -1 is padding. Classes
[B] are targets of one item each.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from kdjax.losses.common import logits_of


class Items(NamedTuple):
    """A target taken apart."""

    positive: jax.Array  # [B, L] numbers of items to be found, 0 where there is none
    counts: jax.Array  # [B, L] float32, 1 where `positive` is one
    known: jax.Array  # [B, I] bool, true for all items in the target, to be found or had


def items_of(loss: str, target, items: int) -> Items:
    """What a target [B, L] or [B] says.

    Raises:
      ValueError: it holds no integers, or has another rank.
    """
    if target.ndim not in (1, 2) or not jnp.issubdtype(target.dtype, jnp.integer):
        raise ValueError(
            f"{loss}: the target is {target.dtype} {tuple(target.shape)}; it is items [B, L], integers, or classes [B]"
        )
    target = target.reshape(len(target), -1)
    wanted = target >= 0
    number = jnp.where(wanted, target, jnp.where(target < -1, -2 - target, items))
    known = jnp.zeros((len(target), items), bool)
    known = known.at[jnp.arange(len(target))[:, None], number].set(True, mode="drop")
    return Items(jnp.where(wanted, target, 0), wanted.astype(jnp.float32), known)


def at(scores, items):
    """scores [B, I] of items [B, ...] -> [B, ...]."""
    return jnp.take_along_axis(scores, items.reshape(len(items), -1), axis=1).reshape(items.shape)


def mean(values, counts):
    """Mean of values [B, L, ...] over what counts [B, L]; 0 where nothing does."""
    counts = jnp.broadcast_to(counts.reshape(*counts.shape, *[1] * (values.ndim - counts.ndim)), values.shape)
    return (values * counts).sum() / jnp.maximum(counts.sum(), 1.0)


def bpr(student, teacher, target, *, key, negatives=1):
    """Mean over positives p and drawn items n of -log sigmoid(s_p - s_n). Rendle et al. 2009, arXiv:1205.2618.

    Needs no teacher. Items n are drawn evenly from the catalogue, anew for each positive and step; those in the user's
    target do not count.

    Args:
      target: items [B, L] (kdjax.losses.items) or classes [B].
      negatives: drawn for each positive.
    """
    scores = logits_of("bpr", "student", student)  # [B, I]
    positive, counts, known = items_of("bpr", target, scores.shape[-1])
    drawn = jax.random.randint(key, (*positive.shape, negatives), 0, scores.shape[-1])  # [B, L, n]
    margin = at(scores, positive)[..., None] - at(scores, drawn)
    weight = jnp.where(at(known, drawn), 0.0, counts[..., None])
    return mean(jax.nn.softplus(-margin), weight)


def item_softmax(student, teacher, target, *, key, negatives=0):
    """Mean over positives p of -log softmax(s)_p over the catalogue: Liang et al. 2018 (arXiv:1802.05814), eq. 2.

    Needs no teacher. With one positive an example it is cross-entropy. With `negatives` it is the sampled softmax:
    -(s_p - log(exp s_p + sum_n exp s_n)) over so many items drawn evenly, the same for all positives of a step, those
    in the user's target left out (Klenitskiy and Vasilev 2023, arXiv:2309.07602).

    Args:
      target: items [B, L] (kdjax.losses.items) or classes [B].
      negatives: drawn items; 0: all.
    """
    scores = logits_of("item_softmax", "student", student)  # [B, I]
    positive, counts, known = items_of("item_softmax", target, scores.shape[-1])
    own = at(scores, positive)  # [B, L]
    if not negatives:
        return mean(jax.nn.logsumexp(scores, axis=-1, keepdims=True) - own, counts)
    drawn = jax.random.randint(key, (negatives,), 0, scores.shape[-1])
    others = jnp.where(known[:, drawn], -jnp.inf, scores[:, drawn])  # [B, n]
    least = jax.nn.logsumexp(jnp.maximum(others, jnp.finfo(scores.dtype).min), axis=-1, keepdims=True)
    return mean(jnp.logaddexp(own, least) - own, counts)
