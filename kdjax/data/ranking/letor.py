"""Files of learning to rank: `grade qid:7 1:0.3 2:1.5 # comment` a line, as of LETOR, MSLR-WEB, Istella and libsvm.

Where lines have no qid, the sizes of queries stand in a file beside, `<file>.query`, a whole number a line, as LightGBM
has it. A feature that a line leaves out is 0; features are counted from 1.
"""

from pathlib import Path

import numpy as np

from kdjax.data.arrays import Dataset
from kdjax.data.ranking.lines import bounds, dense, items_of
from kdjax.data.ranking.lists import padded
from kdjax.data.text.texts import refuse

NAMES = {
    "train": ("train.txt", "train.libsvm", "rank.train"),
    "validation": ("vali.txt", "valid.txt", "validation.txt", "vali.libsvm"),
    "test": ("test.txt", "test.libsvm", "rank.test"),
}
"""What files of a split are called, where config.data.kwargs does not say."""


def read(path: str, named: dict[str, str]) -> Dataset:
    """The data set of a folder with a file a split; `named`: split -> file, "": as NAMES has it.

    Raises:
      ValueError: a file is missing or cannot be read, or lines are wrong, each named.
    """
    folder = Path(path).expanduser()
    if not path or not folder.is_dir():
        raise ValueError(f"config.data.path {path!r} is no folder; letor reads one with train.txt, vali.txt, test.txt")
    files = {split: _file(folder, split, name) for split, name in named.items()}
    for split in ("train", "test"):
        if files[split] is None:
            tried = ", ".join(NAMES[split])
            raise ValueError(f"{folder} has none of {tried}; name the file as config.data.kwargs.{split}")
    items = {split: items_of(file) for split, file in files.items() if file}
    refuse([problem for each in items.values() for problem in each.problems], "lines")
    starts = {split: bounds(each) for split, each in items.items()}
    width = max(max(each.places, default=0) for each in items.values())
    length = max(int(np.diff(of).max()) for of in starts.values())
    splits = {
        split: padded(dense(each, width), np.array(each.grades), starts[split], length) for split, each in items.items()
    }
    warnings = [
        f"{split} has {none:,} queries of {len(of):,} without a relevant item"
        for split, of in splits.items()
        if (none := int((~(of.target > 0).any(axis=1)).sum()))
    ]
    found = splits["train"], splits.get("validation"), splits["test"]
    return Dataset(*found, (), folder.resolve().name, tuple(warnings), kind="lists")


def _file(folder: Path, split: str, name: str) -> Path | None:
    if name:
        if not (folder / name).is_file():
            raise ValueError(f"config.data.kwargs.{split}: there is no file {folder / name}")
        return folder / name
    return next((folder / name for name in NAMES[split] if (folder / name).is_file()), None)
