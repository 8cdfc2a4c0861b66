"""Regression: scores and report against SciPy and scikit-learn, and an experiment from its data to its files."""

import json

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from kdjax import experiment, losses
from kdjax.config import resolve
from kdjax.config.overrides import load_config
from kdjax.data import Arrays, Dataset, load
from kdjax.runs import predictions, task
from kdjax.runs.directory import Run
from kdjax.ship.export import export
from kdjax.tasks import named, own_metrics, regression
from kdjax.tasks.task import Task
from kdjax.types import Outputs


@pytest.fixture(scope="module")
def predicted():
    rng = np.random.default_rng(0)
    target = rng.normal(size=50).astype(np.float32)
    return (target + rng.normal(size=50)).astype(np.float32)[:, None], target


def test_report_equals_scipy_and_scikit_learn(predicted):
    logits, target = predicted
    found = regression.report(logits, target, logits + 0.5)
    assert found["mae"] == pytest.approx(mean_absolute_error(target, logits[:, 0]))
    assert found["rmse"] == pytest.approx(root_mean_squared_error(target, logits[:, 0]))
    assert found["spearman"] == pytest.approx(spearmanr(target, logits[:, 0]).statistic)
    assert found["agreement"] == pytest.approx(0.5)
    assert regression.report(np.ones((3, 1)), np.arange(3.0))["spearman"] is None


def test_scores_are_of_single_examples(predicted):
    logits, target = predicted
    scores = regression.scores(logits, target)
    assert np.mean(scores["mae"]) == pytest.approx(regression.report(logits, target)["mae"])
    assert np.sqrt(np.mean(scores["mse"])) == pytest.approx(regression.report(logits, target)["rmse"])


def test_squared_error(predicted):
    logits, target = predicted
    assert losses.squared_error(Outputs(logits), None, target) == pytest.approx(np.mean((logits[:, 0] - target) ** 2))
    with pytest.raises(ValueError, match=r"targets are int32 \(50,\), logits \(50, 1\); it is for regression"):
        losses.squared_error(Outputs(logits), None, target.astype(np.int32))


def config(**changes):
    made = load_config("configs/diabetes.py", [])
    made.seeds, made.epochs, made.teacher.epochs, made.eval_every_epochs = (0, 1), 4, 6, 1
    with made.unlocked():
        made.update(changes)
    return resolve(made)


def spread(logits, target):
    """A metric of one's own."""
    return logits.max() - logits.min()


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    made = config()
    made.metrics.spread = "tests.tasks.test_regression.spread"
    return experiment.run(made, tmp_path_factory.mktemp("regression"))


def test_an_experiment_on_numbers(directory):
    result, history = Run(directory / "matched/seed0").result(), Run(directory / "matched/seed0").history()
    assert result["task"]["primary"] == "mae"
    assert (result["classes"], result["image_shape"], result["train_counts"]) == ([], None, None)
    assert result["last"]["mae"] < 1.0 < result["last"]["spread"]
    assert result["task"]["columns"][-1] == ["spread", "spread", ""]
    assert result["best"]["mae"] == next(row for row in history if row["epoch"] == result["best"]["epoch"])["test_mae"]
    assert result["best"]["validation_mae"] == min(row["validation_mae"] for row in history)  # lower is better
    assert result["peak"]["mae"] == min(row["test_mae"] for row in history)


def test_predictions_are_those_that_the_result_is_of(directory):
    result, kept = Run(directory / "matched/seed0").result(), predictions.read(directory / "matched/seed0")
    assert kept["score/mae"].mean(dtype=np.float64) == pytest.approx(result["last"]["mae"], rel=1e-6)
    made_again = regression.report(kept["logits"].astype(np.float32), kept["target"])
    for name in ("mae", "rmse", "spearman"):
        assert made_again[name] == pytest.approx(result["last"][name], rel=2e-3)
    with pytest.raises(ValueError, match="so nothing is known of single examples"):
        predictions.read(directory / "matched")


def test_only_images_are_exported(directory, tmp_path):
    with pytest.raises(ValueError, match="networks that rank lists, documents or items; this is regression"):
        export(directory / "matched/seed0", tmp_path / "student.safetensors")


def test_without_predictions(tmp_path):
    made = config(seeds=(0,), epochs=1)
    made.execution.keep_predictions = False
    assert not (experiment.run(made, tmp_path, only=("student",)) / "student/seed0/predictions.npz").exists()


def classified(config):
    """Numbers with classes."""
    arrays = Arrays(np.zeros((4, 2), np.float32), np.zeros(4, np.int32))
    return Dataset(arrays, None, arrays, ("a", "b"), "classified", kind="numbers")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "regresion"}, "config.task 'regresion'; did you mean 'regression'"),
        ({"task": "classification"}, "Diabetes has 0 classes; a classifier needs at least two"),
        ({"task": "tests.tiny.Net"}, "is a type, not a kdjax.tasks.task.Task"),
        ({"metrics": {"mae": "tests.tasks.test_regression.spread"}}, "config.metrics.mae: the results have a number"),
        ({"metrics": {"rmse": "tests.tasks.test_regression.spread"}}, "config.metrics.rmse: the results have a number"),
        ({"metrics": {"nll": "tests.tasks.test_regression.spread"}}, "config.metrics.nll: the results have a number"),
        (
            {"metrics": {"best": "tests.tasks.test_regression.spread"}},
            "a score of config.metrics is called 'best', as is",
        ),
        ({"metrics": {"mine": "tests.tasks.test_regression.B"}}, "config.metrics.mine .*has no 'B'"),
    ],
)
def test_what_does_not_fit_is_said(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        experiment.run(config(**changes), tmp_path)


def test_data_that_does_not_fit_is_said():
    made = config().data
    made.source = "tests.tasks.test_regression.classified"
    with pytest.raises(ValueError, match=r"classified has classes; .* is for data with a number"):
        load(made, task=regression.TASK)
    made = config().data
    made.shots = 3
    with pytest.raises(ValueError, match="are of classes; Diabetes has none"):
        load(made, task=regression.TASK)
    made = config().data
    made.augment.flip = {}
    with pytest.raises(ValueError, match="there is no augmentation for numbers"):
        load(made, task=regression.TASK)


def test_a_task_of_ones_own():
    assert named("kdjax.tasks.regression.TASK") is regression.TASK
    assert isinstance(named("classification"), Task)
    assert own_metrics({"spread": "tests.tasks.test_regression.spread"}) == {"spread": spread}
    json.dumps(regression.TASK.describe())


def test_what_is_less_when_better_is_told():
    def wrong(logits, target):
        return 0.0

    wrong.less_is_better = True
    told = task.of({"task": regression.TASK.describe({"spread": spread, "wrong": wrong})})
    assert [score.key for score in told.columns][-2:] == ["spread", "wrong"]
    better = {key: told.more_is_better(key) for key in ("mae", "rmse", "spearman", "spread", "wrong")}
    assert better == {"mae": False, "rmse": False, "spearman": True, "spread": True, "wrong": False}
    del (earlier := regression.TASK.describe())["less_is_better"]
    assert not task.of({"task": earlier}).more_is_better("rmse")
