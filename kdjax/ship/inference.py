"""What ships: one function from photographs, tokens of texts, lists or users to logits, scores or embeddings.

What is done to pixels is inside.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from kdjax.config.build import build_model
from kdjax.data.images.augment import normalise
from kdjax.ship import forms

_SPLIT = 64
"""Weights are multiplied in two parts, above and below this, so that sums of products stay exact in float32."""


def predictor(description: dict, variables, singly: bool = False) -> Callable:
    """fn(input) -> logits [B, K] float32, or what else a ranker gives (`kdjax.ship.forms`): what every format computes.

    Images [B, H, W, C] uint8 of any H and W are resized and cropped by `fit`, scaled to 0..1 and normalised. Texts are
    {"tokens": [B, T] int32, "mask": [B, T] bool}, of pairs with "segments" [B, T] int32, of any T up to the
    description's length; where the mask is false nothing counts. The network is in evaluation mode and computes in
    float32, whatever it was trained in.

    Args:
      description: names model, kwargs and classes; of images image_shape (H, W, C of those of the training) and
        normalisation, of texts length, pairs and vocabulary; see `kdjax.ship.export.export`.
      variables: of that model.
      singly: whether the network sees one example at a time, in a vmap. So its shapes are numbers where the batch size
        is a symbol, and it may slice and count as it likes; a network that asks for len(image) is treated so anyway.

    Raises:
      ValueError: there is no such model or it does not take these arguments.
    """
    answer = forms.answer(description, network(description))
    logits = lambda inputs: answer(variables, inputs).astype(jnp.float32)  # noqa: E731
    prepared = _prepared(description)

    def predict(inputs):
        inputs = prepared(inputs)
        try:
            if not singly:
                return logits(inputs)
        except TypeError:  # len(image) while the batch size has no value
            pass
        return jax.vmap(lambda one: logits(jax.tree.map(lambda leaf: leaf[None], one))[0])(inputs)

    return predict


def _prepared(description: dict) -> Callable:
    """fn(input as stored) -> input as the network takes it."""
    if "image_shape" not in description:
        return lambda texts: texts
    height, width, _ = description["image_shape"]
    mean, std = description["normalisation"]["mean"], description["normalisation"]["std"]
    return lambda image: normalise(fit(image, height, width), mean, std)


def network(description: dict):
    """The Linen module that a description names, computing in float32."""
    return build_model(
        description, forms.outputs(description), "float32", "the exported network", forms.known(description)
    )


def as_input(arrays: dict):
    """What `predictor` takes, of arrays by the names of `forms.signature`."""
    return arrays.get("image", arrays)


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
    if image.shape[1:3] == (height, width):
        return image.astype(jnp.float32)
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
