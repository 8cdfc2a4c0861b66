"""config.data -> Dataset: finds the source, takes the parts that the config asks for, decodes, checks, warns."""

import csv
import math
import os
import unicodedata
import warnings
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import numpy as np

from kdjax.data import fingerprint
from kdjax.data.arrays import Arrays, Dataset
from kdjax.data.images import sources
from kdjax.data.images.encoded import Encoded, Unreadable, resize
from kdjax.data.subsets import labelled_per_class, split, stratified
from kdjax.find import find, nearest
from kdjax.typed import check_keywords

SHOWN = 5  # names in a warning


def load(config, in_memory: bool | None = True) -> Dataset:
    """The data set that `config` (config.data of an experiment, see `kdjax.config`) describes.

    Validation and test are decoded into memory, and so is train unless `in_memory` is false: then its images stay
    `images.Encoded`, for `kdjax.data.stream`; or, if it is None, where they can.

    In this order: the source's splits; coarse labels; `train_examples` of the training split; of these, the fraction
    `validation` is held out, unless the source has a validation split of its own. Nothing here depends on a seed.

    Raises:
      ValueError: what is wrong, naming the field or file, and what would be valid.
    """
    source = find(config.source, sources, "config.data.source")
    dataset = source(config, **check_keywords(source, config.kwargs, "config.data.kwargs"))
    if not isinstance(dataset, Dataset):
        raise ValueError(f"config.data.source {config.source!r} must return kdjax.data.Dataset, got {type(dataset)}")
    _check_labels(dataset)
    if config.coarse_labels:
        dataset = _coarse(dataset, config.coarse_labels)
    dataset = _parts(dataset, config)
    dataset = replace(dataset, fingerprint=fingerprint.of_data(dataset))  # of what is stored, not of what is decoded
    if in_memory is None:
        in_memory = not (isinstance(dataset.train.image, Encoded) and config.image_size)
    streamed = () if in_memory else _streamed(dataset, config)
    _check_memory(dataset, streamed, config.image_size)
    dataset = replace(dataset, **_decoded(dataset, streamed, config.image_size))
    _check_images(dataset, config)
    labelled_per_class(dataset.train.label, config, dataset.classes)
    return replace(dataset, warnings=(*dataset.warnings, *_missing_classes(dataset), *_repeated_images(dataset)))


def _parts(dataset: Dataset, config) -> Dataset:
    train, validation = dataset.train, dataset.validation
    if config.train_examples > len(train):
        raise ValueError(
            f"config.data.train_examples={config.train_examples}, but there are {len(train)} in {dataset.name}"
        )
    if config.train_examples:
        train = train.take(stratified(train.label, config.train_examples))
    if config.validation and validation is None:
        held_out = round(config.validation * len(train))
        if not 0 < held_out < len(train):
            raise ValueError(f"config.data.validation={config.validation} of {len(train)} images leaves a split empty")
        train, validation = split(train, held_out)
    return replace(dataset, train=train, validation=validation)


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
    if isinstance(arrays.image, Encoded):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata, and on sizes that we check ourselves
            return Arrays(arrays.image.decode(), arrays.label)
    return Arrays(resize(arrays.image, size), arrays.label)


def _check_labels(dataset: Dataset) -> None:
    classes = len(dataset.classes)
    if classes < 2:
        raise ValueError(f"{dataset.name} has {classes} classes; a classifier needs at least two")
    names = [unicodedata.normalize("NFC", name) for name in dataset.classes]
    if len(set(names)) < classes:
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{dataset.name} has two classes named {twice!r}, to the eye: in Unicode they may differ")
    for name, arrays in dataset.splits.items():
        label = np.asarray(arrays.label)
        if label.ndim != 1 or len(label) != len(arrays.image) or not len(label) or label.dtype != np.int32:
            raise ValueError(
                f"{dataset.name}, {name}: there must be one int32 label [N] an image, and at least one; got "
                f"{label.dtype} {list(label.shape)} for {len(arrays.image)} images"
            )
        least = -1 if name == "train" else 0
        wrong = np.flatnonzero((label < least) | (label >= classes))
        if len(wrong):
            raise ValueError(
                f"{dataset.name}, {name}: label {label[wrong[0]]} of image {wrong[0]} is out of range; there are "
                f"{classes} classes, 0 to {classes - 1}" + (", and -1 for no label" if least else "")
            )


def _check_images(dataset: Dataset, config) -> None:
    for name, arrays in dataset.splits.items():
        image = arrays.image
        if image.dtype != np.uint8 or image.ndim != 4 or image.shape[-1] not in (1, 3):
            raise ValueError(
                f"{dataset.name}, {name}: images must be uint8 [N, H, W, C] with C = 1 or 3, got {image.dtype} "
                f"{list(image.shape)}"
            )
        if image.shape[1:] != dataset.train.image.shape[1:]:
            raise ValueError(
                f"{dataset.name}: images of {name} are {list(image.shape[1:])} [H, W, C], those of train "
                f"{list(dataset.train.image.shape[1:])}; config.data.image_size makes their sizes equal"
            )
    channels = dataset.train.image.shape[-1]
    for field in ("mean", "std"):
        values = tuple(config[field])
        if len(values) not in (1, channels) or not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
            raise ValueError(
                f"config.data.{field} must be 1 number, or one for each of the {channels} channels of {dataset.name}; "
                f"got {values!r}"
            )
    if min(config.std) <= 0:
        raise ValueError(f"config.data.std must be positive, got {tuple(config.std)}")


def _streamed(dataset: Dataset, config) -> tuple[str]:
    """The names of the splits that stay on disk; a ValueError if they cannot."""
    if not isinstance(dataset.train.image, Encoded):
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
    needed, available = 3 * size**2 * examples, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > available:
        raise ValueError(
            f"config.data.image_size={size}: {examples:,} images need {needed / 1e9:,.0f} GB of memory, "
            f"and this machine has {available / 1e9:,.0f} GB"
        )


def _coarse(dataset: Dataset, path: str) -> Dataset:
    """The data set with every class replaced by the coarser one that a file gives.

    The file is CSV without a header, `class,coarse class` a line, every class once. Labels follow the order of the
    coarse names.
    """
    try:
        with Path(path).expanduser().open(newline="", encoding="utf-8-sig") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"cannot read config.data.coarse_labels {path!r}: {error}") from error
    known, coarse_of = {unicodedata.normalize("NFC", name): name for name in dataset.classes}, {}
    for number, row in enumerate(rows, 1):
        where = f"config.data.coarse_labels {path!r}, row {number}"
        if len(row) != 2 or not all(row):
            raise ValueError(f"{where}: expected `class,coarse class`, got {','.join(row)!r}")
        name, coarse = (unicodedata.normalize("NFC", cell) for cell in row)
        if name not in known:
            raise ValueError(f"{where}: {dataset.name} has no class {row[0]!r}{nearest(row[0], dataset.classes)}")
        if known[name] in coarse_of:
            raise ValueError(f"{where}: class {row[0]!r} stands there twice")
        coarse_of[known[name]] = coarse
    if missing := [name for name in dataset.classes if name not in coarse_of]:
        raise ValueError(f"config.data.coarse_labels {path!r} lacks {_some(missing)}")
    classes = tuple(sorted(set(coarse_of.values())))
    if len(classes) < 2:
        raise ValueError(f"config.data.coarse_labels {path!r} names one coarse class, {classes[0]!r}; two are needed")
    place = np.array([*(classes.index(coarse_of[name]) for name in dataset.classes), -1], np.int32)  # -1 stays -1
    relabelled = dataset.map(lambda arrays: Arrays(arrays.image, place[arrays.label]))
    return replace(relabelled, classes=classes, name=f"{dataset.name}, {len(classes)} coarse classes")


def _missing_classes(dataset: Dataset) -> list[str]:
    found = []
    for name, arrays in dataset.splits.items():
        counts = np.bincount(arrays.label[arrays.label >= 0], minlength=len(dataset.classes))
        if absent := [dataset.classes[c] for c in np.flatnonzero(counts == 0)]:
            found.append(f"{name} has no image of {len(absent)} of {len(counts)} classes: {_some(absent)}")
    return found


def _repeated_images(dataset: Dataset) -> list[str]:
    """A warning when images of test or validation are, pixel for pixel, also training images."""
    if isinstance(dataset.train.image, Encoded):
        return ["not looked at: whether test images are also training images, which are not held in memory"]
    train = {_hash(image): position for position, image in reversed(list(enumerate(dataset.train.image)))}
    found = []
    for name in ("validation", "test"):
        images = dataset.splits[name].image if name in dataset.splits else ()
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


def _some(names) -> str:
    return ", ".join(map(repr, names[:SHOWN])) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
