"""Several processes that share batches: real ones, on this machine, over JAX's collectives for the CPU."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from kdjax.training import processes
from tests.training.test_cohort import assert_same, results

ROOT = Path(__file__).parents[2]
RUN = [sys.executable, "-m", "kdjax.cli", "run", "--config=tests/tiny_config.py:methods=student+layered+remembered"]


def start(directory: Path, devices: int, *arguments) -> subprocess.Popen:
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)}
    command = [*RUN, f"--out={directory}", "--config.execution.devices=batch", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


FAILING = """
import sys
from kdjax import cli
from kdjax.training import checkpoint, cohort, processes
from kdjax.runs.directory import Run

def fails(error):
    def fail(*_, **__):
        raise error
    return fail

advance, where = cohort.Cohort._advance, sys.argv.pop(1)
if where == "checkpoint":
    checkpoint.save = fails(OSError(28, "No space left on device", "runs"))
elif where == "result":
    Run.finish = fails(RuntimeError("odd"))
elif where == "step" and sys.argv[-1] == "--process=0":
    cohort.Cohort._advance = fails(RuntimeError("odd"))
processes.PATIENCE = 5 if where == "step" else processes.PATIENCE
cli.main()
"""
"""A program in whose first process something fails."""


def both_fail(directory: Path, where: str) -> list[tuple[int, str]]:
    """(exit status, what it printed) of two processes, the first of which fails."""
    coordinator_ = coordinator()
    arguments = ["run", "--config=tests/tiny_config.py:methods=student", "--config.teacher.model="]
    arguments += [f"--out={directory}", "--config.execution.devices=batch", coordinator_, "--processes=2"]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", FAILING, where, *arguments, f"--process={number}"],
            cwd=ROOT,
            env={**os.environ, "JAX_NUM_CPU_DEVICES": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in (0, 1)
    ]
    try:
        printed = [process.communicate(timeout=900)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    return [(process.returncode, text) for process, text in zip(started, printed, strict=True)]


@pytest.mark.parametrize(
    ("where", "status", "told"),
    [
        ("checkpoint", 2, ["kdjax: runs: No space left on device"] * 2),
        pytest.param("result", 1, ["RuntimeError: odd", "process 0: RuntimeError: odd"], marks=pytest.mark.slow),
    ],
)
def test_what_fails_in_the_first_fails_in_all(tmp_path, where, status, told):
    for (code, printed), message in zip(both_fail(tmp_path, where), told, strict=True):
        assert code == status, printed
        assert message in printed


@pytest.mark.slow
def test_nobody_waits_for_a_process_that_fails_alone(tmp_path):
    """It says why, and those that wait for it are ended after `processes.PATIENCE`, here five seconds."""
    (first, printed), (second, _) = both_fail(tmp_path, "step")
    assert first
    assert second
    assert "unexpected RuntimeError: odd" in printed


def test_errors_are_told_as_they_are():
    for error in (OSError(28, "No space left on device", "x"), OSError("odd"), ValueError("bad")):
        told = processes._error(json.loads(json.dumps(processes._told(error))), 0)
        assert (type(told), str(told)) == (type(error), str(error))
    assert str(processes._error(processes._told(KeyError("x")), 3)) == "process 3: KeyError: 'x'"


def finish(process: subprocess.Popen) -> str:
    printed = process.communicate(timeout=900)[0]
    assert process.returncode == 0, printed
    return printed


def coordinator() -> str:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return f"--coordinator=localhost:{free.getsockname()[1]}"


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    directory = tmp_path_factory.mktemp("alone")
    finish(start(directory, 2))
    return results(directory / "tiny")


def test_two_processes_end_with_the_bits_of_one(alone, tmp_path):
    where = coordinator()
    both = [start(tmp_path, 1, where, "--processes=2", f"--process={number}") for number in (0, 1)]
    first, second = map(finish, both)
    assert "Protocol" in first
    assert "Protocol" not in second
    together = results(tmp_path / "tiny")
    assert (
        together.keys() == alone.keys() == {f"{name}/seed0" for name in ("teacher", "student", "layered", "remembered")}
    )
    assert_same(alone, together)
    where = coordinator()  # all is finished: nothing is trained, the first prints the table again
    again = [start(tmp_path, 1, where, "--processes=2", f"--process={number}") for number in (0, 1)]
    assert "Protocol" in finish(again[0])
    finish(again[1])


@pytest.mark.parametrize(
    ("arguments", "mode", "message"),
    [
        (("localhost:1", 2, -1), "batch", "--process=0 to N-1"),
        (("", 2, 0), "batch", "need --coordinator=HOST:PORT"),
        (("localhost:1", 2, 2), "batch", "--process=0 to N-1"),
        (("localhost:1", 2, 0), "students", "start the same command as often as you like"),
    ],
)
def test_arguments_that_are_wrong(arguments, mode, message):
    with pytest.raises(ValueError, match=message):
        processes.join(*arguments, mode)


def test_processes_of_one_srun_find_each_other(monkeypatch):
    joined = []
    monkeypatch.setattr(processes, "_initialize", lambda *arguments: joined.append(arguments))
    processes.join("", 0, -1, "batch")
    for name in processes.SLURM:
        monkeypatch.setenv(name, "1")
    processes.join("", 0, -1, "batch")  # a single task
    monkeypatch.setenv("SLURM_NTASKS", "2")
    processes.join("", 0, -1, "students")
    assert not joined
    processes.join("", 0, -1, "batch")
    assert joined == [("the tasks of this srun",)]


def test_processes_that_do_not_find_each_other(monkeypatch):
    def late(*arguments, **options):
        raise RuntimeError("DEADLINE_EXCEEDED: Barrier timed out.\nMore lines.")

    monkeypatch.setattr(jax.distributed, "initialize", late)
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    with pytest.raises(ValueError, match=r"^--coordinator=a:1: the processes do not find .* Barrier timed out.$"):
        processes.join("a:1", 2, 0, "batch")
