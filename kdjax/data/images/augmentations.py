"""Random changes of a batch, on the device: fn(key, image [B, H, W, C] float32 0..255, *, hyperparameters) -> image.

Those that mix images take and return labels too, as probabilities: fn(key, image, label [B, K] float32, *, ...) ->
(image, label). Each image is changed by a draw of its own, unless the docstring says otherwise. Everything happens
on pixels before they are normalised, so what is moved in from outside is black. Functions of their arguments only,
which work under jit and vmap.
"""

import math

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

_GREY = (0.299, 0.587, 0.114)  # luma of red, green and blue, ITU-R BT.601


def random_crop(key, image, *, padding=4):
    """Surrounds each image with `padding` black pixels and cuts a window of the old size out at random.

    The augmentation of CIFAR since He et al. 2016, arXiv:1512.03385, section 4.2.
    """
    _check(padding >= 0, "random_crop.padding must be >= 0 pixels", padding)
    padded = jnp.pad(image, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    corner = jax.random.randint(key, (image.shape[0], 2), 0, 2 * padding + 1)
    return jax.vmap(lambda x, at: jax.lax.dynamic_slice(x, (at[0], at[1], 0), image.shape[1:]))(padded, corner)


def shift(key, image, *, pixels=1):
    """Moves each image by up to that many pixels along both axes; what comes in is black."""
    _check(pixels >= 0, "shift.pixels must be >= 0", pixels)
    return random_crop(key, image, padding=pixels)


def flip(key, image, *, probability=0.5):
    """Mirrors each image left to right with that probability."""
    _check(0 <= probability <= 1, "flip.probability must lie in 0..1", probability)
    mirrored = jax.random.bernoulli(key, probability, (image.shape[0], 1, 1, 1))
    return jnp.where(mirrored, image[:, :, ::-1], image)


def random_resized_crop(key, image, *, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)):
    """Stretches a random window to the size of the image, bilinearly. Szegedy et al. 2015, arXiv:1409.4842, section 6.

    Args:
      scale: range of the window's area, as a fraction of the image's; uniform.
      ratio: range of its width over its height; uniform in the logarithm. A side that would be longer than the
        image's is cut to that (torchvision draws again instead).
    """
    _check(0 < scale[0] <= scale[1] <= 1, "random_resized_crop.scale must be 0 < low <= high <= 1", scale)
    _check(0 < ratio[0] <= ratio[1], "random_resized_crop.ratio must be 0 < low <= high", ratio)
    size = jnp.array(image.shape[1:3], jnp.float32)
    area_key, ratio_key, corner_key = jax.random.split(key, 3)
    area = _uniform(area_key, (image.shape[0],), *scale) * size[0] * size[1]
    aspect = jnp.exp(_uniform(ratio_key, area.shape, *jnp.log(jnp.array(ratio, jnp.float32))))
    window = jnp.minimum(jnp.stack([jnp.sqrt(area / aspect), jnp.sqrt(area * aspect)], axis=1), size[None])  # [B, 2]
    corner = _uniform(corner_key, window.shape, 0.0, 1.0) * (size[None] - window)

    def stretch(x, window, corner):
        zoom = size / window
        return jax.image.scale_and_translate(x, x.shape, (0, 1), zoom, -corner * zoom, "linear", antialias=False)

    return jax.vmap(stretch)(image, window, corner)


def color_jitter(key, image, *, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.0):
    """Changes brightness, contrast, saturation and hue, in this order.

    Args:
      brightness, contrast, saturation: a factor is uniform in [max(0, 1 - value), 1 + value]; 0: unchanged.
      hue: colours turn around the grey axis (in the YIQ space) by up to this part of a full turn, both ways.
    """
    strengths = brightness, contrast, saturation
    _check(min(strengths) >= 0, "color_jitter's brightness, contrast and saturation must be >= 0", strengths)
    _check(0 <= hue <= 0.5, "color_jitter.hue must lie in 0..0.5", hue)
    ranges = [(max(0.0, 1.0 - strength), 1.0 + strength) for strength in strengths]
    keys = jax.random.split(key, 4)
    factors = [_uniform(k, (image.shape[0],), *bounds) for k, bounds in zip(keys, ranges, strict=False)]
    turn = _uniform(keys[3], (image.shape[0],), -hue, hue)
    for change, factor in zip((_brightness, _contrast, _saturation), factors, strict=True):
        image = jax.vmap(change)(image, factor)
    return jax.vmap(_turn_hue)(image, turn) if hue else image


def rand_augment(key, image, *, num_ops=2, magnitude=9.0):
    """`num_ops` changes one after the other, drawn with replacement from 14. Cubuk et al. 2020, arXiv:1909.13719.

    Args:
      magnitude: 0 to 10, the scale of the authors' code and of timm (torchvision's goes to 30). What 10 means, in
        either direction at random: rotation by 30 degrees, shear by 0.3, translation by 0.45 of the side; colour,
        contrast, brightness and sharpness with factor 1 +- 0.9; and, in one direction, posterize to 4 bits and
        solarize above 0. Identity, autocontrast and equalize have no strength.
    """
    _check(num_ops >= 0, "rand_augment.num_ops must be >= 0", num_ops)
    _check(0 <= magnitude <= 10, "rand_augment.magnitude must lie in 0..10", magnitude)
    strength = magnitude / 10

    def once(key, x):
        choice_key, sign_key = jax.random.split(key)
        choice = jax.random.randint(choice_key, (), 0, len(_MOVES) + len(_COLOURS))
        signed = strength * jax.random.rademacher(sign_key, (), jnp.float32)
        x = _move(x, choice, signed)
        return jax.lax.switch(jnp.maximum(choice - len(_MOVES) + 1, 0), (_same, *_COLOURS), x, signed)

    keys = jax.random.split(key, (image.shape[0], num_ops))
    for number in range(num_ops):
        image = jax.vmap(once)(keys[:, number], image)
    return image


def mixup(key, image, label, *, alpha=1.0):
    """x = l x + (1 - l) x', and labels alike, x' being the batch in another order. Zhang et al. 2018, arXiv:1710.09412.

    One l ~ Beta(alpha, alpha) a batch, as in the authors' code; alpha = 1 is uniform.
    """
    _check(alpha > 0, "mixup.alpha must be > 0", alpha)
    weight_key, order_key = jax.random.split(key)
    weight = jax.random.beta(weight_key, alpha, alpha, dtype=jnp.float32)
    order = jax.random.permutation(order_key, image.shape[0])
    return tuple(weight * x + (1 - weight) * x[order] for x in (image, label))


def cutmix(key, image, label, *, alpha=1.0):
    """Pastes a box of another image of the batch; labels are mixed by area. Yun et al. 2019, arXiv:1905.04899.

    One box a batch, as in the authors' code: of area 1 - l with l ~ Beta(alpha, alpha), of the image's shape, its
    centre uniform; what sticks out is cut off and does not count.
    """
    _check(alpha > 0, "cutmix.alpha must be > 0", alpha)
    height, width = image.shape[1:3]
    weight_key, centre_key, order_key = jax.random.split(key, 3)
    half = jnp.sqrt(1 - jax.random.beta(weight_key, alpha, alpha, dtype=jnp.float32)) / 2
    size = jnp.array([height, width], jnp.float32)
    centre = _uniform(centre_key, (2,), 0.0, 1.0) * size
    low, high = jnp.round(jnp.clip(jnp.stack([centre - half * size, centre + half * size]), 0.0, size[None]))
    rows, columns = jnp.arange(height, dtype=jnp.float32), jnp.arange(width, dtype=jnp.float32)
    inside = ((rows >= low[0]) & (rows < high[0]))[:, None] & ((columns >= low[1]) & (columns < high[1]))[None]
    weight = 1 - jnp.mean(inside, dtype=jnp.float32)
    order = jax.random.permutation(order_key, image.shape[0])
    image = jnp.where(inside[None, :, :, None], image[order], image)
    return image, weight * label + (1 - weight) * label[order]


def _check(valid: bool, rule: str, value) -> None:
    if not valid:
        raise ValueError(f"config.data.augment: {rule}, got {value!r}")


def _uniform(key, shape, low, high):
    return jax.random.uniform(key, shape, jnp.float32, low, high)


# ---- one image [H, W, C] and a factor or a signed strength -1..1


def _blend(base, x, factor):
    """`base` at factor 0, `x` at 1, beyond it further away from `base`; within 0..255."""
    return jnp.clip(base + factor * (x - base), 0.0, 255.0)


def _grey(x):
    """[H, W, 1] brightness."""
    if x.shape[-1] != 3:
        return x
    return jnp.matmul(x, jnp.array(_GREY, jnp.float32), precision="highest")[..., None]


def _brightness(x, factor):
    return _blend(jnp.zeros_like(x), x, factor)


def _contrast(x, factor):
    return _blend(jnp.broadcast_to(jnp.mean(_grey(x)), x.shape), x, factor)


def _saturation(x, factor):
    return _blend(jnp.broadcast_to(_grey(x), x.shape), x, factor)


def _turn_hue(x, turn):
    if x.shape[-1] != 3:
        return x
    to_yiq = jnp.array([_GREY, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)], jnp.float32)
    cos, sin = jnp.cos(2 * math.pi * turn), jnp.sin(2 * math.pi * turn)
    one, zero = jnp.ones_like(cos), jnp.zeros_like(cos)
    turned = jnp.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos]).reshape(3, 3)
    matrix = jnp.linalg.inv(to_yiq) @ turned @ to_yiq
    return jnp.clip(jnp.einsum("hwc,dc->hwd", x, matrix, precision="highest"), 0.0, 255.0)


def _sharpness(x, factor):
    """The blurred base is Pillow's SMOOTH: a centre of 5 among eight ones, pixels at the border as they are."""
    around = jax.lax.reduce_window(x, 0.0, jax.lax.add, (3, 3, 1), (1, 1, 1), "VALID")
    blurred = x.at[1:-1, 1:-1].set((around + 4 * x[1:-1, 1:-1]) / 13)
    return _blend(blurred, x, factor)


def _posterize(x, bits):
    """Keeps the highest `bits` of 8."""
    step = jnp.exp2(8 - bits)
    return jnp.floor(x / step) * step


def _solarize(x, threshold):
    """Inverts pixels from the threshold on."""
    return jnp.where(x < threshold, x, 255 - x)


def _autocontrast(x):
    """Stretches each channel to 0..255."""
    low, high = x.min(axis=(0, 1), keepdims=True), x.max(axis=(0, 1), keepdims=True)
    return jnp.where(high > low, (x - low) * (255 / jnp.maximum(high - low, 1.0)), x)


def _equalize(x):
    """Makes the histogram of each channel flat, as Pillow's ImageOps.equalize does."""

    def channel(x):
        level = jnp.round(x).astype(jnp.int32)
        histogram = jnp.bincount(level.reshape(-1), length=256)
        last = histogram[jnp.max(level)]
        step = (level.size - last) // 255
        below = jnp.cumsum(histogram) - histogram
        table = jnp.clip((below + step // 2) // jnp.maximum(step, 1), 0, 255)
        return jnp.where(step > 0, table[level].astype(jnp.float32), x)

    return jax.vmap(channel, in_axes=-1, out_axes=-1)(x)


_MOVES = (math.pi / 6, 0.3, 0.3, 0.45, 0.45)
"""Rotation, shear along x and y, translation along x and y (in sides) at strength 1."""


def _move(x, choice, strength):
    """Moves the image [H, W, C] in the way number `choice`; other numbers leave it as it is."""
    amounts = jnp.where(jnp.arange(len(_MOVES)) == choice, strength, 0.0) * jnp.array(_MOVES, jnp.float32)
    angle, shear_x, shear_y, right, down = amounts
    height, width = x.shape[:2]
    row = jnp.arange(height, dtype=jnp.float32)[:, None] - (height - 1) / 2
    column = jnp.arange(width, dtype=jnp.float32)[None] - (width - 1) / 2
    source_row = jnp.cos(angle) * row - (jnp.sin(angle) - shear_y) * column + down * height
    source_column = (jnp.sin(angle) + shear_x) * row + jnp.cos(angle) * column + right * width
    at = [source_row + (height - 1) / 2, source_column + (width - 1) / 2]
    return jax.vmap(lambda c: map_coordinates(c, at, order=1, mode="constant"), in_axes=-1, out_axes=-1)(x)


def _same(x, strength):
    return x


_COLOURS = (
    _same,
    lambda x, strength: _autocontrast(x),
    lambda x, strength: _equalize(x),
    lambda x, strength: _posterize(x, 8 - jnp.round(4 * jnp.abs(strength))),
    lambda x, strength: _solarize(x, 256 * (1 - jnp.abs(strength))),
    lambda x, strength: _saturation(x, 1 + 0.9 * strength),
    lambda x, strength: _contrast(x, 1 + 0.9 * strength),
    lambda x, strength: _brightness(x, 1 + 0.9 * strength),
    lambda x, strength: _sharpness(x, 1 + 0.9 * strength),
)
"""The changes of `rand_augment` that move nothing, each of an image and a strength -1..1."""
