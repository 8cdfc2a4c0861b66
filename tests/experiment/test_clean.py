"""`kdjax clean` frees what it says and nothing that a table, an export, a teacher or a continuation needs."""

import shutil

import pytest

from kdjax import cli
from kdjax.experiment import clean
from kdjax.runs import gather
from kdjax.runs.directory import Run
from kdjax.training import checkpoint
from tests import tiny
from tests.tiny import in_pieces


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """An experiment that was stopped and continued, so that its runs have two checkpoints."""
    config = tiny.config(methods=("student", "stateless"), epochs=2)
    config.seeds = (0,)
    directory, stops = in_pieces(config, tmp_path_factory.mktemp("clean"), calls=3)
    assert stops > 1
    return directory


@pytest.fixture
def directory(stored, tmp_path):
    return shutil.copytree(stored, tmp_path / "runs" / stored.name)


def files(directory):
    return {path for path in directory.rglob("*") if path.is_file()}


def test_it_frees_the_checkpoints_before_the_last(kdjax, directory):
    before, lines = files(directory), gather.gather(directory)
    older = [Run(directory / line["run"]).checkpoints / str(n) for line in lines for n in _older(directory, line)]
    assert older
    half = directory / "student/seed0/.result.json.123.tmp"
    half.write_text("{")
    status, out, _ = kdjax("clean", directory, "--dry-run")
    assert status == 0
    assert "student/seed0: 1 checkpoints before the last, 1 half written" in out
    assert files(directory) == before | {half}
    status, _, err = kdjax("clean", directory)
    assert (status, "--yes removes it" in err) == (2, True)
    assert files(directory) == before | {half}
    status, out, _ = kdjax("clean", directory.parent, "--yes")
    assert status == 0
    gone = before - files(directory)
    assert gone == {path for path in before if any(path.is_relative_to(folder) for folder in older)}
    assert gather.gather(directory) == lines
    for line in lines:
        run = Run(directory / line["run"])
        assert checkpoint.student(run.checkpoints, run.result()["student_sha256"])
    assert "nothing to free" in kdjax("clean", directory, "--yes")[1]


def _older(directory, line) -> list[int]:
    return checkpoint.numbers(Run(directory / line["run"]).checkpoints)[:-1]


def test_asked_and_refused_it_leaves_all(directory, capsys, monkeypatch):
    before = files(directory)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    with pytest.raises(SystemExit) as exit_:
        cli.main(["clean", str(directory)])
    assert exit_.value.code == 0
    assert "nothing was removed" in capsys.readouterr().out
    assert files(directory) == before


def test_what_is_unfinished_held_or_damaged_stays(directory):
    unfinished, held, damaged = (Run(directory / name / "seed0") for name in ("student", "stateless", "teacher"))
    (unfinished.path / "result.json").unlink()
    last = damaged.checkpoints / str(checkpoint.numbers(damaged.checkpoints)[-1])
    (last / "metrics.jsonl").write_text("")
    assert held.lock.acquire() == ""
    try:
        spares, said = clean.find(directory)
        assert spares == []
        assert any("its last checkpoint is damaged" in text for text in said)
        assert any("left alone" in text for text in said)
    finally:
        held.lock.release()
    (spare,) = clean.find(directory)[0]
    assert spare.run.path == held.path
    (held.path / "result.json").unlink()  # it changes between the question and the answer
    assert "has changed meanwhile" in clean.remove(spare)
    assert all(path.exists() for path in spare.paths)


def test_a_run_that_has_diverged_needs_no_checkpoint(directory):
    import json

    path = directory / "student/seed0/result.json"
    result = json.loads(path.read_text())
    path.write_text(json.dumps({**result, "status": "diverged", "last": None}))
    spare = next(each for each in clean.find(directory)[0] if each.run.path == path.parent)
    assert len(spare.paths) == len(checkpoint.numbers(path.parent / "checkpoints"))
