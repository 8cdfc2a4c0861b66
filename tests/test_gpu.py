"""scripts/gpu runs whole on a CPU, on the smallest sizes, without the packages that a bare machine lacks."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import CACHE

ROOT = Path(__file__).parent.parent
ABSENT = ("array_record", "grain", "importlib_resources", "onnx", "qwix", "submitit", "tensorflow_datasets", "torch")

BLOCK = f"""
import sys
class Absent:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent)
"""


def environment(folder: Path) -> dict:
    """Of processes that find none of the packages in `ABSENT`."""
    (folder / "sitecustomize.py").write_text(BLOCK)
    own = {"PYTHON": sys.executable, "JAX_COMPILATION_CACHE_DIR": CACHE, "JAX_NUM_CPU_DEVICES": "2"}
    path = os.pathsep.join([str(folder), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, **own, "PYTHONPATH": path}


def test_everything_but_onnx_is_imported_without_them(tmp_path):
    code = (
        "import importlib, pkgutil, sys, kdjax\n"
        "for m in pkgutil.walk_packages(kdjax.__path__, 'kdjax.'):\n"
        "    if not m.name.startswith('kdjax.ship.onnx_graph.'): importlib.import_module(m.name)\n"
        f"assert not set({ABSENT!r}) & set(sys.modules)"
    )
    command = [sys.executable, "-W", "error::ImportWarning", "-c", code]
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def gpu(monkeypatch):
    """imported(name): a module of scripts/."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return __import__


def test_the_plan_keeps_its_minutes(gpu):
    plan = gpu("gpu_plan").PLAN
    for number, limit in enumerate((8.0, 2.0)):
        stages = {part.stage: 0.0 for part in plan}
        for part in plan:
            stages[part.stage] = max(stages[part.stage], part.minutes[number])
        assert 0 < sum(stages.values()) < limit


def test_what_is_missing_is_named(gpu, monkeypatch):
    plan = gpu("gpu_plan")
    monkeypatch.setattr(plan, "NEEDED", {"no_such_module": "such-wheel"})
    absent = plan.missing()
    assert absent["needed"] == ["such-wheel"]
    assert "missing wheel such-wheel" in plan.listed(absent)
    assert "pip download" in plan.needed(absent["needed"], ".whl")


def test_a_part_that_fails_or_hangs_is_told_and_keeps_what_it_had(gpu, tmp_path, monkeypatch):
    (tmp_path / "fake_part.py").write_text(
        "import time\n"
        "def fails(options, save):\n    save({'had': 1})\n    raise RuntimeError('no')\n"
        "def hangs(options, save):\n    save({'had': 2})\n    time.sleep(600)\n"
    )
    plan = gpu("gpu_plan")
    monkeypatch.setattr(plan, "GRACE", 0)
    names = ("goldens", "data", "resume", "pairs", "only", "seeds")
    args = type("Args", (), dict(tiny=False, quick=False, minutes=0.0, **dict.fromkeys(names, "")))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for name, minutes, expected in (("fails", 1.0, "status 1"), ("hangs", 0.5, "longer than")):
        part = plan.Part(name, "fake_part", 0, (minutes, minutes), "")
        found = plan.run(part, args, tmp_path)
        assert expected in found["failed"]
        assert found["had"]


def test_runs_travel_from_call_to_call(gpu, tmp_path, monkeypatch):
    result = gpu("gpu_result")
    monkeypatch.setattr(result, "PIECE", 1000)
    runs, out = tmp_path / "runs", tmp_path / "out"
    out.mkdir()
    for name, finished, size in (("teacher", True, 400), ("kd", True, 400), ("dkd", False, 600), ("crd", False, 2000)):
        folder = runs / "x" / name / "seed0"
        for number, length in ((7, 3000), (14, size)):
            (folder / "checkpoints" / str(number) / "state").mkdir(parents=True)
            (folder / "checkpoints" / str(number) / "state" / "data").write_bytes(bytes(length))
        (folder / "config.json").write_text("{}")
        (folder / "result.json").write_text("{}") if finished else None
    (runs / "x" / "config.json").write_text("{}")
    assert result.pack(runs, out) == ["x/crd/seed0"]
    names = set()
    for path in out.glob("*.tar.gz"):
        with tarfile.open(path) as archive:
            names |= set(archive.getnames())
    assert len(list(out.glob("*.tar.gz"))) == 2
    result.unpack(out, tmp_path / "again")
    assert {str(p.relative_to(tmp_path / "again")) for p in (tmp_path / "again").rglob("*") if p.is_file()} == names
    assert {name for name in names if "checkpoints" in name} == {
        "x/teacher/seed0/checkpoints/14/state/data",
        "x/dkd/seed0/checkpoints/14/state/data",
    }


def test_a_packed_data_set_is_what_was_packed(gpu, tmp_path, monkeypatch):
    from kdjax import cli, data

    made = gpu("gpu_result")._tiny()
    gpu("gpu_result").write(tmp_path / "d.npz", made)
    config = cli.load_config(f"configs/cifar10_gpu.py:data={tmp_path}/d.npz", [])
    loaded = data.load(config.data)
    assert loaded.name == "noise"
    assert loaded.classes == tuple(made["classes"])
    assert loaded.train.input.shape == (128, 32, 32, 3)
    np.testing.assert_array_equal(loaded.test.target, made["test"][1])
    from kdjax.data.images.encoded import decode

    np.testing.assert_array_equal(loaded.train.input[5], decode(made["train"][0][5], "x", 0, "RGB"))


def test_a_data_set_is_packed_from_a_folder_of_tfds(gpu, tmp_path, monkeypatch):
    from kdjax import cli, data
    from tests.prepared import images

    monkeypatch.setenv("TFDS_DATA_DIR", images(tmp_path, {"train": [0, 1, 1], "test": [1, 0]}, "cifar10"))
    gpu("gpu_result").main(tmp_path / "d.npz")
    loaded = data.load(cli.load_config(f"configs/cifar10_gpu.py:data={tmp_path}/d.npz", []).data)
    assert (loaded.name, loaded.train.target.tolist(), loaded.test.target.tolist()) == ("cifar10", [0, 1, 1], [1, 0])


@pytest.mark.slow
def test_whole_in_tiny_form(tmp_path):
    command = [str(ROOT / "scripts" / "gpu"), "--tiny", f"--out={tmp_path / 'out'}", f"--wheels={tmp_path}"]
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=False)
    log = tmp_path / "out" / "gpu.log"
    assert done.returncode == 0, done.stdout + done.stderr + (log.read_text() if log.exists() else "")
    found = json.loads((tmp_path / "out" / "gpu.json").read_text())
    from_plan = {line.split()[1] for line in done.stdout.splitlines() if line[:1].isdigit()}
    assert set(found) == from_plan
    assert [record.get("skipped") for record in found.values()] == [None] * len(found)
    assert "Not finished" not in (tmp_path / "out" / "gpu.md").read_text()
    assert all(row["equal"] for row in found["resume"]["rows"])
    assert {row["devices"] for row in found["devices"]["rows"]} == {1, 2}
    assert all(row["last_parameters"] < 1e-5 for row in found["devices"]["rows"])
    assert [row["run"] for row in found["result"]["finished"]] == ["teacher/seed0", "student/seed0", "kd/seed0"]
