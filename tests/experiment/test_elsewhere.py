"""Teachers of elsewhere: files of outputs, ONNX files and functions teach as the network would that they come from."""

import numpy as np
import pytest
from flax import nnx

from kdjax import data, experiment
from kdjax.config import resolve
from kdjax.experiment.elsewhere import checked, network, outputs
from kdjax.models.given import given
from kdjax.report import table
from kdjax.runs.directory import Run
from kdjax.ship.export import export
from kdjax.training import checkpoint
from kdjax.types import Outputs
from tests.experiment.test_taught import epochs, files, histories, small

PIXELS = {"mean": (0.0,), "std": (1 / 255,)}
WEIGHTS = np.random.default_rng(0).standard_normal((64, 10)).astype(np.float32) / 30


def linear(inputs):
    """A teacher in NumPy."""
    return inputs.reshape(len(inputs), -1) @ WEIGHTS


class Answer:
    """What Hugging Face's models return has its logits as an attribute."""

    def __init__(self, logits):
        self.logits = logits


def wrapped(inputs):
    assert isinstance(inputs, np.ndarray)
    return Answer(linear(inputs))


def seven(inputs):
    return np.zeros((len(inputs), 7))


def lost(inputs):
    return np.where(np.arange(len(inputs))[:, None] == 1, np.nan, linear(inputs))


def short(inputs):
    return linear(inputs)[:1]


def masked(inputs):
    return Outputs(linear(inputs), mask=np.ones((len(inputs), 3), bool))


def elsewhere(name: str = "elsewhere", methods=("stateless",), **teacher):
    """An experiment with such a teacher."""
    made = small(once=False, methods=methods)
    made.experiment, made.teacher.model = name, ""
    made.teacher.update(teacher)
    return made


class Net(nnx.Module):
    """A network of flax.nnx."""

    def __init__(self, num_classes, *, rngs: nnx.Rngs):
        self.hidden, self.norm = nnx.Linear(64, 8, rngs=rngs), nnx.BatchNorm(8, rngs=rngs)
        self.classifier = nnx.Linear(8, num_classes, rngs=rngs)

    def __call__(self, image, train: bool = False):
        x = self.norm(self.hidden(image.reshape(len(image), -1)), use_running_average=not train)
        return self.classifier(nnx.relu(x))


def bridged(num_classes):
    return nnx.bridge.to_linen(Net, num_classes)


def bare(num_classes):
    return Net(num_classes, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The run of a network as teacher."""
    return experiment.run(small(), tmp_path_factory.mktemp("trained"), teacher_only=True) / "teacher/seed0"


@pytest.fixture(scope="module")
def taught(trained, tmp_path_factory):
    """An experiment with it as a file of weights: students begin alike whatever file they are taught by."""
    root, made = tmp_path_factory.mktemp("taught"), small()
    made.teacher.weights = str(root / "teacher.safetensors")
    export(trained, made.teacher.weights)
    return experiment.run(made, root)


def said_by(run) -> dict[str, np.ndarray]:
    """Logits of a run of LogitsOnly, computed in NumPy."""
    params = checkpoint.student(run / "checkpoints")["params"]["Dense_0"]
    found = {}
    for name, split in data.load(resolve(small()).data).splits.items():
        pixels = (split.input.reshape(len(split), -1) / 255 - 0.5) / 0.5
        found[name] = (pixels @ np.asarray(params["kernel"]) + np.asarray(params["bias"])).astype(np.float32)
    return found


def test_a_file_of_what_a_network_said_teaches_as_the_network(trained, taught, tmp_path):
    said = said_by(trained)
    order = np.random.default_rng(1).permutation(128)
    arrays = {"train/logits": said["train"][order], "train/index": order, "test/logits": said["test"]}
    np.savez(tmp_path / "said.npz", **arrays)
    directory = experiment.run(elsewhere(outputs=str(tmp_path / "said.npz")), tmp_path)
    np.testing.assert_allclose(histories(directory), histories(taught), rtol=2e-4)
    ours, theirs = (Run(each / "stateless/seed0").result() for each in (directory, taught))
    assert ours["teacher"]["top1"] == theirs["teacher"]["top1"]
    assert ours["last"]["agreement"] == theirs["last"]["agreement"]
    assert ours["teacher"]["parameters"] is None
    text = table.markdown(table.gather(directory))
    assert "Teacher: said.npz, a file of what it said of the examples; its accuracy is measured here." in text
    assert "What it says of each image was computed once and looked up." in text
    assert not (directory / "teacher").exists()
    # another file behind the same name
    np.savez(tmp_path / "said.npz", **arrays | {"test/logits": said["test"] + 1})
    again = elsewhere(outputs=str(tmp_path / "said.npz"), methods=("stateless", "noisy"))
    with pytest.raises(ValueError, match=r"was taught by another teacher: weights .*said.npz has"):
        experiment.run(again, tmp_path)


def test_of_a_file_without_the_test_split_it_is_not_known_how_good_it_is(trained, tmp_path):
    np.savez(tmp_path / "said.npz", logits=said_by(trained)["train"])
    made = elsewhere(outputs=str(tmp_path / "said.npz"))
    made.data.shots = 4
    made.batch_size = 8
    directory = experiment.run(made, tmp_path)
    result = Run(directory / "stateless/seed0").result()
    assert result["teacher"] == {"model": "said.npz", "parameters": None, "flops": None, "bytes": None}
    assert result["last"]["agreement"] is None
    text = table.markdown(table.gather(directory))
    assert "its accuracy is not known" in text
    assert "Of the test split its file says nothing: how good it is is not known" in text
    rows = {record["method"]: record for record in table.records(table.gather(directory))}
    assert rows["teacher"]["top1"] is None
    config = resolve(made).data
    positions = data.subset(data.Arrays(np.arange(128), data.load(config).train.target), config, 0).input
    records = np.load(files(directory)[0])["first"][".logits"]
    np.testing.assert_array_equal(records, said_by(trained)["train"][positions])


def test_a_function_of_any_library(tmp_path):
    made = elsewhere(function=f"{__name__}.wrapped", **PIXELS)
    directory = experiment.run(made, tmp_path)
    images = data.load(resolve(made).data)
    result, records = Run(directory / "stateless/seed0").result(), np.load(files(directory)[0])
    expected = images.train.input.reshape(128, -1).astype(np.float32) @ WEIGHTS
    np.testing.assert_allclose(records["first"][".logits"], expected, rtol=1e-4, atol=1e-3)
    top1 = (linear(images.test.input.astype(np.float32)).argmax(1) == images.test.target).mean()
    assert result["teacher"]["top1"] == pytest.approx(top1)
    stored = Run(directory / "stateless/seed0").config()
    assert __name__ in stored["identity"]["code"]
    said = table.markdown(table.gather(directory))
    assert f"Teacher: {__name__}.wrapped, a function of any library" in said.replace("\\", "")


def test_a_function_sees_augmented_views(tmp_path):
    made = elsewhere(function=f"{__name__}.linear")
    made.data.augment.shift, made.epochs = {"pixels": 1}, 3
    with pytest.raises(ValueError, match=r"a teacher of elsewhere: .* config.data.views=4, of which .* nothing$"):
        experiment.run(made, tmp_path)
    made.data.views = 2
    directory = experiment.run(made, tmp_path)
    shown = [{int(i): x for i, x in zip(*each, strict=True)} for each in epochs(made, tmp_path)]
    found = [np.load(path)["first"][".logits"] for path in files(directory)]
    expected = [linear(np.stack([epoch[i] for i in range(128)])) for epoch in shown[:2]]
    for each in expected:
        assert any(np.allclose(each, records, atol=1e-4) for records in found)


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ({"function": f"{__name__}.seven"}, r"seven': its logits have shape \[2, 7\] .* and \[2, 10\] is needed"),
        ({"function": f"{__name__}.lost"}, r"lost': its logits of example 1 of 2 are not finite"),
        ({"function": f"{__name__}.short"}, r"short': its logits have shape \[1, 10\] for 2 examples"),
        ({"function": f"{__name__}.masked"}, r"masked': it gives mask; of Outputs it may give logits, features"),
        ({"function": f"{__name__}.WEIGHTS"}, "and no function of inputs"),
        ({"function": f"{__name__}.absent"}, "config.teacher.function .* has no 'absent'"),
        ({"function": "linear"}, "unknown config.teacher.function 'linear'.* or give an import path"),
        ({"function": "math.sqrt"}, r"config.teacher.function 'math.sqrt': "),
        ({"function": "math.sqrt", "onnx": "x.onnx"}, "config.teacher.onnx and config.teacher.function are both set"),
        ({"outputs": "absent.npz"}, "^config.teacher.outputs: absent.npz cannot be read"),
        ({"outputs": "said.txt"}, "^config.teacher.outputs: said.txt: outputs stand in a file .npz or .parquet"),
        ({"onnx": "absent.onnx"}, "^config.teacher.onnx: absent.onnx cannot be read"),
    ],
)
def test_what_cannot_teach(tmp_path, teacher, message):
    with pytest.raises(ValueError, match=message):
        experiment.run(elsewhere(**teacher), tmp_path)
    assert not list(tmp_path.rglob("metrics.jsonl"))


SAID = np.zeros((6, 3), np.float32)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"test/logits": SAID}, "has no logits of the training split, an array 'train/logits'"),
        ({"logits": SAID[:5]}, r"train: each of the 6 examples.* needs one row; there are 5; number 5 is the first"),
        ({"logits": SAID, "index": np.array([0, 1, 2, 3, 4, 4])}, "there are 6; number 5 is the first that has none"),
        ({"logits": SAID, "index": np.array([0, 1, 2, 3, 4, 9])}, "needs one row; there are 6; number 5"),
        ({"logits": SAID, "index": np.arange(6) / 2}, "index must be whole numbers"),
        ({"logits": SAID, "embedding": SAID[:4]}, "train: embedding of 4 examples, index of 6"),
        ({"logits": SAID[:, :2]}, r"train: its logits have shape \[6, 2\] for 6 examples, and \[6, 3\] is needed"),
        ({"logits": SAID + np.inf}, "logits of example 0 of 6 are not finite"),
        ({"logit": SAID}, "an array is called 'logit'; did you mean 'logits'"),
        ({"logits": SAID, "dev/logits": SAID}, "there is no split 'dev'"),
        ({"embedding": SAID}, "has embedding of train, and no logits"),
    ],
)
def test_files_of_outputs_that_lack_something(tmp_path, arrays, message):
    np.savez(tmp_path / "said.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        outputs.load(str(tmp_path / "said.npz"), {"train": 6, "test": 2}, 3)


def test_a_file_of_outputs_in_columns(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    from pyarrow import parquet

    logits = np.arange(15, dtype=np.float32).reshape(5, 3)
    columns = {
        "split": ["train", "test", "train", "train", "test"],
        "index": [2, 0, 0, 1, 1],
        "logits": logits.tolist(),
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "said.parquet")
    found = outputs.load(str(tmp_path / "said.parquet"), {"train": 3, "test": 2}, 3)
    np.testing.assert_array_equal(found.stored["train"].logits, logits[[2, 3, 0]])
    np.testing.assert_array_equal(found.stored["test"].logits, logits[[1, 4]])
    assert not found.remarks


def test_augmented_examples_are_not_those_of_a_file(tmp_path):
    np.savez(tmp_path / "said.npz", logits=np.zeros((128, 10)))
    made = elsewhere(outputs=str(tmp_path / "said.npz"))
    made.data.augment.shift, made.data.views = {"pixels": 1}, 2
    with pytest.raises(ValueError, match=r"has what a teacher said of the examples as they are; .*shift"):
        experiment.run(made, tmp_path)


def test_a_file_of_onnx_teaches_as_the_network(trained, taught, tmp_path):
    pytest.importorskip("onnx", reason="an export to ONNX needs onnx")
    pytest.importorskip("onnxruntime", reason="ONNX files are run by onnxruntime")
    export(trained, str(tmp_path / "teacher.onnx"))
    directory = experiment.run(elsewhere(onnx=str(tmp_path / "teacher.onnx")), tmp_path)
    np.testing.assert_allclose(histories(directory), histories(taught), rtol=2e-4)
    ours, theirs = (Run(each / "stateless/seed0").result()["teacher"] for each in (directory, taught))
    assert ours["top1"] == theirs["top1"]
    made = elsewhere("other", onnx=str(tmp_path / "teacher.onnx"))
    made.data.source, made.data.kwargs = "generated", {"shape": (8, 8, 1), "classes": 4, "train": 160, "test": 40}
    with pytest.raises(ValueError, match=r"^config.teacher.onnx: .*(\[2, 10\]|10 classes)"):
        experiment.run(made, tmp_path)


def test_where_channels_are(tmp_path):
    """A file that takes [B, C, H, W], one image at a time, as PyTorch exports them."""
    onnx = pytest.importorskip("onnx", reason="a file to read is made by onnx")
    pytest.importorskip("onnxruntime", reason="ONNX files are run by onnxruntime")
    made = {}
    for name, shape in {"first": [1, 3, 4, 5], "any": ["b", "x", "y", "z"], "other": ["b", 3, 8, 8]}.items():
        node = onnx.helper.make_node("ReduceMean", ["image"], ["said"], axes=[2, 3], keepdims=0)
        given = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, shape)
        out = onnx.helper.make_tensor_value_info("said", onnx.TensorProto.FLOAT, [None, 3])
        graph = onnx.helper.make_graph([node], name, [given], [out])
        opset = [onnx.helper.make_opsetid("", 13)]
        made[name] = str(tmp_path / f"{name}.onnx")
        onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), made[name])
    images = np.random.default_rng(0).standard_normal((3, 4, 5, 3)).astype(np.float32)
    said = network.Network(made["first"], resolve(small()).data, 3)(images)
    np.testing.assert_allclose(said.logits, images.mean((1, 2)), atol=1e-6)
    for name, message in (("any", "does not say where its channels are"), ("other", "which is another")):
        with pytest.raises(ValueError, match=message):
            network.Network(made[name], resolve(small()).data, 3)(images)


def test_what_it_gives_may_be_an_embedding_too():
    made = checked(Outputs(np.zeros((4, 3)), embedding=np.ones((4, 5))), 4, 3)
    assert (made.logits.dtype, made.embedding.shape) == (np.float32, (4, 5))
    model = given(made)
    assert model.shapes == (("logits", (3,)), ("embedding", (5,)))
    shown = model.apply({}, np.zeros((2, 8)))
    assert (shown.logits.shape, shown.embedding.shape, shown.features) == ((2, 3), (2, 5), ())
    assert np.isnan(shown.logits).all()


def test_a_network_of_nnx_is_trained_as_teacher_and_student(tmp_path):
    made = small(once=False)
    made.teacher.model = made.student.model = f"{__name__}.bridged"
    directory = experiment.run(made, tmp_path)
    variables = checkpoint.student(directory / "stateless/seed0/checkpoints")
    assert variables["batch_stats"]["norm"]["mean"].any()
    assert Run(directory / "stateless/seed0").result()["teacher"]["parameters"] == 64 * 8 + 8 + 16 + 80 + 10
    for name in ("Net", "bare"):
        made.experiment, made.student.model = name, f"{__name__}.{name}"
        with pytest.raises(ValueError, match=r"of flax.nnx is given by .*flax.nnx.bridge.to_linen\(Net, num_classes\)"):
            experiment.run(made, tmp_path)
