"""Images as NumPy arrays in one .npz file."""

import unicodedata
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from kdjax.data.arrays import Arrays, Dataset
from kdjax.data.text import splits
from kdjax.find import nearest

NAMES = {
    "train": (("train_images", "train_labels"), ("x_train", "y_train")),
    "validation": (("val_images", "val_labels"), ("x_val", "y_val")),
    "test": (("test_images", "test_labels"), ("x_test", "y_test")),
}
"""Split -> what its images and labels are called: as in MedMNIST, or as in Keras."""


def read(config) -> Dataset:
    """The data set in the .npz file config.data.path; see `kdjax.data.sources.npz`.

    Raises:
      ValueError: the file cannot be read, arrays are missing, or of a wrong type or shape.
    """
    path = Path(config.path).expanduser()
    if not config.path or not path.is_file():
        raise ValueError(f"config.data.path {config.path!r} is no file; for source 'npz' it names one, data.npz")
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files if name in {*_every(), "classes"}}
            there = file.files
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise ValueError(f"cannot read {str(path)!r} as arrays: {error}") from error
    parts = {split: _part(path.name, arrays, there, pairs) for split, pairs in NAMES.items()}
    if parts["train"] is None:
        raise ValueError(f"{path.name} has no {_told('train')}{nearest('train_images', there)}")
    classes = _classes(path.name, arrays.get("classes"), parts["train"].target)
    for split, part in parts.items():
        if part is not None and (wrong := np.flatnonzero((part.target < 0) | (part.target >= len(classes)))).size:
            at, known = int(wrong[0]), f"the classes are 0 to {len(classes) - 1}"
            raise ValueError(f"{path.name}: {split} label {at} is {int(part.target[at])}, and {known}")
    found = Dataset(parts["train"], parts["validation"], parts["test"], classes, path.stem)
    if parts["test"] is not None:
        return found
    held = splits.drawn(found.train.target, None, config.test, config.split_seed, "test", "config.data.test")
    return replace(found, train=found.train.take(np.flatnonzero(~held)), test=found.train.take(np.flatnonzero(held)))


def _every() -> list[str]:
    return [name for pairs in NAMES.values() for pair in pairs for name in pair]


def _told(split: str) -> str:
    return " nor ".join(" and ".join(pair) for pair in NAMES[split])


def _part(file: str, arrays: dict, there: list[str], pairs) -> Arrays | None:
    """One split; None where there is none."""
    for images_name, labels_name in pairs:
        if images_name in arrays and labels_name not in arrays:
            raise ValueError(f"{file} has {images_name} and no {labels_name}{nearest(labels_name, there)}")
        if images_name in arrays:
            return _checked(file, images_name, arrays[images_name], labels_name, arrays[labels_name])
    return None


def _checked(file: str, images_name: str, image: np.ndarray, labels_name: str, label: np.ndarray) -> Arrays:
    image = image[..., None] if image.ndim == 3 else image
    if image.dtype != np.uint8 or image.ndim != 4 or image.shape[-1] not in (1, 3):
        raise ValueError(
            f"{file}, {images_name}: images are uint8 from 0 to 255, [N, H, W] or [N, H, W, C] with C = 1 or 3; got "
            f"{image.dtype} {list(image.shape)}"
        )
    label = label[:, 0] if label.ndim == 2 and label.shape[1] == 1 else label
    if label.ndim != 1 or not np.issubdtype(label.dtype, np.integer) or len(label) != len(image) or not len(label):
        raise ValueError(
            f"{file}, {labels_name}: a whole number for each of the {len(image):,} images, [N]; got {label.dtype} "
            f"{list(label.shape)}"
        )
    return Arrays(image, label.astype(np.int32))


def _classes(file: str, names, target: np.ndarray) -> tuple[str, ...]:
    """The names of the classes, "0", "1", ... where the file has none."""
    if names is None:
        return tuple(map(str, range(int(target.max()) + 1)))
    if names.ndim != 1 or names.dtype.kind != "U" or len({*names.tolist()}) != len(names):
        raise ValueError(f"{file}, classes: different texts, one a class, [K]; got {names.dtype} {list(names.shape)}")
    return tuple(unicodedata.normalize("NFC", name) for name in names.tolist())
