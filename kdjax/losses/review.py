"""Knowledge review: each of the teacher's maps is compared with a fusion of the student's map and all deeper ones."""

import flax.linen as nn
import jax.numpy as jnp
import optax
from flax.linen import initializers

from kdjax.losses.common import MAPS, batch_norm, convolution, embeddings, maps, pool

_kaiming_uniform = initializers.variance_scaling(1.0, "fan_in", "uniform")


def reviewkd(student, teacher, labels, *, layers=None, student_preacts=False, levels=(4, 2, 1)):
    """Attention-based fusion of maps, compared at several resolutions. Chen et al. 2021, arXiv:2104.09044.

    From the deepest on, each of the student's maps, in a middle number of channels, is mixed with the fusion handed on
    by the next deeper one, brought to the resolution of the teacher's map, compared with it through a 3x3 convolution,
    and handed on at that resolution. The teacher's maps are those before the activation; embeddings come last, as maps
    of one position. All shapes are inferred; mean squared differences, summed over maps, as in mdistiller's
    ReviewKD.py. Takes maps alone: tokens have no height and width to be pooled and resized.

    Args:
      layers: maps, ints or pairs (student's, teacher's); None: all but the first.
      student_preacts: the student's maps before the activation too, as mdistiller does on ImageNet.
      levels: sides of the pooled maps at which maps are compared too, each weighing half of the one before.
    """
    fields = "preacts" if student_preacts else "features", "preacts"
    embedded = (x[:, None, None, :] for x in embeddings("reviewkd", student, teacher))
    pairs = [*maps("reviewkd", student, teacher, layers, fields, forms={4: MAPS}), tuple(embedded)]
    middle = min(512, pairs[-1][0].shape[-1])
    total, fused = 0.0, None
    for i, (s, t) in reversed(list(enumerate(pairs))):
        fused = _nearest(_fuse(s, fused, middle, i), *t.shape[1:3])
        total += _hierarchical(_conv(fused, t.shape[-1], 3, f"out{i}"), t, levels)
    return total


def _fuse(x, deeper, width, i):
    """x in `width` channels, mixed with the next deeper fusion by a weight for each of the two in each position."""
    x = _conv(x, width, 1, f"in{i}")
    if deeper is None:
        return x
    deeper = _nearest(deeper, *x.shape[1:3])
    both = jnp.concatenate([x, deeper], -1)
    weights = nn.sigmoid(convolution(both, 2, 1, f"attention{i}"))
    return x * weights[..., :1] + deeper * weights[..., 1:]


def _conv(x, width, kernel, name):
    x = nn.Conv(width, (kernel, kernel), use_bias=False, kernel_init=_kaiming_uniform, name=name)(x)
    return nn.BatchNorm(**batch_norm, name=f"{name}_norm")(x)


def _nearest(x, height, width):
    """[B, H, W, C] -> [B, height, width, C] without interpolation, torch's choice of neighbours."""
    rows, columns = (jnp.arange(new) * old // new for new, old in ((height, x.shape[1]), (width, x.shape[2])))
    return x if x.shape[1:3] == (height, width) else x[:, rows][:, :, columns]


def _hierarchical(s, t, levels):
    """Mean squared difference at full resolution and pooled to each level below it, weighted mean."""
    total, weight, weights = jnp.mean(optax.squared_error(s, t)), 1.0, 1.0
    for level in levels:
        if level < s.shape[1]:
            weight /= 2
            weights += weight
            total += weight * jnp.mean(optax.squared_error(pool(s, level, level), pool(t, level, level)))
    return total / weights
