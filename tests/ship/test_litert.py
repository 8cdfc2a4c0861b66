"""LiteRT: networks as .tflite files compute what they compute in JAX, in int8 nearly; what cannot be said is named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import models
from kdjax.find import find
from kdjax.ship import export, forms, inference, litert, serve
from tests.ship import formats
from tests.ship.test_export import NARROW, Odd, drawn
from tests.ship.test_texts import NETWORKS

pytestmark = formats.NEEDS_LITERT
IMAGES = {
    "tests.ship.test_export.Odd": {},
    "resnet8": {"shortcut": "A"},
    "shufflenetv2": {},
    "mobilenetv3_small": {},
    NARROW["convnext_tiny"][0]: NARROW["convnext_tiny"][1],
}


def written(path, variables, description):
    export._tflite(path, variables, description)
    serve.describe(path, description)
    return serve.load(path)


@pytest.mark.parametrize("name", IMAGES)
def test_networks_of_images(tmp_path, name):
    model = Odd(5) if name.endswith("Odd") else find(name, models, "model")(num_classes=5, **IMAGES[name])
    variables, description = drawn(model, (32, 32, 3), name, IMAGES[name])
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    expected = np.asarray(jax.jit(inference.predictor(description, variables))(images))
    assert np.ptp(expected) > 1e-3
    found = written(tmp_path / "out.tflite", variables, description).predict(images)
    np.testing.assert_allclose(found, expected, atol=1e-4 * max(1.0, np.abs(expected).max()), rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_texts(tmp_path, name):
    description = {"model": name, "kwargs": NETWORKS[name], "classes": ["a", "b", "c"], "tokenizer": ""}
    description |= {"length": 24, "pairs": name == "bert", "vocabulary": 50}
    one = jax.tree.map(lambda leaf: jnp.zeros((1, *leaf.shape), leaf.dtype), forms.spec(description))
    variables = inference.network(description).init(jax.random.key(0), one)
    served, generator = written(tmp_path / "out.tflite", variables, description), np.random.default_rng(0)
    for examples, length in ((1, 5), (3, 24)):
        inputs = jax.tree.map(lambda leaf: leaf[:, :length], served.drawn(examples, generator))  # noqa: B023
        inputs["mask"] = np.arange(length)[None] < generator.integers(1, length + 1, (examples, 1))
        expected = np.asarray(jax.jit(inference.predictor(description, variables))(inputs))
        assert np.ptp(expected) > 1e-2
        np.testing.assert_allclose(served.run(inputs), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (jnp.sort, "which uses compare and sort of StableHLO"),
        (lambda x: jnp.abs(jnp.fft.fft(x)), "which uses fft of StableHLO"),
        (lambda x: jnp.linalg.qr(x)[0], "which uses custom_call lapack_sgeqrf_ffi"),
        (
            lambda x: jax.lax.scan(lambda c, row: (jnp.tanh(c @ x + row), c), x[0], x)[1],
            "which uses while of StableHLO",
        ),
        (lambda x: jax.pure_callback(lambda y: y, x, x), "Unable to parse module"),
    ],
)
def test_what_litert_cannot_express_is_named(function, named, capfd):
    with pytest.raises(ValueError, match=f"out.tflite: LiteRT cannot express the network.*{named}"):
        litert.convert(function, {"x": jax.ShapeDtypeStruct((4, 4), np.float32)}, "out.tflite")
    assert capfd.readouterr() == ("", "")


def test_a_description_takes_the_place_of_another(tmp_path):
    path = tmp_path / "out.tflite"
    path.write_bytes(b"a model")
    litert.describe(path, {"classes": ["a", "b"]})
    first = path.read_bytes()
    litert.describe(path, {"classes": ["c"] * 100})
    assert litert.description(path) == {"classes": ["c"] * 100}
    litert.describe(path, {"classes": ["a", "b"]})
    assert path.read_bytes() == first
    assert first.startswith(b"a model")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A network that was never trained, in float and in int8, and what it is calibrated on."""
    folder, kwargs = tmp_path_factory.mktemp("files"), {"widths": (16, 24)}
    variables, description = drawn(models.convnet(num_classes=5, **kwargs), (8, 8, 3), "convnet", kwargs)
    images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3), np.uint8)
    written(folder / "out.tflite", variables, {**description, "accuracy": {"top1": 0.5, "split": "test"}})
    litert.quantize(folder / "out.tflite", folder / "small.tflite", images)
    return folder / "out.tflite", folder / "small.tflite", images


def test_int8_is_nearly_as_in_float(files):
    plain, small, images = serve.load(files[0]), serve.load(files[1]), files[2]
    expected = plain.predict(images)
    assert np.abs(small.predict(images) - expected).max() < 0.1 * np.abs(expected).max()
    assert small.description["int8"] == "AI Edge Quantizer, static, calibrated on 16 training images"
    assert (small.description["weights"], small.description["accuracy"]) == ("small.tflite", {"split": "test"})


def test_weights_are_int8_with_a_scale_for_each_channel(files):
    from ai_edge_litert.interpreter import Interpreter

    opened = Interpreter(str(files[1]))
    scales = [len(each["quantization_parameters"]["scales"]) for each in opened.get_tensor_details()]
    assert sorted(n for n in scales if n > 1) == [5, 5, 16, 16, 24, 24]  # of weights and of their sums' biases
    assert [each["dtype"] for each in opened.get_input_details()] == [np.uint8]


def test_int8_needs_examples(files, tmp_path):
    with pytest.raises(ValueError, match="int8 needs examples"):
        litert.quantize(files[0], tmp_path / "small.tflite", files[2][:0])
    assert not list(tmp_path.iterdir())
