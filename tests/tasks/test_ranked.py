"""Metrics of ranked lists: against published implementations, trec_eval, and every order of what ties."""

import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.tasks import ranked

CUTS = (1, 3, 5, 10)


@pytest.fixture(scope="module")
def golden():
    with np.load(Path(__file__).parents[1] / "goldens/ranking_metrics.npz") as file:
        return dict(file)


def drawn(queries: int, length: int, values: int, seed: int = 0):
    """Scores of so many different values, grades 0 to 3 of which most are 0, lists of 1 to `length` items."""
    rng = np.random.default_rng(seed)
    scores = rng.permuted(np.tile(np.arange(length) % values, (queries, 1)), axis=1) / 4 - 1.0
    grades = rng.integers(0, 4, (queries, length)) * (rng.random((queries, length)) < 0.4)
    valid = np.arange(length) < rng.integers(1, length + 1, queries)[:, None]
    return scores, grades.astype(np.float64), valid


def all_metrics(place, cuts=CUTS) -> dict:
    of_cuts = {
        "ndcg": ranked.ndcg,
        "ndcg_exp": lambda place, k: ranked.ndcg(place, k, exponential=True),
        "recall": ranked.recall,
        "hr": ranked.hit_rate,
        "mrr": ranked.mrr,
    }
    found = {f"{name}@{k}": fn(place, k) for name, fn in of_cuts.items() for k in cuts}
    return {**found, "map": ranked.average_precision(place)}


def test_as_published_implementations_have_it(golden):
    """Query 4 has no relevant item; query 5 has ties, which they break by the order of the file or of names."""
    grades, scores = golden["relevance"].astype(np.float64), golden["score"].astype(np.float64)
    found = all_metrics(ranked.places(scores, grades, np.ones(scores.shape, bool)))
    for k in CUTS:
        for name, theirs in [
            ("ndcg", "pytrec_ndcg_cut_"),
            ("ndcg", "sklearn_ndcg_linear_"),
            ("ndcg_exp", "rax_ndcg_"),
            ("ndcg_exp", "sklearn_ndcg_exp_"),
            ("recall", "pytrec_recall_"),
            ("hr", "pytrec_success_"),
            ("mrr", "irmeasures_RR@"),
        ]:
            expected = np.nan_to_num(
                golden[f"{theirs}{k}"][:5]
            )  # ir-measures leaves query 4 out, which trec_eval counts
            np.testing.assert_allclose(found[f"{name}@{k}"][:5], expected, atol=1e-6)
        for name, theirs in [("ndcg", "linear"), ("ndcg_exp", "exp")]:  # scikit-learn averages over ties as well
            expected = np.nan_to_num(golden[f"sklearn_ndcg_{theirs}_{k}"])  # query 4 again
            np.testing.assert_allclose(found[f"{name}@{k}"], expected, atol=1e-6)
    np.testing.assert_allclose(found["map"][:5], golden["pytrec_map"][:5], atol=1e-6)


def of_one_order(grades) -> dict:
    """The metrics of one list without ties, its grades in the order of its scores, by their definitions."""
    hits = grades > 0
    ranks = np.arange(1, len(grades) + 1)
    found = {"map": np.sum(hits * np.cumsum(hits) / ranks) / max(hits.sum(), 1)}
    for k in CUTS:
        for name, gains in {"ndcg": grades, "ndcg_exp": 2.0**grades - 1}.items():
            dcg, ideal = (np.sum(g[:k] / np.log2(ranks[:k] + 1)) for g in (gains, np.sort(gains)[::-1]))
            found[f"{name}@{k}"] = dcg / ideal if ideal else 0.0
        found[f"recall@{k}"] = hits[:k].sum() / max(hits.sum(), 1)
        found[f"hr@{k}"] = float(hits[:k].any())
        found[f"mrr@{k}"] = 1 / ranks[:k][hits[:k]][0] if hits[:k].any() else 0.0
    return found


@pytest.mark.parametrize("values", [1, 2, 3, 7])
def test_the_mean_over_all_orders_of_what_ties(values):
    scores, grades, valid = drawn(20, 6, values)
    found = all_metrics(ranked.places(scores, grades, valid))
    for query in range(len(scores)):
        s, g = scores[query, valid[query]], grades[query, valid[query]]
        orders = [
            list(order) for order in itertools.permutations(range(len(s))) if np.all(np.diff(s[list(order)]) <= 0)
        ]
        each = [of_one_order(g[order]) for order in orders]
        for name in found:
            assert found[name][query] == pytest.approx(np.mean([of[name] for of in each]), abs=1e-12), name


def test_trec_eval_says_the_same_of_thousands_of_lists():
    pytrec_eval = pytest.importorskip("pytrec_eval", reason="pytrec_eval-terrier, of the extra test, is not installed")
    scores, grades, valid = drawn(3000, 15, 15, seed=1)
    found = all_metrics(ranked.places(scores, grades, valid), CUTS)
    found["mrr"] = ranked.mrr(ranked.places(scores, grades, valid), 15)
    lists = [[f"d{i}" for i in np.flatnonzero(items)] for items in valid]
    relevance = {
        f"q{q}": dict(zip(items, grades[q, valid[q]].astype(int).tolist(), strict=True))
        for q, items in enumerate(lists)
    }
    run = {f"q{q}": dict(zip(items, scores[q, valid[q]].tolist(), strict=True)) for q, items in enumerate(lists)}
    cuts = ",".join(map(str, CUTS))
    names = {f"{name}.{cuts}" for name in ("ndcg_cut", "recall", "success")} | {"map", "recip_rank"}
    theirs = pytrec_eval.RelevanceEvaluator(relevance, names).evaluate(run)
    named = {"map": "map", "mrr": "recip_rank"}
    for ours, name in [("ndcg", "ndcg_cut"), ("recall", "recall"), ("hr", "success")]:
        named |= {f"{ours}@{k}": f"{name}_{k}" for k in CUTS}
    assert sum(not (grades * valid)[q].any() for q in range(len(grades))) > 100  # have no relevant item
    for ours, name in named.items():
        np.testing.assert_allclose(found[ours], [theirs[f"q{q}"][name] for q in range(len(scores))], atol=1e-6)


@pytest.mark.parametrize("values", [3, 9])
def test_jax_and_numpy_agree_and_padding_changes_nothing(values):
    scores, grades, valid = drawn(50, 9, values, seed=2)
    exact = all_metrics(ranked.places(scores, grades, valid))
    wider = [
        np.pad(x, ((0, 0), (0, 2)), constant_values=fill) for x, fill in ((scores, 9), (grades, 3), (valid, False))
    ]
    on_device = jax.jit(lambda s, g, v: all_metrics(ranked.places(s, g, v)))
    given = jnp.asarray(scores, jnp.float32), jnp.asarray(grades, jnp.float32), jnp.asarray(valid)
    for name, value in all_metrics(ranked.places(*wider)).items():
        np.testing.assert_allclose(value, exact[name], rtol=1e-12, err_msg=name)
    for name, value in on_device(*given).items():
        np.testing.assert_allclose(value, exact[name], atol=3e-6, err_msg=name)


def test_what_is_counted_over_parts_of_a_catalogue_is_the_whole():
    scores, grades, valid = drawn(40, 30, 11, seed=3)
    exact = all_metrics(ranked.places(scores, grades, valid))
    shown = -np.sort(-np.where(valid & (grades > 0), grades, 0))[:, :25]  # the relevant ones first, then none
    own = np.take_along_axis(scores, np.argsort(-np.where(valid & (grades > 0), grades, 0))[:, :25], axis=1)
    above, tied = (
        sum(
            np.sum(compare(part[:, None], own[:, :, None]) & here[:, None], axis=-1)
            for part, here in zip(np.split(scores, 3, axis=1), np.split(valid, 3, axis=1), strict=True)
        )
        for compare in (np.greater, np.equal)
    )
    for name, value in all_metrics(ranked.counted(above, tied, shown, 30)).items():
        np.testing.assert_allclose(value, exact[name], rtol=1e-12, err_msg=name)


def test_a_constant_score_earns_what_chance_does():
    grades = np.zeros((1, 100))
    grades[0, 0] = 1.0
    place = ranked.places(np.ones((1, 100)), grades, np.ones((1, 100), bool))
    assert ranked.hit_rate(place, 10) == pytest.approx(0.1)
    assert ranked.recall(place, 10) == pytest.approx(0.1)
    assert ranked.mrr(place, 100) == pytest.approx(np.mean(1 / np.arange(1, 101)))


def test_agreement_of_two_rankings():
    valid = np.array([[True] * 4, [True] * 4, [True] * 4, [True, True, False, False]])
    teacher = np.array([[4.0, 3, 2, 1]] * 4)
    student = np.array([[4.0, 3, 2, 1], [1, 2, 3, 4], [1, 1, 1, 1], [1, 2, 9, 9]])
    np.testing.assert_allclose(ranked.overlap(student, teacher, valid, 2), [1, 0, 0.5, 1])
    np.testing.assert_allclose(ranked.overlap(student, teacher, valid, 1), [1, 0, 0.25, 0])
    np.testing.assert_allclose(ranked.kendall(student, teacher, valid), [1, -1, np.nan, -1])
