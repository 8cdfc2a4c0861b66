"""What goes beyond one stage and one fixed teacher: first stages, chains, ensembles, parts of the teacher."""

import jax
import numpy as np
import pytest

from kdjax import experiment
from kdjax.runs.directory import Run
from kdjax.training import checkpoint
from tests import tiny
from tests.training.test_cohort import assert_same, results

LABELS = {"cross_entropy": {"weight": 1.0}}
HINT = {"fn": "tests.tiny.layered", "weight": 1.0}


def config(**methods):
    made = tiny.config(methods=("student",), epochs=2)
    made.seeds = (0,)
    for name, spec in methods.items():
        made.methods[name] = spec
    return made


def params(directory, name):
    return checkpoint.student(directory / name / "seed0" / "checkpoints")["params"]


def test_a_first_stage_trains_its_own_terms_and_hands_its_parameters_on(tmp_path):
    spec = {**LABELS, "hint": HINT, "freeze": ("hint",)}
    spec["first_stage"] = {"epochs": 2, "terms": {"hint": HINT}, "optimizer": {"learning_rate": 0.01}}
    made = config(staged=spec)
    directory = experiment.run(made, tmp_path)
    run = Run(directory / "staged/seed0")
    rows = run.history()
    assert [row["epoch"] for row in rows] == [-1, 0, 1, 2]
    assert ["loss/cross_entropy" in row for row in rows] == [False, False, True, True]
    assert rows[0]["learning_rate"] < 0.011
    assert rows[2]["loss/hint"] < rows[0]["loss/hint"]  # what the first stage learned is there
    assert run.result()["status"] == "done"


def test_stages_continue_to_the_same_bits(tmp_path):
    """Stopped in the teacher, in either stage, and where the first stage ends."""
    spec = {**LABELS, "hint": HINT, "first_stage": {"epochs": 1, "terms": {"hint": HINT}}}
    made, only = config(staged=spec), ("staged",)
    whole = results(experiment.run(made, tmp_path / "whole", only=only))
    directory, stops = tiny.in_pieces(made, tmp_path / "pieces", 3, only=only)
    assert stops > 4
    assert_same(whole, results(directory))


def test_frozen_parameters_are_those_of_the_first_stage(tmp_path):
    """A main stage without anything to train ends where the first stage did."""
    first = {"epochs": 1, "terms": {"hint": HINT}}
    spec = {"hint": HINT, "freeze": ("student", "hint"), "first_stage": first}
    directory = experiment.run(config(staged=spec, hint={"hint": HINT}), tmp_path)
    staged, plain = params(directory, "staged"), params(directory, "student")
    assert not np.array_equal(staged["conv0"]["kernel"], plain["conv0"]["kernel"])
    rows = Run(directory / "staged/seed0").history()
    assert [row["step"] for row in rows] == [4, 4, 8]  # the optimizer starts afresh


def test_a_chain_of_generations(tmp_path):
    """Born again: the student of one row teaches the next, which may have another architecture."""
    kd = {**LABELS, "kd": {"weight": 1.0}}
    directory = experiment.run(
        config(
            second={**kd, "teacher": "assistant"},
            assistant={**kd, "student": {"model": "tests.tiny.Net", "kwargs": {"width": 6}}},
        ),
        tmp_path,
    )
    assistant, second = (Run(directory / name / "seed0").result() for name in ("assistant", "second"))
    assert second["teacher"]["top1"] == pytest.approx(assistant["last"]["top1"])
    assert second["teacher"]["parameters"] == assistant["student"]["parameters"] > second["student"]["parameters"]


def test_several_teachers_are_an_ensemble(tmp_path):
    kd = {**LABELS, "kd": {"weight": 1.0}}
    directory = experiment.run(config(kd=kd, taught={**kd, "teacher": "student+kd"}), tmp_path)
    teacher = Run(directory / "taught/seed0").result()["teacher"]
    one = Run(directory / "kd/seed0").result()["student"]["parameters"]
    assert teacher["model"] == "ensemble of tests.tiny.Net + tests.tiny.Net"
    assert teacher["parameters"] == 2 * one
    other = config(kd=kd)
    other.experiment = "other"
    other.teacher.run = f"{directory}/kd/seed0 + {directory}/student/seed0"
    again = experiment.run(other, tmp_path)
    assert Run(again / "kd/seed0").result()["teacher"]["parameters"] == teacher["parameters"]


def test_a_student_begins_with_a_part_of_its_teacher(tmp_path):
    made = config(adopted={**LABELS, "from_teacher": {"fc": "fc"}, "freeze": ("student/fc",)})
    made.student.kwargs = {"width": 8}  # as the teacher's
    directory = experiment.run(made, tmp_path)
    teacher = params(directory, "teacher")
    jax.tree.map(np.testing.assert_array_equal, params(directory, "adopted")["fc"], teacher["fc"])
    assert not np.array_equal(params(directory, "adopted")["conv0"]["kernel"], teacher["conv0"]["kernel"])


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"fcc": "fc"}, "the student has no parameters 'fcc'"),
        ({"fc": "fcc"}, "the teacher has no parameters 'fcc'"),
        ({"fc": "fc"}, "of the student is"),
    ],
)
def test_parts_that_do_not_fit(tmp_path, mapping, message):
    with pytest.raises(ValueError, match=message):
        experiment.run(config(adopted={**LABELS, "from_teacher": mapping}), tmp_path)
