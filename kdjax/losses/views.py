"""Losses on two augmented views of a batch: the teacher and the student see both (config.data.second_augment)."""

import jax.numpy as jnp

from kdjax.losses.common import logits
from kdjax.losses.hard import cross_entropy
from kdjax.losses.soft import kd, mlkd


def second_cross_entropy(student, teacher, labels, *, second):
    """`cross_entropy` of the second view. Needs no teacher."""
    return cross_entropy(second[0], None, labels)


def mlkd_views(
    student,
    teacher,
    labels,
    *,
    second,
    temperatures=(4.0, 3.0, 5.0, 2.0, 6.0),
    weak_weight=0.5,
    strong_weight=1.0,
    class_weight=0.5,
    batch_weight=0.5,
):
    """`mlkd` of a weakly augmented view, and `kd` of a strongly augmented one. Jin et al. 2023 (MLKD), CVPR.

    The objective of the authors' code, whose masks are factors of a half (see `mlkd`), less cross-entropy.

    Args:
      temperatures: of the softened predictions, each counting the same.
      weak_weight, strong_weight: of `kd` of the first and of the second view.
      class_weight, batch_weight: of the pairs of classes and of examples, in the first view.
    """
    logits("mlkd_views", *second)
    weights = dict(example_weight=weak_weight, class_weight=class_weight, batch_weight=batch_weight)
    strong = [kd(*second, labels, temperature=temperature) for temperature in temperatures]
    return mlkd(student, teacher, labels, temperatures=temperatures, **weights) + strong_weight * jnp.sum(
        jnp.stack(strong)
    )
