"""kdjax predict: one line an image, whatever the format; what cannot be read is named and stops nothing."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from kdjax.data.images.encoded import decode
from kdjax.ship import export, litert, predict, serve
from tests.ship import formats
from tests.ship.test_export import runs  # noqa: F401


@pytest.fixture(scope="module")
def models(runs, tmp_path_factory):  # noqa: F811
    folder = tmp_path_factory.mktemp("models")
    for format_ in formats.HERE:
        export.export(runs["convnet"], folder / f"out.{format_}")
    return {format_: folder / f"out.{format_}" for format_ in formats.HERE}


@pytest.fixture
def photographs(tmp_path):
    """A folder with a folder in it, photographs of several sizes and modes, and a file of something else."""
    folder = tmp_path / "photographs"
    (folder / "more").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name, size, mode in [("b.jpg", (40, 30), "RGB"), ("a.PNG", (8, 8), "L"), ("more/c.jpeg", (9, 50), "L")]:
        image = Image.fromarray(generator.integers(0, 256, (*size[::-1], 3), np.uint8)).convert(mode)
        image.save(folder / name, "PNG" if name.endswith("PNG") else "JPEG")
    (folder / "notes.txt").write_text("no image")
    return folder


def expected(model, path):
    """Probabilities of one image that is decoded as those of the training were."""
    logits = serve.load(model).predict(decode(path, "", 8, "L")[None]).astype(float)[0]
    return np.exp(logits) / np.exp(logits).sum()


@pytest.mark.parametrize("format_", formats.EACH)
@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_files_and_folders(kdjax, models, photographs, format_, batch_size):
    arguments = (photographs, photographs / "b.jpg", f"--batch-size={batch_size}", "--json")
    status, out, err = kdjax("predict", models[format_], *arguments)
    assert (status, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["image"] for line in lines] == [
        str(photographs / name) for name in ("a.PNG", "b.jpg", "more/c.jpeg", "b.jpg")
    ]
    for line in lines:
        probabilities = expected(models["onnx"], photographs / line["image"])
        best = np.argsort(-probabilities)[:3]
        assert [entry["class"] for entry in line["top"]] == [str(k) for k in best]
        found = [entry["probability"] for entry in line["top"]]
        np.testing.assert_allclose(found, probabilities[best], atol=1e-4)


def test_a_line_for_people(kdjax, models, photographs):
    status, out, _ = kdjax("predict", models["onnx"], photographs / "b.jpg", "--top=2")
    assert status == 0
    assert re.fullmatch(re.escape(str(photographs / "b.jpg")) + r": \d \d+\.\d\d %, \d \d+\.\d\d %\n", out)


def test_unreadable_images_are_named_and_the_others_predicted(kdjax, models, photographs, tmp_path):
    (photographs / "broken.jpg").write_bytes((photographs / "b.jpg").read_bytes()[:200])
    (photographs / "empty.png").touch()
    (tmp_path / "none").mkdir()
    arguments = (photographs, photographs / "notes.txt", tmp_path / "missing.jpg", tmp_path / "none")
    status, out, err = kdjax("predict", models["onnx"], *arguments, "--batch-size=2")
    assert status == 2
    assert [line.partition(":")[0].rpartition("/")[2] for line in out.splitlines()] == ["a.PNG", "b.jpg", "c.jpeg"]
    broken, empty, notes, missing, none = err.splitlines()
    assert broken.startswith(f"kdjax: cannot read the image '{photographs}/broken.jpg': ")
    assert empty == f"kdjax: cannot read the image '{photographs}/empty.png': the file is empty"
    assert notes == f"kdjax: cannot read the image '{photographs}/notes.txt': it is no JPEG or PNG"
    assert missing == f"kdjax: cannot read the image '{tmp_path}/missing.jpg': No such file or directory"
    assert none == f"kdjax: {tmp_path}/none: no JPEG or PNG files in this folder"


def test_a_name_that_is_no_text(models, photographs, tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    (tmp_path / name).write_bytes((photographs / "b.jpg").read_bytes())
    command = [sys.executable, "-m", "kdjax.cli", "predict", str(models["onnx"]), str(tmp_path)]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    result = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert rb"caf\udce9.jpg: " in result.stdout


def test_images_that_are_not_square(tmp_path):
    """What the decoder cannot crop, the model does, each image by itself where sizes differ."""
    seen = []
    run = lambda images: seen.append(images.shape) or np.zeros((len(images), 2), np.float32)  # noqa: E731
    model = serve.Images({"classes": ["a", "b"], "image_shape": [8, 12, 3]}, run)
    for name, size in {"a": (20, 30), "b": (20, 30), "c": (9, 9)}.items():
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    answers = list(predict.predict(model, sorted(tmp_path.iterdir())))
    assert seen == [(2, 30, 20, 3), (1, 9, 9, 3)]
    assert [path.name for path, _ in answers] == ["a.png", "b.png", "c.png"]
    np.testing.assert_array_equal(answers[2][1], [0.5, 0.5])


def test_models_that_are_something_else(kdjax, models, photographs, tmp_path):
    from onnx import TensorProto, helper, save

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value], [])
    graph.output[0].name = "y"
    theirs = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    save(theirs, tmp_path / "theirs.onnx")
    for suffix in ("onnx", "stablehlo", "safetensors"):
        (tmp_path / f"text.{suffix}").write_text("text")
    (tmp_path / "alone.stablehlo").write_bytes(models["stablehlo"].read_bytes())
    (tmp_path / "alone.safetensors").write_bytes(models["safetensors"].read_bytes())
    (tmp_path / "text.stablehlo.json").write_text(serve.description_path(models["stablehlo"]).read_text())
    (tmp_path / "text.json").write_text(serve.description_path(models["safetensors"]).read_text())
    (tmp_path / "folder.onnx").mkdir()
    if formats.LITERT:
        (tmp_path / "text.tflite").write_text("text")
        (tmp_path / "cut.tflite").write_bytes(models["tflite"].read_bytes()[:-100])
        litert.describe(tmp_path / "text.tflite", {"classes": [], "image_shape": [8, 8, 1]})
    damaged = {
        "text.tflite": "LiteRT cannot run it",
        "cut.tflite": "is no export of kdjax, or damaged: no kdjax.json at its end",
    }
    for name, message in {
        "theirs.onnx": "is no export of kdjax: its description lacks classes and image_shape",
        "text.onnx": "not a readable ONNX model",
        "text.stablehlo": "not a readable StableHLO export",
        "text.safetensors": "not a readable safetensors file",
        "alone.stablehlo": "alone.stablehlo.json: cannot read the description of the model",
        "alone.safetensors": "alone.json: cannot read the description of the weights",
        "missing.onnx": "there is no such file",
        "folder.onnx": "there is no such file",
        "weights.pth": "the name of a model must end in .onnx, .stablehlo, .tflite, .safetensors",
        **(damaged if formats.LITERT else {}),
    }.items():
        status, out, err = kdjax("predict", tmp_path / name, photographs)
        assert (status, out, err.count("\n")) == (2, "", 1), err
        assert message in err
        assert str(tmp_path) in err


@pytest.mark.parametrize("option", ["--top=0", "--batch-size=-1"])
def test_options_out_of_range(kdjax, models, photographs, option):
    status, _, err = kdjax("predict", models["onnx"], photographs, option)
    name, value = option.split("=")
    assert (status, err) == (2, f"kdjax: {name} must be at least 1, got {value}\n")


def test_images_of_another_kind_are_refused(models):
    served = serve.load(models["onnx"])
    for images in (np.zeros((1, 8, 8, 1), np.float32), np.zeros((8, 8, 1), np.uint8), np.zeros((1, 8, 8, 3), np.uint8)):
        with pytest.raises(ValueError, match=r"the model takes images uint8 \[B, H, W, 1\]"):
            served.predict(images)


@pytest.mark.parametrize("format_", [each for each in formats.EACH if each not in ("safetensors", "stablehlo")])
def test_runtimes_start_without_jax(models, photographs, format_):
    code = "import sys; from kdjax import cli\ntry: cli.main(sys.argv[1:])\nfinally: print('jax' in sys.modules)"
    command = [sys.executable, "-c", code, "predict", models[format_], photographs / "b.jpg"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "False"
