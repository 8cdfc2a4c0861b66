"""Cores are those that the process may use, not those of the machine."""

import os
import subprocess
import sys

import pytest

from kdjax.cores import cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_affinity_counts():
    one = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, [{one}]); from kdjax.cores import cores; print(cores())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"


def test_what_slurm_gives_counts(monkeypatch):
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    alone = cores()
    assert alone >= 1
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert cores() == 1
    for more in ("100000", "", "0", "many"):
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", more)
        assert cores() == alone


def test_nothing_counts_the_cores_of_the_machine():
    from pathlib import Path

    package = Path(__file__).parent.parent / "kdjax"
    users = [path.name for path in package.rglob("*.py") if "os.cpu_count" in path.read_text("utf-8")]
    assert users == ["cores.py"]
