"""Losses on all items of a catalogue, of which a user is to get some: what a target says, losses without a teacher.

Sizes: B users, I items, L places of a target, P positives. The logits [B, I] are scores of every item. A target [B, L]
holds items: a number i >= 0 is one to be found, -2 - i is item i that the user has had already, -1 is padding. Classes
[B] are targets of one item each.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from kdjax.losses.common import embedding_of, logits_of


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


def table_of(loss: str, who: str, params) -> tuple:
    """([I, D], [I]) float32: the vectors of a network's items, of its variables, and their biases, 0 without any.

    Raises:
      ValueError: it has no vectors.
    """
    try:
        table = params["params"]["items"]
        vectors = table["embedding"].astype(jnp.float32)
    except (KeyError, TypeError):
        raise ValueError(
            f"{loss}: the {who} has no vectors of items, params['items']['embedding'] [I, D]; networks that do are "
            "matrix_factorisation and sasrec"
        ) from None
    return vectors, table["bias"].astype(jnp.float32) if "bias" in table else jnp.zeros(len(vectors))


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


def sampled_softmax(student, teacher, target, *, key, student_params, negatives=1024):
    """`item_softmax` with drawn negatives, made of vectors: no other item is scored. Klenitskiy and Vasilev 2023,
    arXiv:2309.07602.

    Needs no teacher. The cost of a step does not grow with the catalogue, but for the optimizer's. For networks whose
    scores are products of an `embedding` and params["items"]: matrix_factorisation and sasrec.

    Args:
      target: items [B, L] (kdjax.losses.items) or classes [B].
      negatives: items drawn evenly, the same for the whole batch; those in a user's target do not count for that user.
    """
    table = table_of("sampled_softmax", "student", student_params)
    user = embedding_of("sampled_softmax", "student", student)[:, None]  # [B, 1, D]
    positive, counts, known = items_of("sampled_softmax", target, len(table[0]))
    return mean(_sampled(user, positive, known, table, key, negatives), counts)


def sequence_softmax(student, teacher, target, *, key, student_params, negatives=1024):
    """The same at every position of a history, where the item that came next is the one to be found.

    Needs no teacher. Of what SASRec's paper trains with (Kang and McAuley 2018, arXiv:1808.09781) it has the positions;
    the softmax in place of one negative is Klenitskiy and Vasilev's (2023, arXiv:2309.07602). For networks that read
    histories in their order, with config.data.augment.next_item: what they see ends where the item to be found begins.

    Args:
      target: items [B, L] in the order of time, one to be found, or several, of which the last counts.
      student: its last features [B, T, D] are what positions are scored by, right-aligned, causal.
    """
    table = table_of("sequence_softmax", "student", student_params)
    if not student.features or student.features[-1].ndim != 3:
        raise ValueError("sequence_softmax: the student has no features [B, T, D] of positions; sasrec does")
    if target.ndim != 2:
        raise ValueError(f"sequence_softmax: the target is {tuple(target.shape)}; it is items in their order, [B, L]")
    states = student.features[-1]
    known = items_of("sequence_softmax", target, len(table[0])).known
    length = states.shape[1]
    moment = jnp.where(target >= 0, jnp.arange(target.shape[1])[None], 0).max(1, keepdims=True)
    place = moment - (length - 1) + jnp.arange(length)[None]  # [B, T] of the item that comes next
    coming = jnp.take_along_axis(target, jnp.maximum(place, 0), axis=1)
    counts = ((place >= 1) & (coming != -1)).astype(states.dtype)
    positive = jnp.where(coming >= 0, coming, jnp.maximum(-2 - coming, 0))
    return mean(_sampled(states, positive, known, table, key, negatives), counts)


def _sampled(states, positive, known, table, key, negatives: int):
    """[B, P] -log of a positive's share among itself and drawn items, those in `known` [B, I] left out.

    Args:
      states: [B, P, D], or [B, 1, D] one for all positives [B, P]; table: of `table_of`.
    """
    vectors, bias = table
    drawn = jax.random.randint(key, (negatives,), 0, len(bias))
    own = jnp.sum(states * vectors[positive], -1) + bias[positive]
    others = states @ vectors[drawn].T + bias[drawn][None, None]  # [B, P or 1, n]
    others = jnp.where(known[:, None, drawn], jnp.finfo(others.dtype).min, others)
    return jnp.logaddexp(own, jax.nn.logsumexp(others, axis=-1)) - own
