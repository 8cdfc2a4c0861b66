"""Losses on feature maps, one at a time. Where resolutions differ, the larger map is average-pooled."""

import itertools

import flax.linen as nn
import jax.numpy as jnp
import optax

from kdjax.losses.common import (
    batch_norm,
    dot,
    map_pair,
    maps,
    pool_to_smaller,
    positions,
    same_channels,
    torch_default,
    unit,
)


def fitnet(student, teacher, labels, *, layer=None, kernel=3):
    """Mean squared difference of a map to the student's, regressed. Romero et al. 2015 (FitNets), arXiv:1412.6550.

    The regressor is a convolution, BatchNorm and ReLU, as in RepDistiller, trained together with the student: with
    stride 2 where the student's map is twice as large, transposed 4x4 where it is half as large; otherwise the larger
    map is pooled first.

    Args:
      layer: the map, an int or a pair (student's, teacher's); None: the third, in a CIFAR ResNet the middle stage, or
        the last where a model has fewer.
      kernel: width of the regressor; RepDistiller's is 1 where resolutions are equal.
    """
    if layer is None:
        layer = 2 if min(len(student.features), len(teacher.features)) > 2 else -1
    hint, target = map_pair("fitnet", student, teacher, layer)
    hint, target = _regress(hint, target, kernel)
    return jnp.mean(optax.squared_error(nn.relu(hint), target))


def _regress(x, target, kernel, suffix=""):
    """(x with the channels and size of the target, through convolution and BatchNorm, the target)."""
    size, goal = x.shape[1:3], target.shape[1:3]
    fields = dict(kernel_init=torch_default, name=f"regressor{suffix}")
    if size == (goal[0] * 2, goal[1] * 2):
        x = nn.Conv(target.shape[-1], (3, 3), 2, 1, **fields)(x)
    elif goal == (size[0] * 2, size[1] * 2):
        x = nn.ConvTranspose(target.shape[-1], (4, 4), (2, 2), "SAME", **fields)(x)
    else:
        x, target = pool_to_smaller(x, target)
        x = nn.Conv(target.shape[-1], (kernel, kernel), **fields)(x)
    return nn.BatchNorm(**batch_norm, name=f"norm{suffix}")(x), target


def attention(student, teacher, labels, *, layers=None, power=2):
    """Squared difference of attention maps, summed over layers. Zagoruyko and Komodakis 2017 (AT), arXiv:1612.03928.

    An attention map is the mean of |x|^power over channels, of unit length. The mean over positions is that of the
    authors' code and RepDistiller; the paper has a sum.

    Args:
      layers: maps, ints or pairs (student's, teacher's); None: all but the first.
    """
    total = 0.0
    for s, t in maps("attention", student, teacher, layers):
        s, t = pool_to_smaller(s, t)
        total += jnp.mean(optax.squared_error(_attention(s, power), _attention(t, power)))
    return total


def _attention(x, power):
    """[B, H, W, C] -> [B, H*W]."""
    x = jnp.square(x) if power == 2 else jnp.abs(x) ** power
    return unit(jnp.mean(positions(x), -1))


def nst(student, teacher, labels, *, layers=None):
    """Squared maximum mean discrepancy of channels, kernel (x.y)^2. Huang and Wang 2017 (NST), arXiv:1707.01219.

    Channels are vectors over positions, of unit length. Summed over layers, as in RepDistiller's NST.py.

    Args:
      layers: maps, ints or pairs (student's, teacher's); None: all but the first.
    """
    total = 0.0
    for s, t in maps("nst", student, teacher, layers):
        s, t = (unit(positions(x), axis=1) for x in pool_to_smaller(s, t))  # [B, HW, C]
        total += _mean_kernel(t, t) + _mean_kernel(s, s) - 2 * _mean_kernel(s, t)
    return total


def _mean_kernel(a, b):
    """Mean of (a_c . b_c')^2 over examples and pairs of channels."""
    return jnp.mean(jnp.square(dot("bnc,bnd->bcd", a, b)))


def fsp(student, teacher, labels, *, layers=None):
    """Squared difference of the Gram matrices between successive layers. Yim et al. 2017 (FSP), CVPR.

    Mean over the entries of each matrix, summed over matrices, as in RepDistiller's FSP.py. Of two maps the larger is
    pooled to the size of the smaller one.

    Args:
      layers: at least two maps, ints or pairs (student's, teacher's); None: all, the stem included.

    Raises:
      ValueError: one map, or maps of student and teacher that differ in channels.
    """
    if layers is None and len(student.features) == len(teacher.features):
        layers = range(len(student.features))
    pairs = maps("fsp", student, teacher, layers)
    if len(pairs) < 2:
        raise ValueError(f"fsp: needs at least two maps, between which it looks; got {len(pairs)}")
    same_channels("fsp", pairs)
    total = 0.0
    for (s, t), (next_s, next_t) in itertools.pairwise(pairs):
        total += jnp.mean(optax.squared_error(_flow(s, next_s), _flow(t, next_t)))
    return total


def _flow(a, b):
    """Gram matrix [B, C, C'] of two maps, mean over positions."""
    a, b = (positions(x) for x in pool_to_smaller(a, b))
    return dot("bnc,bnd->bcd", a, b) / a.shape[1]
