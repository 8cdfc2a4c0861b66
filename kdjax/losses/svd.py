"""Distillation of singular vectors, the largest found by products alone.

Batched LAPACK routines inside a training step stall XLA's CPU thread pool, run one matrix after the other on GPUs, and
have derivatives that are infinite where singular values coincide.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import optax

from kdjax.losses.common import dot, maps, norm, positions, same_channels, unit

STEPS, MORE_STEPS = 60, 500
"""Of the iterations below, for the first singular vector alone and for more, which lie closer to each other."""


def kdsvd(student, teacher, labels, *, layers=None, rank=1):
    """Relations between the singular vectors of successive maps. Lee et al. 2018, arXiv:1807.06819.

    Right singular vectors of each map [HW, C], the student's matched to the teacher's in order and sign, both scaled by
    the teacher's singular values (of unit length). Compared are exp(-(v_i - w_j)^2 / 8) for all pairs of channels of
    successive maps: squared difference, sum over pairs and over maps, mean over the batch. RepDistiller's KDSVD.py does
    so; mdistiller's decomposes [CH, W]. A singular vector has no sign of its own, and the loss depends on it: here each
    of the teacher's has the one with which its entries add up to 0 or more, there the one that torch.svd returns.

    Args:
      layers: at least two maps, ints or pairs (student's, teacher's); None: all but the first.
      rank: singular vectors of the teacher; the student offers three more to choose from. More than one takes eight
        times as many iterations.

    Raises:
      ValueError: one map, or maps of student and teacher that differ in channels.
    """
    pairs = maps("kdsvd", student, teacher, layers, aligned=False)
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
    steps = STEPS if rank == 1 else MORE_STEPS
    values, vectors = _decompose(t, rank, steps)
    vectors = jnp.where(jnp.sum(vectors, 1, keepdims=True) < 0, -vectors, vectors)  # a sign of its own, not LAPACK's
    _, offered = _decompose(s, rank + 3, steps)
    cosine = jax.lax.stop_gradient(dot("bcm,bcn->bmn", offered, vectors))
    best = jax.nn.one_hot(jnp.argmax(jnp.abs(cosine), 1), cosine.shape[1], axis=1, dtype=s.dtype)
    chosen = dot("bcm,bmn->bcn", offered, best * jnp.sign(cosine))
    scale = unit(jax.lax.stop_gradient(values))[:, None, :]
    return chosen * scale, vectors * scale


def _kernel(a, b):
    """[B, C, n], [B, C', n] -> [B, C, C', n]."""
    return jnp.exp(-jnp.square(a[:, :, None, :] - b[:, None, :, :]) / 8)


def _decompose(x, rank, steps):
    """The largest singular values [B, n] and right singular vectors [B, C, n] of x [B, M, C]; n at most rank.

    Values are in units of the norm of x.
    """
    rank = min(rank, *x.shape[1:])
    if x.shape[1] >= x.shape[2]:
        squares, vectors = _eigenvectors(dot("bmc,bmd->bcd", x, x), rank, steps)
    else:
        squares, left = _eigenvectors(dot("bmc,bnc->bmn", x, x), rank, steps)
        vectors = unit(dot("bmc,bmn->bcn", x, left), axis=1)
    return jnp.sqrt(jnp.maximum(squares, 0.0)), vectors


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _eigenvectors(x, count, steps):
    """The largest eigenvalues [B, count] and their eigenvectors [B, N, count] of positive semidefinite x [B, N, N].

    Eigenvalues are in units of their sum. Orthogonal iteration: an error falls by the ratio of the next eigenvalue to
    this one a step. Maps are rectified, so the first eigenvalue stands far out and its vector is exact after a few
    steps; later ones, to which the student's may be matched, are as good as their distance from each other.
    """
    x = x / jnp.maximum(jnp.trace(x, axis1=1, axis2=2), 1e-24)[:, None, None]
    start = jax.random.normal(jax.random.key(0), (x.shape[1], count), x.dtype)
    start = jnp.broadcast_to(start, (len(x), *start.shape))
    vectors = jax.lax.fori_loop(0, steps, lambda _, v: _orthonormal(_times(x, v)), start)
    return jnp.sum(vectors * _times(x, vectors), 1), vectors


def _orthonormal(x):
    """Gram-Schmidt on the columns of x [B, N, n]; a column that depends on those before becomes 0, not noise."""
    columns = []
    for i in range(x.shape[-1]):
        column = unit(x[:, :, i : i + 1], axis=1)
        for _ in range(2):  # once leaves errors where little of a column is left
            for other in columns:
                column = column - other * jnp.sum(other * column, 1, keepdims=True)
            column = jnp.where(norm(column, axis=1) > 1e-5, unit(column, axis=1), 0.0)
        columns.append(column)
    return jnp.concatenate(columns, -1)


@_eigenvectors.defjvp
def _eigenvectors_jvp(count, steps, primals, tangents):
    """First-order perturbation, finite everywhere.

    Along the vectors found, 1/gap of two eigenvalues is gap / (gap^2 + 1e-10). Along the others, the inverse of
    (eigenvalue - x) is its Neumann series, cut off.
    """
    (x,), (dx,) = primals, tangents
    values, vectors = _eigenvectors(x, count, steps)
    scale = jnp.maximum(jnp.trace(x, axis1=1, axis2=2), 1e-24)[:, None, None]
    x, pushed = x / scale, _times(dx / scale, vectors)
    inner = dot("bin,bim->bnm", vectors, pushed)
    gap = values[:, None, :] - values[:, :, None]
    along = _times(vectors, inner * gap / (jnp.square(gap) + 1e-10))
    floor = jnp.maximum(values, 1e-4)[:, None, :]

    def outside(y):
        return y - _times(vectors, dot("bin,bim->bnm", vectors, y))

    right = outside(pushed) / floor
    across = jax.lax.fori_loop(0, steps, lambda _, y: outside(_times(x, y)) / floor + right, right)
    slopes = jnp.diagonal(inner, axis1=1, axis2=2)
    return (values, vectors), (slopes, along + across)


def _times(a, b):
    return dot("bij,bjn->bin", a, b)
