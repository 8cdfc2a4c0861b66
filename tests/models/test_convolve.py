"""Convolutions in the forms that suit a CPU: those of `jax.lax`, in value and gradient."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax.models
from kdjax.models import convolve
from kdjax.models.compress import Int8

# (map, channels), nn.Conv's arguments, and whether it is computed in another form
CASES = {
    "depthwise": ((7, 8), dict(features=8, kernel_size=(3, 3), padding=1, feature_group_count=8), True),
    "depthwise stride": ((8, 4), dict(features=4, kernel_size=(5, 5), strides=2, feature_group_count=4), True),
    "depthwise valid": (
        (6, 4),
        dict(features=4, kernel_size=(3, 2), strides=(1, 2), padding="VALID", feature_group_count=4),
        True,
    ),
    "small map": ((2, 5), dict(features=6, kernel_size=(3, 3), padding=1), True),
    "small result": ((4, 5), dict(features=6, kernel_size=(3, 3), strides=2, padding=1), True),
    "one position": ((1, 5), dict(features=6, kernel_size=(5, 5), padding=((2, 2), (3, 1)), use_bias=False), True),
    "large map": ((5, 5), dict(features=6, kernel_size=(3, 3)), False),
    "pointwise": ((1, 5), dict(features=6, kernel_size=(1, 1)), False),
    "groups": ((2, 6), dict(features=6, kernel_size=(3, 3), feature_group_count=3), False),
    "multiplier": ((5, 3), dict(features=6, kernel_size=(3, 3), feature_group_count=3), False),
    "dilated": ((2, 5), dict(features=6, kernel_size=(3, 3), kernel_dilation=2), False),
    "one dimension": ((2, 5), dict(features=6, kernel_size=(3,)), False),
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", CASES)
def test_equal_to_lax(name, dtype, monkeypatch):
    (side, channels), fields, other = CASES[name]
    monkeypatch.setattr(convolve, "LARGE", 0)
    model, rng = nn.Conv(**fields, dtype=dtype), np.random.default_rng(0)
    shape = (3, side, side, channels) if len(fields["kernel_size"]) == 2 else (3, side, channels)
    x = jnp.asarray(rng.standard_normal(shape), dtype)
    variables = model.init(jax.random.key(0), x)

    def value(variables, x):
        y = model.apply(variables, x)
        weights = jnp.asarray(np.random.default_rng(1).standard_normal(y.shape), jnp.float32)
        return jnp.sum(weights * y.astype(jnp.float32)), y

    plain = jax.jit(jax.grad(value, argnums=(0, 1), has_aux=True))
    forms = jax.jit(convolve.fast()(jax.grad(value, argnums=(0, 1), has_aux=True)))
    tolerance = 1e-5 if dtype == jnp.float32 else 4e-2
    for expected, found in zip(*(jax.tree.leaves(f(variables, x)) for f in (plain, forms)), strict=True):
        assert expected.dtype == found.dtype
        scale = np.abs(np.asarray(expected, np.float32)).max()
        np.testing.assert_allclose(np.float32(found), np.float32(expected), rtol=0, atol=tolerance * scale)
    assert convolutions(plain, variables, x) > 0
    assert (convolutions(forms, variables, x) == 0) == other


def convolutions(function, *arguments) -> int:
    return str(jax.make_jaxpr(function)(*arguments)).count("conv_general_dilated[")


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2", "shufflenetv2"])
def test_whole_networks(name):
    model = getattr(kdjax.models, name)(num_classes=3)
    image = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
    variables = jax.jit(model.init)(jax.random.key(1), image)
    expected, found = (jax.jit(f)(variables, image).logits for f in (model.apply, convolve.fast()(model.apply)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    with convolve.fast():
        inside = convolutions(model.apply, variables, image)
    assert inside < convolutions(model.apply, variables, image)  # and what is traced after it is as it was


def test_a_small_kernel_is_left_to_xla():
    model, x = nn.Conv(8, (3, 3)), jnp.ones((1, 2, 2, 8))
    variables = model.init(jax.random.key(0), x)
    assert convolutions(convolve.fast()(model.apply), variables, x) == 1


def test_under_int8():
    model = Int8(kdjax.models.mobilenetv2(num_classes=3))
    image = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
    variables = jax.jit(model.init)(jax.random.key(1), image)
    expected, found = (jax.jit(f)(variables, image).logits for f in (model.apply, convolve.fast()(model.apply)))
    # A value at the edge of one of 255 steps may be rounded to the other side.
    np.testing.assert_allclose(found, expected, rtol=5e-2, atol=5e-2 * np.abs(expected).max())


def test_accelerators_keep_their_own(monkeypatch):
    model, x = nn.Conv(4, (3, 3), feature_group_count=4), jnp.ones((1, 5, 5, 4))
    variables = model.init(jax.random.key(0), x)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with convolve.fast():
        assert convolutions(model.apply, variables, x) == 1
