"""Convolutions that XLA's CPU backend computes 20 to 200 times slower than it can, in forms that it computes well.

Depthwise ones, and those with a kernel wider than their map, miss its fast kernels and fall back to plain loops: a 3x3
convolution of 512 channels at 2 x 2 positions runs at 2 of 190 GFLOP/s, a depthwise one at 1. Here the first are a sum
over the kernel's positions, which XLA fuses into one loop, the second one matrix product. What they compute is the same
up to rounding. Models need not know: their nn.Conv are reached while they are traced.
"""

import contextlib
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

LARGE = 2**15
"""Weights of a kernel from which on the matrix product is worth its longer compilation on a small map."""


@contextlib.contextmanager
def fast(platform: str = ""):
    """What is traced within, or in a function that this decorates, convolves in these forms if it is for a CPU.

    Args:
      platform: what it is for; "": JAX's default.
    """
    if (platform or jax.default_backend()) != "cpu":
        yield
        return
    with nn.intercept_methods(_with_own):
        yield


def _with_own(call, args, kwargs, context):
    module = context.module
    own = isinstance(module, nn.Conv) and context.method_name == "__call__"
    if not own or module.conv_general_dilated is not None or module.conv_general_dilated_cls is not None:
        return call(*args, **kwargs)
    object.__setattr__(module, "conv_general_dilated", convolve)  # a Linen module's fields are frozen
    try:
        return call(*args, **kwargs)
    finally:
        object.__setattr__(module, "conv_general_dilated", None)


def convolve(x, kernel, strides, padding, **options) -> jax.Array:
    """`jax.lax.conv_general_dilated` of nn.Conv: [B, H, W, C] and [h, w, C / groups, D] to [B, H', W', D]."""
    if kernel.ndim != 4 or _dilated(options):
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, **options)
    maps, window = x.shape[1:3], kernel.shape[:2]
    pads = jax.lax.padtype_to_pads(maps, window, strides, padding) if isinstance(padding, str) else padding
    sides = [(n + sum(pad) - k) // s + 1 for n, pad, k, s in zip(maps, pads, window, strides, strict=True)]
    at_kernel = partial(taps, window=window, strides=strides, pads=pads)
    groups = options["feature_group_count"]
    if groups == x.shape[-1] == kernel.shape[-1] > 1:
        # Without a checkpoint every tap would be kept for the gradient of its weight.
        return jax.checkpoint(partial(_depthwise, at_kernel=at_kernel))(x, kernel)
    if groups == 1 and min(*maps, *sides) < min(window) and kernel.size >= LARGE:
        columns = jnp.concatenate(at_kernel(x), axis=-1)
        return jnp.tensordot(columns, kernel.reshape(-1, kernel.shape[-1]), 1, precision=options["precision"])
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, **options)


def _depthwise(x, kernel, at_kernel):
    """The sum over the kernel's positions, in float32."""
    weights = kernel.astype(jnp.float32).reshape(-1, 1, 1, 1, kernel.shape[-1])
    return sum(tap * w for tap, w in zip(at_kernel(x.astype(jnp.float32)), weights, strict=True)).astype(x.dtype)


def _dilated(options) -> bool:
    return any(n != 1 for name in ("lhs_dilation", "rhs_dilation") for n in options[name] or ())


def taps(x, window, strides, pads, fill: float = 0.0) -> list[jax.Array]:
    """For each position of a window, row by row, what it meets as the window moves over [B, H, W, C]: [B, H', W', C].

    Args:
      window, strides: of rows and columns; pads: ((top, bottom), (left, right)) positions of `fill`.
    """
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=fill)
    ends = [(n - k) // stride * stride + 1 for n, k, stride in zip(x.shape[1:3], window, strides, strict=True)]
    return [
        x[:, i : i + ends[0] : strides[0], j : j + ends[1] : strides[1]]
        for i in range(window[0])
        for j in range(window[1])
    ]
