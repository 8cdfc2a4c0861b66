"""Losses on the teacher's soft predictions, its logits."""

import jax
import jax.numpy as jnp
import optax

from kdjax.losses.common import Parameter, classes, dot, labelled_mean, logits, norm, wide

_NEVER = -1e30  # a logit whose probability is 0 and whose differences are finite, whatever the other logits are


def _kl(student, teacher, temperature):
    """T^2 KL(teacher || student) [B] of logits [B, K] softened by T."""
    log_p, log_q = (jax.nn.log_softmax(x / temperature) for x in (teacher, student))
    return temperature**2 * optax.losses.kl_divergence_with_log_targets(log_q, log_p)


def kd(student, teacher, labels, *, temperature=4.0):
    """T^2 KL(teacher || student) of softened predictions, mean over the batch. Hinton et al. 2015, arXiv:1503.02531."""
    s, t = logits("kd", student, teacher)
    return jnp.mean(_kl(s, t, temperature))


def binary_kd(student, teacher, labels, *, temperature=1.0, targets="softmax"):
    """Sigmoid cross-entropy with the teacher's probabilities as targets: each class is a question of its own.

    Mean over examples and classes.

    Args:
      temperature: divides the logits of both; no factor T^2.
      targets: how the teacher's logits become probabilities, "softmax" or "sigmoid".

    Raises:
      ValueError: other targets.
    """
    if targets not in ("softmax", "sigmoid"):
        raise ValueError(f"binary_kd: targets {targets!r} is unknown; valid are 'softmax' and 'sigmoid'")
    s, t = (x / temperature for x in logits("binary_kd", student, teacher))
    return jnp.mean(optax.sigmoid_binary_cross_entropy(s, getattr(jax.nn, targets)(t)))


def logit_mse(student, teacher, labels):
    """Mean squared difference of the logits, over examples and classes. Ba and Caruana 2014, arXiv:1312.6184."""
    s, t = logits("logit_mse", student, teacher)
    return jnp.mean(optax.squared_error(s, t))


def dkd(student, teacher, labels, *, alpha=1.0, beta=8.0, temperature=4.0):
    """alpha x KL of target against rest + beta x KL among the rest. Zhao et al. 2022 (DKD), arXiv:2203.08679.

    Times T^2, mean over the labelled examples, as in mdistiller's distillers/DKD.py.
    """
    s, t = logits("dkd", student, teacher)
    target, labelled = classes("dkd", labels, s.shape[-1])
    return temperature**2 * labelled_mean(decoupled(s / temperature, t / temperature, target, alpha, beta), labelled)


def decoupled(s, t, target, alpha, beta):
    """alpha x KL of target against rest + beta x KL among the rest [B], of softened logits [B, K]."""
    decided = optax.losses.kl_divergence_with_log_targets(
        _log_target_and_rest(s, target), _log_target_and_rest(t, target)
    )
    return alpha * decided + beta * _kl(_without(s, target), _without(t, target), 1.0)


def _log_target_and_rest(scores, target):
    """[B, 2] log probabilities of the target class and of all the others together, without a log of a difference."""
    own = jnp.sum(jnp.where(target, scores, 0.0), -1)
    others = jax.nn.logsumexp(_without(scores, target), -1)
    return jax.nn.log_softmax(jnp.stack([own, others], -1))


def _without(scores, target):
    """The logits [B, K] with that of the target class out of the running."""
    return jnp.where(target, _NEVER, scores)


def dist(student, teacher, labels, *, beta=1.0, gamma=1.0, temperature=4.0):
    """1 - Pearson correlation of predictions, within examples and within classes. Huang et al. 2022, arXiv:2205.10536.

    The factor T^2 is that of the authors' code; the paper has none. The paper's ImageNet setting: temperature 1.

    Args:
      beta: weight of the correlation over the classes of an example.
      gamma: weight of the correlation over the examples of a class.
    """
    s, t = (jax.nn.softmax(x / temperature) for x in logits("dist", student, teacher))
    between, within = (1 - jnp.mean(_pearson(s, t, axis)) for axis in (1, 0))
    return temperature**2 * (beta * between + gamma * within)


def _pearson(a, b, axis):
    a, b = (x - jnp.mean(x, axis, keepdims=True) for x in (a, b))
    return jnp.sum(a * b, axis, keepdims=True) / (norm(a, axis) * norm(b, axis) + 1e-8)


def nkd(student, teacher, labels, *, gamma=1.5, temperature=1.0):
    """Cross-entropy at the target scaled by the teacher + KL among the rest. Yang et al. 2023 (NKD), arXiv:2303.13005.

    Mean over the labelled examples, as in cls_KD's nkd.py; comes on top of the cross-entropy with the labels.

    Args:
      gamma: weight of the classes other than the target.
      temperature: softens those other classes; their part is multiplied by its square.
    """
    s, t = logits("nkd", student, teacher)
    target, labelled = classes("nkd", labels, s.shape[-1])
    log_q = jnp.sum(jnp.where(target, jax.nn.log_softmax(s), 0.0), -1)
    p = jnp.sum(jnp.where(target, jax.nn.softmax(t), 0.0), -1)
    log_rest = jax.nn.log_softmax(_without(s, target) / temperature)
    rest = -jnp.sum(jax.nn.softmax(_without(t, target) / temperature) * log_rest, -1)
    return labelled_mean(gamma * temperature**2 * rest - p * log_q, labelled)


def wsld(student, teacher, labels, *, temperature=2.0):
    """Cross-entropy with the teacher, weighted by how far the student is behind. Zhou et al. 2021, arXiv:2102.00650.

    The weight of an example is 1 - exp(-cross-entropy of the student / that of the teacher), both with the labels.
    Times T^2, mean over the labelled examples, as in mmrazor's weighted_soft_label_distillation.py.
    """
    s, t = logits("wsld", student, teacher)
    target, labelled = classes("wsld", labels, s.shape[-1])
    behind = _cross_entropy(jax.lax.stop_gradient(s), target) / (_cross_entropy(t, target) + 1e-7)
    soft = optax.softmax_cross_entropy(s / temperature, jax.nn.softmax(t / temperature))
    return temperature**2 * labelled_mean(-jnp.expm1(-behind) * soft, labelled)


def _cross_entropy(scores, target):
    """Softmax cross-entropy [B] with the classes that `target` [B, K] marks; 0 where it marks none."""
    return -jnp.sum(jnp.where(target, jax.nn.log_softmax(scores), 0.0), -1)


def ttm(student, teacher, labels, *, power=0.1):
    """KL(teacher's probabilities to a power, normalised || student). Zheng and Yang 2024 (TTM), arXiv:2402.11148.

    The power is 1 / temperature, of the teacher alone; no factor T^2. Mean over the batch, as in the authors' code.

    Args:
      power: of the teacher's probabilities, gamma in the paper.
    """
    s, t = logits("ttm", student, teacher)
    return jnp.mean(_transformed(s, t, power)[0])


def wttm(student, teacher, labels, *, power=0.1):
    """`ttm`, each example weighted by the sum of the teacher's powers. Zheng and Yang 2024 (WTTM), arXiv:2402.11148.

    The sum is 1 where the teacher is certain and K^(1 - power) where it knows nothing.

    Args:
      power: of the teacher's probabilities, gamma in the paper.
    """
    s, t = logits("wttm", student, teacher)
    divergence, total = _transformed(s, t, power)
    return jnp.mean(total * divergence)


def _transformed(s, t, power):
    """(KL(p^power / sum || student) [B], the sum of p^power over classes [B]); p are the teacher's probabilities."""
    powers = power * jax.nn.log_softmax(t)
    log_sum = jax.nn.logsumexp(powers, -1)
    divergence = optax.losses.kl_divergence_with_log_targets(jax.nn.log_softmax(s), powers - log_sum[:, None])
    return divergence, jnp.exp(log_sum)


def rld(student, teacher, labels, *, alpha=1.0, beta=8.0, temperature=4.0, confidence_temperature=4.0):
    """alpha x KL of confidences + beta x KL among classes below the label's. Sun et al. 2024 (RLD), arXiv:2408.07703.

    A confidence is the probability of one class against all others: of the teacher's most likely one, of the student's
    labelled one. In the second part no class counts that the teacher finds at least as likely as the labelled one, so
    that its mistakes teach nothing. Each times T^2; mean over the labelled examples, as in the authors' RLD.py.

    Args:
      alpha: weight of the confidences.
      beta: weight of the classes below the label's.
      temperature: of those classes.
      confidence_temperature: of the confidences.
    """
    s, t = logits("rld", student, teacher)
    target, labelled = classes("rld", labels, s.shape[-1])
    likeliest = jax.nn.one_hot(jnp.argmax(t, -1), t.shape[-1], dtype=bool)
    confidence = optax.losses.kl_divergence_with_log_targets(
        _log_target_and_rest(s / confidence_temperature, target),
        _log_target_and_rest(t / confidence_temperature, likeliest),
    )
    above = t >= jnp.sum(jnp.where(target, t, 0.0), -1, keepdims=True)
    below = _kl(_without(s / temperature, above), _without(t / temperature, above), 1.0)
    each = alpha * confidence_temperature**2 * confidence + beta * temperature**2 * below
    return labelled_mean(each, labelled)


def standardize(outputs):
    """Outputs whose logits have mean 0 and standard deviation 1 in every example. Sun et al. 2024, arXiv:2403.01427.

    Composes with any loss on logits: `dkd(standardize(student), standardize(teacher), labels)`. The deviation is that
    of a sample (K - 1 in the denominator), and 1e-7 is added to it, as in the authors' code.
    """
    centred = wide(outputs.logits)
    centred = centred - jnp.mean(centred, -1, keepdims=True)
    deviation = norm(centred) / max(centred.shape[-1] - 1, 1) ** 0.5
    return outputs.replace(logits=centred / (deviation + 1e-7))


def kd_standardized(student, teacher, labels, *, temperature=2.0):
    """`kd` of standardized logits: shape is taught, not scale. Sun et al. 2024, arXiv:2403.01427."""
    return kd(standardize(student), standardize(teacher), labels, temperature=temperature)


def mlkd(
    student,
    teacher,
    labels,
    *,
    temperatures=(4.0, 3.0, 5.0, 2.0, 6.0),
    example_weight=1.5,
    class_weight=0.5,
    batch_weight=0.5,
):
    """Predictions matched as such, between classes and between examples. Jin et al. 2023 (MLKD), CVPR.

    Summed over temperatures: `kd`; the squared difference of the products of predictions of all pairs of classes over
    K; that of all pairs of examples over B. The weights are those of the authors' code where its two views of an image
    are one. It adds `kd` of a weakly and of a strongly augmented view, the rest of the weak view alone; and its masks,
    of the examples and the classes of which the teacher is less sure than the median, multiply values that are means
    already, which makes them factors of a half: (1/2 + 1) : 1/2 : 1/2.

    Args:
      temperatures: of the softened predictions, each counting the same.
      example_weight: of `kd`.
      class_weight: of the pairs of classes.
      batch_weight: of the pairs of examples.
    """
    s, t = logits("mlkd", student, teacher)
    total = 0.0
    for temperature in temperatures:
        total += example_weight * _kl(s, t, temperature).mean()
        total += class_weight * _pairs(s, t, temperature, "bk,bl->kl")
        total += batch_weight * _pairs(s, t, temperature, "bk,ck->bc")
    return total


def _pairs(s, t, temperature, subscripts):
    """Squared difference of products of softened predictions, sum over the matrix divided by its side."""
    s, t = (dot(subscripts, p, p) for p in (jax.nn.softmax(x / temperature) for x in (s, t)))
    return jnp.sum(optax.squared_error(s, t)) / len(s)


def ctkd(student, teacher, labels, *, step, start=1.0, span=20.0, ramp_steps=7820):
    """`kd` at a temperature that is trained to make the loss larger. Li et al. 2023 (CTKD), arXiv:2211.16231.

    T = start + span x sigmoid(theta), theta from 1. Its gradient is reversed and grows as a half cosine from 0 to its
    full size: adversarial, from easy to hard. The variant with one temperature for all examples.

    Args:
      start: the lowest temperature.
      span: the highest is start + span.
      ramp_steps: steps until the reversed gradient has its full size; the paper has 10 epochs of 782 steps.
    """
    s, t = logits("ctkd", student, teacher)
    theta = Parameter(name="temperature")(jnp.ones, ())
    progress = jnp.minimum(step.astype(theta.dtype) / ramp_steps, 1.0)
    reversal = (1 - jnp.cos(jnp.pi * progress)) / 2
    held = jax.lax.stop_gradient(theta)
    theta = held - reversal * (theta - held)  # the value of theta, the gradient times -reversal
    return jnp.mean(_kl(s, t, start + span * jax.nn.sigmoid(theta)))
