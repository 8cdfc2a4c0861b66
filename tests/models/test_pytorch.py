"""Weights from PyTorch: what is imported predicts what torch predicts; what does not fit is refused with names."""

import json
import struct
import subprocess
import sys

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import kdjax.models
from kdjax.models import pytorch as importer
from kdjax.models import weights
from kdjax.models.vision.resnet import ResNet
from kdjax.models.vision.wrn import WideResNet
from kdjax.types import image_spec

SHAPE = (16, 16, 3)


def images(shape=SHAPE, batch=4):
    return np.random.default_rng(0).standard_normal((batch, *shape)).astype(np.float32)


def torch_tensors(model, shape=SHAPE):
    """Random tensors of a torch network of the same architecture, named by the rules: for errors and edge cases."""
    rng = np.random.default_rng(0)
    keys = weights.shapes(model, image_spec(*shape))
    named = {importer._torch_name(k): importer._torch_shape(v.shape, k) for k, v in keys.items()}
    return {name: np.abs(rng.standard_normal(shape)).astype(np.float32) for name, shape in named.items()}


@pytest.fixture
def small():
    return kdjax.models.resnet8(num_classes=10)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


# ---- agreement with torch


def torch_blocks():
    """Torch networks with the layer names of the repositories whose weights are read, each returning (logits, taps)."""
    torch = pytest.importorskip("torch")
    nn, relu = torch.nn, torch.relu
    bn = nn.BatchNorm2d

    def conv(i, o, k, s=1, g=1, bias=False):
        return nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=bias)

    class Residual(nn.Module):
        def __init__(self, i, width, stride, expansion, shortcut):
            super().__init__()
            o = width * expansion
            self.deep = expansion > 1
            self.conv1, self.bn1 = (conv(i, width, 1) if self.deep else conv(i, width, 3, stride)), bn(width)
            self.conv2, self.bn2 = conv(width, width, 3, stride if self.deep else 1), bn(width)
            if self.deep:
                self.conv3, self.bn3 = conv(width, o, 1), bn(o)
            if stride > 1 or i != o:
                setattr(self, shortcut, nn.Sequential(conv(i, o, 1, stride), bn(o)))
            self.shortcut_name = shortcut

        def forward(self, x):
            y = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
            y = self.bn3(self.conv3(relu(y))) if self.deep else y
            return y + getattr(self, self.shortcut_name, nn.Identity())(x)

    class Residuals(nn.Module):
        """RepDistiller's and torchvision's ResNets (downsample, fc); akamaster's (shortcut, linear)."""

        def __init__(self, stem, widths, blocks, expansion=1, imagenet=False, names=("downsample", "fc")):
            super().__init__()
            self.conv1, self.bn1 = (nn.Conv2d(3, stem, 7, 2, 3, bias=False) if imagenet else conv(3, stem, 3)), bn(stem)
            self.pool = nn.MaxPool2d(3, 2, 1) if imagenet else nn.Identity()
            i = stem
            for s, (width, n) in enumerate(zip(widths, blocks, strict=True), start=1):
                layers = []
                for k in range(n):
                    layers.append(Residual(i, width, 2 if s > 1 and k == 0 else 1, expansion, names[0]))
                    i = width * expansion
                setattr(self, f"layer{s}", nn.Sequential(*layers))
            self.stages, self.head = len(widths), names[1]
            setattr(self, self.head, nn.Linear(i, 10))

        def forward(self, x):
            x = relu(self.bn1(self.conv1(x)))
            taps, x = [x], self.pool(x)
            for s in range(1, self.stages + 1):
                for block in getattr(self, f"layer{s}"):
                    x = relu(block(x))
                taps.append(x)
            return getattr(self, self.head)(x.mean((2, 3))), taps

    class Plain(nn.Module):
        """RepDistiller's vgg8_bn."""

        def __init__(self):
            super().__init__()
            for b, (i, o) in enumerate(((3, 64), (64, 128), (128, 256), (256, 512), (512, 512))):
                setattr(self, f"block{b}", nn.Sequential(conv(i, o, 3, bias=True), bn(o)))
            self.classifier = nn.Linear(512, 10)

        def forward(self, x):
            taps = []
            for b in range(5):
                x = nn.functional.max_pool2d(x, 2) if 0 < b < 4 else x
                x = relu(getattr(self, f"block{b}")(x))
                taps.append(x)
            return self.classifier(x.mean((2, 3))), taps

    class Wide(nn.Module):
        """RepDistiller's WRN-10-2: one block a stage."""

        def __init__(self):
            super().__init__()
            self.conv1, i = conv(3, 16, 3), 16
            for s, o in enumerate((32, 64, 128), start=1):
                block = nn.Module()
                stride = 1 if s == 1 else 2
                block.bn1, block.conv1, block.bn2, block.conv2 = bn(i), conv(i, o, 3, stride), bn(o), conv(o, o, 3)
                block.convShortcut = conv(i, o, 1, stride)
                stage = nn.Module()
                stage.layer = nn.Sequential(block)
                setattr(self, f"block{s}", stage)
                i = o
            self.bn1, self.fc = bn(i), nn.Linear(i, 10)

        def forward(self, x):
            x = self.conv1(x)
            taps = [x]
            for stage in (self.block1, self.block2, self.block3):
                b = stage.layer[0]
                active = relu(b.bn1(x))
                x = b.convShortcut(active) + b.conv2(relu(b.bn2(b.conv1(active))))
                taps.append(x)
            return self.fc(relu(self.bn1(x)).mean((2, 3))), taps

    class Inverted(nn.Module):
        def __init__(self, i, o, stride, t):
            super().__init__()
            h = i * t
            layers = [conv(i, h, 1), bn(h), nn.ReLU(), conv(h, h, 3, stride, h), bn(h), nn.ReLU(), conv(h, o, 1), bn(o)]
            self.conv, self.add = nn.Sequential(*layers), stride == 1 and i == o

        def forward(self, x):
            return x + self.conv(x) if self.add else self.conv(x)

    class Mobile(nn.Module):
        """RepDistiller's MobileNetV2, T=6, width 0.5."""

        def __init__(self):
            super().__init__()
            self.conv1 = nn.Sequential(conv(3, 16, 3, 2), bn(16), nn.ReLU())
            stages, i = [], 16
            for t, o, n, s in (
                (1, 8, 1, 1),
                (6, 12, 2, 1),
                (6, 16, 3, 2),
                (6, 32, 4, 2),
                (6, 48, 3, 1),
                (6, 80, 3, 2),
                (6, 160, 1, 1),
            ):
                blocks = []
                for k in range(n):
                    blocks.append(Inverted(i, o, s if k == 0 else 1, t))
                    i = o
                stages.append(nn.Sequential(*blocks))
            self.blocks = nn.ModuleList(stages)
            self.conv2 = nn.Sequential(conv(160, 1280, 1), bn(1280), nn.ReLU())
            self.classifier = nn.Sequential(nn.Linear(1280, 10))

        def forward(self, x):
            x = self.conv1(x)
            taps = [x]
            for s, stage in enumerate(self.blocks):
                x = stage(x)
                taps += [x] if s in (1, 2, 4, 6) else []
            return self.classifier(self.conv2(x).mean((2, 3))), taps

    def shuffle(x, groups):
        return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)

    class Grouped(nn.Module):
        def __init__(self, i, o, stride):
            super().__init__()
            self.g, self.stride, middle = 1 if i == 24 else 3, stride, o // 4
            self.conv1, self.bn1 = conv(i, middle, 1, 1, self.g), bn(middle)
            self.conv2, self.bn2 = conv(middle, middle, 3, stride, middle), bn(middle)
            self.conv3, self.bn3 = conv(middle, o, 1, 1, 3), bn(o)

        def forward(self, x):
            y = shuffle(relu(self.bn1(self.conv1(x))), self.g)
            y = self.bn3(self.conv3(relu(self.bn2(self.conv2(y)))))
            return relu(y + x if self.stride == 1 else torch.cat([y, nn.functional.avg_pool2d(x, 3, 2, 1)], 1))

    class Shuffle(nn.Module):
        """RepDistiller's ShuffleNetV1."""

        def __init__(self):
            super().__init__()
            self.conv1, self.bn1, i = conv(3, 24, 1), bn(24), 24
            for s, (n, o) in enumerate(((4, 240), (8, 480), (4, 960)), start=1):
                rest = [Grouped(o, o, 1) for _ in range(n - 1)]
                setattr(self, f"layer{s}", nn.Sequential(Grouped(i, o - i, 2), *rest))
                i = o
            self.linear = nn.Linear(960, 10)

        def forward(self, x):
            taps = [relu(self.bn1(self.conv1(x)))]
            for layer in (self.layer1, self.layer2, self.layer3):
                taps.append(layer(taps[-1]))
            return self.linear(taps[-1].mean((2, 3))), taps

    cifar = ((16, 32, 64), (1, 1, 1))
    deep = ((8, 16, 32, 64), (1, 2, 1, 1))
    return {
        "resnet8": lambda: (Residuals(16, *cifar), kdjax.models.resnet8(num_classes=10)),
        "akamaster": lambda: (
            Residuals(16, *cifar, names=("shortcut", "linear")),
            kdjax.models.resnet8(num_classes=10),
        ),
        "bottleneck": lambda: (Residuals(8, *deep, 4, True), ResNet(10, deep[1], deep[0], 8, 4, imagenet=True)),
        "vgg8": lambda: (Plain(), kdjax.models.vgg8(num_classes=10)),
        "wrn_10_2": lambda: (Wide(), WideResNet(10, 10, 2)),
        "mobilenetv2": lambda: (Mobile(), kdjax.models.mobilenetv2(num_classes=10)),
        "shufflenetv1": lambda: (Shuffle(), kdjax.models.shufflenetv1(num_classes=10)),
    }


def randomize(network):
    """BatchNorm as after training: no parameter and no statistic at its start."""
    import torch

    generator = torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_mean", "bias")):
            tensor.copy_(0.1 * torch.randn(tensor.shape, generator=generator))
        elif name.endswith("running_var") or (tensor.ndim == 1 and tensor.is_floating_point()):
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))


def export(network, path, prefix=""):
    tensors = {prefix + name: tensor.contiguous().numpy() for name, tensor in network.state_dict().items()}
    save_file(tensors, path, {"format": "pt"})


HEAVY = ("mobilenetv2", "shufflenetv1")
NETWORKS = ("resnet8", "akamaster", "bottleneck", "vgg8", "wrn_10_2", *HEAVY)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in HEAVY else []) for n in NETWORKS])
def test_import_agrees_with_torch_on_logits_and_features(name, path):
    torch = pytest.importorskip("torch")
    network, model = torch_blocks()[name]()
    randomize(network)
    network.eval()
    export(network, path, prefix="module." if name == "vgg8" else "")
    shape = (32, 32, 3)
    variables = importer.load(path, model, image_spec(*shape))
    with torch.no_grad():
        logits, taps = network(torch.from_numpy(images(shape)).permute(0, 3, 1, 2).contiguous())
    outputs = jax.jit(model.apply)(variables, images(shape))
    np.testing.assert_allclose(outputs.logits, logits.numpy(), atol=1e-4)
    for feature, tap in zip(outputs.features, taps, strict=True):
        scale = max(1.0, tap.abs().max().item())
        np.testing.assert_allclose(feature, tap.permute(0, 2, 3, 1).numpy(), atol=1e-4 * scale)


def test_flattened_images_meet_torchs_dense_weights(path):
    torch = pytest.importorskip("torch")
    nn = torch.nn
    network = nn.Module()
    network.conv1, network.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5, padding=2)
    network.fc1, network.fc2, network.fc = nn.Linear(16 * 2 * 2, 120), nn.Linear(120, 84), nn.Linear(84, 10)
    export(network, path)
    model, x = kdjax.models.lenet(num_classes=10), images((8, 8, 1))
    with torch.no_grad():
        y = torch.from_numpy(x).permute(0, 3, 1, 2)
        for conv in (network.conv1, network.conv2):
            y = nn.functional.max_pool2d(torch.relu(conv(y)), 2)
        y = network.fc(torch.relu(network.fc2(torch.relu(network.fc1(y.flatten(1))))))
    variables = importer.load(path, model, image_spec(8, 8, 1))
    np.testing.assert_allclose(model.apply(variables, x).logits, y.numpy(), atol=1e-5)


def test_the_conversion_command_works(tmp_path):
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(3, 2)
    torch.save({"state_dict": layer.state_dict(), "epoch": 3}, tmp_path / "a net.pth")
    command = weights.conversion(tmp_path / "a net.pth").replace("python", sys.executable, 1)
    subprocess.run(command, shell=True, check=True, env={"PATH": ""})
    np.testing.assert_array_equal(load_file(tmp_path / "a net.safetensors")["weight"], layer.weight.detach().numpy())


# ---- the real teachers


@pytest.mark.parametrize(
    ("name", "accuracy", "first"),
    [
        ("resnet20", 0.828, 500),  # the whole split: tests/ship/test_export.py
        pytest.param("resnet56", 0.827, 1000, marks=pytest.mark.slow),  # 83.20 % of the whole split, as with PyTorch
    ],
)
@pytest.mark.filterwarnings("ignore")  # of tensorflow-datasets
def test_published_teachers_on_cifar10(name, accuracy, first, shared_data):
    """Accuracy on CIFAR-10 (JPEG), not the original pixels; teachers and figures: data/README.md."""
    file = shared_data / "teachers" / f"{name}_cifar10.safetensors"
    if not file.exists() or not (shared_data / "tfds" / "cifar10").is_dir():
        pytest.skip("the teachers or CIFAR-10 (JPEG) are not in the shared data")
    tfds = pytest.importorskip("tensorflow_datasets")
    source = tfds.data_source("cifar10", data_dir=shared_data / "tfds", split="test")
    rows = [source[i] for i in range(first)]
    mean, std = np.float32((0.485, 0.456, 0.406)), np.float32((0.229, 0.224, 0.225))
    image = (np.stack([row["image"] for row in rows]) / np.float32(255) - mean[None, None, None]) / std[
        None, None, None
    ]
    label = np.array([row["label"] for row in rows])
    model = getattr(kdjax.models, name)(num_classes=10, shortcut="A")
    variables = importer.load(file, model, image_spec(32, 32, 3))
    predict = jax.jit(lambda x: model.apply(variables, x).logits.argmax(-1))
    predicted = np.concatenate([predict(image[i : i + 500]) for i in range(0, first, 500)])
    assert np.mean(predicted == label) == accuracy


# ---- rules and refusals


@pytest.mark.parametrize("name", [f.__name__ for k in ("CIFAR", "ImageNet") for f in kdjax.models.FAMILIES[k]])
def test_no_two_tensors_of_a_network_have_one_name(name):
    keys = weights.shapes(getattr(kdjax.models, name)(num_classes=10), image_spec(32, 32, 3))
    names = importer._canonical_names("x", {importer._torch_name(key): None for key in keys})
    assert names.keys() == {importer._canonical_path(key) for key in keys}


def test_half_precision_is_widened_and_counters_are_ignored(small, path):
    tensors = {k: v.astype(ml_dtypes.bfloat16) for k, v in torch_tensors(small).items()}
    tensors["conv1.weight"] = tensors["conv1.weight"].astype(np.float16)
    save_file({**tensors, "bn1.num_batches_tracked": np.array(3)}, path)
    variables = importer.load(path, small, image_spec(*SHAPE))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(np.float32)}
    kernel = variables["params"]["conv1"]["kernel"]
    np.testing.assert_array_equal(kernel[1, 2, 0], tensors["conv1.weight"][:, 0, 1, 2].astype(np.float32))


def change(tensors, **changes):
    tensors.update({name.replace("__", "."): value for name, value in changes.items()})
    return tensors


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop("bn1.bias"), r"missing \(1\): bn1.bias$"),
        (lambda t: t.pop("layer1.0.bn2.running_var"), r"missing \(1\): layer1.0.bn2.running_var$"),
        (lambda t: change(t, layer4__0__conv1__weight=t["conv1.weight"]), r"left over \(1\): layer4.0.conv1.weight$"),
        (lambda t: change(t, fc__weight=t["classifier.weight"]), "are both taken for classifier.weight"),
        (
            lambda t: change(t, conv1__weight=t["conv1.weight"][:, :1]),
            r"1 .*: conv1.weight is \(16, 1, 3, 3\), the model needs \(16, 3, 3, 3\)",
        ),
        (lambda t: change(t, bn1__bias=np.full(16, np.nan, np.float32)), "bn1.bias holds numbers that are not finite"),
        (lambda t: change(t, bn1__bias=np.zeros(16, np.int32)), "bn1.bias holds int32"),
        (lambda t: change(t, **{"../../bn1": t["bn1.bias"]}), r"'../../bn1' is no name of a tensor"),
    ],
)
def test_what_does_not_fit_is_named(edit, message, small, path):
    tensors = torch_tensors(small)
    edit(tensors)
    save_file(tensors, path)
    with pytest.raises(ValueError, match=message) as error:
        importer.load(path, small, image_spec(*SHAPE))
    assert str(path) in str(error.value)


def test_weights_of_another_network_show_the_first_names(path):
    save_file(torch_tensors(kdjax.models.vgg8(num_classes=10)), path)
    with pytest.raises(
        ValueError, match=r"missing \(4\d\): bn1.bias, .* and 40 more; left over \(3\d\): block0.0.bias"
    ):
        importer.load(path, kdjax.models.resnet8(num_classes=10), image_spec(*SHAPE))


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".th"])
def test_pickles_are_refused_with_the_command_that_converts_them(suffix, small, tmp_path):
    with pytest.raises(ValueError, match=r"convert it once.*\n  python -c 'import sys, torch.*weights_only=True"):
        importer.load(tmp_path / f"net{suffix}", small, image_spec(*SHAPE))


def header(entries, length=None, body=b""):
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02}q\x00.",
        header(b"no json"),
        header({"a": ENTRY}, length=2**63),
        header({"a": ENTRY}, length=2**30),
        header({"a": ENTRY}, body=b"\0" * 4),
        header({"a": ENTRY}, body=b"\0" * 80),
        header({"a": {**ENTRY, "shape": [2**62, 2**62]}}, body=b"\0" * 8),
        header({"a": {**ENTRY, "shape": [-2]}}, body=b"\0" * 8),
        header({"a": {**ENTRY, "data_offsets": [8, 16]}}, body=b"\0" * 16),
        header({"a": ENTRY, "b": {**ENTRY, "data_offsets": [4, 12]}}, body=b"\0" * 12),
        header({"a": {**ENTRY, "dtype": "F8_E4M3", "data_offsets": [0, 2]}}, body=b"\0" * 2),
    ],
    ids=range(12),
)
def test_hostile_files_are_refused(content, small, path):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"not a readable safetensors file|has type F8_E4M3; valid are F64"):
        importer.load(path, small, image_spec(*SHAPE))


def test_a_file_that_is_not_there(small, path):
    with pytest.raises(ValueError, match=r"not a readable safetensors file.*No such file"):
        importer.load(path, small, image_spec(*SHAPE))
    path.mkdir()
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        importer.load(path, small, image_spec(*SHAPE))
    with pytest.raises(ValueError, match=r"read from and written to \.safetensors files"):
        importer.load("weights.npz", small, image_spec(*SHAPE))


# ---- weights of one's own


def own_variables(model, shape):
    rng = np.random.default_rng(1)
    make = lambda leaf: jnp.asarray(np.abs(rng.normal(0, 0.2, leaf.shape)), leaf.dtype)  # noqa: E731
    image = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    return jax.tree.map(make, jax.eval_shape(model.init, jax.random.key(0), image))


@pytest.mark.parametrize("name", ["convnet", "plain_student", "resnet8"])
def test_what_is_saved_and_loaded_predicts_identically(name, path):
    model = getattr(kdjax.models, name)(num_classes=10)
    variables = own_variables(model, SHAPE)
    metadata = {"model": name, "kwargs": {}, "classes": ["cat", "dog"], "accuracy": {"top1": 0.5}}
    weights.save(path, variables, metadata)
    loaded = importer.load(path, model, image_spec(*SHAPE))
    assert jax.tree.structure(loaded) == jax.tree.structure(dict(variables))
    apply = jax.jit(model.apply)
    np.testing.assert_array_equal(apply(loaded, images()).logits, apply(variables, images()).logits)
    assert weights.describe(path) == metadata
    assert {file.name for file in path.parent.iterdir()} == {"net.safetensors", "net.json"}


def test_scalars_and_other_types_survive(path):
    variables = {"params": {"temperature": jnp.float32(2.0), "Dense_0": {"kernel": jnp.ones((2, 3), jnp.bfloat16)}}}
    weights.save(path, variables, {})
    tensors, format_ = weights.read(path)
    assert format_ == weights.FORMAT
    assert tensors["params.temperature"].shape == ()
    assert tensors["params.Dense_0.kernel"].dtype == jnp.bfloat16


def test_weights_of_ones_own_must_fit(path, small):
    weights.save(path, own_variables(small, SHAPE), {})
    with pytest.raises(ValueError, match=r"params.classifier.bias is \(10,\), the model needs \(7,\)"):
        importer.load(path, kdjax.models.resnet8(num_classes=7), image_spec(*SHAPE))
    with pytest.raises(ValueError, match=r"missing \(\d+\): batch_stats.layer1_1"):
        importer.load(path, kdjax.models.resnet14(num_classes=10), image_spec(*SHAPE))


def test_a_description_that_is_not_there(path):
    with pytest.raises(ValueError, match=r"net.json: cannot read the description of the weights"):
        weights.describe(path)
    path.with_suffix(".json").write_text("[]")
    with pytest.raises(ValueError, match="holds list, not the description"):
        weights.describe(path)
