"""Export: what leaves a run comes back bit for bit, teaches as well as it was measured, and says what it is."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from kdjax import checkpoint, cli, models
from kdjax.export import export
from kdjax.models import torch, weights
from tests import tiny

CONFIG = Path(__file__).with_name("tiny_config.py")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A finished experiment: a student of one's own by import path and one of kdjax's, distinct from their teacher."""
    out = tmp_path_factory.mktemp("runs")
    students = {"own": (), "convnet": ("--config.student.model=convnet", "--config.student.kwargs.widths=4,6")}
    for name, overrides in students.items():
        overrides += (f"--out={out}", f"--config.experiment={name}", "--config.execution.checkpoint_seconds=0.0")
        with pytest.raises(SystemExit) as exit_:
            cli.main(["run", f"--config={CONFIG}:methods=stateless,epochs=2", *overrides])
        assert exit_.value.code == 0
    return {name: out / name / "stateless/seed0" for name in students}


@pytest.fixture
def run(runs, tmp_path):
    """A copy of the run with a model of one's own, to be damaged."""
    return Path(shutil.copytree(runs["own"], tmp_path / "run"))


def result(run) -> dict:
    return json.loads((run / "result.json").read_text())


def test_description(kdjax, runs, tmp_path):
    status, out, err = kdjax("export", runs["convnet"], tmp_path / "out.safetensors", "--format=safetensors")
    assert (status, err) == (0, "")
    top1 = result(runs["convnet"])["last"]["top1"]
    assert f"convnet, {result(runs['convnet'])['student']['parameters']:,} parameters, {100 * top1:.2f} %" in out
    description = weights.describe(tmp_path / "out.safetensors")
    assert json.loads((tmp_path / "out.json").read_text()) == description
    expected = {
        "model": "convnet",
        "kwargs": {"widths": [4, 6]},
        "classes": [str(digit) for digit in range(10)],
        "image_shape": [8, 8, 1],
        "normalisation": {"mean": [0.5], "std": [0.5]},
        "dataset": "Digits 8x8",
        "accuracy": {"top1": top1, "split": "test", "epoch": 2},
    }
    assert {key: description[key] for key in expected} == expected
    assert (description["run"]["method"], description["run"]["seed"]) == ("stateless", 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "out.safetensors"]


@pytest.mark.parametrize("name", ["own", "convnet"])
def test_predicts_identically(runs, tmp_path, name):
    description = export(runs[name], tmp_path / "out.safetensors")
    factory = {"own": tiny.Net, "convnet": models.convnet}[name]
    kwargs = {key: tuple(value) for key, value in description["kwargs"].items()}
    model = factory(num_classes=len(description["classes"]), **kwargs)
    loaded = torch.load(tmp_path / "out.safetensors", model, tuple(description["image_shape"]))
    trained = checkpoint.student(runs[name] / "checkpoints")
    assert jax.tree.structure(loaded) == jax.tree.structure(trained)
    image = np.random.default_rng(0).standard_normal((5, 8, 8, 1), np.float32)
    logits = [jax.jit(model.apply)(variables, image).logits for variables in (loaded, trained)]
    np.testing.assert_array_equal(*logits)


ARCHITECTURE = {
    "own": ("--config.teacher.model=tests.tiny.Net", "--config.teacher.kwargs.width=4"),
    "convnet": ("--config.teacher.model=convnet", "--config.teacher.kwargs={'widths': (4, 6)}"),
}


@pytest.mark.parametrize("name", ["own", "convnet"])
@pytest.mark.parametrize("source", ["weights", "run"])
def test_teaches_with_the_accuracy_it_was_measured_with(kdjax, runs, tmp_path, name, source):
    if source == "weights":
        export(runs[name], tmp_path / "out.safetensors")
        overrides = (f"--config.teacher.weights={tmp_path / 'out.safetensors'}", *ARCHITECTURE[name])
    else:
        overrides = (f"--config.teacher.run={runs[name]}",)
    status, _, _ = kdjax("run", f"--config={CONFIG}:methods=stateless", f"--out={tmp_path}", *overrides)
    assert status == 0
    teacher, measured = result(tmp_path / "tiny/stateless/seed0")["teacher"], result(runs[name])
    assert teacher["top1"] == measured["last"]["top1"]
    assert teacher["parameters"] == measured["student"]["parameters"]
    assert not (tmp_path / "tiny/teacher").exists()


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        (("--config.teacher.kwargs.width=8",), "params.bn0.bias is (4,), the model needs (8,)"),
        (ARCHITECTURE["convnet"], "the weights are not this model's; missing"),
    ],
)
def test_another_architecture_is_refused(kdjax, runs, tmp_path, architecture, message):
    export(runs["own"], tmp_path / "out.safetensors")
    overrides = (f"--config.teacher.weights={tmp_path / 'out.safetensors'}", *architecture)
    status, _, err = kdjax("run", f"--config={CONFIG}", f"--out={tmp_path}", *overrides)
    assert status == 2
    assert message in err
    assert "Traceback" not in err
    assert not list(tmp_path.glob("*/*/*/checkpoints"))


def test_an_earlier_export_is_replaced(runs, tmp_path):
    export(runs["own"], tmp_path / "out.safetensors")
    export(runs["convnet"], tmp_path / "out.safetensors")
    assert weights.describe(tmp_path / "out.safetensors")["model"] == "convnet"


def unfinished(run):
    (run / "result.json").unlink()


def diverged(run):
    (run / "result.json").write_text(json.dumps({**result(run), "status": "diverged", "last": None}))


def cut_result(run):
    (run / "result.json").write_text((run / "result.json").read_text()[:50])


def result_without_accuracy(run):
    (run / "result.json").write_text(json.dumps({**result(run), "last": None}))


def without_checkpoints(run):
    shutil.rmtree(run / "checkpoints")


def only_an_earlier_checkpoint(run):
    _, last = checkpoint.numbers(run / "checkpoints")
    shutil.rmtree(run / "checkpoints" / str(last))


def cut_checkpoint(run):
    for path in (run / "checkpoints").glob("*/d/*"):
        path.write_bytes(path.read_bytes()[:10])


def checkpoint_without_metadata(run):
    for path in (run / "checkpoints").glob("*/_METADATA"):
        path.write_text("{")


DAMAGE = {
    unfinished: "holds no finished run",
    diverged: "is diverged",
    cut_result: "is damaged",
    result_without_accuracy: "is damaged",
    without_checkpoints: "holds no checkpoint",
    only_an_earlier_checkpoint: "the last is missing",
    cut_checkpoint: "is damaged",
    checkpoint_without_metadata: "is damaged",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_runs_that_cannot_be_exported(kdjax, run, tmp_path, damage):
    damage(run)
    status, _, err = kdjax("export", run, tmp_path / "out.safetensors")
    assert status == 2
    assert DAMAGE[damage] in err
    assert str(run) in err
    assert err.startswith("kdjax: ")
    assert not list(tmp_path.glob("*.*"))


def test_arguments_that_cannot_be(kdjax, runs, tmp_path):
    run, source = runs["own"], {path: path.read_bytes() for path in runs["own"].glob("*.json")}
    (tmp_path / "theirs.safetensors").write_bytes(b"theirs")
    (tmp_path / "folder.safetensors").mkdir()
    for arguments, message in {
        (tmp_path / "none", tmp_path / "out.safetensors"): "none holds no run; give a directory runs/",
        (run.parent.parent, tmp_path / "out.safetensors"): "holds no run; give a directory runs/",
        (run, tmp_path / "out.pth"): "out.pth: the name must end in .safetensors",
        (run, tmp_path / "none/out.safetensors"): f"there is no directory {tmp_path / 'none'}",
        (run, tmp_path / "theirs.safetensors"): "theirs.safetensors exists and is no export",
        (run, tmp_path / "folder.safetensors"): "folder.safetensors exists and is no export",
        (run, run / "config.safetensors"): "config.json exists and is no export",
        (run, "/proc/out.safetensors"): "/proc/out.safetensors: cannot be written",
        (run, tmp_path / "out.safetensors", "--format=pickle"): "unknown format 'pickle'; valid are safetensors",
    }.items():
        status, _, err = kdjax("export", *arguments)
        assert (status, err.count("\n")) == (2, 1)
        assert message in err
    assert {path: path.read_bytes() for path in run.glob("*.json")} == source
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.slow  # half a minute: the whole CIFAR-10 test split through two ResNets
def test_a_teacher_from_pytorch_through_a_whole_experiment(kdjax, shared_data, tmp_path, monkeypatch):
    """resnet20 of akamaster/pytorch_resnet_cifar10: 81.03 % on the shared CIFAR-10 (JPEG), measured with PyTorch."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(shared_data / "tfds"))
    weights_ = shared_data / "teachers/resnet20_cifar10.safetensors"
    config = f"configs/cifar10.py:teacher=resnet20,student=resnet8,weights={weights_}"
    statistics = ("--config.data.mean=0.485,0.456,0.406", "--config.data.std=0.229,0.224,0.225")
    short = ("--config.epochs=1", "--config.data.train_examples=256", "--only=kd", "--seeds=0", f"--out={tmp_path}")
    status, out, err = kdjax("run", f"--config={config}", "--config.teacher.kwargs.shortcut=A", *statistics, *short)
    assert status == 0, err
    assert "teacher resnet20: 81.03 %" in out + err
    (path,) = tmp_path.glob("*/kd/seed0")
    teacher = result(path)["teacher"]
    assert round(100 * teacher["top1"], 2) == 81.03
    assert (teacher["parameters"], teacher["bytes"]) == (269_722, 4 * 269_722)
