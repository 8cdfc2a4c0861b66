"""Losses without a teacher of its own: networks that teach each other, one that teaches itself, a teacher made up."""

import jax
import jax.numpy as jnp

from kdjax.losses import masks
from kdjax.losses.common import classes, labelled_mean, linear, logits_of, student_maps
from kdjax.losses.hard import cross_entropy
from kdjax.losses.soft import _kl
from kdjax.types import Outputs


def mutual(student, teacher, labels, *, temperature=1.0):
    """Deep mutual learning of the networks of kdjax.models.peers. Zhang et al. 2018, arXiv:1706.00384, equation 8.

    The sum over networks of the mean over the others of T^2 KL(other || network), each network seeing the others as
    constants, and of the cross-entropy of all but the first, whose own cross-entropy is another term of the method.
    Needs no teacher.

    Raises:
      ValueError: the student is a single network.
    """
    if not student.peers:
        raise ValueError("mutual: the student is one network; student.model must be 'peers', of two members or more")
    networks = (student, *student.peers)
    names = ("student", *(f"student's peers[{i}]" for i in range(len(student.peers))))
    scores = [logits_of("mutual", *named) for named in zip(names, networks, strict=True)]
    fixed = [jax.lax.stop_gradient(s) for s in scores]
    total = sum(cross_entropy(peer, None, labels) for peer in student.peers)
    for i, own in enumerate(scores):
        others = [_kl(own, other, temperature) for j, other in enumerate(fixed) if j != i]
        total += jnp.mean(jnp.stack(others))
    return total


def self_distillation(student, teacher, labels, *, alpha=0.3, temperature=3.0):
    """The network teaches classifiers on its own shallower stages. Zhang et al. 2019 (BYOT), arXiv:1905.08094.

    Sum over all feature maps but the last of (1 - alpha) cross-entropy + alpha T^2 KL(network || classifier), where
    the classifier is linear on the mean over a map's positions, or over tokens. The paper's bottleneck layers before
    the classifiers and its third term, a hint on the maps, are left out. Needs no teacher.

    Raises:
      ValueError: fewer than two feature maps.
    """
    if len(student.features) < 2:
        raise ValueError(f"self_distillation: needs two feature maps or more, the student has {len(student.features)}")
    final, total = jax.lax.stop_gradient(logits_of("self_distillation", "student", student)), 0.0
    for i, x in enumerate(student_maps("self_distillation", student)[:-1]):
        scores = linear(masks.mean_of_each(x, student.mask), final.shape[-1], f"classifier{i}")
        total += (1 - alpha) * cross_entropy(Outputs(scores), None, labels)
        total += alpha * jnp.mean(_kl(scores, final, temperature))
    return total


def virtual_teacher(student, teacher, labels, *, confidence=0.99, temperature=40.0):
    """KL of a teacher that is always right to the student. Yuan et al. 2020 (Tf-KD, regularization), arXiv:1909.11723.

    The teacher gives the label `confidence` and the other classes the rest, evenly; what is taught is the softmax of
    these probabilities over the temperature, and the student's logits are not softened. Mean over the labelled examples
    and over classes, as in the authors' my_loss_function.py. Needs no teacher.

    Args:
      confidence: probability of the label.
      temperature: of the softmax of the teacher's probabilities.
    """
    s = logits_of("virtual_teacher", "student", student)
    target, labelled = classes("virtual_teacher", labels, s.shape[-1])
    made = jnp.where(target, confidence, (1 - confidence) / max(s.shape[-1] - 1, 1))
    return labelled_mean(_kl(s, made / temperature, 1.0), labelled) / s.shape[-1]
