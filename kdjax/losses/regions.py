"""Losses on what the classifier makes of each position of the last map: class activation maps.

For networks whose classifier is linear on the mean of their last map, as ResNets'. Others are refused before training,
for their maps would be of something else (kdjax.experiment.checks).
"""

import jax.numpy as jnp
import optax

from kdjax.losses.common import MAPS, classes, dot, labelled_mean, maps, pool, subtree, unit
from kdjax.losses.soft import decoupled


def cat_kd(
    student, teacher, labels, *, student_params, teacher_params, side=2, normalise=False, classifier="classifier"
):
    """Squared difference of class activation maps. Guo et al. 2023 (CAT-KD), CVPR, arXiv:2304.12777.

    A map a class [B, side, side, K], mean over all entries, as in the authors' CAT_KD.py.

    Args:
      side: positions a side to which the maps are pooled.
      normalise: each class's map to unit length, over its positions.
      classifier: path of the last linear layer in the parameters of both networks.
    """
    s, t = _class_maps("cat_kd", student, teacher, student_params, teacher_params, classifier)
    s, t = (pool(x, side, side) for x in (s, t))
    if normalise:
        s, t = (unit(x, axis=(1, 2)) for x in (s, t))
    return jnp.mean(optax.squared_error(s, t))


def sdd(
    student,
    teacher,
    labels,
    *,
    student_params,
    teacher_params,
    scales=(1, 2, 4),
    alpha=1.0,
    beta=8.0,
    temperature=4.0,
    complementary=2.0,
    classifier="classifier",
):
    """`dkd` of the whole image and of each of its regions, added. Wei et al. 2024 (SDD, with DKD), arXiv:2403.13512.

    The logits of a region are those of the mean of the last map over it. All regions count 1, but those count more
    of which the teacher judges otherwise than of the whole image, rightly or wrongly. Mean over the labelled examples,
    as in the authors' SDD_DKD.py.

    Args:
      scales: regions a side, each dividing the largest; 1 is the image.
      alpha, beta, temperature: as those of `dkd`.
      complementary: weight of the regions that the teacher judges otherwise.
      classifier: path of the last linear layer in the parameters of both networks.

    Raises:
      ValueError: scales that do not divide the largest.
    """
    if any(max(scales) % scale for scale in scales):
        raise ValueError(f"sdd: each of scales must divide the largest, got {tuple(scales)}")
    both = _class_maps("sdd", student, teacher, student_params, teacher_params, classifier)
    s, t = (_regions(pool(x, max(scales), max(scales)), scales) for x in both)
    target, labelled = classes("sdd", labels, s.shape[-1])
    right, whole = (_is_right(x, target) for x in (t, t.mean(1, keepdims=True) if 1 not in scales else t[:, :1]))
    weight = jnp.where(right == whole, 1.0, complementary)
    repeated = jnp.broadcast_to(target[:, None], s.shape).reshape(-1, s.shape[-1])
    flat = (x.reshape(-1, x.shape[-1]) / temperature for x in (s, t))
    each = decoupled(*flat, repeated, alpha, beta).reshape(weight.shape)
    return temperature**2 * labelled_mean(jnp.sum(weight * each, -1), labelled)


def _regions(x, scales):
    """[B, side, side, K] -> [B, R, K]: the logits of all regions, scale after scale, coarsest first."""
    parts = [pool(x, scale, scale) for scale in sorted(scales)]
    return jnp.concatenate([part.reshape(len(x), -1, x.shape[-1]) for part in parts], 1)


def _is_right(scores, target):
    """Whether the likeliest class of scores [B, R, K] is the one that `target` [B, K] marks: [B, R]."""
    likeliest = jnp.argmax(scores, -1)[..., None] == jnp.arange(scores.shape[-1])[None, None]
    return jnp.any(likeliest & target[:, None], -1)


def _class_maps(loss: str, student, teacher, student_params, teacher_params, classifier: str):
    """([B, H, W, K], [B, H', W', K]): the last maps of both through their classifiers.

    Raises:
      ValueError: no linear layer at that path that takes the channels of the last map, or tokens instead of maps.
    """
    ((s, t),) = maps(loss, student, teacher, (-1,), forms={4: MAPS}, aligned=False)
    pairs = (("student", s, student_params), ("teacher", t, teacher_params))
    return tuple(_classified(loss, who, x, params, classifier) for who, x, params in pairs)


def _classified(loss: str, who: str, x, params, classifier: str):
    layer = subtree(loss, params, f"params/{classifier}", who)
    if not {"kernel", "bias"} <= layer.keys() or layer["kernel"].shape[0] != x.shape[-1]:
        raise ValueError(
            f"{loss}: {classifier!r} of the {who} is no linear layer on its last map of {x.shape[-1]} channels: this "
            "loss is for networks whose classifier sees the mean of that map, as ResNets'"
        )
    kernel, bias = (layer[name].astype(x.dtype) for name in ("kernel", "bias"))
    return dot("bhwc,ck->bhwk", x, kernel) + bias.reshape(1, 1, 1, -1)
