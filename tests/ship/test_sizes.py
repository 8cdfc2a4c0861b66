"""The table of what ships: int8 files that are small, run and are right, and numbers measured from the files."""

import csv
import dataclasses
import json
import re
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from kdjax import experiment
from kdjax.data import load
from kdjax.runs.directory import Run
from kdjax.ship import int8, serve, sizes
from kdjax.ship.export import export
from tests import tiny
from tests.ship import formats

LABELS = {"cross_entropy": {"weight": 1.0}}


def config():
    made = tiny.config(methods=("student",), epochs=4)
    made.data.train_examples = 0
    made.student.kwargs = {"width": 24}
    fine = {**LABELS, "start": "student", "optimizer": {"learning_rate": 0.01}}
    made.methods.pruned = {**fine, "prune": {"sparsity": 0.8, "end_epochs": 2.0}}
    made.methods.qat = {**fine, "quantize": "int8"}
    return made


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    experiment.run(config(), runs, only=("student",))
    return experiment.run(config(), runs, seeds=(0,))


@pytest.fixture(scope="module")
def split():
    return load(config().data)


@pytest.fixture(scope="module")
def files(directory, split, tmp_path_factory):
    """{"student", "pruned": (the file in float, the file in int8)}."""
    folder, made = tmp_path_factory.mktemp("files"), {}
    for name in ("student", "pruned"):
        made[name] = folder / f"{name}.onnx", folder / f"{name}-int8.onnx"
        export(directory / name / "seed0", made[name][0], "onnx")
        int8.quantize(*made[name], split.train.input[:128])
    return made


def top1(path, split):
    """Of exact sums: those in int8 saturate on some processors."""
    return float((serve.load(path, exact=True).predict(split.test.input).argmax(axis=1) == split.test.target).mean())


def test_an_int8_file_is_smaller_and_as_right(files, split):
    plain, small = files["student"]
    assert small.stat().st_size < 0.6 * plain.stat().st_size
    assert top1(plain, split) > 0.7
    assert abs(top1(small, split) - top1(plain, split)) < 0.03


def test_weights_are_int8_on_the_disk(files):
    """Every layer with weights, each with a scale an output channel, no further from the float than half a step."""
    plain, small = (onnx.load(path) for path in files["student"])
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in small.graph.initializer}
    made = {node.output[0]: node for node in small.graph.node if node.op_type == "DequantizeLinear"}
    found = int8.layers(small)
    assert len(found) == 3
    for (node, levels), (_, weights) in zip(found, int8.layers(plain), strict=True):
        assert levels.dtype == np.int8
        scale = arrays[made[node.input[1]].input[1]]
        axis = 0 if node.op_type == "Conv" else 1
        assert scale.shape == (weights.shape[axis],)
        steps = scale.reshape([-1 if a == axis else 1 for a in range(weights.ndim)])
        assert (np.abs(levels * steps - weights) <= 0.501 * steps).all()


def test_an_int8_file_says_what_it_is(files):
    plain, small = (serve.description(path) for path in files["student"])
    assert "128 training images" in small["int8"]
    assert small["weights"] == "student-int8.onnx"
    assert small["classes"] == plain["classes"]
    assert "int8" not in plain
    assert "top1" in plain["accuracy"]
    assert "top1" not in small["accuracy"]  # it is that of the file in float


def test_images_of_any_size_go_through_the_same_preprocessing(files):
    plain, small = (serve.load(path) for path in files["student"])
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 13, 1), np.uint8)
    expected = plain.predict(images)
    assert np.abs(small.predict(images) - expected).max() < 0.15 * np.abs(expected).max()


def test_operations_by_hand(files):
    """8x8 digits: conv0 on 4x4, conv1 on 2x2 positions, then the classifier."""
    image = np.zeros((1, 8, 8, 1), np.uint8)
    dense = 16 * 9 * 24 + 4 * 9 * 24 * 48 + 48 * 10
    assert int8.operations(files["student"][0], image) == (dense, dense)
    left = 16 * 9 * 24 + 4 * (9 * 24 * 48 - round(0.8 * 9 * 24 * 48)) + (480 - round(0.8 * 480))
    assert int8.operations(files["pruned"][0], image) == (dense, left)
    total, small = int8.operations(files["pruned"][1], image)
    assert total == dense
    assert 0.8 * left < small <= left  # int8 rounds some more to zero, and no zero to something else


def test_the_table(kdjax, directory, tmp_path):
    names = ("teacher", "student", "pruned", "qat")
    runs = [directory / name / "seed0" for name in names] + [directory / "student/seed1"]
    status, out, err = kdjax("sizes", *runs, f"--out={tmp_path / 'out'}", "--images=64")
    assert (status, err) == (0, "")
    assert (tmp_path / "out/sizes.md").read_text() in out
    assert re.search(r"\| 0\.0\d\d\d ± 0\.\d{4} \||\| 0\.[1-9]\d\d ± 0\.\d{3} \|", out)
    with open(tmp_path / "out/sizes.csv") as file:
        rows = {(row["student"], row["file"]): row for row in csv.DictReader(file)}
    assert list(rows) == [(n, f) for n in names for f in (("int8",) if n == "qat" else ("float32", "int8"))]
    student, pruned = rows["student", "float32"], rows["pruned", "float32"]
    assert (student["n"], pruned["n"]) == ("2", "1")
    results = [Run(directory / f"student/seed{seed}").result()["last"]["top1"] for seed in (0, 1)]
    assert float(student["top1"]) == pytest.approx(np.mean(results))
    assert float(student["top1_std"]) == pytest.approx(np.std(results, ddof=1))
    assert float(pruned["deflated"]) < 0.6 * float(pruned["bytes"])
    assert float(pruned["zeros"]) == pytest.approx(0.8 * (1 - 216 / 11064), abs=1e-3)
    assert float(pruned["flops_left"]) < 0.5 * float(pruned["flops"]) == 0.5 * float(student["flops"])
    qat = directory / "qat/seed0"
    measured = Run(qat).result()["last"]["top1"]
    assert float(rows["qat", "int8"]["top1_exact"]) == pytest.approx(measured, abs=0.02)
    assert not (qat / "student.onnx").exists()
    written = serve.description(qat / "student-int8.onnx")
    assert written["accuracy"]["top1"] == float(rows["qat", "int8"]["top1"])
    assert (qat / "student-int8.onnx").stat().st_size == pytest.approx(float(rows["qat", "int8"]["bytes"]), abs=1)


@formats.NEEDS_LITERT
def test_files_for_phones(kdjax, directory, split, tmp_path):
    runs = [directory / name / "seed0" for name in ("student", "qat")]
    status, out, err = kdjax("sizes", *runs, "--tflite", f"--out={tmp_path}", "--images=64")
    assert (status, err) == (0, "")
    assert "run by LiteRT" in out
    with open(tmp_path / "sizes.csv") as file:
        rows = {(row["student"], row["file"]): {**row} for row in csv.DictReader(file)}
    kinds = "float32", "int8", "LiteRT float32", "LiteRT int8"
    assert list(rows) == [("student", kind) for kind in kinds] + [("qat", kind) for kind in kinds if "int8" in kind]
    assert float(rows["student", kinds[2]]["top1"]) == Run(runs[0]).result()["last"]["top1"]
    for row in (rows["student", kinds[3]], rows["qat", kinds[3]]):
        measured = Run(directory / row["student"] / "seed0").result()["last"]["top1"]
        assert float(row["top1"]) == pytest.approx(measured, abs=0.03)
        assert float(row["bytes"]) < 0.6 * float(rows["student", kinds[2]]["bytes"])
        assert float(row["flops"]) == float(rows["student", kinds[0]]["flops"])
    assert sorted(path.name for path in runs[1].glob("*.tflite")) == ["student-int8.tflite"]
    small = serve.load(runs[0] / "student-int8.tflite")
    assert small.description["int8"] == "AI Edge Quantizer, static, calibrated on 64 training images"
    assert small.description["weights"] == "student-int8.tflite"
    assert small.description["accuracy"]["top1"] == float(rows["student", kinds[3]]["top1"])
    expected = serve.load(runs[0] / "student.tflite").predict(split.test.input)
    assert np.abs(small.predict(split.test.input) - expected).max() < 0.15 * np.abs(expected).max()


def test_sums_that_saturate_are_told(directory, split, monkeypatch):
    """As on x86 without VNNI: the file as it is run there is worse than what it holds."""
    path = directory / "qat/seed0/student-int8.onnx"
    load = serve.load

    def wrong(path, exact=False):
        served = load(path, exact)
        return served if exact else dataclasses.replace(served, run=lambda images: -served.run(images))

    monkeypatch.setattr(serve, "load", wrong)
    row = sizes.measure(path, split.test)
    assert row["top1"] < 0.1 < 0.8 < row["top1_exact"]
    text = sizes.markdown([{"student": "qat", **row, "n": 1, "top1_std": None}], 64)
    assert f"another top-1: qat {100 * row['top1_exact']:.2f} %" in text


def test_data_with_other_classes_since_the_training(directory, tmp_path):
    """Labels would mean something else: no accuracy is better than a wrong one."""
    run = tmp_path / "seed0"
    shutil.copytree(directory / "student/seed0", run)
    described = json.loads((run / "result.json").read_text())
    described["classes"] = described["classes"][::-1]
    (run / "result.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match="no longer those that it was trained on"):
        sizes.sizes([run], 64)


def test_rows_are_seeds_of_one_thing(directory, tmp_path):
    again, other = tmp_path / "again/seed0", tmp_path / "other/seed1"
    shutil.copytree(directory / "student/seed0", again)
    shutil.copytree(directory / "student/seed1", other)
    with pytest.raises(ValueError, match=r"seed0 and .*again/seed0 are both 'student' with seed 0; name one"):
        sizes.sizes([directory / "student/seed0", again], 64)
    described = json.loads((other / "config.json").read_text())
    described["data"]["image_size"] = 16
    (other / "config.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match="are both 'student', of other data or networks; name one"):
        sizes.sizes([directory / "student/seed0", other], 64)


def test_bad_input(kdjax, directory, files, tmp_path):
    for argv, message in (
        ((tmp_path,), "holds no run"),
        ((directory / "student/seed0", "--images=0"), "--images is at least 1"),
    ):
        status, _, err = kdjax("sizes", *argv)
        assert status == 2
        assert message in err
    with pytest.raises(ValueError, match="needs images"):
        int8.quantize(files["student"][0], tmp_path / "out.onnx", np.zeros((0, 8, 8, 1), np.uint8))
    assert not list(tmp_path.iterdir())
    json.loads((directory / "student/seed0/result.json").read_text())


def test_onnx_runtime_runs_it_without_kdjax(files):
    session = onnxruntime.InferenceSession(files["student"][1])
    image = np.zeros((5, 8, 8, 1), np.uint8)
    assert session.run(None, {session.get_inputs()[0].name: image})[0].shape == (5, 10)
