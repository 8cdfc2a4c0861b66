"""Ranking: scores and report against their definitions, and an experiment from its lists to its table."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import ttest_rel

from kdjax import experiment
from kdjax.config import resolve
from kdjax.config.overrides import load_config
from kdjax.data import load
from kdjax.data.arrays import Arrays, Dataset
from kdjax.report import table
from kdjax.runs import predictions
from kdjax.runs.directory import Run
from kdjax.tasks import ranked, ranking


@pytest.fixture(scope="module")
def lists():
    rng = np.random.default_rng(0)
    target = rng.integers(0, 3, (20, 15)).astype(np.float32)
    target[np.arange(15) >= rng.integers(3, 16, 20)[:, None]] = -1
    target[:3] = np.minimum(target[:3], 0)
    return rng.standard_normal((20, 15)).astype(np.float32), target


def test_the_report_is_the_mean_of_what_queries_score(lists):
    logits, target = lists
    found = ranking.report(logits, target, logits)
    each = np.asarray(ranking.scores(jnp.asarray(logits), jnp.asarray(target))["ndcg@10"])
    assert found["ndcg@10"] == pytest.approx(np.mean(each), abs=1e-6)
    np.testing.assert_allclose(found["examples"], each, atol=6e-5)
    assert not any(found["examples"][:3])  # no relevant item: 0, and counted
    assert found["agreement"] == found["kendall"] == pytest.approx(1)
    assert found["ndcg_exp@10"] != found["ndcg@10"]
    assert ranking.report(logits, target)["kendall"] is None
    assert ranking.report(logits, target, np.zeros_like(logits))["kendall"] is None
    json.dumps(found)


def test_padding_changes_nothing(lists):
    logits, target = lists
    wider = [np.pad(x, ((0, 0), (0, 2)), constant_values=fill) for x, fill in ((logits, 9), (target, -1))]
    found, exact = ranking.report(*wider, wider[0][:, ::1]), ranking.report(*lists, logits)
    for name, value in exact.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-12, err_msg=name)


def config(**changes):
    made = load_config("configs/searches.py", [])
    made.seeds, made.epochs, made.eval_every_epochs, made.teacher.epochs = (0, 1), 3, 1, 4
    made.optimizer.name, made.optimizer.learning_rate = (
        "sgd",
        0.3,
    )  # optax's adam counts steps in int32, which strict promotion refuses
    made.data.kwargs = {"train": 80, "test": 60, "items": 8}
    made.student.kwargs.widths, made.teacher.kwargs.widths = (4,), (8,)
    with made.unlocked():
        made.update(changes)
    return resolve(made)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return experiment.run(config(), tmp_path_factory.mktemp("ranking"), only=("student", "list_kl"))


def test_an_experiment_on_lists(directory):
    result, history = Run(directory / "list_kl/seed0").result(), Run(directory / "list_kl/seed0").history()
    assert result["task"]["primary"] == "ndcg@10"
    assert "a query without a relevant item counts 0" in result["task"]["protocol"]
    assert 0.3 < result["last"]["ndcg@10"] <= 1
    assert 0 < result["last"]["agreement"] <= 1
    assert -1 < result["last"]["kendall"] <= 1
    assert result["best"]["validation_ndcg@10"] == max(row["validation_ndcg@10"] for row in history)
    kept = predictions.read(directory / "list_kl/seed0")
    assert kept["target"].shape == kept["logits"].shape == (60, 8)
    assert np.mean(kept["score/ndcg@10"]) == pytest.approx(result["last"]["ndcg@10"], abs=1e-6)


def test_the_second_test_of_its_table_pairs_queries(directory):
    runs = table.gather(directory)
    of = lambda row: np.mean(  # noqa: E731
        [line["result"]["last"]["examples"] for line in runs if line["config"]["method"] == row], axis=0
    )
    row = next(row for row in table.rows(runs) if row["method"] == "list_kl")
    assert row["examples"] == 60
    assert row["p_examples"] == pytest.approx(ttest_rel(of("list_kl"), of("student")).pvalue)
    assert row["low_examples"] < row["difference"] < row["high_examples"]
    text = table.markdown(runs)
    for said in ("nDCG@10", "overlap@10", "Kendall's tau", "p, examples", "over the 60 test examples"):
        assert said in text
    assert "a query without a relevant item counts 0" in text


def wrong(config):
    """Lists that are not as the task has them, in the way that config.name says."""
    grades = np.array([[1, 0, -1], [2, 1, 0]], np.float32)
    grades = {"whole": grades.astype(np.int32), "empty": np.where([[True], [False]], np.float32(-1), grades)}.get(
        config.name, grades
    )
    mask = np.ones((2, 3), bool)
    arrays = Arrays({"features": np.zeros((2, 3, 2), np.float32), "mask": mask}, grades)
    return Dataset(arrays, None, arrays, ("a", "b") if config.name == "classes" else (), "wrong", kind="lists")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("classes", "wrong has classes; config.task='ranking' is for lists"),
        ("whole", r"a list of finite float32 grades \[N, L\] a query, .* got int32 \[2, 3\]"),
        ("empty", "wrong, train: query 0 has no item with a grade of 0 or more"),
        ("mask", "wrong, train: the inputs' mask is not where grades are 0 or more"),
    ],
)
def test_data_that_does_not_fit_is_said(name, told):
    data = config().data
    data.source, data.name, data.kwargs = "tests.tasks.test_ranking.wrong", name, {}
    with pytest.raises(ValueError, match=told):
        load(data, task=ranking.TASK)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model": "mlp", "kwargs": {}}, r"config.methods.student: mlp, evaluated on inputs .*: mlp takes"),
        ({"model": "scorer", "kwargs": {"seen": 21}}, r"scorer: seen is 21, but items have 20 features"),
    ],
)
def test_models_that_do_not_fit_are_said(changes, told, tmp_path):
    made = config()
    made.student.model = changes["model"]
    with made.unlocked():
        made.student.kwargs = changes["kwargs"]
    with pytest.raises(ValueError, match=told):
        experiment.run(made, tmp_path, only=("student",))


def test_a_constant_model_earns_what_chance_does():
    target = np.zeros((1, 40), np.float32)
    target[0, 0] = 1
    found = ranking.report(np.zeros((1, 40), np.float32), target)
    assert (found["hr@10"], found["recall@10"]) == pytest.approx((0.25, 0.25))
    assert found["ndcg@10"] == pytest.approx(np.sum(1 / np.log2(np.arange(2, 12))) / 40)
    assert ranked.kendall(np.zeros((1, 40)), np.arange(40.0)[None], target >= 0).tolist() != [0]
