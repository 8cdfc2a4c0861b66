"""Losses on the channels of one map: how they go together, and what can be made of some without the others."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from kdjax.losses import masks
from kdjax.losses.common import convolution, dot, map_pair, normalise, pool_to_smaller, positions, unit


def ickd(student, teacher, labels, *, layer=-1):
    """Squared difference of the products of channels. Liu et al. 2021 (ICKD-C), ICCV, arXiv:2202.03680.

    Products over positions of all pairs of channels, each row of unit length; the sum over the teacher's C^2 pairs over
    C, mean over examples. The student's map goes through a 1x1 convolution and BatchNorm first, as in the authors'
    ICKD.py.

    Args:
      layer: the map, an int or a pair (student's, teacher's).
    """
    s, t = map_pair("ickd", student, teacher, layer, aligned=False)
    s = normalise(convolution(s, t.shape[-1], 1, "embed", use_bias=False), "norm", student.mask)
    s, t = _products(masks.clear(s, student.mask)), _products(t)
    return jnp.sum(optax.squared_error(s, t)) / (len(t) * t.shape[-1])


def _products(x):
    """[B, H, W, C] -> [B, C, C]."""
    x = positions(x)
    return unit(dot("bnc,bnd->bcd", x, x))


def mgd(student, teacher, labels, *, key, layer=-1, masked=0.15):
    """The teacher's map made from a part of the student's channels. Yang et al. 2022 (MGD), arXiv:2205.01529.

    Squared difference, summed over a map and mean over examples: the sum grows with the map, which is why weights are
    so small. Two 3x3 convolutions make it, after a 1x1 one where the channels differ, as in cls_KD's mgd.py.

    Args:
      layer: the map, an int or a pair (student's, teacher's).
      masked: fraction of each example's channels that are set to 0, drawn anew every step.
    """
    s, t = map_pair("mgd", student, teacher, layer)
    s, t = pool_to_smaller(s, t)
    width, mask = t.shape[-1], masks.shared(student, teacher)
    if s.shape[-1] != width:
        s = convolution(s, width, 1, "align")
    kept = jax.random.uniform(key, (len(s), 1, 1, width)) >= masked
    made = nn.relu(convolution(masks.clear(jnp.where(kept, s, 0.0), mask), width, 3, "generation0"))
    made = convolution(masks.clear(made, mask), width, 3, "generation1")
    return jnp.sum(masks.clear(optax.squared_error(made, t), mask)) / len(t)
