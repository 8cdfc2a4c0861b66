"""Losses on ranked lists: scores [B, L] of a list's items beside their grades, or beside the teacher's scores.

Sizes: B lists (queries), L items. The grades [B, L] are 0 or more, and below 0 (-1) at padding, which counts in no
loss: every value and gradient is the same with more of it. Pairs are of items of one list.
"""

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.losses import masks
from kdjax.losses.common import labelled_mean, logits, logits_of

FAR = -1e30
"""In place of a padded item's score, where a softmax is to leave it out."""


def listnet(student, teacher, grades):
    """Cross-entropy of the softmax over a list of the scores with that of the grades, mean over lists.

    Cao et al. 2007 (doi:10.1145/1273496.1273513), top one; as allRank has it, but for the 1e-10 that it adds
    to probabilities. Needs no teacher. A list whose grades are all equal asks for equal scores.
    """
    s, valid = _student("listnet", student, grades)
    target = jnp.exp(_log_softmax(grades.astype(s.dtype), valid))
    return -jnp.mean(jnp.sum(masks.clear(target * _log_softmax(s, valid), valid), axis=-1))


def ranknet(student, teacher, grades, *, order="grades"):
    """log(1 + exp(s_j - s_i)), mean over a batch's pairs of items of which i stands above j.

    Burges et al. 2005 (doi:10.1145/1102351.1102363).

    Args:
      order: what says which stands above: "grades", without need of a teacher, or "teacher", its scores. Pairs that
        tie there do not count.
    """
    if order == "grades":
        s, valid = _student("ranknet", student, grades)
        by = grades
    else:
        s, by, valid = _both("ranknet", student, teacher, grades)
    pairs = _above(by, valid)
    return labelled_mean(jax.nn.softplus(-_differences(s)), pairs)


def lambdarank(student, teacher, grades):
    """The pairs of `ranknet`, each times the nDCG that exchanging its items changes: a sum a list, mean over lists.

    Burges et al. 2006 (LambdaRank), as a loss: Wang et al. 2018 (doi:10.1145/3269206.3271784). Gains are 2^grade - 1,
    ranks those of the student's scores, through which no gradient goes. Needs no teacher. rax has L times as much.
    """
    s, valid = _student("lambdarank", student, grades)
    gains, ideal = _gains(grades, valid, s.dtype)
    held = jnp.where(valid, jax.lax.stop_gradient(s), -jnp.inf)
    ranks = 1 + jnp.argsort(jnp.argsort(-held, axis=-1), axis=-1)
    discounts = 1 / jnp.log2(1 + ranks.astype(s.dtype))
    changes = jnp.abs(_differences(gains) * _differences(discounts)) / jnp.where(ideal > 0, ideal, 1.0)[:, None, None]
    terms = jnp.where(_above(grades, valid), changes * jax.nn.softplus(-_differences(s)), 0.0)
    return jnp.mean(jnp.sum(terms, axis=(1, 2)))


def approx_ndcg(student, teacher, grades, *, temperature=0.1):
    """1 - nDCG of ranks that a sigmoid makes smooth: 1 + sum over others j of sigmoid((s_j - s_i) / temperature).

    Qin et al. 2010 (doi:10.1007/s10791-009-9124-x), mean over the lists that have a relevant item. Gains are
    2^grade - 1; the temperature is TF-Ranking's (rax has 1). Needs no teacher.
    """
    s, valid = _student("approx_ndcg", student, grades)
    gains, ideal = _gains(grades, valid, s.dtype)
    others = valid[:, None, :] & ~jnp.eye(s.shape[1], dtype=bool)[None]
    ranks = 1 + jnp.sum(jnp.where(others, jax.nn.sigmoid(-_differences(s) / temperature), 0.0), axis=-1)
    found = jnp.sum(gains / jnp.log2(1 + ranks), axis=-1)
    return labelled_mean(1 - found / jnp.where(ideal > 0, ideal, 1.0), ideal > 0)


def score_mse(student, teacher, grades):
    """Mean of (student's score - teacher's)^2 over the items of a batch. Needs scores on one scale; see margin_mse."""
    s, t, valid = _both("score_mse", student, teacher, grades)
    return masks.mean(jnp.square(s - t), valid)


def margin_mse(student, teacher, grades):
    """Mean of ((s_i - s_j) - (t_i - t_j))^2 over a batch's pairs of which item i has the higher grade.

    Hofstätter et al. 2020, arXiv:2010.02666: margins are signed. Theirs are pairs of a relevant document and another,
    which these are where grades are 0 and 1.
    """
    s, t, valid = _both("margin_mse", student, teacher, grades)
    return labelled_mean(jnp.square(_differences(s - t)), _above(grades, valid))


def list_kl(student, teacher, grades, *, temperature=1.0):
    """temperature^2 KL(teacher's softmax over a list || student's), mean over lists: what `kd` is for classes.

    With temperature 1 that of sentence-transformers' DistillKLDivLoss, and of ListNet on the teacher's scores.
    """
    s, t, valid = _both("list_kl", student, teacher, grades)
    log_s, log_t = (_log_softmax(x / temperature, valid) for x in (s, t))
    divergence = jnp.sum(masks.clear(jnp.exp(log_t) * (log_t - log_s), valid), axis=-1)
    return temperature**2 * jnp.mean(divergence)


def rankdistil(student, teacher, grades, *, key, samples=8, top=10, temperature=1.0):
    """-log likelihood, under the student's Plackett-Luce model, of the first items of orders drawn from the teacher's.

    Coupled RankDistil, Reddi et al. 2021 (AISTATS, "RankDistil: Knowledge distillation for ranking"), as TF-Ranking has
    it: the mean over lists and orders of -sum over ranks k <= top of (s_k - log sum over ranks j >= k of exp s_j).

    Args:
      samples: orders drawn a list and step, by adding Gumbel noise to the teacher's scores.
      top: ranks that count; lists that are shorter have fewer.
      temperature: the teacher's scores are divided by it, so that below 1 orders are nearer its own.
    """
    s, t, valid = _both("rankdistil", student, teacher, grades)
    lists, items = s.shape
    noise = jax.random.gumbel(key, (items, samples, lists), s.dtype)  # items first: more padding changes no draw
    keys = jnp.where(valid[None], t[None] / temperature + jnp.moveaxis(noise, 0, 2), -jnp.inf)
    orders = jnp.moveaxis(jnp.argsort(-keys, axis=-1), 0, 1)  # [B, samples, L], padding last
    return jnp.mean(plackett_luce(s, orders, valid, top))


def plackett_luce(scores, orders, valid, top: int):
    """[B, S] -log likelihood of the first `top` ranks of orders [B, S, L] of the items of lists, padding last."""
    scores, valid = scores[:, None], valid[:, None]  # [B, 1, L]
    along = jnp.take_along_axis(jnp.where(valid, scores, FAR), orders, axis=-1)
    remaining = jax.lax.cumlogsumexp(along, axis=2, reverse=True)
    counts = jnp.take_along_axis(valid, orders, axis=-1) & (jnp.arange(scores.shape[-1]) < top)[None, None]
    return -jnp.sum(jnp.where(counts, along - remaining, 0.0), axis=-1)


# ---- what they share


def _student(loss: str, student, grades):
    """(scores [B, L], valid [B, L])."""
    s = logits_of(loss, "student", student)
    if s.shape != grades.shape or not jnp.issubdtype(grades.dtype, jnp.floating):
        raise ValueError(
            f"{loss}: targets are {grades.dtype} {grades.shape}, scores {s.shape}; it is for ranking, a grade and a "
            "score for each item of a list"
        )
    return s, grades >= 0


def _both(loss: str, student, teacher, grades):
    """(the student's scores, the teacher's, valid), [B, L] each, all scores of padding 0."""
    s, t = logits(loss, student, teacher)
    _, valid = _student(loss, student, grades)
    return masks.clear(s, valid), masks.clear(t, valid), valid


def _log_softmax(x, valid):
    return jax.nn.log_softmax(jnp.where(valid, x, FAR), axis=-1)


def _differences(x):
    """[B, L] -> [B, L, L], x_i - x_j."""
    return x[:, :, None] - x[:, None, :]


def _above(x, valid):
    """[B, L, L], whether x_i > x_j, both no padding."""
    return (x[:, :, None] > x[:, None, :]) & valid[:, :, None] & valid[:, None, :]


def _gains(grades, valid, dtype):
    """(2^grade - 1 [B, L], the discounted sum of the best order [B])."""
    gains = jnp.where(valid, jnp.exp2(grades.astype(dtype)) - 1, 0.0)
    discounts = jnp.asarray(1 / np.log2(np.arange(2, gains.shape[1] + 2)), dtype)
    return gains, -jnp.sort(-gains, axis=-1) @ discounts
