"""What bounds a crash of the process: room for compiled programs, and a cache that is begun anew after one."""

import gc
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from kdjax.training import crash, mappings


def test_a_program_takes_mappings_until_it_is_let_go():
    before = mappings.left()
    if before == sys.maxsize:
        pytest.skip("this system does not count memory mappings")
    functions = [jax.jit(lambda x, n=n: jnp.sort(jnp.sin(n * x @ x), axis=0)) for n in range(10)]
    for function in functions:
        function(jnp.ones((4, 4)))
    held = mappings.left()
    assert held < before
    del functions, function
    gc.collect()
    assert mappings.left() > held


def test_room_is_that_of_every_place_and_for_one_method_at_least(monkeypatch):
    monkeypatch.setattr(mappings, "left", lambda: 10 * mappings.METHOD - 1)
    assert [mappings.room(places) for places in (1, 2, 100)] == [9, 4, 1]


def ended(cache, how: str) -> int:
    """The exit status of a process that watches a cache and ends in such a way."""
    code = "import faulthandler, os, pathlib, sys; from kdjax.training import crash; "
    code += f"crash.watch(pathlib.Path({str(cache)!r}))"
    return subprocess.run([sys.executable, "-c", f"{code}; {how}"], check=False).returncode


CRASHES = {"segmentation fault": "faulthandler._sigsegv()", "abort": "os.abort()"}


@pytest.mark.parametrize("case", CRASHES)
def test_after_a_crash_no_program_of_then_is_loaded(tmp_path, case):
    (tmp_path / "jit_step-1-cache").write_bytes(b"program")
    (tmp_path / "theirs").write_text("not a program")
    assert ended(tmp_path, CRASHES[case]) < 0
    told = crash.watch(tmp_path)
    assert str(tmp_path / "crashed/crash.txt") in told
    assert "most recent call first" in (tmp_path / "crashed/crash.txt").read_text()
    assert (tmp_path / "crashed/jit_step-1-cache").read_bytes() == b"program"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["crash.txt", "crashed", "theirs"]
    assert crash.watch(tmp_path) == ""  # told once


@pytest.mark.parametrize("how", ["sys.exit(0)", "sys.exit(1)", "os.kill(os.getpid(), 9)"])
def test_what_is_no_crash_leaves_the_cache(tmp_path, how):
    (tmp_path / "jit_step-1-cache").write_bytes(b"program")
    ended(tmp_path, how)
    assert crash.watch(tmp_path) == ""
    assert (tmp_path / "jit_step-1-cache").exists()
