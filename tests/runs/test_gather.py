"""Damage that only pictures would trip over: told in the table, never a traceback."""

import json

import pytest

from kdjax.report import table
from kdjax.runs import gather
from tests.report.test_table import result, tiny_runs, write_runs


def with_result(directory, **changes):
    path = directory / "kd/seed0/result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return directory


@pytest.fixture
def directory(tmp_path):
    return write_runs(tmp_path / "tiny", tiny_runs())


@pytest.mark.parametrize("cell", [[1], [0, 1, 2, 3], [10, 0, 1], [0, -1, 1], [0, 0, 0]])
def test_confusion_that_does_not_fit_the_classes(directory, tmp_path, cell):
    runs = table.gather(with_result(directory, last={"top1": 0.9, "confusion": [cell]}))
    table.write(runs, tmp_path / "out")
    assert [run["run"] for run in runs if run.get("problem") == "damaged: result.json"] == ["kd/seed0"]


def test_training_counts_of_other_classes(directory):
    runs = table.gather(with_result(directory, train_counts=[1]))
    assert sum("problem" in run for run in runs) == 1


def test_some_methods_alone():
    lines = tiny_runs()
    assert {line["run"] for line in gather.select(lines, ("kd",))} == {
        "teacher/seed0",
        *(f"kd/seed{s}" for s in range(3)),
    }
    assert gather.select(lines, ()) == lines
    with pytest.raises(ValueError, match="--only: there is no method 'kdd'; did you mean 'kd'"):
        gather.select(lines, ("student", "kdd"))


def test_methods_that_have_begun(directory):
    (directory / "kd/seed1/result.json").unlink()
    assert len(gather.begun(table.gather(directory))) == len(tiny_runs())
    for seed in (0, 2):
        (directory / f"kd/seed{seed}/result.json").unlink()
    left = {line["run"] for line in gather.begun(table.gather(directory))}
    assert left == {line["run"] for line in tiny_runs() if not line["run"].startswith("kd/")}


def test_seeds_that_were_not_asked_for_are_not_missed(directory):
    for seed in (1, 2):
        (directory / f"kd/seed{seed}/result.json").unlink()
    left = {line["run"] for line in gather.begun(table.gather(directory), seeds=(0, 1))}
    assert {run for run in left if run.startswith("kd/")} == {"kd/seed0", "kd/seed1"}
    assert len(left) == len(tiny_runs()) - 1


@pytest.mark.parametrize("changes", [{"seed": 1}, {"method": "student"}])
def test_result_copied_from_another_run_does_not_count(directory, changes):
    runs = table.gather(with_result(directory, **changes))
    assert [run["run"] for run in runs if run["result"] is None] == ["kd/seed0"]


def test_line_with_the_result_of_another_run_is_refused(tmp_path):
    lines = [{**tiny_runs()[0], "result": result("kd", 1)}]
    (tmp_path / "runs.jsonl").write_text(json.dumps(lines[0]) + "\n")
    with pytest.raises(ValueError, match="line 1: result is of kd/seed1, not of teacher/seed0"):
        table.read(tmp_path)


def test_metrics_of_a_wrong_type_end_the_curve(directory, tmp_path):
    path = directory / "kd/seed0/metrics.jsonl"
    first = path.read_text().splitlines()[0]
    path.write_text(first + '\n{"epoch": 2, "test_top1": "a"}\n{"epoch": 3, "test_top1": 0.9}\n')
    runs = table.gather(directory)
    table.write(runs, tmp_path / "out")
    line = next(run for run in runs if run["run"] == "kd/seed0")
    assert [row["epoch"] for row in line["history"]] == [1]
    assert "cut short" in line["remark"]


def test_costs_that_were_not_measured(directory, tmp_path):
    runs = table.gather(with_result(directory, student=None, teacher=None, train_counts=None))
    assert table.write(runs, tmp_path / "out")
    assert not any("problem" in run for run in runs)
