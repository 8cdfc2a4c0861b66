"""Reads what TensorFlow Datasets has prepared, with neither TensorFlow nor a network."""

import contextlib
import difflib
from pathlib import Path

import numpy as np
from absl import logging

from kdjax.data.arrays import Arrays, Dataset
from kdjax.data.folder import some
from kdjax.data.images.encoded import Encoded
from kdjax.find import nearest


@contextlib.contextmanager
def quiet():
    """tensorflow_datasets logs about TensorFlow and OpenCV, which are not used."""
    level = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(level)


def read(name: str, data_dir: Path, size: int, named: dict[str, str]) -> Dataset:
    """The data set `name` ("cifar10", "cifar10:3.0.2", "data/config") in `data_dir`; see `sources.tfds`.

    `named` says for each of our splits which of theirs it is, "" for the usual.
    """
    with quiet():
        import tensorflow_datasets as tfds

        builder = builder_of(tfds, name, data_dir)
        image_key, label_key = _keys(tfds, name, builder.info)
        mode = "L" if builder.info.features[image_key].shape[-1] == 1 else "RGB"
        splits = {}
        for ours, theirs in splits_of(name, builder.info.splits, named).items():
            try:
                source = builder.as_data_source(theirs, decoders={image_key: tfds.decode.SkipDecoding()})
            except (ValueError, AssertionError) as error:  # what is wrong in brackets
                raise ValueError(f"config.data.kwargs.{ours} {theirs!r}: {error}") from error
            splits[ours] = _arrays(source, theirs, image_key, label_key, size, mode)
    splits, notes = with_labels(name, splits, named)
    classes = tuple(builder.info.features[label_key].names)
    return Dataset(
        splits["train"],
        splits.get("validation"),
        splits["test"],
        classes,
        name + (" (JPEG)" if splits["test"].input.items[0].startswith(b"\xff\xd8") else ""),
        notes,
    )


def builder_of(tfds, name: str, data_dir: Path):
    """The builder of prepared data; a ValueError says what is missing and how to get it."""
    if not name:
        raise ValueError("config.data.name is empty; with source 'tfds' it names the data set, for example 'cifar10'")
    prepare = f"`tfds build {name} --file_format=array_record --data_dir={data_dir}`, where TensorFlow is installed"
    try:
        builder = tfds.core.read_only_builder.builder_from_files(name, data_dir=str(data_dir))
    except tfds.core.DatasetNotFoundError:
        prepared = sorted(p.name for p in data_dir.iterdir() if p.is_dir()) if data_dir.is_dir() else []
        known = [*prepared, *tfds.core.load.list_builders(with_community_datasets=False)]
        if name.partition("/")[0].partition(":")[0] not in known:
            hint = nearest(name, difflib.get_close_matches(name, known, n=1) or prepared)
            raise ValueError(f"config.data.name {name!r}: TFDS has no such data set{hint}") from None
        raise ValueError(
            f"config.data.name {name!r} is not prepared in {str(data_dir)!r}, which holds "
            f"{some(prepared, '.') or 'nothing'}. The folder is config.data.path, or the environment variable "
            f"TFDS_DATA_DIR, or ~/tensorflow_datasets; to prepare it: {prepare}"
        ) from None
    if builder.info.file_format.value != "array_record":
        raise ValueError(
            f"config.data.name {name!r} in {str(data_dir)!r} is stored as {builder.info.file_format.value}, "
            f"which cannot be read without TensorFlow; to prepare it again: {prepare}"
        )
    return builder


def _keys(tfds, name: str, info) -> tuple[str, str]:
    """Names of the image and the label among the features."""
    keys = info.supervised_keys
    features = [info.features[key] for key in keys] if keys and all(isinstance(key, str) for key in keys) else []
    if [type(feature) for feature in features] != [tfds.features.Image, tfds.features.ClassLabel]:
        raise ValueError(f"config.data.name {name!r} is not for classification: its inputs and targets are {keys}")
    return keys


def splits_of(name: str, available, named: dict[str, str]) -> dict[str, str]:
    """Our name -> TFDS's of each split."""
    for ours, theirs in named.items():
        for part in theirs.split("+") if theirs else ():
            if (whole := part.partition("[")[0].strip()) not in available:
                hint = nearest(whole, available)
                raise ValueError(f"config.data.kwargs.{ours} {theirs!r}: {name!r} has no split {whole!r}{hint}")
    splits = {ours: theirs or (ours if ours in available else "") for ours, theirs in named.items()}
    if not splits["test"] and not named["validation"]:
        splits["test"], splits["validation"] = splits["validation"], ""
    if not splits["train"] or not splits["test"]:
        raise ValueError(
            f"config.data.name {name!r} needs the splits train and test (or validation), but has "
            f"{', '.join(available)}; config.data.kwargs.test names another"
        )
    return {ours: theirs for ours, theirs in splits.items() if theirs}


def with_labels(name: str, splits: dict[str, Arrays], named: dict[str, str]) -> tuple[dict[str, Arrays], tuple]:
    """(the splits, notes), "validation" in place of a test split whose labels are withheld: TFDS writes them as -1."""
    if (splits["test"].target >= 0).all():
        return splits, ()
    if any(named[ours] for ours in ("validation", "test")) or "validation" not in splits:
        raise ValueError(
            f"config.data.name {name!r}: labels of its test split are withheld (-1); config.data.kwargs.test must name "
            "a split that has them, test='validation' or a part like test='train[90%:]' of one with train='train[:90%]'"
        )
    note = "the labels of the test split are withheld: validation serves as the test split, and chooses no epoch"
    return {"train": splits["train"], "test": splits["validation"]}, (note,)


def _arrays(source, split: str, image_key: str, label_key: str, size: int, mode: str) -> Arrays:
    examples = source.__getitems__(range(len(source)))
    names = np.array([f"{split}[{number}]" for number in range(len(examples))], object)
    items = np.array([*(example[image_key] for example in examples), None], object)[:-1]
    label = np.array([example[label_key] for example in examples], np.int32)
    return Arrays(Encoded(items, names, size, mode), label)
