"""Metrics against scikit-learn and float64 NumPy formulas."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss, precision_score, recall_score

from kdjax.tasks import classification
from kdjax.training.step import make_eval_step


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 200)
    return (rng.normal(size=(200, 5)) + 2 * np.eye(5)[labels]).astype(np.float32), labels


def test_report_equals_scikit_learn(predictions):
    logits, labels = predictions
    report, predicted = classification.report(logits, labels), logits.argmax(-1)
    p = np.exp(logits.astype(np.float64))
    p /= p.sum(-1, keepdims=True)
    assert report["top1"] == accuracy_score(labels, predicted)
    assert report["nll"] == pytest.approx(log_loss(labels, p), rel=1e-9)
    assert report["precision"] == precision_score(labels, predicted, average="macro")
    assert report["recall"] == recall_score(labels, predicted, average="macro")
    assert report["f1"] == f1_score(labels, predicted, average="macro")
    dense = np.zeros((5, 5), int)
    for true, guess, n in report["confusion"]:
        dense[true, guess] = n
    np.testing.assert_array_equal(dense, confusion_matrix(labels, predicted))
    assert report["agreement"] is None


def test_calibration_error_bin_by_bin(predictions):
    logits, labels = predictions
    p = np.exp(classification.log_softmax(logits))
    confidence, correct = p.max(-1), logits.argmax(-1) == labels
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert classification.calibration_error(confidence, correct) == pytest.approx(expected)
    assert classification.calibration_error(np.ones(4), np.ones(4, bool)) == 0


def test_agreement_with_the_teacher(predictions):
    logits, labels = predictions
    assert classification.report(logits, labels, logits)["agreement"] == 1
    assert classification.report(logits, labels, np.roll(logits, 1, axis=1))["agreement"] == 0


def test_a_class_that_the_split_lacks_does_not_lower_the_averages():
    logits, labels = np.eye(3, dtype=np.float32)[[0, 1, 0, 1]], np.array([0, 1, 0, 1])
    assert [classification.report(logits, labels)[name] for name in ("precision", "recall", "f1")] == [1, 1, 1]


def test_sums_over_examples_leave_out_padding(predictions):
    logits, labels = predictions
    mask = np.arange(200) < 120
    _, scores, sums = evaluated(logits, labels, mask)
    expected = classification.report(logits[:120], labels[:120])
    for name in ("top1", "nll"):
        total, count = sums[name]
        assert count == 120
        assert float(total / count) == pytest.approx(expected[name], rel=1e-5)
        assert np.mean(np.asarray(scores[name])[:120], dtype=np.float64) == pytest.approx(expected[name], rel=1e-5)


def evaluated(logits, labels, mask):
    """The evaluation step of a model that returns its inputs as logits."""

    class Same(nn.Module):
        def __call__(self, inputs, train):
            return inputs

    step = make_eval_step(Same(), classification.scores)
    return step({}, jnp.asarray(logits), jnp.asarray(labels, jnp.int32), jnp.asarray(mask))


def test_infinite_logits_at_padded_places_do_no_harm():
    logits = np.array([[1.0, 0.0], [np.inf, np.nan]], np.float32)
    total, count = evaluated(logits, np.zeros(2), np.array([True, False]))[2]["nll"]
    assert np.isfinite(total)
    assert count == 1


@pytest.mark.parametrize("rows", [1, 7, 200])
def test_probabilities_in_parts_are_those_of_the_whole(predictions, monkeypatch, rows):
    whole = classification.report(*predictions)
    monkeypatch.setattr(classification, "ROWS", rows)
    assert classification.report(*predictions) == whole
