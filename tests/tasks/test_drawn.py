"""Scores among drawn items: the means over all draws, which need none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from kdjax import tasks
from kdjax.data.arrays import Arrays, Dataset
from kdjax.tasks import drawn, recommendation


def by_definition(above: int, tied: int, items: int, n: int, k: int) -> tuple[float, float]:
    """(HR, nDCG) of an item by the distribution of how many of the drawn ones stand above it, over orders of ties."""
    places = np.arange(k)
    share = np.mean([stats.hypergeom.pmf(places, items, r, n) for r in range(above, above + tied)], axis=0)
    return share.sum(), (share / np.log2(2 + places)).sum()


@pytest.mark.parametrize("k", [5, 10])
def test_scores_are_means_over_all_draws(k):
    cases = [(0, 1), (3, 1), (200, 1), (1500, 1), (24_000, 1), (0, 2), (7, 40), (150, 3000), (0, 25_000)]
    above, tied = (jnp.array(column, jnp.int32) for column in zip(*cases, strict=True))
    items = jnp.full(len(cases), 25_000, jnp.int32)
    found = jax.jit(drawn.scored, static_argnums=(3, 4))(above, tied, items, 499, k)
    expected = np.array([by_definition(*case, 25_000, 499, k) for case in cases]).T
    np.testing.assert_allclose(found, expected, atol=3e-5)


def test_a_draw_gives_such_scores():
    """Of scores themselves, drawn as papers do: 400 draws of 20 of 60 items."""
    rng = np.random.default_rng(0)
    logits, target = rng.standard_normal((1, 64)).astype(np.float32), np.array([[9, -2, -3, -4, -1]], np.int32)
    logits[0, 9] = 1.0
    free = np.setdiff1d(np.arange(64), [0, 1, 2, 9])
    above = [(logits[0, rng.choice(free, 20, replace=False)] > logits[0, 9]).sum() for _ in range(400)]
    found = jax.jit(drawn.against(20).scores)(logits, target)
    assert found["hr@5/20"][0] == pytest.approx(np.mean([r < 5 for r in above]), abs=0.08)
    assert found["ndcg@5/20"][0] == pytest.approx(np.mean([(r < 5) / np.log2(2 + r) for r in above]), abs=0.08)


def test_all_items_come_first_and_users_with_several_have_none():
    task = tasks.named("recommendation_499")
    assert task.primary == recommendation.TASK.primary
    logits = jax.random.normal(jax.random.key(0), (2, 2000))
    target = jnp.array([[5, -1], [5, 6]], jnp.int32)
    found, plain = jax.jit(task.scores)(logits, target), jax.jit(recommendation.scores)(logits, target)
    for name, values in plain.items():
        np.testing.assert_array_equal(found[name], values)
    for name in ("hr@5/499", "ndcg@5/499", "hr@10/499", "ndcg@10/499"):
        assert np.isfinite(found[name][0])
        assert np.isnan(found[name][1])
        assert name in [column[0] for column in task.columns]


def test_too_small_a_catalogue_is_refused():
    split = Arrays(np.zeros((1, 1), np.int32), np.array([[3, -2]], np.int32))
    data = Dataset(split, None, split, (), "shop", catalogue=tuple(map(str, range(900))))
    with pytest.raises(ValueError, match="a user has 898 items left, and scores among 499 drawn ones need 998"):
        tasks.named("recommendation_499").check_data(data)
