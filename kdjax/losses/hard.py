"""Losses on targets: the data's, or those that the teacher gives."""

import jax
import jax.numpy as jnp
import optax

from kdjax.losses.common import classes, logits, logits_of


def cross_entropy(student, teacher, labels, *, label_smoothing=0.0):
    """Softmax cross-entropy with the labels. Label smoothing: Szegedy et al. 2016, arXiv:1512.00567.

    Needs no teacher.

    Args:
      labels: classes [B], the mean is over those that are not -1; or probabilities [B, K], as mixup makes them, each
        example counting as much as its probabilities add up to (0 where it is unlabelled).
      label_smoothing: how much of each target is spread evenly over the K classes.
    """
    scores = logits_of("cross_entropy", "student", student)  # [B, K]
    if labels.ndim == 2 and labels.shape != scores.shape:
        raise ValueError(f"cross_entropy: labels have shape {labels.shape}, the logits {scores.shape}")
    found = labels if labels.ndim == 2 else classes("cross_entropy", labels, scores.shape[-1])[0]
    targets = found.astype(scores.dtype)
    counted = targets.sum(-1, keepdims=True)  # [B, 1]
    targets = (1 - label_smoothing) * targets + label_smoothing * counted / scores.shape[-1]
    total = counted.sum()
    return optax.softmax_cross_entropy(scores, targets).sum() / jnp.where(total > 0, total, 1.0)


def hard_target(student, teacher, labels):
    """Cross-entropy with the class that the teacher finds most likely. Touvron et al. 2021, arXiv:2012.12877."""
    s, t = logits("hard_target", student, teacher)
    target = jax.nn.one_hot(jnp.argmax(t, -1), t.shape[-1], dtype=s.dtype)
    return jnp.mean(optax.softmax_cross_entropy(s, target))


def squared_error(student, teacher, target):
    """Mean of (prediction - target)^2, for regression. Needs no teacher.

    Args:
      target: numbers [B]; the student has one logit an example, which is its prediction.
    """
    scores = logits_of("squared_error", "student", student)
    if scores.shape != (*target.shape, 1) or not jnp.issubdtype(target.dtype, jnp.floating):
        raise ValueError(
            f"squared_error: targets are {target.dtype} {target.shape}, logits {scores.shape}; it is for regression, "
            "one number and one logit an example"
        )
    return jnp.mean(jnp.square(scores[:, 0] - target.astype(scores.dtype)))
