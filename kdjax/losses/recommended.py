"""Losses on the teacher's list of a user: the items that it ranks first of all that the user has not had.

Sizes: B users, I items, K places of the list. The list is made of the teacher's scores [B, I] of the batch, which is
the list of the whole catalogue; the items in the user's target are not in it.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from kdjax.losses.common import logits, logits_of
from kdjax.losses.items import at, items_of


class Listed(NamedTuple):
    """The teacher's first items."""

    items: jax.Array  # [B, K], of groups of items [B, G, K]
    scores: jax.Array  # the same, its scores of them; of groups -inf where there are no more


class Ranked(NamedTuple):
    """What the losses here look at."""

    scores: jax.Array  # [B, I] the student's
    first: jax.Array  # [B, K] the teacher's first items
    taught: jax.Array  # [B, K] its scores of them
    known: jax.Array  # [B, I] bool, items of the user's target


def ranked(loss: str, student, teacher, target, top: int) -> Ranked:
    """The student's scores and the teacher's first `top` items for each user, those that are kept where they are.

    Raises:
      ValueError: the catalogue has fewer items.
    """
    s, _ = logits(loss, student, teacher)
    if top >= s.shape[-1]:
        raise ValueError(f"{loss}: a list of {top} items of a catalogue of {s.shape[-1]}; it must be shorter")
    items, scores = teacher.listed if teacher.listed is not None else first_items(loss, teacher, target, top)
    return Ranked(s, items, scores, items_of(loss, target, s.shape[-1]).known)


def first_items(loss: str, teacher, target, top: int) -> Listed:
    """The `top` items that a teacher ranks first of all that are not in the user's target."""
    t = logits_of(loss, "teacher", teacher)
    _, items = jax.lax.top_k(jnp.where(items_of(loss, target, t.shape[-1]).known, -jnp.inf, t), top)
    return Listed(items, at(t, items))


def lists(places: Callable) -> Callable:
    """Says of a loss that of a teacher it reads so many first items: `places` of its hyperparameters."""

    def said(loss):
        def made(teacher, target, train_labels, **hyper) -> Listed:
            return first_items(loss.__name__, teacher, target, places(hyper))

        loss.lists = made
        return loss

    return said


@lists(lambda hyper: hyper["top"])
def rd(student, teacher, target, *, key, top=10, decay=1.0, sharpness=0.1, samples=100):
    """Ranking Distillation, of which this is the term beside the base loss. Tang and Wang 2018, arXiv:1809.07428.

    Mean over users of -sum_r w_r log sigmoid(s of the teacher's r-th item), w_r = exp(-r / decay) / sum times, with
    `samples`, max(0, tanh(sharpness (R - r + 1))), where R is the student's own rank of the item, 0 the first, guessed
    from so many drawn items. As in the authors' code static ranks count from 1 and dynamic ones from 0, and weights are
    not made to add up to 1 again. Theirs has weight 0.5 and adds the dynamic weights after some epochs.

    Args:
      target: items [B, L] (kdjax.losses.items) or classes [B].
      top: K; samples: 0 leaves the dynamic weights out.
    """
    scores, first, *_ = ranked("rd", student, teacher, target, top)
    found = at(scores, first)
    weights = static_weights(top, decay)[None]
    if samples:
        drawn = jax.random.randint(key, (len(scores), samples), 0, scores.shape[-1])
        weights = weights * dynamic_weights(found, at(scores, drawn), scores.shape[-1], sharpness)
    return jnp.mean(jnp.sum(weights * jax.nn.softplus(-found), -1))


def static_weights(top: int, decay: float):
    """[K] how much each place of the teacher's list counts."""
    return jax.nn.softmax(-jnp.arange(1, top + 1, dtype=jnp.float32) / decay)


def dynamic_weights(found, drawn, items: int, sharpness: float):
    """[B, K] how far the student ranks the teacher's items too low: 0 where it has them high.

    Args:
      found: [B, K] its scores of the teacher's items; drawn: [B, n] of some of all `items`.
    """
    share = jnp.mean(drawn[:, None, :] > found[:, :, None], axis=-1, dtype=found.dtype)
    rank = jnp.floor((items - 1) * share)
    weights = jnp.maximum(jnp.tanh(sharpness * (rank - jnp.arange(found.shape[1], dtype=found.dtype)[None])), 0.0)
    return jax.lax.stop_gradient(weights)


@lists(lambda hyper: hyper["pool" if hyper["sample"] else "top"])
def rrd(student, teacher, target, *, key, top=40, others=40, sample=False, pool=200, spread=10.0):
    """Relaxed Ranking Distillation. Kang et al. 2020, arXiv:2012.04357.

    Mean over users of -sum_k (s_k - log(sum_{j >= k} exp s_j + sum_n exp s_n)): the likelihood of the order of the
    teacher's first items, each before `others` drawn ones, among which no order counts. The authors' code sums over
    users. Drawn are items beyond the teacher's first `top`, evenly and with replacement; those that the user has had do
    not count.

    Args:
      target: items [B, L] (kdjax.losses.items) or classes [B].
      top: K; others: how many are drawn.
      sample: draw the K of the teacher's first `pool` places, place r with probability ~ exp(-r / spread), as the paper
        does. The authors' README: without it results are considerably better.
    """
    scores, first, _, known = ranked("rrd", student, teacher, target, pool if sample else top)
    choice, draw = jax.random.split(key)
    excluded = known.at[jnp.arange(len(known))[:, None], first].set(True)
    if sample:
        if top > pool:
            raise ValueError(f"rrd: top={top} items cannot be drawn from a pool of {pool}")
        noise = jax.random.gumbel(choice, first.shape) - jnp.arange(pool, dtype=scores.dtype)[None] / spread
        places = jnp.sort(jax.lax.top_k(noise, top)[1], axis=-1)
        first = jnp.take_along_axis(first, places, axis=1)
    drawn = jax.random.randint(draw, (len(scores), others), 0, scores.shape[-1])
    beyond = jnp.where(at(excluded, drawn), jnp.finfo(scores.dtype).min, at(scores, drawn))
    return relaxed(at(scores, first), beyond)


def relaxed(first, beyond):
    """Mean over users of the negative log likelihood that `first` [B, K] stand in this order before `beyond` [B, n]."""
    rest = jax.nn.logsumexp(beyond, axis=-1, keepdims=True)
    after = jax.lax.cumlogsumexp(first, axis=1, reverse=True)
    return jnp.mean(jnp.sum(jnp.logaddexp(after, rest) - first, -1))


@lists(lambda hyper: 4 * hyper["samples"])
def cd(student, teacher, target, *, key, samples=50, spread=50.0):
    """Collaborative Distillation, its term beside the base loss. Lee et al. 2019, arXiv:1911.05276.

    Mean over users and drawn items of the binary cross-entropy of the student's sigmoid with the teacher's. Of what the
    user has not had the r-th item of the teacher's list is drawn with probability ~ exp(-r / spread), so that it
    teaches what it finds likely; each item at most once. No golden: written after the paper.

    Args:
      target: items [B, L] (kdjax.losses.items) or classes [B].
      samples: items drawn for each user, of the teacher's first 4 `samples`.
    """
    pool = 4 * samples
    scores, first, taught, _ = ranked("cd", student, teacher, target, pool)
    noise = jax.random.gumbel(key, first.shape) - jnp.arange(pool, dtype=scores.dtype)[None] / spread
    places = jax.lax.top_k(noise, samples)[1]
    s, q = at(scores, at(first, places)), jax.nn.sigmoid(at(taught, places))
    return jnp.mean(jax.nn.softplus(s) - q * s)


def unkd(student, teacher, target, *, key, train_labels, groups=2, pairs=30, pool=200, spread=20.0, even=1.0):
    """Unbiased Knowledge Distillation, its term beside the base loss. Chen et al. 2023, arXiv:2211.14729.

    Mean over users of sum_g w_g mean over pairs of -log sigmoid(s_p - s_n): a pair is of one group of items alike in
    popularity, and of two places of the teacher's list of that group, drawn with probability ~ exp(-r / spread), p is
    the first; so popular items are compared with popular ones, and what popularity does to the teacher's scores teaches
    nobody. Groups have the same number of training interactions; w_g ~ (highest + lowest - own mean popularity)^even,
    at least a tenth. As in the authors' code a user's share of a group does not count (they compute it and do not use
    it); they draw w_g of the pairs where every group has as many here, weighted.

    Args:
      target: items [B, L] (kdjax.losses.items) or classes [B]; train_labels: those of all users, [N, L].
      groups: G; pairs: drawn in each; pool: of the teacher's first so many items of a group that a user has not had.
    """
    scores, _ = logits("unkd", student, teacher)
    if pool >= scores.shape[-1] // groups:
        raise ValueError(f"unkd: pool={pool} items of each of {groups} groups of a catalogue of {scores.shape[-1]}")
    _, weights = popularity_groups(train_labels, scores.shape[-1], groups, even)
    every = teacher.listed
    if every is None:
        every = _first_of_groups(teacher, target, train_labels, groups=groups, pool=pool, even=even)
    value = 0.0
    for number in range(groups):
        first, found = every.items[:, number], every.scores[:, number]
        places = -jnp.arange(pool, dtype=scores.dtype) / spread
        drawn = jnp.where(jnp.isfinite(found), places[None], -jnp.inf)[:, None, None]
        shape = (len(scores), pairs, 2)
        place = jnp.sort(jax.random.categorical(jax.random.fold_in(key, number), drawn, shape=shape), axis=-1)
        own = at(scores, jnp.take_along_axis(first, place.reshape(len(scores), -1), axis=1)).reshape(shape)
        counts = (place[..., 0] < place[..., 1]) & jnp.isfinite(found[:, 1])[:, None]  # of one place nothing is learned
        lost = jnp.where(counts, jax.nn.softplus(own[..., 1] - own[..., 0]), 0.0)
        value += weights[number] * jnp.mean(lost.sum(1) / jnp.maximum(counts.sum(1, dtype=scores.dtype), 1.0))
    return value


def _first_of_groups(teacher, target, train_labels, *, groups, pool, even, **_) -> Listed:
    """The teacher's first `pool` items of each group that are not in the user's target."""
    t = logits_of("unkd", "teacher", teacher)
    known = items_of("unkd", target, t.shape[-1]).known
    group, _ = popularity_groups(train_labels, t.shape[-1], groups, even)
    allowed = (group[None] == jnp.arange(groups)[:, None])[None] & ~known[:, None]  # [B, G, I]
    # XLA makes a top_k of a sort and the slice of its first places; without the barrier it merges that slice with those
    # that the loss takes of the result, finds no top_k and, on CPUs, sorts the whole catalogue.
    scores, items = jax.lax.optimization_barrier(jax.lax.top_k(jnp.where(allowed, t[:, None], -jnp.inf), pool))
    return Listed(items, scores)


unkd.lists = _first_of_groups


def popularity_groups(train_labels, items: int, groups: int, even: float) -> tuple:
    """([I] the group of each item, 0 the most popular; [G] their weights, whose sum is 1), of all targets [N, L]."""
    labels = train_labels.reshape(-1)
    taken = jnp.where(labels >= 0, labels, items)
    count = jnp.zeros(items + 1).at[taken].add(1.0)[:items]
    order = jnp.argsort(-count)
    before = jnp.cumsum(count[order]) - count[order]
    group = jnp.minimum((groups * before / jnp.maximum(count.sum(), 1.0)).astype(jnp.int32), groups - 1)
    group = jnp.zeros(items, jnp.int32).at[order].set(group)
    member = jax.nn.one_hot(group, groups)
    mean = (count @ member) / jnp.maximum(member.sum(0), 1.0)
    share = mean.max() + mean.min() - mean
    share = jnp.maximum(share / share.sum(), 0.1) ** even
    return group, share / share.sum()
