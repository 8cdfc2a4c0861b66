"""config.teacher.outputs: what a teacher said of the examples, in a file of arrays, .npz or .parquet."""

from pathlib import Path

import numpy as np

from kdjax.data import fingerprint
from kdjax.experiment.elsewhere import Elsewhere, checked
from kdjax.find import nearest
from kdjax.models.given import given
from kdjax.types import Outputs

SPLITS = ("train", "validation", "test")
FIELDS = ("logits", "embedding")
INDEX = "index"


def load(path: str, sizes: dict[str, int], logits: int) -> Elsewhere:
    """The teacher whose outputs stand in a file.

    An .npz has arrays "train/logits" [N, K] and perhaps "train/embedding" [N, D], and the same of "test" and
    "validation"; what has no split's name is of train. Rows are the examples of a split in the order in which
    `kdjax.data.load` has them, unless "train/index" [N] says which each is. A .parquet file has a row an example, with
    columns logits, embedding, index, and split where it is not all of train.

    Args:
      sizes: split -> how many examples it has.

    Raises:
      ValueError: it cannot be read, lacks examples, or has what cannot teach.
    """
    kinds = {".npz": _npz, ".parquet": _parquet}
    if Path(path).suffix not in kinds:
        raise ValueError(f"{path}: outputs stand in a file .npz or .parquet")
    digest, arrays = fingerprint.of_file(path), kinds[Path(path).suffix](path)
    if "train" not in arrays:
        raise ValueError(f"{path} has no logits of the training split, an array 'train/logits'")
    unused = [split for split in arrays if split not in sizes]
    if unused:
        raise ValueError(f"{path}: there is no split {unused[0]!r}{nearest(unused[0], sizes)}")
    stored = {split: _split(path, split, found, sizes[split], logits) for split, found in arrays.items()}
    remarks = () if "test" in stored else ("Of the test split its file says nothing: how good it is is not known",)
    model = given(stored["train"], moves=False)
    return Elsewhere(Path(path).name, digest, model, stored=stored, remarks=remarks)


def _split(path: str, split: str, arrays: dict, size: int, logits: int) -> Outputs:
    """The Outputs [N, ...] of a split in its order."""
    if "logits" not in arrays:
        raise ValueError(f"{path} has {', '.join(arrays)} of {split}, and no logits")
    index = np.asarray(arrays.pop(INDEX, np.arange(len(arrays["logits"]))))
    if index.ndim != 1 or not np.issubdtype(index.dtype, np.integer):
        raise ValueError(f"{path}, {split}: index must be whole numbers [N], got {index.dtype} {list(index.shape)}")
    wrong = next((n for n, leaf in arrays.items() if len(leaf) != len(index)), "")
    if wrong:
        raise ValueError(f"{path}, {split}: {wrong} of {len(arrays[wrong])} examples, index of {len(index)}")
    counts = np.bincount(index, minlength=size) if index.min(initial=0) >= 0 else np.zeros(0)
    if len(counts) != size or (counts != 1).any():
        absent = np.flatnonzero(counts[:size] == 0)
        told = f"; number {absent[0]} is the first that has none" if len(absent) else ""
        raise ValueError(
            f"{path}, {split}: each of the {size:,} examples, as kdjax.data.load has them, needs one row; there are "
            f"{len(index):,}{told}"
        )
    order = np.argsort(index)
    try:
        return checked(Outputs(**{name: leaf[order] for name, leaf in arrays.items()}), size, logits)
    except ValueError as error:
        raise ValueError(f"{path}, {split}: {error}") from error


def _npz(path: str) -> dict[str, dict[str, np.ndarray]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    found = {}
    for name, array in arrays.items():
        split, _, field = name.rpartition("/")
        _check_name(path, field)
        found.setdefault(split or "train", {})[field] = array
    return found


def _check_name(path: str, field: str) -> None:
    if field not in (*FIELDS, INDEX):
        raise ValueError(f"{path}: an array is called {field!r}{nearest(field, (*FIELDS, INDEX))}")


def _parquet(path: str) -> dict[str, dict[str, np.ndarray]]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ValueError(f"{path}: this needs pyarrow: pip install pyarrow") from error
    try:
        columns = parquet.read_table(path).to_pydict()
    except OSError as error:  # pyarrow's own errors are OSErrors and ValueErrors
        raise ValueError(f"{path} cannot be read: {error}") from error
    splits = np.asarray(columns.pop("split", ["train"] * len(next(iter(columns.values()), ()))))
    found = {}
    for field, values in columns.items():
        _check_name(path, field)
        for split in dict.fromkeys(splits.tolist()):
            rows = [value for value, own in zip(values, splits, strict=True) if own == split]
            found.setdefault(split, {})[field] = _column(path, field, rows)
    return found


def _column(path: str, field: str, rows: list) -> np.ndarray:
    try:
        return np.asarray(rows, np.int64 if field == INDEX else np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {field} must be numbers, as many in every row: {error}") from error
