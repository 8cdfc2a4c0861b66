"""Logits that are not finite although every loss was: told by name, and nothing else ends with them."""

import io

import numpy as np
import pytest
from rich.console import Console

from kdjax import experiment
from kdjax.experiment.progress import Display
from kdjax.experiment.results import best_epoch
from kdjax.report import table
from kdjax.runs.directory import Run
from kdjax.tasks.classification import TASK
from kdjax.training.evaluate import first_not_finite
from tests import tiny


def config(name="lost", source="tests.tiny.blackened"):
    config = tiny.config(name, epochs=1, methods=("student",))
    config.seeds, config.teacher.model = (0,), ""
    config.data.source, config.data.validation = source, 0.0
    config.data.mean, config.data.std = (0.0,), (1.0,)
    config.methods.cosine = {"cross_entropy": {"weight": 1.0}, "student": {"model": "tests.tiny.Cosine", "kwargs": {}}}
    return config


@pytest.fixture(scope="module")
def lost(tmp_path_factory):
    return experiment.run(config(), tmp_path_factory.mktemp("lost"))


def test_a_run_that_is_lost_in_evaluation_only(lost):
    result = Run(lost / "cosine/seed0").result()
    told = result["diverged"]
    assert (result["status"], result["last"], result["best"], result["peak"]) == ("diverged", None, None, None)
    assert {name: told[name] for name in ("epoch", "step", "split", "example")} == {
        "epoch": 1,
        "step": 5,
        "split": "test",
        "example": 5,
    }
    (row,) = Run(lost / "cosine/seed0").history()
    assert (row["test_top1"], row["test_nll"]) == (None, None)
    assert np.isfinite(row["loss"])
    assert Run(lost / "student/seed0").result()["status"] == "done"


def test_it_is_finished_and_in_the_table(lost):
    printed = io.StringIO()
    before = {path: path.stat().st_mtime_ns for path in lost.rglob("*.json*")}
    with Display(Console(file=printed)) as display:
        experiment.run(config(), lost.parent, display=display)
    assert {path: path.stat().st_mtime_ns for path in before if path.parent != lost} == {
        path: time for path, time in before.items() if path.parent != lost
    }
    text = table.markdown(table.gather(lost))
    assert "Seed 0 diverged at step 5 at learning rate 0" in text
    assert "its logits of example 5 of the test split are not finite" in text


def test_a_teacher_whose_logits_are_not_finite(tmp_path):
    sound = experiment.run(config("sound", "digits"), tmp_path, only=("cosine",))
    taught = config("taught")
    taught.teacher.run = str(sound / "cosine/seed0")
    with pytest.raises(ValueError, match=r"^teacher tests.tiny.Cosine: its logits of example 5 of the test split are"):
        experiment.run(taught, tmp_path)
    assert not (tmp_path / "taught/student/seed0/result.json").exists()


def test_an_epoch_that_was_lost_is_never_the_best():
    history = [
        {"epoch": 1, "validation_top1": 0.9, "test_top1": None},
        {"epoch": 2, "validation_top1": None, "test_top1": 0.9},
        {"epoch": 3, "validation_top1": 0.5, "test_top1": 0.4},
    ]
    assert best_epoch(history, TASK) == {"epoch": 3, "validation_top1": 0.5, "top1": 0.4}
    assert first_not_finite(np.array([[0.0, 1.0], [np.inf, 0.0], [0.0, np.nan]])) == 1
