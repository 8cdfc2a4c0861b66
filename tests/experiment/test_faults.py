"""Damaged files, full disks, files in the way, signals, rivals: one message, nothing lost, the same bits in the end."""

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from kdjax import experiment
from kdjax.experiment.progress import Display
from kdjax.runs.directory import Run
from kdjax.runs.lock import Lock
from kdjax.training import checkpoint, cohort
from tests import chaos, tiny
from tests.training.test_cohort import assert_same, results

CONFIG = Path(__file__).parents[1] / "tiny_config.py"


@pytest.fixture
def counted(record_property):
    """Counts what a test has injected, for results/reliability."""
    return lambda what, number=1: record_property(what, number)


def small():
    config = tiny.config(methods=("remembered",), epochs=2)
    config.seeds = (0,)
    return config


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict:
    return results(experiment.run(small(), tmp_path_factory.mktemp("undisturbed")))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A finished experiment with two checkpoints a run."""
    config = small()
    config.execution.checkpoint_seconds = 0.0
    return experiment.run(config, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def halfway(tmp_path_factory) -> Path:
    """The teacher is finished, its student has two checkpoints, the newer one in the second epoch."""
    config, taken = small(), []
    config.execution.checkpoint_seconds = 0.0
    display = Display(Console(file=io.StringIO()))
    display.advance = taken.append
    root = tmp_path_factory.mktemp("halfway")
    with pytest.raises(cohort.Stopped):  # 8 calls of the teacher's step, then 4 and 2 of the student's
        experiment.run(config, root, display=display, stop_signal=lambda: 15 * (len(taken) >= 14))
    assert checkpoint.numbers(root / "tiny/remembered/seed0/checkpoints") == [5, 6]
    return root / "tiny"


def go_on(directory: Path) -> tuple[dict, str]:
    """Continues an experiment: (what it ends with, what it printed)."""
    printed = io.StringIO()
    with Display(Console(file=printed, width=500)) as display:
        experiment.run(small(), directory.parent, display=display)
    return results(directory), printed.getvalue()


# ---- damage


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


DAMAGES = {"truncated": truncate, "emptied": lambda p: p.write_bytes(b""), "flipped": flip, "missing": Path.unlink}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_file_of_a_checkpoint_is_watched(tmp_path, damage, counted):
    tree = {"state": {"params": {"student": {"kernel": np.arange(6000.0)}}, "stats": {}}}
    for number in (3, 7):
        checkpoint.save(tmp_path / "sound", number, tree, {"config.json": b"{}", "metrics.jsonl": b"{}\n"})
    files = [p.relative_to(tmp_path / "sound") for p in (tmp_path / "sound/7").rglob("*") if p.is_file()]
    assert len(files) > 5
    for file in files:
        shutil.rmtree(tmp_path / "hurt", ignore_errors=True)
        shutil.copytree(tmp_path / "sound", tmp_path / "hurt")
        if (tmp_path / "hurt" / file).stat().st_size == 0 and damage != "missing":
            continue
        DAMAGES[damage](tmp_path / "hurt" / file)
        with pytest.raises(ValueError, match="damaged"):
            checkpoint.student(tmp_path / "hurt")
        said = []
        assert checkpoint.newest(tmp_path / "hurt", said.append) == 3, file
        assert len(said) == 1
        assert "is damaged" in said[0]
        assert checkpoint.numbers(tmp_path / "hurt") == [3]
        counted("damaged_files")


def test_lines_that_digests_do_not_know(tmp_path):
    checkpoint.save(tmp_path, 1, {"a": np.ones(3)}, {})
    (tmp_path / "1/foreign").write_text("x")
    assert "does not know foreign" in checkpoint.damage(tmp_path / "1")


def every(pattern, change):
    def do(directory):
        found = sorted(directory.glob(pattern))
        assert found
        for path in found:
            change(path)

    return do


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


STUDENT = "remembered/seed0"
HALFWAY = {
    "newest checkpoint": (every(f"{STUDENT}/checkpoints/6/d/*", flip), "6 is damaged"),
    "both checkpoints": (every(f"{STUDENT}/checkpoints/*/_METADATA", truncate), "no whole checkpoint; starts over"),
    "no checkpoints": (every(f"{STUDENT}/checkpoints", shutil.rmtree), "no whole checkpoint; starts over"),
    "metrics cut": (every(f"{STUDENT}/metrics.jsonl", cut), "metrics.jsonl is damaged"),
    "metrics flipped": (every(f"{STUDENT}/metrics.jsonl", flip), "metrics.jsonl is damaged"),
    "metrics missing": (every(f"{STUDENT}/metrics.jsonl", Path.unlink), "metrics.jsonl is damaged"),
    "config no JSON": (every(f"{STUDENT}/config.json", truncate), "config.json is missing or damaged"),
    "config missing": (every(f"{STUDENT}/config.json", Path.unlink), "config.json is missing or damaged"),
    "experiment's config": (every("config.json", truncate), ""),
}


@pytest.mark.parametrize("case", HALFWAY)
def test_damage_halfway(undisturbed, halfway, tmp_path, case, counted):
    damage, message = HALFWAY[case]
    directory = tmp_path / "tiny"
    shutil.copytree(halfway, directory)
    damage(directory)
    found, printed = go_on(directory)
    assert message in printed
    assert_same(undisturbed, found)
    counted("damages")


def lose_student(directory):
    shutil.rmtree(directory / STUDENT)


FINISHED = {
    "result no JSON": ([every(f"{STUDENT}/result.json", truncate)], "result.json"),
    "result emptied": ([every(f"{STUDENT}/result.json", DAMAGES["emptied"])], "result.json"),
    "result of no run": ([every(f"{STUDENT}/result.json", lambda p: p.write_text("[]"))], "result.json"),
    "config and checkpoints": (
        [every(f"{STUDENT}/config.json", truncate), every(f"{STUDENT}/checkpoints/*/_METADATA", truncate)],
        "no whole checkpoint; starts over",
    ),
    "teacher's last checkpoint": (
        [lose_student, every("teacher/seed0/checkpoints/8/d/*", flip)],
        "8 is damaged",
    ),
    "teacher's last checkpoint missing": (
        [lose_student, every("teacher/seed0/checkpoints/8", shutil.rmtree)],
        "the checkpoint that it describes is damaged",
    ),
    "teacher's checkpoints": (
        [lose_student, every("teacher/seed0/checkpoints", shutil.rmtree)],
        "no whole checkpoint; starts over",
    ),
    "teacher's result": ([lose_student, every("teacher/seed0/result.json", truncate)], "result.json"),
}


@pytest.mark.parametrize("case", FINISHED)
def test_damage_of_what_was_finished(undisturbed, whole, tmp_path, case, counted):
    damages, message = FINISHED[case]
    directory = tmp_path / "tiny"
    shutil.copytree(whole, directory)
    for damage in damages:
        damage(directory)
    found, printed = go_on(directory)
    assert message in printed
    assert_same(undisturbed, found)
    counted("damages")


def test_a_checkpoint_of_another_version_is_told(tmp_path):
    checkpoint.save(tmp_path, 1, {"a": np.ones(3, np.float32)}, {})
    with pytest.raises(ValueError, match="holds another state than this version of the code makes"):
        checkpoint.restore(tmp_path, 1, {"b": np.ones(4, np.float32)})


def test_the_last_good_checkpoint_of_a_diverging_run_stays(tmp_path):
    config = tiny.config(methods=("explodes",), epochs=2)
    config.execution.checkpoint_seconds = 0.0
    directory = experiment.run(config, tmp_path, seeds=(0,))
    assert Run(directory / "explodes/seed0").result()["status"] == "diverged"
    kept = directory / "explodes/seed0/checkpoints"
    assert checkpoint.numbers(kept) == [2, 3]  # infinite from step counter 3 on
    assert np.isfinite(checkpoint.student(kept)["params"]["fc"]["kernel"]).all()


def test_a_gradient_that_is_not_finite_at_the_last_step(tmp_path):
    """Every loss is finite, the parameters are not: the run has diverged and is not reported as done."""
    config = tiny.config(methods=("bad_gradient", "student"), epochs=1)
    directory = experiment.run(config, tmp_path, seeds=(0,))
    result = Run(directory / "bad_gradient/seed0").result()
    assert (result["status"], result["last"], result["diverged"]["step"]) == ("diverged", None, 4)
    assert Run(directory / "student/seed0").result()["status"] == "done"


def test_what_a_diverged_run_would_have_taught_is_left_out(tmp_path):
    config = tiny.config(methods=("explodes", "student"), epochs=1)
    config.methods.taught = {"stateless": {"fn": "tests.tiny.stateless", "weight": 1.0}, "teacher": "explodes"}
    config.methods.last = {"stateless": {"fn": "tests.tiny.stateless", "weight": 1.0}, "teacher": "taught"}
    printed = io.StringIO()
    directory = experiment.run(config, tmp_path, display=Display(Console(file=printed, width=500)))
    for seed in (0, 1):
        assert f"seed {seed}, not trained: taught: " in printed.getvalue()
        assert f"seed {seed}, not trained: last: " in printed.getvalue()
        assert Run(directory / f"student/seed{seed}").result()["status"] == "done"
    assert not (directory / "taught").exists()


# ---- the system says no


def run(kdjax, out, *overrides):
    return kdjax("run", f"--config={CONFIG}", f"--out={out}", "--only=student", *overrides)


def test_the_disk_is_full_again_and_again(kdjax, tmp_path, monkeypatch, counted):
    """At every kind of write: what is there stays readable, and with room the same command goes on."""
    expected = run(kdjax, tmp_path / "roomy")[1].splitlines()[-8:]
    real, failures, writes = os.fsync, [], 0
    for room in (0, 1, 2, 5, 11, 13, 18, 21, 30, 1000):
        writes = 0

        def fsync(number, room=room):
            nonlocal writes
            writes += 1
            if writes > room:
                failures.append(os.readlink(f"/proc/self/fd/{number}"))
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), failures[-1])
            real(number)

        monkeypatch.setattr(os, "fsync", fsync)
        status, out, err = run(kdjax, tmp_path / "full", "--config.execution.checkpoint_seconds=0")
        monkeypatch.setattr(os, "fsync", real)
        if status == 0:
            break
        assert status == 2
        assert "No space left on device; what is finished is whole, and the same command continues" in err
        assert kdjax("table", tmp_path / "full/tiny")[0] in (0, 2)  # 2: nothing has begun
        counted("failures")
    assert out.splitlines()[-8:] == expected
    assert len(failures) >= 5
    ends = chaos.ended(tmp_path / "full")
    assert {name: end["parameters"] for name, end in ends.items()} == {
        name: end["parameters"] for name, end in chaos.ended(tmp_path / "roomy").items()
    }
    assert not any(end["left over"] for end in ends.values())


def test_a_checkpoint_that_does_not_fit(tmp_path, counted):
    """A real limit, of the size of a file, so that the error comes from where Orbax writes."""
    script = (
        "import resource, signal, numpy as np; from kdjax.training import checkpoint\n"
        "checkpoint.save('.', 1, {'a': np.ones(3)}, {})\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try: checkpoint.save('.', 2, {'a': np.random.default_rng(0).random(100_000)}, {})\n"
        "except OSError as error: print(error)\n"
        "print(checkpoint.numbers('.'), repr(checkpoint.damage(__import__('pathlib').Path('1'))))"
    )
    environment = {**os.environ, "PYTHONPATH": str(CONFIG.parent.parent)}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "File too large" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1] == "[1] ''"
    assert not list(tmp_path.glob("*tmp*"))
    counted("failures")


IN_THE_WAY = {
    "a file for --out": ("", "file"),
    "a file for the experiment": ("tiny", "file"),
    "a file for the method": ("tiny/student", "file"),
    "a file for the run": ("tiny/student/seed0", "file"),
    "a file for the checkpoints": ("tiny/student/seed0/checkpoints", "file"),
    "a directory for the lock": ("tiny/student/seed0/lock", "directory"),
    "a directory for config.json": ("tiny/student/seed0/config.json", "directory"),
    "a directory for metrics.jsonl": ("tiny/student/seed0/metrics.jsonl", "directory"),
    "a directory for result.json": ("tiny/student/seed0/result.json", "directory"),
    "a directory for the experiment's config": ("tiny/config.json", "directory"),
}


@pytest.mark.parametrize("case", IN_THE_WAY)
def test_something_in_the_way(kdjax, tmp_path, case, counted):
    place, kind = IN_THE_WAY[case]
    path = tmp_path / "runs" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine") if kind == "file" else path.mkdir()
    status, _, err = run(kdjax, tmp_path / "runs")
    assert status == 2
    assert str(path) in err
    assert err.count("\n") == 1
    assert path.exists()
    counted("failures")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_refused_by_the_system(kdjax, tmp_path, monkeypatch, code, counted):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code), str(tmp_path))

    monkeypatch.setattr(os, "replace", refuse)
    status, _, err = run(kdjax, tmp_path)
    assert status == 2
    assert err.startswith(f"kdjax: {tmp_path}: {os.strerror(code)}")
    counted("failures")


def test_a_file_system_without_locks(kdjax, tmp_path, monkeypatch, counted):
    def flock(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    status, _, err = run(kdjax, tmp_path)
    assert (status, err) == (0, "")
    assert not list(tmp_path.rglob("lock"))  # leases are given back, too
    counted("failures")


def test_an_error_in_a_users_loss_is_one_line(kdjax, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("by the user")

    monkeypatch.setattr(tiny, "stateless", broken)
    status, _, err = kdjax("run", f"--config={CONFIG}", f"--out={tmp_path}")
    assert status == 2
    (line,) = err.splitlines()
    assert line.startswith("kdjax: config.methods.stateless.stateless: by the user (test_faults.py, line ")


# ---- locks, signals, rivals: processes of their own


def test_a_lock_is_held_once_and_dies_with_its_holder(tmp_path):
    script = (
        "import sys; from kdjax.runs.lock import Lock; lock = Lock('lock')\n"
        "print(repr(lock.acquire()), flush=True); sys.stdin.read()"
    )
    environment = {**os.environ, "PYTHONPATH": str(CONFIG.parent.parent)}
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment)
    with subprocess.Popen([sys.executable, "-c", script], **pipes) as process:
        assert process.stdout.readline() == "''\n"
        lock = Lock(tmp_path / "lock")
        assert lock.acquire().endswith(f", process {process.pid}")
        process.kill()
        process.wait()
        assert lock.acquire() == ""
    other = Lock(tmp_path / "lock")
    assert str(os.getpid()) in other.acquire()
    lock.release()
    assert other.acquire() == ""
    other.release()
    assert not (tmp_path / "lock").exists()


class Command:
    """`kdjax run` that never ends by itself, in a process of its own."""

    def __init__(self, out: Path, log: Path, *overrides):
        self.out, self.log = out, log
        command = [*chaos.COMMAND[:-1], f"--config={CONFIG}:methods=student,epochs=100000", f"--out={out}", *overrides]
        environment = {**os.environ, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        with open(log, "w") as file:
            self.process = subprocess.Popen(command, cwd=chaos.ROOT, env=environment, stdout=file, stderr=file)

    def until(self, condition, what: str) -> None:
        deadline = time.monotonic() + 600
        while not condition():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, f"never {what}: {self.said()}"
            time.sleep(0.02)

    def said(self) -> str:
        return self.log.read_text()

    def until_said(self, text: str) -> None:
        self.until(lambda: text in self.said(), text)

    def stop(self, signum) -> int:
        self.process.send_signal(signum)
        return self.process.wait(600)


@pytest.fixture
def command(tmp_path):
    """Starts commands on one experiment; ends what is left of them."""
    started = []

    def start(*overrides):
        started.append(Command(tmp_path / "runs", tmp_path / f"log{len(started)}", *overrides))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


def test_stopped_while_the_teacher_trains_and_another_waits_for_it(command, tmp_path, counted):
    teacher = tmp_path / "runs/tiny/teacher/seed0"
    first = command("--config.teacher.epochs=100000")
    first.until((teacher / "metrics.jsonl").exists, "an epoch of the teacher")
    second = command("--config.teacher.epochs=100000")
    second.until_said("waiting for")
    assert f"process {first.process.pid}" in second.said()
    rows = len(Run(teacher).history())
    assert first.stop(signal.SIGINT) == 130  # Ctrl-C
    assert "stopped by SIGINT, every run is checkpointed; to continue: kdjax run --config=" in first.said()
    assert "Traceback" not in first.said()
    at = checkpoint.numbers(teacher / "checkpoints")[0]
    assert at >= 4 * rows
    second.until(lambda: (teacher / "lock").exists() and len(Run(teacher).history()) > at // 4, "taken over")
    assert "starts over" not in second.said()
    assert second.stop(signal.SIGTERM) == 143
    assert not (teacher / "lock").exists()
    counted("processes", 3)


def test_two_at_once_and_two_signals(command, tmp_path, counted):
    student = tmp_path / "runs/tiny/student/seed0"
    first = command()
    first.until((student / "metrics.jsonl").exists, "an epoch of the student")
    second = command()
    assert second.process.wait(600) == os.EX_TEMPFAIL
    assert f"process {first.process.pid}" in second.said()
    assert "when they are done: kdjax run" in second.said()
    first.process.kill()  # its lock dies with it
    first.process.wait()
    third = command()
    third.until_said("no whole checkpoint; starts over")
    third.until((student / "metrics.jsonl").exists, "an epoch of the student")
    third.process.send_signal(signal.SIGSTOP)  # so that both signals arrive before anything else
    third.process.send_signal(signal.SIGTERM)
    third.process.send_signal(signal.SIGCONT)
    third.until_said("once more to stop at once")
    assert third.stop(signal.SIGTERM) == 143
    counted("processes", 3)


def test_stopped_while_it_starts(command, counted):
    first = command()
    first.until_said("methods to run on")
    assert first.stop(signal.SIGTERM) == 143
    assert "Traceback" not in first.said()
    counted("processes")
