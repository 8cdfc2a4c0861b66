"""`kdjax diff`: fields, rows, terms and numbers in which two experiments or two runs differ, and no others."""

import copy
import json
from pathlib import Path

import pytest

from kdjax.report import diff
from tests.fabricated import fabricate, set_top1

ROOT = Path(__file__).parent.parent.parent


def write(folder: Path, lines) -> Path:
    """The lines as directories of runs."""
    for line in lines:
        run = folder / line["run"]
        run.mkdir(parents=True)
        (run / "config.json").write_text(json.dumps(line["config"]))
        (run / "result.json").write_text(json.dumps({**line["result"], "method": line["config"]["method"]}))
        (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in line["history"]))
    return folder


def two():
    a = set_top1(fabricate(seeds=2, epochs=3), student=[0.9, 0.9], kd=[0.93, 0.93], dkd=[0.94, 0.94])
    b = [copy.deepcopy(line) for line in a if line["config"]["method"] != "dkd"]
    for line in b:
        line["config"]["teacher"]["model"] = "resnet56"
        if line["config"]["method"] == "kd":
            line["config"]["spec"]["kd"]["temperature"] = 2.0
            line["result"]["last"]["top1"] = 0.95
            line["history"][1]["loss"] = 7.0
    return a, b


def test_experiments():
    found = diff.of_experiments(("one", "other"), *two())
    fields, terms, numbers = found.grids
    assert fields.rows == [["teacher.model", "resnet20", "resnet56"]]
    assert terms.rows == [["kd.kd.temperature", "4.0", "2.0"]]
    assert [row[-1] for row in numbers.rows] == ["+0.00", "+0.00", "+2.00"]  # the teacher first
    assert "Only one has: dkd." in found.notes
    assert "2 of 4 finished runs" in found.notes[-1]


def test_the_same_has_no_differences():
    a, _ = two()
    found = diff.of_experiments(("one", "other"), a, copy.deepcopy(a))
    assert [grid.header[0] for grid in found.grids] == ["method"]
    assert {row[-1] for row in found.grids[0].rows} == {"+0.00"}
    assert found.notes == ["6 of 6 finished runs that both have came to the same numbers, to the bit."]


def test_runs_and_what_is_of_another_kind(tmp_path, kdjax):
    one, other = (write(tmp_path / name, lines) for name, lines in zip("ab", two(), strict=True))
    status, out, _ = kdjax("diff", one / "kd/seed0", other / "kd/seed0")
    assert status == 0
    assert "part at epoch 2: loss" in out
    assert "temperature" in out
    assert "resnet56" in out
    status, out, _ = kdjax("diff", one / "student/seed0", one / "student/seed0")
    assert "All 3 epochs have the same numbers" in out
    status, _, err = kdjax("diff", one / "kd/seed0", other)
    assert (status, "is a run" in err) == (2, True)
    status, _, err = kdjax("diff", one, tmp_path / "nothing")
    assert (status, "there is no such directory" in err) == (2, True)


def test_what_was_trained_at_different_times():
    found = diff.of(ROOT / "results/digits", ROOT / "results/digits_fewshot10")
    assert ["data.shots", "0", "10"] in found.grids[0].rows
    assert not [row for row in found.grids[0].rows if row[0].startswith("identity")]
    with pytest.raises(ValueError, match="there is no such"):
        diff.of(ROOT / "results/digits", ROOT / "results/none")
