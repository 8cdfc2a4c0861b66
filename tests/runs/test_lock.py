"""Locks keep two processes apart, die with their process, and do so where a file system has no flock."""

import errno
import fcntl
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from kdjax.runs import lock
from kdjax.runs.lock import Lock

WITHOUT = "import errno, fcntl\ndef flock(*_): raise OSError(errno.ENOLCK, 'No locks available')\nfcntl.flock = flock\n"
HOLD = """
import sys
from pathlib import Path
from kdjax.runs.lock import Lock
held = Lock(Path(sys.argv[1]))
print(held.acquire() or "mine", flush=True)
sys.stdin.readline()
"""


@pytest.fixture(params=["flock", "lease"])
def without(request, monkeypatch):
    """What a child process runs first: with "lease" this process and its children have a file system without locks."""
    if request.param == "flock":
        return ""

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    return WITHOUT


def child(path, without):
    command = [sys.executable, "-c", without + HOLD, str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_one_at_a_time_and_again_when_it_is_given_back(tmp_path, without):
    first, second = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    assert first.acquire() == ""
    assert second.acquire() == first.holder() == f"{socket.gethostname()}, process {os.getpid()}"
    first.release()
    assert list(tmp_path.iterdir()) == []
    assert first.holder() == ""
    assert second.acquire() == ""
    second.release()


def test_it_dies_with_its_process(tmp_path, without):
    path = tmp_path / "lock"
    process = child(path, without)
    assert process.stdout.readline() == "mine\n"
    assert Lock(path).acquire() == Lock(path).holder() == f"{socket.gethostname()}, process {process.pid}"
    process.kill()
    process.communicate()
    assert Lock(path).holder() == ""
    mine = Lock(path)
    assert mine.acquire() == ""
    mine.release()
    assert list(tmp_path.iterdir()) == []


def test_of_many_one_gets_it(tmp_path, without):
    path, number = tmp_path / "lock", dead()
    for _ in range(50):  # which thread comes when is another matter each time
        path.write_text(f"{socket.gethostname()}, process {number}\n")  # all find that of a dead process
        locks, said, together = [Lock(path) for _ in range(16)], [], threading.Barrier(16)

        def take(one, together=together, said=said):
            together.wait()
            said.append(one.acquire())

        threads = [threading.Thread(target=take, args=(one,)) for one in locks]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        winners = [one for one in locks if one._held is not None]
        [one.release() for one in winners]
        assert (said.count(""), len(winners)) == (1, 1)


def test_who_died_taking_over_is_taken_over_from(tmp_path, without):
    left = f"{socket.gethostname()}, process {dead()}\n"
    for name in ("lock", "lock.takeover"):
        (tmp_path / name).write_text(left)
    mine = Lock(tmp_path / "lock")
    assert mine.acquire() == "" or mine.acquire() == ""
    mine.release()


def dead() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_lease_of_another_machine_ends_when_it_is_not_renewed(tmp_path, monkeypatch):
    path = tmp_path / "lock"
    path.write_text("elsewhere, process 1\n")
    assert lock.Lease(path).acquire() == Lock(path).holder() == "elsewhere, process 1"
    old = time.time() - lock.STALE_SECONDS - 1
    os.utime(path, (old, old))
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.01)
    mine = lock.Lease(path)
    assert mine.acquire() == ""
    os.utime(path, (old, old))
    deadline = time.monotonic() + 10
    while os.stat(path).st_mtime < old + 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert os.stat(path).st_mtime > old + 1  # it is renewed
    mine.close()


def test_a_lost_lease_is_left_to_whom_it_belongs_now(tmp_path, monkeypatch):
    def refuse(file, *_):
        assert (
            os.path.basename(file.name) != "lock"
        )  # to ask by it would make it, and whoever finds it empty removes it
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    threads, path = threading.active_count(), tmp_path / "lock"
    lost, now = Lock(path), Lock(path)
    assert lost.acquire() == ""
    old = time.time() - lock.STALE_SECONDS - 1
    os.utime(path, (old, old))  # its process was suspended
    assert now.acquire() == ""
    lost.release()
    assert Lock(path).acquire() == f"{socket.gethostname()}, process {os.getpid()}"
    now.release()
    assert list(tmp_path.iterdir()) == []
    assert threading.active_count() == threads
