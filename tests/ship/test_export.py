"""Export: what leaves a run predicts as the network did, wherever it runs, and says what it is."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from PIL import Image, ImageOps

from kdjax import cli, data, models
from kdjax.config import default
from kdjax.find import find
from kdjax.models import pytorch, weights
from kdjax.models.layers import avg_pool
from kdjax.ship import export as exports
from kdjax.ship import inference, serve
from kdjax.ship.export import FORMATS, check, export
from kdjax.ship.onnx_graph.convert import convert
from kdjax.training import checkpoint
from kdjax.types import image_spec
from tests import tiny
from tests.ship import formats

CONFIG = Path(__file__).parents[1] / "tiny_config.py"


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
        "accuracy": {"top1": top1, "split": "test", "epoch": 2, "computed_in": "float32"},
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
    loaded = pytorch.load(tmp_path / "out.safetensors", model, image_spec(*description["image_shape"]))
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
    for name in ("first.onnx", "renamed.onnx"):  # which needs no second file, so its name says nothing
        export(runs["convnet"], tmp_path / name, "ONNX")
        (tmp_path / name).rename(tmp_path / "renamed.onnx")
    assert export(runs["convnet"], tmp_path / "renamed.onnx")["weights"] == "renamed.onnx"


def test_a_test_split_that_cannot_be_read_is_told(kdjax, runs, tmp_path):
    run = tmp_path / "seed0"
    shutil.copytree(runs["convnet"], run)
    config = json.loads((run / "config.json").read_text())
    config["data"] |= {"source": "folder", "path": str(tmp_path / "gone")}
    (run / "config.json").write_text(json.dumps(config))
    status, out, err = kdjax("export", run, tmp_path / "out.safetensors")
    assert (status, err.count("\n")) == (0, 1)
    assert err.startswith("kdjax: not checked on the test split: ")
    assert f"{tmp_path}/gone" in err
    assert "(18 random images)" in out
    assert str(tmp_path) not in (tmp_path / "out.json").read_text()


@pytest.fixture(scope="module")
def shipped(runs, tmp_path_factory):
    """{format: file} of one run, its description, the network as a function, and the whole test split."""
    folder = tmp_path_factory.mktemp("shipped")
    files = {format_: folder / f"out.{format_}" for format_ in formats.HERE}
    descriptions = {format_: export(runs["convnet"], file) for format_, file in files.items()}
    variables = checkpoint.student(runs["convnet"] / "checkpoints")
    network = jax.jit(inference.predictor(descriptions["onnx"], variables))
    return files, descriptions, network, data.load(default().data).test


@pytest.mark.parametrize("format_", formats.EACH)
def test_every_format_predicts_what_was_measured(shipped, runs, format_):
    files, _, network, split = shipped
    served = serve.load(files[format_])
    found, expected = served.predict(split.input), np.asarray(network(split.input))
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)
    np.testing.assert_array_equal(found.argmax(1), expected.argmax(1))
    assert np.mean(found.argmax(1) == split.target) == pytest.approx(result(runs["convnet"])["last"]["top1"], abs=1e-9)
    assert served.classes == result(runs["convnet"])["classes"]


@pytest.mark.parametrize("format_", formats.EACH)
@pytest.mark.parametrize("shape", [(1, 8, 8, 1), (5, 8, 8, 1), (2, 31, 17, 1), (1, 5, 40, 1)])
def test_any_number_and_size_of_images(shipped, format_, shape):
    files, _, network, _ = shipped
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    found = serve.load(files[format_]).predict(images)
    np.testing.assert_allclose(found, network(images), atol=1e-4, rtol=0)


@pytest.mark.parametrize("format_", formats.EACH)
def test_the_description_travels(shipped, runs, tmp_path, format_):
    files, descriptions, _, _ = shipped
    moved = tmp_path / files[format_].name
    for file in {files[format_], serve.description_path(files[format_])} - {None}:
        shutil.copy(file, tmp_path)
    description = serve.description(moved)
    assert description == serve.load(moved).description == descriptions[format_]
    assert description["accuracy"]["top1"] == result(runs["convnet"])["last"]["top1"]
    assert description["verified"]["images"] == "18 random images, 256 of the test split"
    assert 0 < description["latency_1"]["median_ms"] < 1000


FOREIGN = {
    "stablehlo": """
import jax, jax.export
logits = jax.export.deserialize(bytearray(open(sys.argv[1], "rb").read())).call(np.load(sys.argv[2]))
""",
    "onnx": """
import onnxruntime
logits = onnxruntime.InferenceSession(sys.argv[1]).run(["logits"], {"image": np.load(sys.argv[2])})[0]
""",
    "tflite": """
from ai_edge_litert.interpreter import Interpreter
model = Interpreter(sys.argv[1]).get_signature_runner()
logits = np.concatenate([model(image=image[None])["logits"] for image in np.load(sys.argv[2])])
""",
}


@pytest.mark.parametrize("format_", [each for each in formats.EACH if each != "safetensors"])
def test_runs_where_there_is_no_kdjax(shipped, tmp_path, format_):
    files, _, network, split = shipped
    np.save(tmp_path / "image.npy", split.input)
    code = f"import sys\nimport numpy as np\n{FOREIGN[format_]}\nassert 'kdjax' not in sys.modules\n"
    code += "np.save(sys.argv[3], np.asarray(logits))\n"
    paths = [str(tmp_path / name) for name in ("image.npy", "logits.npy")]
    # -P: not even the working directory is on the path
    subprocess.run([sys.executable, "-P", "-c", code, files[format_], *paths], check=True, cwd=tmp_path)
    np.testing.assert_allclose(np.load(paths[1]), network(split.input), atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(8, 8), (348, 348), (301, 200), (37, 100), (5, 5), (2, 9), (16, 16)])
@pytest.mark.parametrize("target", [(8, 8), (64, 64), (20, 30)])
def test_photographs_are_resized_and_cropped_as_by_pillow(size, target):
    """Equal but for ties, which Pillow's rounded weights may turn either way, once an axis; enlarging makes many."""
    coarse = np.random.default_rng(0).integers(0, 256, (*(max(2, side // 4) for side in size), 3), np.uint8)
    image = Image.fromarray(coarse).resize(size[::-1])
    expected = np.asarray(ImageOps.fit(image, target[::-1], Image.Resampling.BILINEAR)).astype(int)
    found = np.asarray(jax.jit(lambda x: inference.fit(x, *target))(np.asarray(image)[None]))[0]
    enlarged = size[0] < target[0] or size[1] < target[1]
    assert np.abs(found - expected).max() <= (2 if enlarged else 1)
    assert np.mean(found != expected) < (0.1 if enlarged else 0.01)


def test_a_file_that_predicts_otherwise_is_not_written(runs, tmp_path, monkeypatch):
    export(runs["convnet"], tmp_path / "out.onnx")
    before = (tmp_path / "out.onnx").read_bytes()

    def wrong(target, variables, description):
        exports._onnx(target, jax.tree.map(lambda x: 1.01 * x, variables), description)

    monkeypatch.setitem(FORMATS, "onnx", wrong)
    with pytest.raises(ValueError, match="not written, the file would predict otherwise than the network"):
        export(runs["convnet"], tmp_path / "out.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["out.onnx"]
    assert (tmp_path / "out.onnx").read_bytes() == before


def test_check_forgives_ties_alone():
    served = lambda logits: serve.Images({"classes": ["a", "b"], "image_shape": [1, 1, 1]}, lambda _: logits)  # noqa: E731
    image = [np.zeros((1, 1, 1, 1), np.uint8)]
    near, far = np.array([[0.0, 5e-5]], np.float32), np.array([[0.0, 2e-4]], np.float32)
    reference = lambda _: np.zeros((1, 2), np.float32)  # noqa: E731
    assert check("x", served(near), reference, image) == pytest.approx(5e-5)
    for wrong in (far, near * np.nan):
        with pytest.raises(ValueError, match="logits differ by"):
            check("x", served(wrong), reference, image)


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("resnet8", {"shortcut": "A"}),
        ("wrn_16_1", {}),
        ("lenet", {}),
        ("squeezenet", {}),
        ("mobilenetv2", {}),
        ("shufflenetv2", {}),
        ("efficientnet_lite0", {}),
        ("mobilenetv3_small", {}),
    ],
)
def test_networks_as_onnx(tmp_path, name, kwargs):
    assert_converts(tmp_path, getattr(models, name)(num_classes=5, **kwargs), (32, 32, 3), name, kwargs)


STAGES = {"blocks": (1, 1, 1, 1), "widths": (16, 24, 32, 48)}
RESNET = {**STAGES, "stem": 16, "imagenet": True}
NARROW = {
    "resnet18": ("kdjax.models.vision.resnet.ResNet", RESNET),
    "resnet50": ("kdjax.models.vision.resnet.ResNet", {**RESNET, "expansion": 4}),
    "convnext_tiny": ("kdjax.models.vision.convnext.ConvNeXt", STAGES),
}
"""Networks that take two gigabytes at their own width: with the same operations, but narrow."""
MORE = "vgg8 resnet8x4 shufflenetv1 efficientnet_b0 mobilenetv1 mobilenetv2_imagenet deit_tiny mobilenetv3_large"


@pytest.mark.slow  # as many compilations
@pytest.mark.parametrize("name", [*MORE.split(), *NARROW])
def test_more_networks_as_onnx(tmp_path, name):
    path, kwargs = NARROW.get(name, (name, {}))
    assert_converts(tmp_path, find(path, models, "model")(num_classes=5, **kwargs), (64, 64, 3), path, kwargs)


class Odd(nn.Module):
    """What networks of one's own do: len of a batch, layers over pixels, attention, every way to pool."""

    num_classes: int

    @nn.compact
    def __call__(self, image, train: bool = False):
        x = nn.Conv(8, (3, 3), strides=2, kernel_dilation=2, padding="SAME")(image)
        x = nn.gelu(nn.GroupNorm(2)(x)) * jax.nn.sigmoid(nn.LayerNorm()(x)) + jnp.clip(x, -1.0, 1.0)
        x = jnp.concatenate([nn.max_pool(x, (3, 3), (2, 2), "SAME"), avg_pool(x, 2, 2)], axis=-1)
        x = jnp.pad(x, ((0, 0), (1, 0), (0, 1), (0, 0)))[:, 1:, ::2] ** 2
        tokens = x.reshape(len(x), -1, x.shape[-1])
        tokens = nn.MultiHeadDotProductAttention(2)(tokens, tokens) + jnp.where(tokens > 0, tokens, jnp.tanh(tokens))
        return nn.Dense(self.num_classes)(jnp.concatenate([tokens.max(axis=1), tokens[:, 0]], axis=1))


def test_a_network_of_ones_own_as_onnx(tmp_path):
    assert_converts(tmp_path, Odd(5), (16, 16, 3), "tests.ship.test_export.Odd", {})


def drawn(model, image_shape, name, kwargs):
    """(variables, none of them zero or one, and the description of a network that was never trained)."""
    variables = jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *image_shape), jnp.float32))
    generator = np.random.default_rng(0)

    def draw(leaf):
        values = generator.uniform(0.5, 1.5, leaf.shape)
        if leaf.ndim > 1:
            values *= generator.choice([-1, 1], leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]))
        return values.astype(np.float32)

    description = {
        "model": name,
        "kwargs": kwargs,
        "classes": ["a", "b", "c", "d", "e"],
        "image_shape": image_shape,
        "normalisation": {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]},
    }
    return jax.tree.map(draw, variables), description


def assert_converts(tmp_path, model, image_shape, name, kwargs):
    """The graph in onnxruntime computes what the network computes in JAX."""
    variables, description = drawn(model, image_shape, name, kwargs)
    exports._onnx(tmp_path / "out.onnx", variables, description)
    made, function = onnx.load(tmp_path / "out.onnx"), inference.predictor(description, variables)
    session = serve.needs("onnxruntime", "").InferenceSession(made.SerializeToString())
    images = np.random.default_rng(0).integers(0, 256, (3, *image_shape), np.uint8)
    expected = np.asarray(jax.jit(function)(images))
    (found,) = session.run(None, {"image": images})
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(found, expected, atol=1e-4 * max(1.0, np.abs(expected).max()), rtol=0)
    assert not {"BatchNormalization", "LessOrEqual"} & {node.op_type for node in made.graph.node}  # x <= 0: a Relu


def test_batchnorm_becomes_part_of_the_convolution(shipped):
    nodes = onnx.load(shipped[0]["onnx"]).graph.node
    makers = {name: node.op_type for node in nodes for name in node.output}
    after = [node.op_type for node in nodes if any(makers.get(name) == "Conv" for name in node.input)]
    assert after == ["Relu", "Relu"]


def test_what_onnx_cannot_express_is_named():
    with pytest.raises(ValueError, match="the network uses sort of JAX"):
        convert(lambda x: jnp.sort(x.astype(jnp.float32)), {"x": (("batch", 4), np.uint8)}, "y")


def test_names_of_files_by_default(runs, tmp_path, monkeypatch):
    run = runs["convnet"].resolve()
    monkeypatch.chdir(tmp_path)
    exports.export(run, format="stablehlo")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "convnet-stateless-seed0.stablehlo",
        "convnet-stateless-seed0.stablehlo.json",
    ]


@pytest.mark.parametrize(
    ("package", "name", "command"),
    [
        ("onnx", "out.onnx", "pip install 'kdjax[export]'"),
        ("onnxruntime", "out.onnx", "pip install 'kdjax[export]'"),
        ("flatbuffers", "out.stablehlo", "pip install 'kdjax[export]'"),
        (
            "litert_converter",
            "out.tflite",
            f"pip install --no-deps {serve.CONVERTER} (for Linux on x86-64, macOS on ARM)",
        ),
    ],
)
def test_a_package_that_is_not_installed(kdjax, runs, tmp_path, monkeypatch, package, name, command):
    monkeypatch.setitem(sys.modules, package, None)
    status, _, err = kdjax("export", runs["convnet"], tmp_path / name)
    assert (status, err) == (2, f"kdjax: {name}: needs {package}, which comes with: {command}\n")
    assert not list(tmp_path.iterdir())


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
        (run, tmp_path / "out.pth"): "out.pth: the name must end in .onnx, .safetensors, .stablehlo, .tflite",
        (run, tmp_path / "none/out.safetensors"): f"there is no directory {tmp_path / 'none'}",
        (run, tmp_path / "out.onnx", "--format=stablehlo"): "out.onnx: the name must end in .stablehlo",
        (run, tmp_path / "theirs.safetensors"): "theirs.safetensors exists and was not written by an export to this",
        (run, tmp_path / "folder.safetensors"): "folder.safetensors exists and was not written by an export to this",
        (run, run / "config.safetensors"): "config.json exists and was not written by an export to this name",
        (run, "/proc/out.safetensors"): "/proc/out.safetensors: cannot be written",
        (run, tmp_path / "out.safetensors", "--format=onx"): "unknown format 'onx'; did you mean 'onnx'?",
        (
            run,
            tmp_path / "out.safetensors",
            "--format=pickle",
        ): "unknown format 'pickle'; valid are onnx, safetensors, stablehlo, tflite",
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
