"""Images as a source gives them, into memory: decoded where they are encoded, of one size, checked."""

import math
import warnings
from dataclasses import replace
from hashlib import blake2b

import numpy as np

from kdjax.cores import memory
from kdjax.data.arrays import Arrays, Dataset
from kdjax.data.images.encoded import Encoded, Unreadable, resize


def prepare(dataset: Dataset, config, in_memory: bool | None) -> Dataset:
    """The splits with their images decoded, but train where `in_memory` is false, or None and it can stay as it is.

    Raises:
      ValueError: images that cannot be read, of several sizes, too many for the memory, or of a wrong type.
    """
    if in_memory is None:
        in_memory = not (isinstance(dataset.train.input, Encoded) and config.image_size)
    streamed = () if in_memory else _streamed(dataset, config)
    _check_memory(dataset, streamed, config.image_size)
    dataset = replace(dataset, **_decoded(dataset, streamed, config.image_size))
    _check_images(dataset, config)
    return dataset


def _decoded(dataset: Dataset, streamed: tuple[str, ...], size: int) -> dict[str, Arrays]:
    """The splits that are held in memory, decoded; of all of them the images that cannot be, in one error."""
    decoded, problems = {}, []
    for name, arrays in dataset.splits.items():
        if name in streamed:
            continue
        try:
            decoded[name] = _decode(arrays, size)
        except Unreadable as error:
            problems += error.problems
    if problems:
        raise Unreadable(problems)
    return decoded


def _decode(arrays: Arrays, size: int) -> Arrays:
    if isinstance(arrays.input, Encoded):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata, and on sizes that we check ourselves
            return Arrays(arrays.input.decode(), arrays.target)
    return Arrays(resize(arrays.input, size), arrays.target)


def _check_images(dataset: Dataset, config) -> None:
    for name, arrays in dataset.splits.items():
        image = arrays.input
        if image.dtype != np.uint8 or image.ndim != 4 or image.shape[-1] not in (1, 3):
            raise ValueError(
                f"{dataset.name}, {name}: images must be uint8 [N, H, W, C] with C = 1 or 3, got {image.dtype} "
                f"{list(image.shape)}"
            )
        if image.shape[1:] != dataset.train.input.shape[1:]:
            raise ValueError(
                f"{dataset.name}: images of {name} are {list(image.shape[1:])} [H, W, C], those of train "
                f"{list(dataset.train.input.shape[1:])}; config.data.image_size makes their sizes equal"
            )
    check_normalisation(dataset, config, "config.data")


def check_normalisation(dataset: Dataset, config, where: str) -> None:
    """Raises a ValueError if `mean` and `std` of a part of the config, at `where`, do not fit the images."""
    channels = dataset.train.input.shape[-1]
    for field in ("mean", "std"):
        values = tuple(config[field])
        if len(values) not in (1, channels) or not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
            raise ValueError(
                f"{where}.{field} must be 1 number, or one for each of the {channels} channels of {dataset.name}; "
                f"got {values!r}"
            )
    if min(config.std) <= 0:
        raise ValueError(f"{where}.std must be positive, got {tuple(config.std)}")


def _streamed(dataset: Dataset, config) -> tuple[str]:
    """The names of the splits that stay on disk; a ValueError if they cannot."""
    if not isinstance(dataset.train.input, Encoded):
        raise ValueError(f"the images of config.data.source {config.source!r} are in memory and cannot be streamed")
    if not config.image_size:
        raise ValueError(
            "config.data.image_size must be set to stream images: their sizes are not looked at beforehand"
        )
    return ("train",)


def _check_memory(dataset: Dataset, streamed: tuple[str, ...], size: int) -> None:
    if not size:
        return
    examples = sum(len(split) for name, split in dataset.splits.items() if name not in streamed)
    needed, available = 3 * size**2 * examples, memory()
    if available is not None and needed > available:
        raise ValueError(
            f"config.data.image_size={size}: {examples:,} images need {needed / 1e9:,.0f} GB of memory, "
            f"and this machine has {available / 1e9:,.0f} GB"
        )


def repeated_images(dataset: Dataset) -> list[str]:
    """A warning when images of test or validation are, pixel for pixel, also training images."""
    if isinstance(dataset.train.input, Encoded):
        return ["not looked at: whether test images are also training images, which are not held in memory"]
    train = {_hash(image): position for position, image in reversed(list(enumerate(dataset.train.input)))}
    found = []
    for name in ("validation", "test"):
        images = dataset.splits[name].input if name in dataset.splits else ()
        pairs = [(position, train[key]) for position, key in enumerate(map(_hash, images)) if key in train]
        if pairs:
            position, original = pairs[0]
            found.append(
                f"{len(pairs)} of {len(images)} {name} images are also training images, pixel for pixel "
                f"(first {name} image {position} = training image {original})"
            )
    return found


def _hash(image: np.ndarray) -> bytes:
    return blake2b(np.ascontiguousarray(image), digest_size=16).digest()
