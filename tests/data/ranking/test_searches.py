"""The made up searches: what the seed decides, and which features say what."""

import numpy as np
import pytest

from kdjax.data.ranking import searches
from kdjax.tasks import ranked


@pytest.fixture(scope="module")
def data():
    return searches.generate(60, 40, 12, 1.0, 0)


def test_the_seed_decides_all_of_it(data):
    again, other = searches.generate(60, 40, 12, 1.0, 0), searches.generate(60, 40, 12, 1.0, 1)
    np.testing.assert_array_equal(data.train.input["features"], again.train.input["features"])
    assert not np.array_equal(data.train.target, other.train.target)


def test_lists_are_padded(data):
    target, inputs = data.train.target, data.train.input
    counts = (target >= 0).sum(1)
    assert (counts.min(), counts.max(), len(data.train), len(data.test)) == (6, 12, 60, 40)
    np.testing.assert_array_equal(inputs["mask"], target >= 0)
    assert not inputs["features"][~inputs["mask"]].any()
    assert inputs["features"].shape[2] == searches.OPEN + searches.BEHAVIOUR
    assert set(np.unique(target)) == {-1, 0, 1, 2, 3, 4}


def test_what_shoppers_did_says_more_than_how_alike_words_are(data):
    grades, features = data.test.target.astype(np.float64), data.test.input["features"].astype(np.float64)
    scored = lambda x: ranked.ndcg(ranked.places(x, grades, grades >= 0), 10).mean()  # noqa: E731
    chance = scored(np.zeros(grades.shape))
    assert chance < scored(features[..., 14]) < scored(features[..., -4:].mean(-1))
