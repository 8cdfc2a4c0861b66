"""The scripts' environment: which CUDA is installed for which driver, and what the constraints pin."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from kdjax.report.track import TRACKERS
from kdjax.ship.serve import CONVERTER

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONSTRAINTS = {path.name: path.read_text() for path in ROOT.glob("constraints-*.txt")}


def environment(call: str, path: Path) -> subprocess.CompletedProcess:
    """What a function of scripts/environment.sh does where `path` is all that can be found."""
    command = [shutil.which("bash"), "-euc", f"source scripts/environment.sh; {call}"]
    return subprocess.run(command, cwd=ROOT, env={"PATH": str(path)}, capture_output=True, text=True, check=False)


DRIVERS = {
    "newest": ("580.65.06, 9.0", 0, "cuda13"),
    "Turing": ("580.65.06, 7.5", 0, "cuda13"),
    "Volta, which CUDA 13 has left behind": ("580.65.06, 7.0", 0, "cuda12"),
    "one of two is old": ("590.10, 9.0\n590.10, 6.1", 0, "cuda12"),
    "one of two is old, the first": ("590.10, 6.1\n590.10, 9.0", 0, "cuda12"),
    "driver of CUDA 12": ("535.129.03, 8.0", 0, "cuda12"),
    "driver of CUDA 11": ("470.82.01, 7.5", 0, ""),
    "no GPU": ("No devices were found", 6, ""),
    "no driver": ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", 9, ""),
}


@pytest.mark.parametrize("case", DRIVERS)
def test_the_extra_that_the_driver_runs(tmp_path, case):
    printed, status, extra = DRIVERS[case]
    fake = tmp_path / "nvidia-smi"
    fake.write_text(f"#!/bin/sh\ncat <<'END'\n{printed}\nEND\nexit {status}\n".replace("cat", shutil.which("cat")))
    fake.chmod(0o755)
    done = environment("cuda_extra", tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, extra)
    assert ("470.82.01 is too old" in done.stderr) == (case == "driver of CUDA 11")
    assert not extra or extra in PROJECT["optional-dependencies"]


def test_no_nvidia_smi_no_extra(tmp_path):
    assert environment("cuda_extra", tmp_path).stdout.strip() == ""


@pytest.mark.parametrize("minor", [11, 12, 13])
def test_every_python_has_its_constraints(tmp_path, minor):
    python = tmp_path / "python"
    python.write_text(f"#!{sys.executable}\nimport sys\nsys.version_info = (3, {minor})\nexec(sys.argv[2])\n")
    python.chmod(0o755)
    assert f"3.{minor}" in SpecifierSet(PROJECT["requires-python"])
    assert environment(f"constraints {python}", tmp_path).stdout.strip() in CONSTRAINTS


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_what_is_required_is_pinned_as_asked_for(name):
    pins = {}
    for line in CONSTRAINTS[name].splitlines():
        if not line.startswith("#"):
            package, _, version = line.partition("==")
            pins[canonicalize_name(package)] = version
    extras = [text for extra in ("test", *TRACKERS) for text in PROJECT["optional-dependencies"][extra]]
    for text in PROJECT["dependencies"] + extras:
        required = Requirement(text)
        assert pins[canonicalize_name(required.name)] in required.specifier, text
    assert pins["jax"] == pins["jaxlib"]
    assert f"litert-converter=={pins['litert-converter']}" == CONVERTER
    assert f"pip install --no-deps {CONVERTER}" in (ROOT / "docs/how-to/export.md").read_text()
