"""Padding in a loss: what stands at it is 0 in every map, and no mean counts it.

Sizes: B examples, T tokens; a mask [B, T] is true where a token is no padding, and None where there is none, as of
images: everything here is then what it would be without.
"""

import math

import jax
import jax.numpy as jnp


def shared(student, teacher) -> jax.Array | None:
    """The mask of two networks whose positions stand for each other: the student's, or the teacher's."""
    return teacher.mask if student.mask is None else student.mask


def along(mask, x) -> jax.Array:
    """The mask [B, T] with axes of size 1 behind, as many as x [B, T, ...] has."""
    return mask.reshape(*mask.shape, *[1] * (x.ndim - 2))


def clear(x, mask) -> jax.Array:
    """x [B, T, ...] with zeros at the padding."""
    return x if mask is None else jnp.where(along(mask, x), x, jnp.zeros((), x.dtype))


def mean(x, mask) -> jax.Array:
    """Mean of x [B, T, ...] over all but the padding, each position of a batch counting alike; 0 if all is padding."""
    if mask is None:
        return jnp.mean(x)
    count = jnp.sum(mask, dtype=x.dtype) * math.prod(x.shape[2:])
    return jnp.sum(clear(x, mask)) / jnp.maximum(count, 1.0)


def mean_of_each(x, mask) -> jax.Array:
    """[B, T, 1, C] or a map [B, H, W, C] -> [B, C], the mean over the positions of each example."""
    if mask is None:
        return x.mean((1, 2))
    return clear(x, mask).sum((1, 2)) / lengths(mask, x)[:, None]


def lengths(mask, x) -> jax.Array:
    """[B], how many positions of each example are no padding, at least 1; of those of x [B, T, ...] without a mask."""
    if mask is None:
        return jnp.full(len(x), x.shape[1], x.dtype)
    return jnp.maximum(jnp.sum(mask, 1, dtype=x.dtype), 1.0)


def mean_of_pairs(x, mask) -> jax.Array:
    """Mean of x [B, heads, T, T] over heads and all pairs of tokens of which none is padding."""
    if mask is None:
        return jnp.mean(x)
    both = mask[:, None, :, None] & mask[:, None, None, :]
    return jnp.sum(jnp.where(both, x, 0.0)) / jnp.maximum(x.shape[1] * jnp.sum(both, dtype=x.dtype), 1.0)


def mean_of_rows(x, mask) -> jax.Array:
    """Mean of x [B, heads, T] over heads and all tokens but padding."""
    return mean(jnp.swapaxes(x, 1, 2), mask)
