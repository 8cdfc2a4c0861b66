"""Mutual learning and self-distillation against the papers' formulas in float64, and in an experiment."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from kdjax import experiment, losses
from kdjax.config import recipes
from kdjax.losses.lift import lift
from kdjax.runs.directory import Run
from kdjax.types import Outputs
from tests import tiny

B, K = 5, 4
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, K, B)


def cross_entropy(scores):
    return -log_softmax(scores, -1)[np.arange(B), LABELS].mean()


def kl(p_scores, q_scores):
    p, q = log_softmax(p_scores, -1), log_softmax(q_scores, -1)
    return (np.exp(p) * (p - q)).sum(-1).mean()


def test_mutual_of_three_is_the_papers_sum():
    scores = RNG.normal(size=(3, B, K))
    expected = sum(cross_entropy(s) for s in scores[1:])
    for i in range(3):
        expected += np.mean([kl(scores[j], scores[i]) for j in range(3) if j != i])
    first, *others = [Outputs(jnp.asarray(s, jnp.float32)) for s in scores]
    student = first.replace(peers=tuple(others))
    assert float(losses.mutual(student, None, jnp.asarray(LABELS))) == pytest.approx(expected, rel=1e-5)


def test_mutual_sees_the_others_as_constants():
    """The first network's gradient is that of the KL from its peer alone: softmax(own) - softmax(peer), a mean."""
    own, peer = (jnp.asarray(RNG.normal(size=(B, K)), jnp.float32) for _ in range(2))
    loss = lambda x: losses.mutual(Outputs(x, peers=(Outputs(peer),)), None, jnp.asarray(LABELS))  # noqa: E731
    expected = (jax.nn.softmax(own) - jax.nn.softmax(peer)) / B
    np.testing.assert_allclose(jax.grad(loss)(own), expected, atol=1e-6)


def test_mutual_needs_peers():
    with pytest.raises(ValueError, match=r"student.model must be 'peers'"):
        losses.mutual(Outputs(jnp.zeros((B, K))), None, jnp.zeros(B, jnp.int32))


def test_self_distillation_is_the_papers_sum_over_exits():
    maps = [RNG.normal(size=(B, 4, 4, c)) for c in (2, 3, 5)]
    final = RNG.normal(size=(B, K))
    student = Outputs(jnp.asarray(final, jnp.float32), tuple(jnp.asarray(m, jnp.float32) for m in maps))
    module, labels = lift(losses.self_distillation), jnp.asarray(LABELS)
    variables = module.init(jax.random.key(0), student, None, labels)
    expected = 0.0
    for i, x in enumerate(maps[:-1]):
        layer = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables["params"][f"classifier{i}"])
        scores = x.mean((1, 2)) @ layer["kernel"] + layer["bias"]
        expected += 0.7 * cross_entropy(scores) + 0.3 * 9 * kl(final / 3, scores / 3)
    assert float(module.apply(variables, student, None, labels)) == pytest.approx(expected, rel=1e-5)


def virtual(labels):
    return lambda x: losses.virtual_teacher(Outputs(x), None, jnp.asarray(labels), confidence=0.9, temperature=2.0)


def test_virtual_teacher_is_the_authors_divergence():
    """torch's KLDivLoss takes the mean over examples and classes; the softmax is of probabilities."""
    scores = RNG.normal(size=(B, K))
    made = np.full((B, K), 0.1 / (K - 1))
    made[np.arange(B), LABELS] = 0.9
    found = virtual(LABELS)(jnp.asarray(scores, jnp.float32))
    assert float(found) == pytest.approx(kl(made / 2, scores) / K, rel=1e-5)


def test_virtual_teacher_looks_at_labelled_examples_alone():
    scores, some = jnp.asarray(RNG.normal(size=(B, K)), jnp.float32), np.where(np.arange(B) < 2, LABELS, -1)
    np.testing.assert_allclose(virtual(some)(scores), virtual(LABELS[:2])(scores[:2]), rtol=1e-5)
    value, grads = jax.value_and_grad(virtual(np.full(B, -1)))(1e4 * scores)
    assert value == 0
    assert not np.any(grads)
    assert np.isfinite(jax.grad(virtual(LABELS))(1e4 * scores)).all()


def test_both_train_without_a_teacher(tmp_path):
    config = tiny.config(methods=("student",), epochs=2)
    config.seeds = (0,)
    config.teacher.model = ""
    config.student.model = "convnet"
    config.student.kwargs = {"widths": (4, 8)}
    config.methods.mutual = recipes.recipe("mutual", student="lenet")
    config.methods.self_distillation = recipes.recipe("self_distillation")
    directory = experiment.run(config, tmp_path)
    for name in ("mutual", "self_distillation"):
        rows = Run(directory / name / "seed0").history()
        assert rows[-1][f"loss/{name}"] < rows[0][f"loss/{name}"]


def test_mixed_labels_count_what_they_add_up_to():
    scores = jnp.asarray(RNG.normal(size=(2, K)), jnp.float32)
    labels = jnp.array([[0.3, 0.7, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])  # the second is unlabelled
    found = losses.cross_entropy(Outputs(scores), None, labels, label_smoothing=0.1)
    target = 0.9 * np.array([0.3, 0.7, 0, 0]) + 0.1 / K
    expected = -(target * log_softmax(np.asarray(scores[0], np.float64))).sum()
    assert float(found) == pytest.approx(expected, rel=1e-5)
