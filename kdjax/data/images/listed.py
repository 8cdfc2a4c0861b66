"""Images that something lists with their labels, a table, an archive: checked as a folder of images is."""

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kdjax.data.arrays import Arrays, Dataset
from kdjax.data.images.encoded import Encoded
from kdjax.data.text import splits
from kdjax.data.text.texts import class_order, names_nothing, objects, refuse


class Image(NamedTuple):
    """One image of a list."""

    item: Path | bytes  # its file, or that file's bytes
    place: str  # what messages call it, "list.csv, line 7: a/1.jpg"
    label: str  # the name of its class
    split: str | None  # train, validation or test; None where nothing says so
    group: str = ""  # images of one group, photographs of one product, are drawn to one side of a split


def dataset(
    config, images: list[Image], problems: list[str], name: str, classes: tuple[str, ...] = (), notes=()
) -> Dataset:
    """The data set of a list of images, one message for all that is wrong with it.

    Args:
      problems: what is wrong with entries that are no image, a sentence each.
      classes: in the order of their labels, where something says it; else numbers by value, and all else as text.

    Raises:
      ValueError: entries or files that cannot be used, no training images, or a test image of a class that no training
        image has.
    """
    problems = [*problems, *(f"{image.place}: the file is empty" for image in images if _empty(image.item))]
    problems += [f"{i.place}: the class {i.label!r} has no printable name" for i in images if not i.label.isprintable()]
    refuse(problems, "images")
    _check_forms(images)
    parts = {split: [image for image in images if image.split == split] for split in (*splits.NAMES, None)}
    parts = {split: part for split, part in parts.items() if part}
    train = parts.get("train", parts.get(None))
    if train is None:
        raise ValueError(f"{name}: there are no training images, only those of {', '.join(map(str, parts))}")
    if "test" not in parts and "validation" in parts:
        parts["test"] = parts.pop("validation")
        notes = (*notes, "there is no test split: validation serves as the test split, and chooses no epoch")
    classes = classes or class_order(image.label for image in train)
    _check_labels(train, parts, classes, name)
    parts["train"] = parts.pop(None, train)
    if "test" not in parts:
        parts["train"], parts["test"] = _drawn(config, parts["train"], classes, "test")
    if config.validation and "validation" not in parts and any(image.group for image in train):
        parts["train"], parts["validation"] = _drawn(config, parts["train"], classes, "validation")
    arrays = {split: _arrays(part, classes, config.image_size) for split, part in parts.items()}
    return Dataset(arrays["train"], arrays.get("validation"), arrays["test"], classes, name, tuple(notes))


def _empty(item: Path | bytes) -> bool:
    return not item if isinstance(item, bytes) else os.path.getsize(item) == 0


def _check_forms(images: Iterable[Image]) -> None:
    """Raises a ValueError for one class name in two encodings, which look alike and would be two classes."""
    forms = {}
    for image in images:
        first = forms.setdefault(unicodedata.normalize("NFC", image.label), image)
        if first.label != image.label:
            raise ValueError(
                f"{first.place} and {image.place}: the class {image.label!r} is written composed (NFC) and decomposed "
                "(NFD) in Unicode: write it in one way"
            )


def _check_labels(train: list[Image], parts: dict, classes: tuple[str, ...], name: str) -> None:
    if len(classes) < 2:
        raise ValueError(f"{name}: every training image is of class {classes[0]!r}; a classifier needs two at least")
    if names_nothing(len(classes), len(train)):
        shown = ", ".join(map(repr, classes[:3]))
        raise ValueError(f"{name}: {len(classes):,} classes of {len(train):,} images, as {shown}: that is no label")
    known = {*classes} if len(parts) < 2 else {image.label for image in train}
    strange = [image for part in parts.values() for image in part if image.label not in known]
    refuse([f"{image.place}: the class is {image.label!r}, which no training image has" for image in strange], "images")


def _arrays(images: list[Image], classes: tuple[str, ...], size: int) -> Arrays:
    items, places = objects(image.item for image in images), objects(image.place for image in images)
    return Arrays(Encoded(items, places, size), _numbers(images, classes))


def _numbers(images: list[Image], classes: tuple[str, ...]) -> np.ndarray:
    """[N] int32 label of each image."""
    number = {name: label for label, name in enumerate(classes)}
    return np.array([number[image.label] for image in images], np.int32)


def _drawn(config, images: list[Image], classes: tuple[str, ...], role: str) -> tuple[list[Image], list[Image]]:
    """(what stays, what is held out as config.data.test or config.data.validation says, groups on one side)."""
    groups = objects(image.group for image in images) if any(image.group for image in images) else None
    given = config[role], config.split_seed, role, f"config.data.{role}"
    held = splits.drawn(_numbers(images, classes), groups, *given)
    return tuple([image for image, out in zip(images, held, strict=True) if out == side] for side in (False, True))
