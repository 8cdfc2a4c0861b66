"""Contrastive distillation against a memory of every training example's embedding."""

import jax
import jax.numpy as jnp

from kdjax.losses.common import dot, embeddings, linear, unit
from kdjax.types import Memory


def crd(
    student,
    teacher,
    labels,
    *,
    index,
    key,
    train_labels,
    dim=128,
    negatives=16384,
    temperature=0.07,
    momentum=0.5,
):
    """Tell the teacher's view of an example from those of other classes. Tian et al. 2020 (CRD), arXiv:1910.10699.

    Noise-contrastive estimation, in both directions, of linearly embedded and normalised embeddings (both layers are
    trained). The other side comes from two memories of the training set, updated after use with `momentum`; the
    normalising constants are those of the first batch. As in RepDistiller's crd/, but negatives are drawn with
    replacement, on the device, and scores are products with the whole memory, of which the drawn ones are kept.

    Args:
      dim: width of the embeddings compared.
      negatives: drawn for each example from the examples of other classes; an unlabelled one is a class of its own.
      temperature: 0.07 in the authors' code, 0.1 in their paper for CIFAR.
      momentum: the part of a memory that stays when its example is seen again.
    """
    s, t = embeddings("crd", student, teacher)
    s, t = unit(linear(s, dim, "student_embed")), unit(linear(t, dim, "teacher_embed"))
    size = len(train_labels)
    student_bank = Memory(name="student_bank")(_uniform, jax.random.fold_in(key, 1), size, dim)
    teacher_bank = Memory(name="teacher_bank")(_uniform, jax.random.fold_in(key, 2), size, dim)
    constants = Memory(name="log_constants")(jnp.full, (2,), jnp.inf)  # infinite: not yet known
    order = Memory(name="order")(_by_class, train_labels)

    drawn = _negatives(key, index, _class_ids(train_labels), order.value, negatives)
    chosen = jnp.concatenate([index[:, None], drawn], 1)  # [B, 1 + negatives]
    scores = jnp.stack([_scores(s, teacher_bank.value, chosen), _scores(t, student_bank.value, chosen)]) / temperature
    first = jax.nn.logsumexp(scores, (1, 2)) - jnp.log(chosen.size / size)
    constants.value = jax.lax.stop_gradient(jnp.where(jnp.isinf(constants.value), first, constants.value))
    loss = jnp.sum(_nce(scores - constants.value[:, None, None], negatives / size)) / len(s)
    student_bank.value = _updated(student_bank.value, index, s, momentum)
    teacher_bank.value = _updated(teacher_bank.value, index, t, momentum)
    return loss


def _uniform(key, size, dim):
    bound = (3 / dim) ** 0.5
    return jax.random.uniform(key, (size, dim), jnp.float32, -bound, bound)


def _class_ids(labels):
    """Labels, the unlabelled (-1) all different."""
    return jnp.where(labels < 0, -1 - jnp.arange(len(labels), dtype=labels.dtype), labels)


def _by_class(labels):
    """Positions in the training set, those of a class side by side."""
    return jnp.argsort(_class_ids(labels))


def _negatives(key, index, ids, order, count):
    """[B, count] positions in the training set, uniform over those of other classes than that of index [B]."""
    size, own = len(ids), ids[index]
    start, end = (jnp.searchsorted(ids[order], own, side=side) for side in ("left", "right"))
    others = jnp.maximum(size - (end - start), 1)[:, None]
    drawn = jax.random.randint(key, (len(index), count), 0, others, dtype=end.dtype)
    return order[(end[:, None] + drawn) % size].astype(index.dtype)


def _scores(anchors, bank, chosen):
    """[B, D], [N, D], [B, M] -> [B, M] products of each anchor with its chosen memories."""
    return jnp.take_along_axis(dot("bd,nd->bn", anchors, bank), chosen, 1)


def _nce(scores, noise):
    """-log probability [..., M] that the first of each row comes from the data, the others from the noise.

    `scores` are log probabilities; `noise` is that of a negative times their number.
    """
    log_noise = jnp.log(noise)
    total = jnp.logaddexp(scores, jnp.log(noise + 1e-7))
    return jnp.concatenate([total[..., :1] - scores[..., :1], total[..., 1:] - log_noise], -1)


def _updated(bank, index, new, momentum):
    return bank.at[index].set(unit(momentum * bank[index] + (1 - momentum) * jax.lax.stop_gradient(new)))
