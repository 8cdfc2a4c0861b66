"""Random changes of images, on the device: fn(key, image [B, H, W, C] float32 0..255, *, hyperparameters) -> image.

Each image of the batch is changed by its own draw. Everything happens on pixels before they are normalised, so
what is moved in from outside is black. Functions of their arguments only; they work under jit and vmap.
"""

import jax
import jax.numpy as jnp


def random_crop(key, image, *, padding=4):
    """Surrounds each image with `padding` black pixels and cuts a window of the old size out at random.

    The augmentation of CIFAR since He et al. 2016, arXiv:1512.03385, section 4.2.
    """
    if padding < 0:
        raise ValueError(f"config.data.augment: random_crop.padding must be >= 0 pixels, got {padding!r}")
    padded = jnp.pad(image, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    corner = jax.random.randint(key, (image.shape[0], 2), 0, 2 * padding + 1)
    return jax.vmap(lambda x, at: jax.lax.dynamic_slice(x, (at[0], at[1], 0), image.shape[1:]))(padded, corner)


def shift(key, image, *, pixels=1):
    """Moves each image by up to that many pixels along both axes; what comes in is black."""
    return random_crop(key, image, padding=pixels)


def flip(key, image, *, probability=0.5):
    """Mirrors each image left to right with that probability."""
    mirrored = jax.random.bernoulli(key, probability, (image.shape[0], 1, 1, 1))
    return jnp.where(mirrored, image[:, :, ::-1], image)
