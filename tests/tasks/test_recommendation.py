"""The task of recommendation: every item is ranked, history is not, and ties count as all their orders."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import tasks
from kdjax.tasks import recommendation

TASK = tasks.named("recommendation")
scores = jax.jit(recommendation.scores)


def by_definition(logits: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """The means over all orders of the items of one user in which higher scores stand before lower ones."""
    had, found = set((-2 - target[target < -1]).tolist()), set(target[target >= 0].tolist())
    items = [item for item in range(len(logits)) if item not in had]
    groups = [[i for i in items if logits[i] == value] for value in sorted({logits[i] for i in items}, reverse=True)]
    values = []
    for orders in itertools.product(*(itertools.permutations(group) for group in groups)):
        order = [item for part in orders for item in part]
        places = [place for place, item in enumerate(order) if item in found]
        first = [place for place in places if place < 10]
        ideal = sum(1 / np.log2(2 + place) for place in range(min(len(found), 10)))
        values.append(
            {
                "ndcg@10": sum(1 / np.log2(2 + place) for place in first) / ideal,
                "hr@10": float(bool(first)),
                "recall@10": len(first) / len(found),
                "mrr@10": 1 / (1 + first[0]) if first else 0.0,
            }
        )
    return {name: float(np.mean([value[name] for value in values])) for name in values[0]}


@pytest.mark.parametrize("seed", range(6))
def test_scores_are_their_definitions_over_all_orders_of_ties(seed):
    rng = np.random.default_rng(seed)
    logits = rng.choice([0.1, 0.1, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0], (3, 14)).astype(np.float32)
    logits += np.repeat(rng.integers(0, 3, (3, 7)), 2, 1).astype(np.float32)
    target = np.full((3, 5), -1, np.int32)
    for row in target:
        drawn = rng.permutation(14)[:4]
        found = rng.integers(1, 4)
        row[:4] = np.where(np.arange(4) < found, drawn, -2 - drawn)
    made = scores(logits, target)
    for row in range(3):
        for name, value in by_definition(logits[row], target[row]).items():
            np.testing.assert_allclose(made[name][row], value, rtol=1e-5, err_msg=name)


def test_one_score_for_all_is_as_good_as_chance():
    made = scores(jnp.zeros((1, 200)), jnp.array([[7, -1]], jnp.int32))
    np.testing.assert_allclose(made["hr@10"], 10 / 200, rtol=1e-5)


def test_what_the_user_had_is_neither_ranked_nor_kept():
    logits = jnp.array([[5.0, 4.0, 3.0, 2.0]])
    free, without = (jnp.array([target], jnp.int32) for target in ([2, -1, -1], [2, -2, -3]))
    np.testing.assert_allclose(scores(logits, free)["mrr@10"], 1 / 3)
    np.testing.assert_allclose(scores(logits, without)["mrr@10"], 1)
    np.testing.assert_array_equal(recommendation.keep(logits, without)[0, :2], [2, 3])


def test_lists_are_not_numbers_where_scores_are_not():
    logits = jnp.array([[0.0, jnp.nan, 1.0], [0.0, 2.0, 1.0]])
    kept = np.asarray(recommendation.keep(logits, jnp.array([[0], [0]], jnp.int32)))
    assert np.isnan(kept[0]).all()
    np.testing.assert_array_equal(kept[1], [1, 2, 0])


def test_agreement_is_the_share_of_the_first_ten():
    student, teacher = np.arange(20.0)[None], np.arange(5.0, 25.0)[None]
    assert recommendation.agreement(student, teacher, None).tolist() == [0.5]
    assert recommendation.report(student, None)["agreement"] is None
    assert recommendation.report(student, None, student)["agreement"] == 1.0


def test_padding_of_the_target_changes_nothing():
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((4, 30)).astype(np.float32)
    target = np.array([[3, 5, -2 - 7], [1, -1, -1], [0, -2 - 1, -1], [9, 8, 7]], np.int32)
    wider = np.pad(target, ((0, 0), (0, 2)), constant_values=-1)
    for name, value in scores(logits, target).items():
        np.testing.assert_array_equal(value, scores(logits, wider)[name])
