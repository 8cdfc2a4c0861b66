"""Several processes that share batches: real ones, on this machine, over JAX's collectives for the CPU."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from kdjax import processes
from tests.test_train import assert_same, results

ROOT = Path(__file__).parent.parent
RUN = [sys.executable, "-m", "kdjax.cli", "run", "--config=tests/tiny_config.py:methods=student+layered+remembered"]


def start(directory: Path, devices: int, *arguments) -> subprocess.Popen:
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)}
    command = [*RUN, f"--out={directory}", "--config.execution.devices=batch", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen) -> str:
    printed = process.communicate(timeout=300)[0]
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
    def late(*arguments):
        raise RuntimeError("DEADLINE_EXCEEDED: Barrier timed out.\nMore lines.")

    monkeypatch.setattr(jax.distributed, "initialize", late)
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    with pytest.raises(ValueError, match=r"^--coordinator=a:1: the processes do not find .* Barrier timed out.$"):
        processes.join("a:1", 2, 0, "batch")
