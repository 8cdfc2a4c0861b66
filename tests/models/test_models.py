"""The networks: sizes and shapes of the literature, initial weights, BatchNorm, taps, types, image sizes."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax.models
from kdjax import find
from kdjax.losses.norms import stage_norms
from kdjax.models import FAMILIES, compose, layers
from kdjax.training.step import adopt

# name: parameters at 100 classes; (channels, side) of the features for 32x32; width of the embedding
CIFAR = {
    "resnet8": (83_892, "16,32 16,32 32,16 64,8", 64),
    "resnet14": (181_108, "16,32 16,32 32,16 64,8", 64),
    "resnet20": (278_324, "16,32 16,32 32,16 64,8", 64),
    "resnet32": (472_756, "16,32 16,32 32,16 64,8", 64),
    "resnet44": (667_188, "16,32 16,32 32,16 64,8", 64),
    "resnet56": (861_620, "16,32 16,32 32,16 64,8", 64),
    "resnet110": (1_736_564, "16,32 16,32 32,16 64,8", 64),
    "resnet8x4": (1_233_540, "32,32 64,32 128,16 256,8", 256),
    "resnet32x4": (7_433_860, "32,32 64,32 128,16 256,8", 256),
    "wrn_16_1": (180_916, "16,32 16,32 32,16 64,8", 64),
    "wrn_16_2": (703_284, "16,32 32,32 64,16 128,8", 128),
    "wrn_40_1": (569_780, "16,32 16,32 32,16 64,8", 64),
    "wrn_40_2": (2_255_156, "16,32 32,32 64,16 128,8", 128),
    "vgg8": (3_965_028, "64,32 128,16 256,8 512,4 512,4", 512),
    "vgg11": (9_277_284, "64,32 128,16 256,8 512,4 512,4", 512),
    "vgg13": (9_462_180, "64,32 128,16 256,8 512,4 512,4", 512),
    "vgg16": (14_774_436, "64,32 128,16 256,8 512,4 512,4", 512),
    "vgg19": (20_086_692, "64,32 128,16 256,8 512,4 512,4", 512),
    "resnet50_cifar": (23_705_252, "64,32 256,32 512,16 1024,8 2048,4", 2048),
    "mobilenetv2": (812_836, "16,16 12,16 16,8 48,4 160,2", 1280),
    "shufflenetv1": (949_258, "24,32 240,16 480,8 960,4", 960),
    "shufflenetv2": (1_355_528, "24,32 116,16 232,8 464,4", 1024),
}
# the same at 1,000 classes, for 224x224
IMAGENET = {
    "resnet18": (11_689_512, "64,112 64,56 128,28 256,14 512,7", 512),
    "resnet34": (21_797_672, "64,112 64,56 128,28 256,14 512,7", 512),
    "resnet50": (25_557_032, "64,112 256,56 512,28 1024,14 2048,7", 2048),
    "resnet101": (44_549_160, "64,112 256,56 512,28 1024,14 2048,7", 2048),
    "mobilenetv1": (4_231_976, "32,112 128,56 256,28 512,14 1024,7", 1024),
    "mobilenetv2_imagenet": (3_504_872, "32,112 24,56 32,28 96,14 320,7", 1280),
    "mobilenetv3_small": (2_542_856, "16,112 16,56 24,28 48,14 96,7", 1024),
    "mobilenetv3_large": (5_483_032, "16,112 24,56 40,28 112,14 160,7", 1280),
    "squeezenet": (1_235_496, "64,111 128,55 256,27 512,13", 512),
    "efficientnet_b0": (5_288_548, "32,112 24,56 40,28 112,14 320,7", 1280),
    "efficientnet_lite0": (4_652_008, "32,112 24,56 40,28 112,14 320,7", 1280),
    "efficientnet_lite1": (5_416_680, "32,112 24,56 40,28 112,14 320,7", 1280),
    "efficientnet_lite2": (6_092_072, "32,112 24,56 48,28 120,14 352,7", 1280),
    "efficientnet_lite3": (8_197_096, "32,112 32,56 48,28 136,14 384,7", 1280),
    "efficientnet_lite4": (13_006_568, "32,112 32,56 56,28 160,14 448,7", 1280),
    "convnext_tiny": (28_589_128, "96,56 96,56 192,28 384,14 768,7", 768),
    "deit_tiny": (5_717_416, "192,14 192,14 192,14 192,14 192,14", 192),
    "deit_small": (22_050_664, "384,14 384,14 384,14 384,14 384,14", 384),
}
HEAVY = ("mobilenetv2", "mobilenetv2_imagenet", "shufflenetv1", "shufflenetv2", "squeezenet", "deit_tiny")
"""Networks whose compilation takes many seconds."""


def some(*names):
    """Names as parameters of a test; heavy networks are marked slow."""
    return [pytest.param(name, marks=[pytest.mark.slow] if name in HEAVY else []) for name in names]


def build(name, classes=10, **fields):
    return getattr(kdjax.models, name)(num_classes=classes, **fields)


def trace(model, shape, train=False):
    """(Outputs, variables) as shapes and types, nothing computed."""
    run = functools.partial(model.init_with_output, train=train)
    return jax.eval_shape(run, jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32))


@functools.cache
def published(name):
    """`trace` as the network trains in bfloat16 on images of its literature, for all that asks for shapes and types."""
    classes, size = (1000, 224) if name in IMAGENET else (100, 32)
    return trace(build(name, classes, dtype=jnp.bfloat16), (2, size, size, 3), train=True)


def count(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def images(shape=(8, 16, 16, 3)):
    return jax.random.normal(jax.random.key(1), shape)


@functools.cache
def initialized(name, **fields):
    model = build(name, 100, **fields)
    return model, jax.jit(model.init)(jax.random.key(0, impl="unsafe_rbg"), images())  # compiles fast


def drawn(model, x, seed=0):
    """Normal variables, made without compiling `init`."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    stats = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes.get("batch_stats", {}))
    params = jax.tree.map(lambda leaf: jnp.float32(rng.normal(0, 0.1, leaf.shape)), shapes["params"])
    return {"params": params, "batch_stats": stats}


@pytest.mark.parametrize(("name", "expected"), [*CIFAR.items(), *IMAGENET.items()])
def test_parameters_and_shapes_are_those_of_the_literature(name, expected):
    parameters, taps, width = expected
    outputs, variables = published(name)
    assert count(variables["params"]) == parameters
    assert [f"{f.shape[3]},{f.shape[1]}" for f in outputs.features] == taps.split()
    assert [p.shape for p in outputs.preacts] == [f.shape for f in outputs.features]
    assert all(f.shape[0] == 2 and f.shape[1] == f.shape[2] for f in outputs.features)
    assert (outputs.embedding.shape, outputs.logits.shape) == ((2, width), (2, 1000 if name in IMAGENET else 100))


def test_the_listing_is_complete():
    listed = {fn.__name__ for family in FAMILIES.values() for fn in family}
    assert listed == set(find.names(kdjax.models))
    assert {fn.__name__ for fn in FAMILIES["CIFAR"]} == set(CIFAR)
    assert {fn.__name__ for fn in FAMILIES["ImageNet"]} == set(IMAGENET)
    assert all(fn.__doc__ for family in FAMILIES.values() for fn in family)


@pytest.mark.parametrize(("name", "parameters"), [("resnet20", 269_722), ("resnet56", 853_018)])
def test_parameter_free_shortcuts(name, parameters):
    outputs, variables = trace(build(name, shortcut="A"), (1, 32, 32, 3))
    assert count(variables["params"]) == parameters
    assert outputs.features[-1].shape == (1, 8, 8, 64)


def test_parameter_free_shortcut_subsamples_and_pads_channels_on_both_sides():
    from kdjax.models.vision.resnet import _subsample_and_pad

    x = jnp.arange(1.0, 33.0).reshape(1, 4, 4, 2)
    y = _subsample_and_pad(x, 2, 6)
    np.testing.assert_array_equal(y[..., 2:4], x[:, ::2, ::2])
    assert not y[..., :2].any()
    assert not y[..., 4:].any()


@pytest.mark.parametrize("name", ["plain_teacher", "plain_student"])
def test_plain_networks(name):
    outputs, variables = trace(build(name), (2, 32, 32, 3))
    convolutions = sum(9 * i * o + o for i, o in ((3, 64), (64, 128), (128, 256), (256, 512)))
    hidden = 2048 * 4096 + 4096 + (4096 * 4096 + 4096) * (name == "plain_teacher")
    assert count(variables["params"]) == convolutions + hidden + 4096 * 10 + 10
    assert [f.shape[1:] for f in outputs.features] == [(32, 32, 64), (16, 16, 128), (8, 8, 256), (4, 4, 512)]
    assert outputs.embedding.shape == (2, 4096)


def test_small_networks_take_digits():
    outputs, _ = trace(build("convnet", widths=(8, 16), depth=2), (2, 8, 8, 1))
    assert [f.shape for f in outputs.features] == [(2, 8, 8, 8), (2, 4, 4, 16)]
    outputs, variables = trace(build("lenet"), (2, 28, 28, 1))
    assert outputs.features[1].shape == (2, 14, 14, 16)
    assert variables["params"]["fc1"]["kernel"].shape == (16 * 7 * 7, 120)
    assert trace(build("lenet"), (2, 8, 8, 1))[0].logits.shape == (2, 10)


SMALL = ("resnet20", "vgg8", "mobilenetv2", "shufflenetv2")
DEEPER = ("resnet34", "resnet50", "resnet101", "mobilenetv3_large", "deit_small")  # than others of their family
DEEPER += ("efficientnet_lite1", "efficientnet_lite2", "efficientnet_lite3", "efficientnet_lite4")


@pytest.mark.parametrize(
    ("name", "size"), [(n, s) for n in (*IMAGENET, *SMALL) for s in (32, 96) if s == 32 or n not in DEEPER]
)
def test_image_sizes(name, size):
    outputs, _ = trace(build(name), (1, size, size, 3))
    assert outputs.logits.shape == (1, 10)
    assert all(min(f.shape) > 0 for f in outputs.features)


@pytest.mark.parametrize("name", [*CIFAR, *IMAGENET, "convnet", "lenet", "plain_student"])
def test_bfloat16_computes_with_float32_parameters_and_statistics(name):
    outputs, variables = published(name)
    assert {leaf.dtype for leaf in jax.tree.leaves((outputs.features, outputs.preacts, outputs.embedding))} == {
        jnp.dtype(jnp.bfloat16)
    }
    assert outputs.logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("name", some("resnet8", "mobilenetv2_imagenet", "deit_tiny"))
def test_bfloat16_is_close_to_float32(name):
    model, variables = initialized(name)
    exact = jax.jit(model.apply)(variables, images()).logits
    rough = jax.jit(build(name, 100, dtype=jnp.bfloat16).apply)(variables, images()).logits
    assert 0 < jnp.abs(rough - exact).max() < 0.05 * jnp.abs(exact).max()


@pytest.mark.parametrize(("name", "first"), [("resnet8", "bn1"), ("vgg8", "block0_1"), ("convnet", "stage1_0_bn")])
def test_training_moves_statistics_a_tenth_towards_the_batch(name, first):
    model, variables = initialized(name)
    apply = functools.partial(model.apply, train=True, mutable=["batch_stats"], capture_intermediates=True)
    outputs, updated = jax.jit(apply)(variables, images())
    conv = first.replace("bn", "conv") if name != "vgg8" else "block0_0"
    x = updated["intermediates"][conv]["__call__"][0]
    after = updated["batch_stats"][first]
    np.testing.assert_allclose(after["mean"], 0.1 * x.mean((0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(after["var"], 0.9 + 0.1 * x.var((0, 1, 2)), atol=1e-5)
    normalised = outputs.preacts[0]
    np.testing.assert_allclose(normalised.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(normalised.std((0, 1, 2)), 1, atol=1e-3)


@pytest.mark.parametrize("name", some("resnet8", "wrn_16_1", "vgg8", "convnet", "shufflenetv1", "mobilenetv2"))
def test_only_training_depends_on_the_batch(name):
    model, variables = initialized(name)
    others = images().at[1:].multiply(3.0)
    evaluate, train = jax.jit(model.apply), jax.jit(functools.partial(model.apply, train=True, mutable=["batch_stats"]))
    np.testing.assert_array_equal(evaluate(variables, images()).logits[0], evaluate(variables, others).logits[0])
    (one, stats), (other, _) = train(variables, images()), train(variables, others)
    assert (one.logits[0] != other.logits[0]).any()
    changed = jax.tree.map(lambda new, old: (new != old).any(), stats["batch_stats"], variables["batch_stats"])
    assert all(jax.tree.leaves(changed))


@pytest.mark.parametrize("name", some("resnet8", "vgg8", "shufflenetv1", "shufflenetv2", "convnet", "squeezenet"))
def test_features_are_relu_of_preacts(name):
    model, variables = initialized(name)
    outputs = jax.jit(model.apply)(variables, images())
    for feature, preact in zip(outputs.features, outputs.preacts, strict=True):
        np.testing.assert_array_equal(feature, jnp.maximum(preact, 0))


@pytest.mark.parametrize("name", some("resnet8", "wrn_16_1", "shufflenetv2"))
def test_logits_are_the_classifier_of_the_embedding(name):
    model, variables = initialized(name)
    outputs = jax.jit(model.apply)(variables, images())
    head = variables["params"]["classifier"]
    np.testing.assert_allclose(outputs.embedding @ head["kernel"] + head["bias"][None], outputs.logits, atol=1e-4)


def kernels(params, name=""):
    for key, value in params.items():
        if key == "kernel":
            yield name, value
        elif isinstance(value, dict):
            yield from kernels(value, f"{name}/{key}")


@pytest.mark.parametrize("name", some("resnet8", "wrn_16_1", "vgg8", "mobilenetv2", "convnet"))
def test_convolutions_start_from_kaiming_fan_out(name):
    _, variables = initialized(name)
    for path, kernel in kernels(variables["params"]):
        if kernel.ndim == 4:
            scale = kernel / np.sqrt(2 / (kernel.shape[0] * kernel.shape[1] * kernel.shape[3]))
            assert abs(scale.std() - 1) < 5 / np.sqrt(2 * kernel.size), path
            assert abs(scale.mean()) < 5 / np.sqrt(kernel.size), path


@pytest.mark.parametrize("name", some("shufflenetv1", "shufflenetv2"))
def test_shufflenets_start_from_torch_defaults(name):
    _, variables = initialized(name)
    for path, kernel in kernels(variables["params"]):
        bound = np.prod(kernel.shape[:-1]) ** -0.5
        assert jnp.abs(kernel).max() <= bound, path
        assert abs(kernel.std() * np.sqrt(3) / bound - 1) < 5 / np.sqrt(2 * kernel.size), path


def test_linear_layers_start_from_their_references():
    for name in ("resnet8", "wrn_16_1"):
        head = initialized(name)[1]["params"]["classifier"]
        assert 0.9 / 8 < jnp.abs(head["kernel"]).max() <= 1 / 8
        assert (jnp.abs(head["bias"]).max() > 0) == (name == "resnet8")
    head = initialized("vgg8")[1]["params"]["classifier"]
    assert head["kernel"].std() == pytest.approx(0.01, rel=0.02)
    assert not head["bias"].any()


def test_batchnorm_starts_as_identity():
    _, variables = initialized("resnet8")
    norm = variables["params"]["layer1_0"]["bn1"]
    assert (norm["scale"] == 1).all()
    assert (norm["bias"] == 0).all()
    statistics = variables["batch_stats"]["layer1_0"]["bn1"]
    assert (statistics["mean"] == 0).all()
    assert (statistics["var"] == 1).all()


def test_axis_name_averages_batchnorm_over_devices():
    model, parallel = build("convnet", widths=(4, 8)), build("convnet", widths=(4, 8), axis_name="batch")
    x = images((8, 8, 8, 1))
    variables = drawn(model, x)
    together, updated = model.apply(variables, x, train=True, mutable=["batch_stats"])
    step = jax.pmap(
        lambda v, shard: parallel.apply(v, shard, train=True, mutable=["batch_stats"]), "batch", in_axes=(None, 0)
    )
    shards, split = step(variables, x.reshape(4, 2, *x.shape[1:]))
    np.testing.assert_allclose(shards.logits.reshape(8, -1), together.logits, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b, atol=1e-6), split, updated)


def test_networks_are_values():
    assert build("resnet20") == build("resnet20")
    assert len({build("resnet20"), build("resnet20"), build("resnet20", 100)}) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: trace(build("resnet20", shortcut="B"), (1, 8, 8, 3)), "valid are 'projection' and 'A'"),
        (lambda: trace(build("plain_student"), (1, 8, 8, 3)), "images of 8x8 are too small: 4 poolings need 16"),
        (lambda: trace(build("deit_tiny"), (1, 40, 40, 3)), "40x40 do not divide into patches of 16x16"),
        (lambda: build("ensemble", members=("resnet21",)), "'resnet21' is neither a Linen module nor a name"),
        (
            lambda: trace(build("ensemble", members=("lenet",), weights=(0.0,)), (1, 8, 8, 1)),
            "as many positive weights",
        ),
    ],
)
def test_errors_say_what_is_valid(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("distilled", [False, True])
def test_distillation_token(distilled):
    outputs, variables = trace(build("deit_tiny", distilled=distilled), (2, 64, 64, 3))
    assert variables["params"]["pos_embed"].shape == (1, 16 + 1 + distilled, 192)
    assert ("head_dist" in variables["params"]) == distilled
    assert outputs.features[0].shape == (2, 4, 4, 192)


@pytest.mark.parametrize(("name", "norms"), [("resnet20", 3), ("resnet50_cifar", 4), ("wrn_16_2", 3), ("vgg13", 4)])
def test_stage_norms_are_as_wide_as_the_preacts(name, norms):
    outputs, variables = published(name)
    found = stage_norms(variables["params"])
    assert len(found) == norms
    assert [n["scale"].shape[-1] for n in found] == [p.shape[-1] for p in outputs.preacts[1:]]


def test_stage_norms_of_wrn_make_the_preacts():
    model, variables = initialized("wrn_16_1")
    outputs = jax.jit(model.apply)(variables, images())
    norm = stage_norms(variables["params"])[0]
    expected = outputs.features[1] / jnp.sqrt(1 + 1e-5) * norm["scale"][None, None, None]
    np.testing.assert_allclose(outputs.preacts[1], expected, rtol=1e-5, atol=1e-6)


def test_stage_norms_of_another_network():
    with pytest.raises(ValueError, match="no rule says which BatchNorm"):
        stage_norms(trace(build("convnet"), (1, 8, 8, 1))[1]["params"])


def test_ensemble_averages_probabilities():
    members = (build("convnet"), build("lenet"))
    x = images((4, 8, 8, 1))
    variables = [drawn(member, x, seed) for seed, member in enumerate(members)]
    outputs = [jax.jit(member.apply)(v, x) for member, v in zip(members, variables, strict=True)]
    model = build("ensemble", members=members, weights=(3.0, 1.0))
    averaged = jax.jit(model.apply)(compose.join(*variables), x)
    expected = 0.75 * jax.nn.softmax(outputs[0].logits) + 0.25 * jax.nn.softmax(outputs[1].logits)
    np.testing.assert_allclose(jax.nn.softmax(averaged.logits), expected, rtol=1e-5)
    np.testing.assert_array_equal(averaged.features[0], outputs[0].features[0])


def test_simkd_ends_in_the_teachers_classifier():
    x = images((4, 16, 16, 3))
    teacher, model = build("resnet8x4"), build("simkd", student="resnet8", channels=256, side=2)
    theirs, variables = drawn(teacher, x)["params"], drawn(model, x, seed=1)
    assert "classifier" not in variables["params"]["student"]
    params = adopt(variables["params"], ["classifier"], theirs, "classifier")
    outputs = jax.jit(model.apply)({**variables, "params": params}, x)
    assert outputs.features[-1].shape == (4, 2, 2, 256)
    head = theirs["classifier"]
    np.testing.assert_allclose(outputs.embedding @ head["kernel"] + head["bias"][None], outputs.logits, atol=1e-4)
    other = {"classifier": {"kernel": jnp.zeros((3, 10)), "bias": jnp.zeros(10)}}
    with pytest.raises(ValueError, match=r"'classifier' of the student is .* 'classifier' of the teacher"):
        adopt(params, ["classifier"], other, "classifier")


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_relu_is_flaxs_in_value_and_gradient(dtype):
    x = jnp.array([-jnp.inf, -1.5, -0.0, 0.0, 1e-30, 2.0, jnp.inf, jnp.nan], dtype)
    for transform in (lambda f: f, lambda f: jax.vmap(jax.grad(f)), lambda f: jax.vmap(jax.grad(jax.grad(f)))):
        ours, flaxs = transform(layers.relu)(x), transform(nn.relu)(x)
        assert ours.dtype == dtype
        np.testing.assert_array_equal(np.asarray(ours, np.float32), np.asarray(flaxs, np.float32))


@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 2, ((0, 1), (0, 0))), (3, 1, 1)], ids=str
)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_max_pool_is_flaxs_in_value_and_gradient(size, stride, padding, dtype):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.integers(-3, 3, (2, 8, 7, 3)), dtype)  # many equal values
    sides = ((padding, padding),) * 2 if isinstance(padding, int) else padding
    window, strides = (size, size), (stride, stride)

    def ours(x):
        return layers.max_pool(x, size, stride, padding)

    def flaxs(x):
        return nn.max_pool(x, window, strides, sides)

    result, gradient = jax.vjp(ours, x)
    expected, expected_gradient = jax.vjp(flaxs, x)
    weights = jnp.asarray(rng.integers(-4, 5, expected.shape), dtype)  # their sums are exact
    for found, right in ((ours(x), expected), (result, expected), (*gradient(weights), *expected_gradient(weights))):
        assert found.dtype == dtype
        np.testing.assert_array_equal(np.asarray(found, np.float32), np.asarray(right, np.float32))
    assert "select_and_scatter" not in str(jax.make_jaxpr(jax.grad(lambda x: ours(x).sum()))(x))
    assert jnp.isnan(jax.vjp(ours, x.at[:, :2, :2].set(jnp.nan))[0][:, 0, 0]).all()


@pytest.mark.parametrize("train", [True, False])
def test_batchnorm_is_that_of_flax(train):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(3.0, 2.0, (6, 5, 4, 7)), jnp.float32)
    own, flax_ = layers.BatchNorm(not train), nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5)
    variables = own.init(jax.random.key(0), x)
    jax.tree.map(np.testing.assert_array_equal, variables, flax_.init(jax.random.key(0), x))
    variables = jax.tree.map(lambda v: v + 0.3, variables)

    def value(variables, x, layer):
        y, stats = layer.apply(variables, x, mutable=["batch_stats"])
        return jnp.sum(jnp.sin(y)), (y, stats)

    expected, found = (
        jax.value_and_grad(value, argnums=(0, 1), has_aux=True)(variables, x, layer) for layer in (flax_, own)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), expected, found)
