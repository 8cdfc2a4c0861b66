"""Losses on feature maps, one at a time. Where resolutions differ, the larger map is average-pooled.

All take tokens [B, T, C] too, as maps of one column: a convolution then looks at neighbours in the sequence, and means
leave the padding out.
"""

import itertools
import math

import flax.linen as nn
import jax.numpy as jnp
import optax

from kdjax.losses import masks
from kdjax.losses.common import (
    Parameter,
    attention_map,
    batch_norm,
    convolution,
    dot,
    embeddings,
    logits_of,
    map_pair,
    maps,
    pool_to_smaller,
    positions,
    regress,
    same_channels,
    subtree,
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
    mask = masks.shared(student, teacher)
    hint, target = regress(hint, target, kernel, mask=mask)
    return masks.mean(optax.squared_error(nn.relu(hint), target), mask)


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
        difference = optax.squared_error(attention_map(s, power), attention_map(t, power))
        total += masks.mean(difference, masks.shared(student, teacher))
    return total


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
    pairs = maps("fsp", student, teacher, layers, aligned=False)
    if len(pairs) < 2:
        raise ValueError(f"fsp: needs at least two maps, between which it looks; got {len(pairs)}")
    same_channels("fsp", pairs)
    total = 0.0
    for (s, t), (next_s, next_t) in itertools.pairwise(pairs):
        flows = _flow(s, next_s, student.mask), _flow(t, next_t, teacher.mask)
        total += jnp.mean(optax.squared_error(*flows))
    return total


def _flow(a, b, mask):
    """Gram matrix [B, C, C'] of two maps, mean over positions."""
    a, b = (positions(x) for x in pool_to_smaller(a, b))
    product = dot("bnc,bnd->bcd", a, b)
    return product / a.shape[1] if mask is None else product / masks.lengths(mask, a)[:, None, None]


def vid(student, teacher, labels, *, layers=None, initial_variance=5.0):
    """Negative log density of teacher maps given student maps. Ahn et al. 2019 (VID), arXiv:1904.05835.

    A Gaussian in each position: its mean comes from three 1x1 convolutions of the student's map, its variance is
    trained, one for each channel and never below 1e-5. Mean over all entries of a map, summed over layers.

    Args:
      layers: maps, ints or pairs (student's, teacher's); None: all but the first.
      initial_variance: where the variances start.
    """
    total = 0.0
    for i, (s, t) in enumerate(maps("vid", student, teacher, layers)):
        mean, target = pool_to_smaller(s, t)
        for j in range(3):
            mean = nn.relu(mean) if j else mean
            mean = convolution(mean, target.shape[-1], 1, f"regressor{i}_{j}", use_bias=False)
        start = math.log(math.expm1(initial_variance - 1e-5))
        variance = nn.softplus(Parameter(name=f"variance{i}")(jnp.full, target.shape[-1:], start)) + 1e-5  # [C]
        variance = variance.reshape(1, 1, 1, -1)
        density = optax.squared_error(mean, target) / variance + jnp.log(variance)
        total += masks.mean(density, masks.shared(student, teacher)) / 2
    return total


def srrl(student, teacher, labels, *, teacher_params, classifier="classifier"):
    """Regressed embedding and what the teacher's classifier makes of it. Yang et al. 2021 (SRRL), ICLR.

    Mean squared differences to the teacher's embedding and to its logits, added. The regressor is linear, BatchNorm
    and ReLU, as in SimKD's repository.

    Args:
      classifier: path of the teacher's last linear layer in its parameters.

    Raises:
      ValueError: no layer there that takes the teacher's embedding.
    """
    s, t = embeddings("srrl", student, teacher)
    scores = logits_of("srrl", "teacher", teacher)
    layer = subtree("srrl", teacher_params, f"params/{classifier}")
    if not {"kernel", "bias"} <= layer.keys() or layer["kernel"].shape[0] != t.shape[-1]:
        raise ValueError(f"srrl: {classifier!r} is no linear layer on the teacher's embedding of width {t.shape[-1]}")
    s = nn.Dense(t.shape[-1], use_bias=False, kernel_init=torch_default, name="regressor")(s)
    s = nn.relu(nn.BatchNorm(**batch_norm, name="norm")(s))
    predicted = dot("bd,dk->bk", s, layer["kernel"].astype(s.dtype)) + layer["bias"].astype(s.dtype)[None]
    return jnp.mean(optax.squared_error(s, t)) + jnp.mean(optax.squared_error(predicted, scores))


def simkd(student, teacher, labels):
    """Mean squared difference of the last maps, the student's being projected. Chen et al. 2022, arXiv:2203.14001.

    The projector is part of the student that ships, the network kdjax.models.simkd, with the teacher's classifier on
    top: there is no other loss. The teacher's map is that before its last activation, rectified, as its classifier
    sees it.

    Raises:
      ValueError: maps that differ in channels.
    """
    s, t = map_pair("simkd", student, teacher, -1, ("features", "preacts"))
    if s.shape[-1] != t.shape[-1]:
        raise ValueError(
            f"simkd: the student's last map has {s.shape[-1]} channels, the teacher's {t.shape[-1]}; the student must "
            f"be one that projects: student=dict(model='simkd', kwargs=dict(student=..., channels={t.shape[-1]}))"
        )
    difference = optax.squared_error(*pool_to_smaller(s, nn.relu(t)))
    return masks.mean(difference, masks.shared(student, teacher))
