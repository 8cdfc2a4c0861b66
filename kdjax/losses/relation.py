"""Losses on relations between the examples of a batch; a batch of one example has none, and its loss is 0."""

import jax
import jax.numpy as jnp
import optax

from kdjax.losses.common import dot, embedding_of, embeddings, labelled_mean, linear, map_pair, unit


def similarity(student, teacher, labels, *, layer=-1):
    """Squared difference of the similarities between examples. Tung and Mori 2019 (SP), arXiv:1907.09682.

    Products of the flattened maps of all pairs of examples, each row of unit length, mean over the B^2 pairs.

    Args:
      layer: the map, an int or a pair (student's, teacher's).
    """
    s, t = map_pair("similarity", student, teacher, layer, aligned=False)
    return jnp.mean(optax.squared_error(_similarities(s), _similarities(t)))


def _similarities(x):
    """[B, ...] -> [B, B]."""
    x = x.reshape(len(x), -1)
    return unit(dot("id,jd->ij", x, x))


def rkd(student, teacher, labels, *, distance_weight=25.0, angle_weight=50.0):
    """Distances of pairs and angles of triples of embeddings, smooth L1. Park et al. 2019 (RKD), arXiv:1904.05068.

    Distances are divided by their mean, so widths and scales may differ. Weights are those of RepDistiller.
    """
    s, t = embeddings("rkd", student, teacher)
    s, t = _differences(s), _differences(t)
    distance = jnp.mean(optax.losses.huber_loss(_distances(s), _distances(t)))
    angle = jnp.mean(optax.losses.huber_loss(_angles(s), _angles(t)))
    return distance_weight * distance + angle_weight * angle


def _differences(x):
    """[B, D] -> [B, B, D]."""
    return x[None, :, :] - x[:, None, :]


def _distances(differences):
    """[B, B, D] -> [B, B] distances in units of their mean, 0 on the diagonal."""
    size = len(differences)
    # Clamped before the root: at coinciding embeddings its gradient would be infinite.
    distances = jnp.sqrt(jnp.maximum(jnp.sum(jnp.square(differences), -1), 1e-12))
    distances = jnp.where(jnp.eye(size, dtype=bool), 0.0, distances)
    return distances * max(size * (size - 1), 1) / jnp.maximum(jnp.sum(distances), 1e-12)


def _angles(differences):
    """[B, B, D] -> [B, B, B]: at example i, the cosine of the angle between examples j and k."""
    directions = unit(differences)
    return dot("ijd,ikd->ijk", directions, directions)


def pkt(student, teacher, labels):
    """KL divergence of neighbour probabilities from cosine similarities. Passalis and Tefas 2018, arXiv:1803.10837.

    Mean over the B^2 pairs, as in RepDistiller's PKT.py.
    """
    s, t = (_neighbours(x) for x in embeddings("pkt", student, teacher))
    # log1p of the relative difference: the loss is a small difference of large terms.
    return jnp.mean(t * jnp.log1p((t - s) / (s + 1e-7)))


def _neighbours(x):
    """[B, D] -> [B, B], rows sum to 1."""
    x = unit(x)
    similarity = (dot("id,jd->ij", x, x) + 1) / 2
    return similarity / jnp.sum(similarity, -1, keepdims=True)


def itrd(student, teacher, labels, *, alpha=1.01, correlation_weight=2.0, mutual_weight=1.0):
    """Correlation of each dimension and similarity of examples. Miles et al. 2022 (ITRD), BMVC, arXiv:2112.00459.

    The first part is log2 of the sum over dimensions of |1 - correlation over the batch|^(2 alpha), embeddings of the
    student being projected linearly; the second the sum over pairs of examples of the student's squared similarities
    less those of the products with the teacher's, each matrix divided by its trace, projected where widths differ. As
    in the authors' IT.py: its covariance is divided by B and its deviations are samples', so that a correlation of 1
    counts as (B - 1) / B.

    Args:
      alpha: order of the entropy.
    """
    s, t = embeddings("itrd", student, teacher)
    projected = linear(s, t.shape[-1], "embed")
    return correlation_weight * _uncorrelated(projected, t, alpha) + mutual_weight * _surplus(
        s if s.shape == t.shape else projected, t
    )


def _uncorrelated(s, t, alpha):
    """log2 of the sum over dimensions of |1 - correlation|^(2 alpha), of embeddings [B, D]."""
    s, t = (unit(x - jnp.mean(x, 0, keepdims=True), axis=0) for x in (s, t))
    correlations = jnp.sum(s * t, 0) * (len(s) - 1) / len(s)
    return jnp.log2(jnp.sum((1 - correlations) ** (2 * alpha)))


def _surplus(s, t):
    """Sum of squares of the student's similarities less that of the products with the teacher's, of traces 1."""
    s, t = (dot("id,jd->ij", x, x) for x in (unit(s), unit(t)))
    joint = s * t
    s, joint = (x / jnp.maximum(jnp.trace(x), 1e-12) for x in (s, joint))
    return jnp.sum(jnp.square(s)) - jnp.sum(jnp.square(joint))


def correlation(student, teacher, labels, *, dim=128):
    """Products of the differences of successive examples. Peng et al. 2019 (CC), arXiv:1904.01802.

    |student - teacher| of one example times that of the next, summed over dimensions, mean over neighbours, as in the
    authors' code and RepDistiller's CC.py; the paper's correlation kernels are something else. Depends on the order
    of the batch.

    Args:
      dim: width to which a dense layer each, both trained, takes the embeddings; None: embeddings as they are.
    """
    s, t = embeddings("correlation", student, teacher)
    if dim is not None:
        s, t = linear(s, dim, "student_embed"), linear(t, dim, "teacher_embed")
    if s.shape != t.shape:
        raise ValueError(f"correlation: embeddings have shapes {s.shape} and {t.shape}; dim=128 gives them one width")
    difference = jnp.abs(s - t)
    return jnp.sum(difference[:-1] * difference[1:]) / max(len(s) - 1, 1)


def in_batch(student, teacher, labels, *, temperature=0.1):
    """Cross-entropy of each example with those of its class among all others of the batch, by the cosine of embeddings.

    In-batch negatives with any number of positives: the supervised contrastive loss, its sum outside the logarithm,
    Khosla et al. 2020, arXiv:2004.11362, eq. 2. Mean over the labelled examples that have another of their class in the
    batch; those without a label are negatives of none. Needs no teacher.
    """
    s = embedding_of("in_batch", "student", student)
    if labels.ndim != 1:
        raise ValueError(
            f"in_batch: needs one class for each example, [B] integers; got labels of shape {labels.shape}"
        )
    known = (labels >= 0)[None, :] & ~jnp.eye(len(s), dtype=bool)
    alike = (labels[:, None] == labels[None, :]) & known & (labels >= 0)[:, None]
    log_p = _among_others(s, known, temperature)
    count = jnp.sum(alike, axis=1, dtype=s.dtype)
    each = -jnp.sum(jnp.where(alike, log_p, 0.0), axis=1) / jnp.maximum(count, 1.0)
    return labelled_mean(each, count > 0)


def in_batch_kl(student, teacher, labels, *, temperature=0.1):
    """KL(teacher's || student's) of the softmax over the others of the batch of cosines / temperature, a mean.

    What `kd` is for classes, of a search among the batch: Fang et al. 2021 (SEED), arXiv:2101.04731, with the batch in
    place of their queue. Widths may differ.
    """
    s, t = embeddings("in_batch_kl", student, teacher)
    others = ~jnp.eye(len(s), dtype=bool)
    log_s, log_t = (_among_others(x, others, temperature) for x in (s, t))
    return jnp.mean(jnp.sum(jnp.where(others, jnp.exp(log_t) * (log_t - log_s), 0.0), axis=1))


def _among_others(x, counts, temperature):
    """[B, D] -> [B, B] log probabilities of each example's neighbours, those that count."""
    x = unit(x)
    return jax.nn.log_softmax(jnp.where(counts, dot("id,jd->ij", x, x) / temperature, -1e30), axis=1)
