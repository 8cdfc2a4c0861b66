"""Networks against logits of timm, torchvision and TensorFlow (tests/goldens/README.md)."""

import zlib
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from kdjax import models
from kdjax.models import pytorch as importer
from kdjax.models import weights
from kdjax.models.layers import Layers, divisible
from kdjax.types import image_spec

GOLDENS = np.load(Path(__file__).parents[1] / "goldens" / "networks.npz")
NETWORKS = sorted({key.partition("/")[0] for key in GOLDENS})
SHAPE = (45, 38, 3)  # odd at some strides and even at others, so that SAME pads both ways
LIGHT = ("efficientnet_lite0", "mobilenetv3_small")
"""Networks that compile in seconds."""


def rows(name):
    """(name, shape) of every tensor of the torch network."""
    for row in GOLDENS[f"{name}/tensors"]:
        tensor, shape = row.decode().split()
        yield tensor, tuple(map(int, shape.split(",")))


def tensors(name):
    """The weights with which the golden logits were computed."""
    return {tensor: drawn(tensor, shape) for tensor, shape in rows(name)}


def drawn(name, shape):
    x = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if len(shape) > 1:
        return (x * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)
    if name.endswith(("weight", "running_var", "gamma")):
        return (1 + 0.1 * np.tanh(x)).astype(np.float32)
    return (0.1 * x).astype(np.float32)


def test_the_goldens_are_there():
    lites = {f"efficientnet_lite{size}" for size in range(5)}
    assert set(NETWORKS) == {*lites, "mobilenetv3_small", "mobilenetv3_large", "convnext_tiny"}


@pytest.mark.parametrize("name", NETWORKS)
def test_names_and_shapes_of_every_tensor_are_the_torch_networks(name):
    shapes = dict(rows(name))
    found = {canonical: shapes[row] for canonical, row in importer._canonical_names("x", shapes).items()}
    variables = weights.shapes(getattr(models, name)(num_classes=10), image_spec(*SHAPE))
    expected = {importer._canonical_path(key): importer._torch_shape(v.shape, key) for key, v in variables.items()}
    assert found == expected


def test_all_but_the_last_of_two_dense_layers_is_the_body(tmp_path):
    save_file(tensors("mobilenetv3_small"), tmp_path / "net.safetensors", {"format": "pt"})
    body = importer.load_body(tmp_path / "net.safetensors", models.mobilenetv3_small(num_classes=3), image_spec(*SHAPE))
    assert "classifier_0" in body["params"]
    assert "classifier" not in body["params"]


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in LIGHT else [pytest.mark.slow]) for n in NETWORKS])
def test_logits_are_the_torch_networks(name, tmp_path):
    save_file(tensors(name), tmp_path / "net.safetensors", {"format": "pt"})
    model = getattr(models, name)(num_classes=10)
    variables = importer.load(tmp_path / "net.safetensors", model, image_spec(*SHAPE))
    image = np.random.default_rng(0).standard_normal((2, *SHAPE)).astype(np.float32)
    expected = GOLDENS[f"{name}/logits"]
    found = jax.jit(model.apply)(variables, image).logits
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def teacher(shared_data, size):
    file = shared_data / "teachers" / f"efficientnet_lite{size}_imagenet.safetensors"
    if not file.exists():
        pytest.skip(f"{file.name} is not among the teachers of the shared data")
    return file


def test_lite0_of_imagenet_says_what_it_said_in_its_own_framework(shared_data):
    golden = shared_data.parent / "reference/goldens/efficientnet_lite0_224.npz"
    file, model = teacher(shared_data, 0), models.efficientnet_lite0(num_classes=1000)
    if not golden.exists():
        pytest.skip("the golden logits of Lite0 are not beside the shared data")
    with np.load(golden) as arrays:
        image, expected = (arrays["image"].astype(np.float32) - 127) / 128, arrays["logits"]
    found = jax.jit(model.apply)(importer.load(file, model, image_spec(224, 224, 3)), image).logits
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


def test_lite2_of_imagenet_loads(shared_data):
    """Published count of parameters; that wider and deeper Lites compute what timm's do stands above."""
    model = models.efficientnet_lite2(num_classes=1000)
    variables = importer.load(teacher(shared_data, 2), model, image_spec(260, 260, 3))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 6_092_072


@pytest.mark.parametrize("side", [7, 8])
@pytest.mark.parametrize("kernel", [3, 5])
def test_same_pads_as_tensorflow_does(kernel, side):
    """The first output at stride 2 on 8 positions sees nothing before them, on 7 as much before as after."""
    before = {(3, 7): 1, (3, 8): 0, (5, 7): 2, (5, 8): 1}[kernel, side]
    x = jnp.arange(1.0, side + 1)[None, None, :, None] * jnp.ones((1, side, 1, 1))

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Layers().conv(x, 1, kernel, "conv", stride=2, padding="SAME")

    y = Net().apply({"params": {"conv": {"kernel": jnp.ones((kernel, kernel, 1, 1)) / kernel}}}, x)
    assert y.shape == (1, 4, 4, 1)
    row = np.pad(np.arange(1.0, side + 1), (before, kernel))
    np.testing.assert_allclose(y[0, 1, :, 0], [row[2 * i : 2 * i + kernel].sum() for i in range(4)], rtol=1e-6)


def test_channels_are_rounded_to_multiples_of_8_and_never_by_more_than_a_tenth():
    assert [divisible(n) for n in (3, 16, 18, 26.4, 35.2, 88.0)] == [8, 16, 24, 24, 32, 88]
