"""How alike stages are: linear CKA against its definition by HSIC, what it does not see, and stages of real runs."""

import numpy as np
import pytest

from kdjax import experiment
from kdjax.runs import predictions
from kdjax.ship import similarity
from kdjax.ship.similarity import cka
from tests import tiny


def test_cka_is_hsic_over_its_own():
    """By the definition: K and L centred by H = I - 1/n on both sides."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(3, 1, (20, 7)), rng.normal(0, 1, (20, 4))
    h = np.eye(20) - 1 / 20
    hsic = lambda a, b: np.trace(a @ a.T @ h @ b @ b.T @ h)  # noqa: E731
    assert cka(x, y) == pytest.approx(hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y)))
    rotation = np.linalg.qr(rng.normal(size=(7, 7)))[0]
    assert cka(x, 5 * x @ rotation + 2) == pytest.approx(1)  # rotated, scaled, moved: the same
    assert np.isnan(cka(x, np.ones((20, 3))))


def test_stages_of_runs(tmp_path):
    directory = experiment.run(tiny.config(methods=("student", "stateless"), epochs=1), tmp_path, seeds=(0,))
    paths = [directory / name for name in ("teacher/seed0", "student/seed0", "stateless/seed0")]
    found = similarity.similar(*paths)
    assert found["stages"]["after"] == ["stage 1", "stage 2", "embedding", "logits"]
    for name in ("before", "after"):
        values = np.array(found[name])
        assert values.shape == (4, 4)
        assert ((values >= 0) & (values <= 1 + 1e-9)).all()
    assert found["before"] != found["after"]
    same = np.array(similarity.similar(paths[0], paths[0], paths[1])["before"])
    assert np.diag(same) == pytest.approx(1)
    kept = predictions.read(paths[1])["logits"].astype(np.float32)  # of all test examples, in 16 bits
    chosen = np.unique(np.linspace(0, len(kept) - 1, similarity.EXAMPLES).round().astype(int))
    teacher = predictions.read(paths[0])["logits"].astype(np.float32)
    assert cka(teacher[chosen], kept[chosen]) == pytest.approx(found["before"][3][3], abs=0.01)
