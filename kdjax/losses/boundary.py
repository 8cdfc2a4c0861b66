"""Losses on maps before the activation: which side of 0 a neuron is on."""

import flax.linen as nn
import jax.numpy as jnp
from flax.linen import initializers
from jax.scipy.stats import norm as normal

from kdjax.losses import masks
from kdjax.losses.common import maps, normalise, pool_to_smaller, regress, subtree, wide
from kdjax.losses.norms import stage_norms

_fan_out = initializers.variance_scaling(2.0, "fan_out", "normal")


def activation_boundary(student, teacher, labels, *, layers=None, margin=1.0):
    """Squared hinge that puts each neuron on the teacher's side of 0. Heo et al. 2019 (AB), arXiv:1811.03233.

    Sum over a map times 3/1000, mean over the batch; each layer weighs half of the next, the last one 1, as in
    RepDistiller's AB.py. Where shapes differ, the student's map goes through convolution and BatchNorm, trained along.
    Meant as a first stage: the paper trains with cross-entropy alone afterwards.

    Args:
      layers: pre-activation maps, ints or pairs (student's, teacher's); None: all but the first.
      margin: how far beyond 0 a neuron should be.
    """
    pairs, mask = maps("activation_boundary", student, teacher, layers, "preacts"), masks.shared(student, teacher)
    total = 0.0
    for i, (s, t) in enumerate(pairs):
        if s.shape != t.shape:
            s, t = regress(s, t, 1, str(i), mask)
        off = masks.clear(jnp.where(t > 0, nn.relu(margin - s), nn.relu(margin + s)), mask)
        total += 2.0 ** (i + 1 - len(pairs)) * jnp.sum(jnp.square(off)) / len(s)
    return total * 3 / 1000


def overhaul(student, teacher, labels, *, teacher_params, layers=None, norms=()):
    """Partial squared distance to the teacher's maps above a margin. Heo et al. 2019 (OFD), arXiv:1904.01866.

    Where the teacher is negative, only a student above it is drawn down. What the teacher has below the margin, the
    mean of the negative values that its BatchNorm gives, counts as the margin. Sum over a map, mean over the batch;
    each layer weighs half of the next, the last one 1, as in mdistiller's OFD.py. The student's maps go through a 1x1
    convolution and BatchNorm, trained along; of two maps the larger is pooled to the size of the smaller one.

    Args:
      layers: pre-activation maps, ints or pairs (student's, teacher's); None: all but the first.
      norms: for each layer the path of the teacher's BatchNorm that makes it, such as "layer1_0/bn2"; (): as
        kdjax.losses.norms.stage_norms finds them.

    Raises:
      ValueError: not one BatchNorm a layer.
    """
    pairs = maps("overhaul", student, teacher, layers, "preacts")
    params = subtree("overhaul", teacher_params, "params")
    found = [subtree("overhaul", params, path) for path in norms] if norms else stage_norms(params)
    shapes = [t.shape[-1:] for _, t in pairs]
    if [n["scale"].shape for n in found] != shapes:
        raise ValueError(
            f"overhaul: the layers have {[c for (c,) in shapes]} channels, the teacher's BatchNorms "
            f"{[n['scale'].shape[0] for n in found]}; name one a layer in `norms`, such as ('layer1_0/bn2', ...)"
        )
    total, mask = 0.0, masks.shared(student, teacher)
    for i, ((s, t), bn) in enumerate(zip(pairs, found, strict=True)):
        fields = dict(use_bias=False, kernel_init=_fan_out, name=f"connector{i}")
        s = nn.Conv(t.shape[-1], (1, 1), **fields)(s)
        s = normalise(s, f"norm{i}", mask)
        s, t = pool_to_smaller(s, t)
        t = jnp.maximum(t, _margin(bn).reshape(1, 1, 1, -1))
        counted = (s > t) | (t > 0)
        distance = masks.clear(jnp.where(counted, jnp.square(s - t), 0.0), mask)
        total += 2.0 ** (i + 1 - len(pairs)) * jnp.sum(distance) / len(s)
    return total


def _margin(batch_norm):
    """E[x | x < 0] [C] for x ~ N(bias, scale^2); -3 |scale| where a negative x is rarer than 1 in 1000."""
    mean, deviation = wide(batch_norm["bias"]), jnp.maximum(jnp.abs(wide(batch_norm["scale"])), 1e-12)
    negative = normal.cdf(-mean / deviation)
    expected = mean - deviation * normal.pdf(mean / deviation) / jnp.maximum(negative, 1e-3)
    return jnp.where(negative > 1e-3, expected, -3 * deviation)
