"""From stored pixels to what a network sees: augmentations one after the other, then normalisation. On the device."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from kdjax.data.entries import entry
from kdjax.data.images import augmentations


def normalise(image, mean, std):
    """(image / 255 - mean) / std as float32.

    Args:
      image: [B, H, W, C] pixels 0..255, any type.
      mean, std: a value per channel, or one for all, of pixels scaled to 0..1.
    """
    mean, std = (jnp.asarray(value, jnp.float32).reshape(1, 1, 1, -1) for value in (mean, std))
    return (image.astype(jnp.float32) / 255 - mean) / std


def resized(image, size: int):
    """Pixels [B, H, W, C] float32 as [B, size, size, C], bilinear and without aliasing; 0: as they are."""
    if not size or image.shape[1:3] == (size, size):
        return image
    shape = (image.shape[0], size, size, image.shape[3])
    return jax.image.resize(image, shape, "linear", antialias=True)


SECOND = 1 << 30
"""Folded into the key of a second view, where the numbers of augmentations never reach."""


def compose(
    spec: Mapping[str, Mapping], seen: Mapping[str, Any], classes: int = 0, second: Mapping[str, Mapping] | None = None
):
    """A function that augments a batch as `augmented`, and shows it to each of `seen` at its size, normalised.

    Args:
      seen: name -> config.data as one kind of networks has it: image_size, mean and std.
      second: what a second view has besides `spec`, or in place of what has the same name; None: there is none.

    Returns:
      fn(key, image [B, H, W, C] uint8, label [B] int32) -> ({name: image [B, size, size, C] float32}, label); the
      second view stands among the images as {"second": {name: image}}.

    Raises:
      ValueError: as `augmented`, or a second view whose labels would be mixed.
    """
    augment = augmented(spec, classes)
    again = None if second is None else augmented({**spec, **second}, classes, "config.data.second_augment")
    if second is not None and any(_step(name, hyper, "")[2] for name, hyper in {**spec, **second}.items()):
        raise ValueError("config.data: a loss asks for a second view, whose labels cannot be mixed; see augment")

    def shown(image):
        return {name: normalise(resized(image, data.image_size), data.mean, data.std) for name, data in seen.items()}

    def prepared(key, image, label):
        first, target = augment(key, image, label)
        if again is None:
            return shown(first), target
        return {**shown(first), "second": shown(again(jax.random.fold_in(key, SECOND), image, label)[0])}, target

    return prepared


def augmented(spec: Mapping[str, Mapping], classes: int = 0, field: str = "config.data.augment"):
    """A function that augments a batch by every entry of `spec` in its order.

    Args:
      spec: name -> hyperparameters. The name is a function in `kdjax.data.images.augmentations`, unless an import path,
        fn="my_file.my_function", stands among the hyperparameters. The function is
        fn(key, image [B, H, W, C] float32 0..255, *, hyperparameters) -> image, or, when it changes labels too,
        fn(key, image, label [B, K] float32, *, hyperparameters) -> (image, label).
      classes: K, needed by functions that change labels.

    Returns:
      fn(key, image [B, H, W, C] uint8, label [B] int32) -> (pixels [B, H, W, C] float32, label). Each entry has a
      key of its own. Labels come back as they were; if an entry changes labels, as probabilities [B, K] float32,
      in which an unlabelled example is a row of zeros.

    Raises:
      ValueError: an unknown augmentation or hyperparameter, or a value of another type than the default's.
    """
    steps = [_step(name, hyper, f"{field}.{name}") for name, hyper in spec.items()]
    mixes = any(changes_labels for *_, changes_labels in steps)
    if mixes and classes < 1:
        raise ValueError(f"config.data.augment mixes labels ({', '.join(spec)}), which needs the number of classes")

    def augment(key, image, label):
        image = image.astype(jnp.float32)
        if mixes:
            label = jax.nn.one_hot(label, classes, dtype=jnp.float32)
        for number, (fn, hyper, changes_labels) in enumerate(steps):
            step_key = jax.random.fold_in(key, number)
            if changes_labels:
                image, label = fn(step_key, image, label, **hyper)
            else:
                image = fn(step_key, image, **hyper)
        return image, label

    return augment


def _step(name: str, hyper: Mapping, field: str):
    """(function, hyperparameters, whether it changes labels) of an entry, checked."""
    fn, values, positional = entry(name, hyper, field, augmentations, "augmentation", _check_arguments)
    return fn, values, len(positional) == 3


def _check_arguments(path: str, positional: list[str]) -> None:
    if positional not in (["key", "image"], ["key", "image", "label"]):
        raise ValueError(
            f"augmentation {path!r} must be fn(key, image, *, hyperparameters) or "
            f"fn(key, image, label, *, hyperparameters), but its arguments are {', '.join(positional)}"
        )
