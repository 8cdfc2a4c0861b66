"""Names of directories that mean something to others, strangers' files among ours, and names that kdjax makes."""

import json
import os

import numpy as np
import pytest

from kdjax import experiment
from kdjax.config import resolve
from kdjax.config import rows as rows
from kdjax.files import safe_name
from kdjax.runs.directory import Run
from kdjax.ship import export
from kdjax.training import checkpoint
from tests import tiny
from tests.training.test_cohort import assert_same, results

WILD = ("runs [v2]", "[x", "a*b", "a?b", "x[4.0]")


def tree(value=1.0) -> dict:
    return {"state": {"params": {"student": {"kernel": np.full(3, value, np.float32)}}, "stats": {}}}


def kernel(directory) -> list[float]:
    return checkpoint.student(directory)["params"]["kernel"].tolist()


@pytest.mark.parametrize("name", WILD)
def test_checkpoints_in_a_directory_named_like_a_pattern(tmp_path, name):
    checkpoint.save(tmp_path / "a1b", 1, tree(2.0), {})  # a*b is a pattern for it
    checkpoint.save(tmp_path / name, 1, tree(), {"config.json": b"{}"})
    assert checkpoint.newest(tmp_path / name, pytest.fail) == 1
    assert kernel(tmp_path / name) == [1.0] * 3
    assert kernel(tmp_path / "a1b") == [2.0] * 3


def test_a_folder_for_temporary_files_named_like_a_pattern(tmp_path, monkeypatch):
    (tmp_path / "[t]").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "[t]"))
    with pytest.raises(OSError, match="set TMPDIR"):
        checkpoint.save(tmp_path / "[t]", 1, tree(), {})


def test_whole_is_what_can_be_opened(tmp_path):
    """All files as they were written, and of no use."""
    for number in (1, 2):
        checkpoint.save(tmp_path, number, tree(), {})
    (tmp_path / "2/manifest.ocdbt").unlink()
    sums = tmp_path / "2" / checkpoint.SUMS
    sums.write_text(
        "".join(line for line in sums.read_text().splitlines(True) if not line.endswith("  manifest.ocdbt\n"))
    )
    with pytest.raises(ValueError, match="2 is damaged: it cannot be opened"):
        checkpoint.student(tmp_path)
    assert checkpoint.newest(tmp_path, [].append) == 1


def test_strangers_are_left_alone(tmp_path):
    strangers = ("tmp.txt", "notes.tmp/a", "0999999/a", "999999/a", "5.txt", "1/.DS_Store")
    for number in (1, 2):
        checkpoint.save(tmp_path, number, tree(number), {})
    (tmp_path / "3.tmp.orbax-checkpoint-tmp-1").mkdir()  # what a save that was killed leaves
    for name in strangers:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert checkpoint.newest(tmp_path, pytest.fail) == 2
    assert kernel(tmp_path) == [2.0] * 3
    checkpoint.save(tmp_path, 3, tree(3.0), {})
    assert checkpoint.numbers(tmp_path) == [2, 3]
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")} >= {*strangers} - {"1/.DS_Store"}
    assert not list(tmp_path.glob("3.tmp*"))


def test_strangers_beside_a_run(tmp_path):
    (tmp_path / ".notes.tmp").mkdir()
    (tmp_path / ".config.json.12.tmp").touch()
    Run(tmp_path).begin({"method": "kd"}, None, pytest.fail)
    assert sorted(os.listdir(tmp_path)) == [".notes.tmp", "config.json"]


def test_names_are_safe_and_tell_apart():
    assert safe_name("kd.temperature=2.0") == "kd.temperature=2.0"
    made = [
        safe_name(text) for text in ("t=[4.0]", "t=(4.0)", "t=4.0", 'a<>:"|?*/b', "x" * 300, "x" * 301, "ж" * 90, "a.")
    ]
    assert len({*made}) == len(made)
    assert made[0].startswith("t=(4.0)-")
    for name in made:
        assert not {*'[]<>:"|?*/\\'} & {*name}
        assert len(name.encode()) <= 110
        assert not name.endswith((" ", "."))


def swept():
    config = tiny.config(methods=("stateless",), epochs=1)
    config.teacher.epochs, config.seeds = 1, (0,)
    config.methods.layered = {"layered": {"fn": "tests.tiny.summed", "weight": 1.0}}
    config.baseline = "stateless"
    config.ablate["layered.layered.layers"] = ((0,), (0, 1))
    return config


def test_equal_values_of_a_sweep_are_one_row():
    config = swept()
    config.ablate["layered.layered.layers"] = ((1,), (1.0,), (True,))
    config.ablate["stateless.stateless.temperature"] = (2.0, 2.0, 2, 3.0)
    made = [row.row for row in rows.expand(resolve(config))][2:]
    assert made == [
        "layered,layered.layers=[1]",
        "layered,layered.layers=[True]",
        "stateless,stateless.temperature=2.0",
        "stateless,stateless.temperature=3.0",
    ]


def test_a_sweep_over_tuples(tmp_path):
    """Its label in the table is what was swept; its directory can be read, exported and continued."""
    directory = experiment.run(swept(), tmp_path / "plain")
    listed = json.loads((directory / "config.json").read_text())["rows"][2:]
    assert [row["row"] for row in listed] == [f"layered,layered.layers={v}" for v in ("[0]", "[0, 1]")]
    assert not {*"[]"} & {*"".join(row["method"] for row in listed)}
    found, stops = tiny.in_pieces(swept(), tmp_path / "runs [v2]*", 7)
    assert stops
    assert_same(results(directory), results(found))
    path = found / listed[1]["method"] / "seed0"
    export.export(path, tmp_path / "s.safetensors", "safetensors", print)


def test_directories_of_older_versions_are_found(tmp_path):
    directory = experiment.run(swept(), tmp_path)
    listed = [path for path in directory.iterdir() if path.name.startswith("layered,")]
    before = results(directory)
    for path in listed:
        (run,) = path.iterdir()
        config = json.loads((run / "config.json").read_text())
        for name in ("config.json", "result.json"):
            stored = json.loads((run / name).read_text())
            (run / name).write_text(json.dumps(stored | {"method": config["row"]}))
        path.rename(directory / config["row"])
    experiment.run(swept(), tmp_path)
    assert not any(path.exists() for path in listed)
    assert {name.rpartition("/")[0] for name in results(directory)} > {"layered,layered.layers=[0]"}
    assert len(results(directory)) == len(before)
