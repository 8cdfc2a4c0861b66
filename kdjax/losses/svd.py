"""Distillation of singular vectors, with a derivative of the decomposition that stays finite."""

import functools
import itertools

import jax
import jax.numpy as jnp
import optax

from kdjax.losses.common import dot, maps, positions, same_channels, unit


def kdsvd(student, teacher, labels, *, layers=None, rank=1):
    """Relations between the singular vectors of successive maps. Lee et al. 2018, arXiv:1807.06819.

    Right singular vectors of each map [HW, C], the student's matched to the teacher's in order and sign and scaled by
    the teacher's singular values. Compared are exp(-(v_i - w_j)^2 / 8) for all pairs of channels of successive maps:
    squared difference, sum over pairs and over maps, mean over the batch. RepDistiller's KDSVD.py does so;
    mdistiller's decomposes [CH, W].

    Args:
      layers: at least two maps, ints or pairs (student's, teacher's); None: all but the first.
      rank: singular vectors of the teacher; the student offers three more to choose from.

    Raises:
      ValueError: one map, or maps of student and teacher that differ in channels.
    """
    pairs = maps("kdsvd", student, teacher, layers)
    if len(pairs) < 2:
        raise ValueError(f"kdsvd: needs at least two maps, between which it looks; got {len(pairs)}")
    same_channels("kdsvd", pairs)
    vectors = [_aligned(positions(s), positions(t), rank) for s, t in pairs]
    total = 0.0
    for (s, t), (next_s, next_t) in itertools.pairwise(vectors):
        total += jnp.sum(optax.squared_error(_kernel(s, next_s), _kernel(t, next_t))) / len(s)
    return total


def _aligned(s, t, rank):
    """([B, C, rank], [B, C, rank]) singular vectors of s and t [B, HW, C], scaled by the singular values of t."""
    values, vectors = _decompose(t, rank)
    vectors = jnp.where(jnp.sum(vectors, 1, keepdims=True) < 0, -vectors, vectors)  # a sign of its own, not LAPACK's
    _, offered = _decompose(s, rank + 3)
    cosine = jax.lax.stop_gradient(dot("bcm,bcn->bmn", offered, vectors))
    best = jax.nn.one_hot(jnp.argmax(jnp.abs(cosine), 1), cosine.shape[1], axis=1, dtype=s.dtype)
    chosen = dot("bcm,bmn->bcn", offered, best * jnp.sign(cosine))
    scale = unit(values)[:, None, :]
    return chosen * scale, vectors * scale


def _kernel(a, b):
    """[B, C, n], [B, C', n] -> [B, C, C', n]."""
    return jnp.exp(-jnp.square(a[:, :, None, :] - b[:, None, :, :]) / 8)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _decompose(x, rank):
    """The largest singular values [B, n] and their right singular vectors [B, C, n] of x [B, M, C]; n at most rank."""
    _, values, rows = jnp.linalg.svd(x, full_matrices=False)
    return values[:, :rank], jnp.swapaxes(rows, 1, 2)[:, :, :rank]


@_decompose.defjvp
def _decompose_jvp(rank, primals, tangents):
    """Derivative of the thin decomposition, 1/x regularised to x / (x^2 + e^2).

    Equal singular values, as those of a map that is 0, have no derivative: there it would be infinite.
    """
    (x,), (dx,) = primals, tangents
    u, s, vt = jnp.linalg.svd(x, full_matrices=False)
    scale = jnp.maximum(s[:, :1], 1e-12)
    s, dx = s / scale, dx / scale[..., None]
    dp = dot("bmi,bmj->bij", u, dot("bmc,bjc->bmj", dx, vt))
    gap = jnp.square(s)[:, None, :] - jnp.square(s)[:, :, None]
    inner = _inverse(gap) * (s[:, :, None] * dp + jnp.swapaxes(dp, 1, 2) * s[:, None, :])
    outer = dot("bmc,bmj->bcj", dx, u)
    outer = (outer - dot("bic,bij->bcj", vt, dot("bic,bcj->bij", vt, outer))) * _inverse(s)[:, None, :]
    dv = dot("bic,bij->bcj", vt, inner) + outer
    ds = jnp.diagonal(dp, axis1=1, axis2=2) * scale
    v = jnp.swapaxes(vt, 1, 2)
    return ((s * scale)[:, :rank], v[:, :, :rank]), (ds[:, :rank], dv[:, :, :rank])


def _inverse(x):
    return x / (jnp.square(x) + 1e-10)
