"""Reads what TensorFlow Datasets has prepared, with neither TensorFlow nor a network."""

import contextlib
import difflib
from pathlib import Path

import numpy as np
from absl import logging

from kdjax.data.arrays import Arrays, Dataset
from kdjax.data.folder import some
from kdjax.data.images import Encoded
from kdjax.find import nearest


@contextlib.contextmanager
def _quiet():
    """tensorflow_datasets logs about TensorFlow and OpenCV, which are not used."""
    level = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(level)


def read(name: str, data_dir: Path, size: int) -> Dataset:
    """The data set `name` ("cifar10", "cifar10:3.0.2", "data/config") in `data_dir`; see `sources.tfds`."""
    with _quiet():
        import tensorflow_datasets as tfds

        builder = _builder(tfds, name, data_dir)
        image_key, label_key = _keys(tfds, name, builder.info)
        source = builder.as_data_source(decoders={image_key: tfds.decode.SkipDecoding()})
        mode = "L" if builder.info.features[image_key].shape[-1] == 1 else "RGB"
        splits = {
            split: _arrays(source[theirs], theirs, image_key, label_key, size, mode)
            for split, theirs in _splits(name, source).items()
        }
    classes = tuple(builder.info.features[label_key].names)
    return Dataset(
        splits["train"],
        splits.get("validation"),
        splits["test"],
        classes,
        name + (" (JPEG)" if splits["test"].image.items[0].startswith(b"\xff\xd8") else ""),
    )


def _builder(tfds, name: str, data_dir: Path):
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


def _splits(name: str, source) -> dict[str, str]:
    """Our name -> TFDS's name of each split."""
    splits = {split: split for split in ("train", "validation", "test") if split in source}
    if "validation" in splits and "test" not in splits:
        splits["test"] = splits.pop("validation")
    if not {"train", "test"} <= splits.keys():
        raise ValueError(
            f"config.data.name {name!r} needs the splits train and test (or validation), but has {', '.join(source)}"
        )
    return splits


def _arrays(source, split: str, image_key: str, label_key: str, size: int, mode: str) -> Arrays:
    examples = source.__getitems__(range(len(source)))
    names = np.array([f"{split}[{number}]" for number in range(len(examples))], object)
    items = np.array([*(example[image_key] for example in examples), None], object)[:-1]
    label = np.array([example[label_key] for example in examples], np.int32)
    return Arrays(Encoded(items, names, size, mode), label)
