"""What is published: the source archive, the wheel that is built from it, and kdjax from it in an empty environment."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONSTRAINTS = ROOT / f"constraints-3.{11 if sys.version_info < (3, 12) else 12}.txt"
BUILD = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"


def run(*command, cwd: Path) -> str:
    """What a command prints that knows nothing of this checkout or this environment."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def environment(folder: Path, *packages) -> Path:
    """A new environment with some packages; its folder of programs."""
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    run(sys.executable, "-m", "venv", folder, cwd=folder.parent)
    run(programs / "python", *PIP, *packages, cwd=folder.parent)
    return programs


PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile")


@pytest.fixture(scope="module")
def tracked(tmp_path_factory) -> Path:
    """A copy of what git has: builds write beside their sources."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("what is published is what git has, and this is no checkout")
    copy = tmp_path_factory.mktemp("checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and name.partition("/")[0] not in ("results", "tests", "docs"):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    return copy


@pytest.fixture(scope="module")
def wheel(tracked, tmp_path_factory) -> Path:
    """Built from the source archive."""
    folder = tmp_path_factory.mktemp("built")
    try:
        programs = environment(folder / "builder", "setuptools>=77", "wheel")
    except AssertionError as error:
        pytest.skip(f"pip's index cannot be reached: {str(error)[-200:]}")
    run(programs / "python", "-c", BUILD, folder, cwd=tracked)
    (archive,) = folder.glob("kdjax-*.tar.gz")
    with tarfile.open(archive) as packed:
        assert {"README.md", "LICENSE"} <= {Path(name).name for name in packed.getnames()}
    options = ("--no-deps", "--no-build-isolation", "--wheel-dir", folder)
    run(programs / "python", "-m", "pip", "wheel", *options, archive, cwd=folder)
    (found,) = folder.glob("kdjax-*.whl")
    return found


@pytest.mark.slow
def test_the_wheel_has_all_of_it(wheel, tracked):
    inside = zipfile.ZipFile(wheel).namelist()
    files = [path.relative_to(tracked).as_posix() for path in sorted((tracked / "kdjax").rglob("*")) if path.is_file()]
    assert len(files) > 100
    assert not set(files) - set(inside)
    configs = [path.relative_to(tracked).as_posix() for path in sorted((tracked / "configs").rglob("*.py"))]
    assert not [name for name in configs if not any(path.endswith(f"share/kdjax/{name}") for path in inside)]


@pytest.mark.exhaustive
def test_it_runs_in_an_empty_environment(wheel, tmp_path):
    programs = environment(tmp_path / "empty", "-c", CONSTRAINTS, wheel)
    here = tmp_path / "elsewhere"
    here.mkdir()
    quick = ("--config.epochs=1", "--config.teacher.epochs=1", "--config.data.train_examples=200")
    printed = run(programs / "kdjax", "run", "--config=digits", "--only=student,kd", "--seeds=0", *quick, cwd=here)
    assert "Δ student" in printed
    run(programs / "kdjax", "table", "runs/digits", "--out=table", cwd=here)
    assert (here / "table/forest.png").stat().st_size > 1000
    run(programs / "kdjax", "report", "runs/digits", cwd=here)
    assert "<table" in (here / "report.html").read_text("utf-8")
    assert "kd" in run(programs / "kdjax", "run", "--config=ablations/temperature", "--dry-run", cwd=here)
    where = "import kdjax, pathlib; print(pathlib.Path(kdjax.__file__).parents[4])"
    assert Path(run(programs / "python", "-c", where, cwd=here).strip()) == tmp_path / "empty"
