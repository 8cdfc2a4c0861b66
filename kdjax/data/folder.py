"""A tree of images or texts, <path>/<split>/<class>/*, listed without believing what is in it."""

import os
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Sought(NamedTuple):
    """What kind of file is looked for."""

    noun: str
    told: str  # with its formats
    suffixes: tuple[str, ...]


IMAGES = Sought("image", "image (JPEG or PNG)", (".jpg", ".jpeg", ".png"))
SPLITS = ("train", "val", "test")
SHOWN = 5  # names in a message, however many there are


@dataclass
class Listing:
    """The image files of one split."""

    paths: list[Path] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)  # the class of each path: its folder's name, composed (NFC)
    names: list[str] = field(default_factory=list)  # every class that has a folder, also an empty one
    ignored: list[str] = field(default_factory=list)  # files that are no images, relative to the root


def list_split(root: Path, split: str, sought: Sought = IMAGES) -> Listing:
    """The images of root/split/<class>/, or what else is sought, in the order of their names.

    Hidden files are passed over. Other files without the suffix of an image, nested folders, pipes and devices are
    noted in `ignored`. A link may lead anywhere within `root`.

    Raises:
      ValueError: a link leads out of `root`, a class folder's name cannot be printed, the names of two are the same
        text in two encodings, or image files are empty.
    """
    listing = Listing()
    inside = root.resolve()
    empty = []
    for folder in _entries(root / split):
        _check_link(folder, inside)
        if not folder.is_dir():
            listing.ignored.append(folder.path)
            continue
        if not folder.name.isprintable():
            raise ValueError(
                f"class folder {folder.name!r} in {str(root / split)!r}: a class needs a name that can be printed; "
                "rename the folder"
            )
        name = unicodedata.normalize("NFC", folder.name)
        if name in listing.names:
            raise ValueError(
                f"class folder {folder.name!r} stands twice in {str(root / split)!r}, its name composed (NFC) and "
                "decomposed (NFD) in Unicode: move the files into one of the two"
            )
        listing.names.append(name)
        for entry in _entries(folder.path):
            _check_link(entry, inside)
            if not entry.name.lower().endswith(sought.suffixes) or not entry.is_file():
                listing.ignored.append(entry.path)
                continue
            if entry.stat().st_size == 0:
                empty.append(entry.path)
            listing.paths.append(Path(entry.path))
            listing.classes.append(name)
    if empty:
        raise ValueError(
            f"{count(empty, f'{sought.noun} file')} in {str(root / split)!r} {_are(empty)} empty: {some(empty, root)}"
        )
    return listing


def _entries(folder) -> list[os.DirEntry]:
    with os.scandir(folder) as entries:
        return sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)


def _check_link(entry: os.DirEntry, inside: Path) -> None:
    if not entry.is_symlink():
        return
    target = Path(os.path.realpath(entry.path))
    if not target.is_relative_to(inside):
        raise ValueError(
            f"refused {entry.path!r}: the link leads out of {str(inside)!r}; "
            "copy the file or folder there, or point config.data.path at a folder that holds both"
        )
    if not target.exists():
        raise ValueError(f"{entry.path!r} is a link to nothing")


def some(paths, root: Path) -> str:
    """The first of many paths, relative to `root` and quoted with control characters escaped."""
    shown = ", ".join(repr(os.path.relpath(path, root)) for path in paths[:SHOWN])
    return shown + (f" and {len(paths) - SHOWN:,} more" if len(paths) > SHOWN else "")


def count(things, noun: str) -> str:
    """'1 image', '2,000 images'."""
    return f"{len(things):,} {noun}" + ("" if len(things) == 1 else "s")


def _are(things) -> str:
    return "is" if len(things) == 1 else "are"


def list_folder(path: str, sought: Sought = IMAGES) -> tuple[dict[str, Listing], tuple[str, ...], tuple[str, ...]]:
    """(split -> its listing, class names in the order of their labels, warnings) of a tree of images.

    Labels are the places of train's class folders in the order of their names, which are compared as text: it does not
    matter whether a system writes its accents composed or decomposed.

    Raises:
      ValueError: no such folder, no train or test split (with what was found), an empty class folder in train,
        fewer than two classes, a class in val or test that train does not have, something that the system does not
        let us read, or as `list_split`.
    """
    try:
        return _list_folder(path, sought)
    except OSError as error:
        raise ValueError(f"cannot read {os.fspath(error.filename)!r}: {error.strerror}") from error


def _list_folder(path: str, sought: Sought):
    if not path:
        raise ValueError("config.data.path is empty; it must name the folder that holds train/ and test/")
    root = Path(path).expanduser()
    if not root.is_dir():
        raise ValueError(f"config.data.path {path!r} is {'no folder' if root.exists() else 'not there'}")
    folders = [entry for entry in _entries(root) if entry.is_dir()]
    found = [entry.name for entry in folders]
    for split in ("train", "test"):
        if split not in found:
            raise ValueError(
                f"config.data.path {path!r} has no folder {split!r}: it must hold train/, test/ and perhaps val/, each "
                f"with a folder per class; found {some([root / f for f in found], root) or 'no folders'}"
            )
    for entry in folders:
        if entry.name in SPLITS:
            _check_link(entry, root.resolve())
    listings = {split: list_split(root, split, sought) for split in SPLITS if split in found}
    classes = tuple(sorted(listings["train"].names))
    _check_classes(root, listings, classes, sought)
    warnings = []
    if strangers := [root / name for name in found if name not in SPLITS]:
        warnings.append(f"not used: {some(strangers, root)}; the splits are {', '.join(SPLITS)}")
    if ignored := [path for listing in listings.values() for path in listing.ignored]:
        warnings.append(
            f"passed over {count(ignored, 'file')} not named {', '.join(sought.suffixes)}: {some(ignored, root)}"
        )
    return listings, classes, tuple(warnings)


def _check_classes(root: Path, listings: dict[str, Listing], classes: tuple[str, ...], sought: Sought) -> None:
    train = str(root / "train")
    if empty := [name for name in classes if name not in set(listings["train"].classes)]:
        raise ValueError(f"{count(empty, 'class folder')} with no {sought.told} in {train!r}: {some(empty, '.')}")
    if len(classes) < 2:
        raise ValueError(f"{train!r} has {count(classes, 'class folder')}; a classifier needs at least two")
    for split, listing in listings.items():
        if unknown := sorted(set(listing.names) - set(classes)):
            raise ValueError(
                f"{str(root / split)!r} has {count(unknown, 'class folder')} that train does not have: "
                + some(unknown, ".")
            )
        if not listing.paths:
            raise ValueError(f"{str(root / split)!r} has no {sought.told}")


def labels(listing: Listing, classes: tuple[str, ...]) -> np.ndarray:
    """[N] int32 label of each path."""
    place = {name: label for label, name in enumerate(classes)}
    return np.array([place[name] for name in listing.classes], np.int32)
