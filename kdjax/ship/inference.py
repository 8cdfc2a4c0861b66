"""What ships: one function from photographs to logits, resizing, cropping and normalisation inside."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from kdjax.config.build import build_model
from kdjax.data.images.augment import normalise
from kdjax.types import as_outputs

_SPLIT = 64
"""Weights are multiplied in two parts, above and below this, so that sums of products stay exact in float32."""


def predictor(description: dict, variables, singly: bool = False) -> Callable:
    """fn(image [B, H, W, C] uint8 of any H and W) -> logits [B, K] float32: what every format computes.

    Images are resized and cropped by `fit`, scaled to 0..1 and normalised; the network is in evaluation mode and
    computes in float32, whatever it was trained in.

    Args:
      description: names model, kwargs, classes, image_shape (H, W, C of the training images) and normalisation; see
        `kdjax.ship.export.export`.
      variables: of that model.
      singly: whether the network sees one image at a time, in a vmap. So its shapes are numbers where the batch size is
        a symbol, and it may slice and count as it likes; a network that asks for len(image) is treated so anyway.

    Raises:
      ValueError: there is no such model or it does not take these arguments.
    """
    model = network(description)
    height, width, _ = description["image_shape"]
    mean, std = description["normalisation"]["mean"], description["normalisation"]["std"]

    def predict(image):
        logits = lambda image: as_outputs(model.apply(variables, image)).logits.astype(jnp.float32)  # noqa: E731
        image = normalise(fit(image, height, width), mean, std)
        try:
            if not singly:
                return logits(image)
        except TypeError:  # len(image) while the batch size has no value
            pass
        return jax.vmap(lambda one: logits(one[None])[0])(image)

    return predict


def network(description: dict):
    """The Linen module that a description names, computing in float32."""
    return build_model(description, len(description["classes"]), "float32", "the exported network")


def fit(image, height: int, width: int):
    """Resizes to cover height x width, crops what sticks out at both ends: `kdjax.data.images.fit` as a JAX function.

    Like Pillow's ImageOps.fit with its bilinear filter (a triangle as wide as an output pixel, so without aliasing),
    columns first, rounded to whole levels after each axis. All arithmetic is exact on whole numbers, so every runtime
    gives the same bits: exact while the shorter side is below 2,000 * sqrt(height) pixels. Pillow rounds its weights
    to 2^-22, which turns ties either way: measured, fewer than 1 % of the values differ, by one level of 255, when
    images are made smaller, and fewer than 10 %, by at most two, when they are enlarged. An image that has the size
    already is unchanged. A decoder may do more: `images.decode` reads large JPEGs at 1/2, 1/4 or 1/8 of their size.

    Args:
      image: [B, H, W, C] uint8; B, H and W may be symbolic.

    Returns:
      [B, height, width, C] float32, whole numbers 0..255.
    """
    rows, columns = (lax.convert_element_type(size, jnp.int32) for size in image.shape[1:3])
    wide = columns * height >= rows * width  # then columns are cropped, else rows
    scale = jnp.where(wide, rows, columns), jnp.where(wide, height, width)
    x = jnp.transpose(image, (0, 3, 1, 2)).astype(jnp.float32)  # [B, C, H, W]
    x = _resample(x, 3, _triangles(image.shape[2], width, *scale))  # [B, C, H, width]
    x = _resample(x, 2, _triangles(image.shape[1], height, *scale))  # [B, C, width, height]
    return jnp.transpose(x, (0, 3, 2, 1))


def _triangles(before, after: int, numerator, denominator):
    """[after, before] int32: weight of each old pixel in each new one, in units of 1 / (2 denominator).

    numerator / denominator is the width of a new pixel, seen from the old ones. New pixels lie about the middle.
    """
    new = lax.broadcasted_iota(jnp.int32, (after, before), 0) * 2 + 1
    old = lax.broadcasted_iota(jnp.int32, (after, before), 1) * 2 + 1
    offset = numerator * after - denominator * lax.convert_element_type(before, jnp.int32)
    distance = jnp.abs(denominator * old - numerator * new + offset)
    return jnp.maximum(2 * jnp.maximum(numerator, denominator) - distance, 0)


def _resample(x, axis: int, weights):
    """The weighted means along an axis of x, whole numbers as float32, rounded half up; the axis becomes the last."""
    product = lambda part: lax.dot_general(  # noqa: E731
        x, part.astype(jnp.float32), (((axis,), (1,)), ((), ())), precision="highest"
    ).astype(jnp.int32)
    high = lax.div(weights, jnp.int32(_SPLIT))
    total = _SPLIT * product(high) + product(weights - _SPLIT * high)
    sums = jnp.broadcast_to(weights.sum(axis=1), total.shape)
    quotient = lax.div(total, sums)
    return (quotient + (2 * (total - quotient * sums) >= sums).astype(jnp.int32)).astype(jnp.float32)
