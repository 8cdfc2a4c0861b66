"""config.data -> interactions of files, split."""

from pathlib import Path

import numpy as np

from kdjax.data.arrays import Dataset
from kdjax.data.interactions import arrays, files, splits
from kdjax.data.interactions.core import core as core_of
from kdjax.data.text.splits import named


def read(config, split: str, length: int, least_rating: float, core: int) -> Dataset:
    """See `kdjax.data.sources.interactions`.

    Raises:
      ValueError: as `files.read`, `core` and `splits.parts`; a folder without a training and a test file.
    """
    if not config.path:
        raise ValueError("config.data.path is empty: it is a file of interactions, or a folder with one for each split")
    path = Path(config.path).expanduser()
    names = tuple(config.columns.names)
    if not path.is_dir():
        data = core_of(files.read([path], names, least_rating), core)
        parts = splits.parts(data, split, config.validation, config.test, config.split_seed)
        return arrays.dataset(parts, length, path.stem)
    paths = _of_splits(path)
    data = core_of(files.read(list(paths.values()), names, least_rating), core)
    numbers = np.array([splits.NAMES.index(name) for name in paths])
    parts = splits.parts(data, "given", 0.0, config.test, config.split_seed, numbers[data.file])
    return arrays.dataset(parts, length, path.resolve().name)


def _of_splits(path: Path) -> dict[str, Path]:
    """Split -> its file."""
    found = {}
    for file in sorted(path.iterdir()):
        split = named(file.stem) if file.is_file() else None
        if split in found:
            raise ValueError(f"{str(path)!r} has two files of the {split} split: {found[split].name} and {file.name}")
        if split:
            found[split] = file
    if missing := [name for name in ("train", "test") if name not in found]:
        raise ValueError(
            f"{str(path)!r} has no file {missing[0]}.txt (or .tsv, .csv, .inter); with one file for all, give its path"
        )
    return {name: found[name] for name in splits.NAMES if name in found}
