"""BatchNorm's running statistics against torch's, biased and unbiased, on one device and on two."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import models
from kdjax.models.layers import BatchNorm

STEPS, SHAPE = 3, (6, 2, 1, 5)  # 12 values a channel: unbiased is 9 % more
BATCHES = np.random.default_rng(0).normal(1.0, 2.0, (STEPS, *SHAPE)).astype(np.float32)


def train(unbiased: bool, axis_name=None):
    """(outputs of each step, running statistics after the last)."""
    module = BatchNorm(False, axis_name, unbiased)

    def step(variables, x):
        y, state = module.apply(variables, x, mutable=["batch_stats"])
        return {**variables, **state}, y

    variables, outputs = module.init(jax.random.key(0), jnp.asarray(BATCHES[0])), []
    if axis_name:
        step = jax.vmap(step, in_axes=(None, 0), out_axes=(None, 0), axis_name=axis_name)
    for x in BATCHES:
        variables, y = step(variables, jnp.asarray(x.reshape(2, 3, *SHAPE[1:]) if axis_name else x))
        outputs.append(np.asarray(y).reshape(SHAPE))
    return np.stack(outputs), variables["batch_stats"]


@pytest.mark.parametrize("unbiased", [False, True])
def test_running_statistics_are_torchs_but_for_the_bias(unbiased):
    torch = pytest.importorskip("torch")
    layer = torch.nn.BatchNorm2d(SHAPE[-1])
    expected = [layer(torch.from_numpy(x).permute(0, 3, 1, 2)).detach().permute(0, 2, 3, 1).numpy() for x in BATCHES]
    outputs, stats = train(unbiased)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    np.testing.assert_allclose(stats["mean"], layer.running_mean.numpy(), rtol=1e-5)
    start = 0.9**STEPS  # what is left of the ones that both begin with
    factor = 1.0 if unbiased else 11 / 12
    np.testing.assert_allclose(stats["var"], start + factor * (layer.running_var.numpy() - start), rtol=1e-5)


@pytest.mark.parametrize("unbiased", [False, True])
def test_two_devices_keep_what_one_keeps(unbiased):
    for several, one in zip(train(unbiased, "devices"), train(unbiased), strict=True):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), several, one)


def test_momentum_and_epsilon_are_torchs():
    torch = pytest.importorskip("torch")
    layer = torch.nn.BatchNorm2d(SHAPE[-1], eps=0.5, momentum=0.3)
    module, x = BatchNorm(False, None, True, momentum=0.3, epsilon=0.5), jnp.asarray(BATCHES[0])
    expected = layer(torch.from_numpy(BATCHES[0]).permute(0, 3, 1, 2)).detach().permute(0, 2, 3, 1).numpy()
    found, state = module.apply(module.init(jax.random.key(0), x), x, mutable=["batch_stats"])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(state["batch_stats"]["mean"], layer.running_mean.numpy(), rtol=1e-5)
    np.testing.assert_allclose(state["batch_stats"]["var"], layer.running_var.numpy(), rtol=1e-5)


def test_networks_have_the_constants_of_their_references():
    """timm's tf_efficientnet_lite0 and torchvision's mobilenet_v3_small."""
    for name, expected in {"efficientnet_lite0": (0.1, 1e-3), "mobilenetv3_small": (0.01, 1e-3)}.items():
        seen = set()

        def note(call, args, kwargs, context):
            if isinstance(context.module, BatchNorm):
                seen.add((context.module.momentum, context.module.epsilon))  # noqa: B023
            return call(*args, **kwargs)

        with nn.intercept_methods(note):
            image = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
            jax.eval_shape(getattr(models, name)(num_classes=3).init, jax.random.key(0), image)
        assert seen == {expected}


def test_one_value_a_channel_is_finite():
    module = BatchNorm(False, None, True)
    x = jnp.ones((1, 1, 1, 3))
    _, state = module.apply(module.init(jax.random.key(0), x), x, mutable=["batch_stats"])
    np.testing.assert_allclose(state["batch_stats"]["var"], 0.9)


NETWORKS = (
    *("convnet", "resnet8", "resnet18", "wrn_16_1", "vgg8", "mobilenetv1", "mobilenetv2", "mobilenetv2_imagenet"),
    *("efficientnet_b0", "efficientnet_lite0", "mobilenetv3_small", "shufflenetv1", "shufflenetv2"),
)


@pytest.mark.parametrize("name", [*NETWORKS, "simkd"])
def test_every_network_passes_it_on(name):
    fields = {"student": "resnet8", "channels": 8} if name == "simkd" else {}
    for unbiased in (False, True):
        model, seen = getattr(models, name)(num_classes=3, unbiased_variance=unbiased, **fields), []

        def note(call, args, kwargs, context):
            if isinstance(context.module, BatchNorm):
                seen.append(context.module.unbiased_variance)  # noqa: B023
            return call(*args, **kwargs)

        with nn.intercept_methods(note):
            jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32))
        assert set(seen) == {unbiased}
