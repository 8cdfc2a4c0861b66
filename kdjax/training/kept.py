"""What a teacher says of each training example, kept: a file of records, one an example, looked up by its index.

Where a teacher sees an example alike in every epoch, or in few views, its pass over the training split is made once.
Files are mapped into memory, so that seeds and processes of one machine share what of them is read.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.tree_util import keystr, tree_leaves_with_path, tree_map_with_path

from kdjax.files import replacing
from kdjax.training.reads import outputs_of
from kdjax.types import Absent, Outputs, batch_of


def taught(teach: Callable, variables, batch: dict) -> tuple[dict, Any]:
    """(what students take of a batch, the teacher's Outputs on it); those on a second view stand with that view.

    A batch that brings them, as "taught", is not shown to the teacher.
    """
    batch = dict(batch)
    kept, seen = batch.pop("taught", None), batch.pop("teacher", batch["input"])
    outputs = kept["first"].replace(listed=kept.get("lists")) if kept else teach(variables, seen)
    if "second" in batch:
        second = dict(batch["second"])
        seen = second.pop("teacher", second["input"])
        batch["second"] = {**second, "taught": kept["second"] if kept else teach(variables, seen)}
    return batch, outputs


@dataclass(frozen=True)
class Kept:
    """Looks up what is kept of a teacher's Outputs."""

    model: nn.Module  # the teacher: its Outputs have the shapes of what is kept
    spec: Any  # the shapes of an example that it sees; None: as long as the batch is (kdjax.data.batches.Lengths)
    paths: frozenset  # of what is kept, see `reads.read`
    second: bool  # whether of a second view, too
    views: int  # that epochs take in turn
    records: Callable  # view -> [N] records, see `record`
    lists: dict  # name -> shapes [B, ...] of what losses made of its Outputs

    def __call__(self, epoch: int, indices: np.ndarray, batch: dict) -> dict[str, Outputs]:
        """{"first": Outputs [*indices.shape, ...], perhaps "second", "lists"} of the examples in a batch, on the host.

        What has an axis of tokens is cut to those of the batch.
        """
        lead = indices.ndim
        one = lambda leaf: jax.ShapeDtypeStruct(leaf.shape[lead:], leaf.dtype)  # noqa: E731
        spec = self.spec or jax.tree.map(one, batch["input"])
        rows = self.records(epoch % self.views)[indices] if self.paths or self.lists else {}
        like = outputs_of(self.model, batch_of(spec, 2))
        found = {}
        for name in ("first", "second") if self.second else ("first",):

            def look_up(path, leaf, name=name):
                if keystr(path) not in self.paths:
                    return Absent(np.zeros(indices.shape, leaf.dtype), leaf.shape[1:])
                cut = (..., *map(slice, leaf.shape[1:]))
                return np.ascontiguousarray(rows[name][keystr(path)][cut]).view(leaf.dtype)

            found[name] = tree_map_with_path(look_up, like)
        if self.lists:
            found["lists"] = tree_map_with_path(lambda path, _: np.array(rows["lists"][keystr(path)]), self.lists)
        return found


def record(outputs: Outputs, paths: frozenset, second: bool, lists: dict) -> np.dtype:
    """The type of an example's record, {"first": {".logits": [K], ...}, perhaps "second", perhaps "lists"}.

    Args:
      outputs: the shapes of a teacher's Outputs [B, ...]; paths: what is kept of them.
      lists: the shapes of what losses make of them (kdjax.training.reads.listed).
    """
    one = _one({keystr(path): leaf for path, leaf in tree_leaves_with_path(outputs) if keystr(path) in paths})
    made = _one({keystr(path): leaf for path, leaf in tree_leaves_with_path(lists)})
    return np.dtype([("first", one), *([("second", one)] if second else []), *([("lists", made)] if lists else [])])


def _one(leaves: dict) -> np.dtype:
    """That of arrays [B, ...] by their names."""
    return np.dtype([(name, _stored(leaf.dtype), leaf.shape[1:]) for name, leaf in sorted(leaves.items())])


def _stored(dtype) -> np.dtype:
    """A type that files know: the bits of what NumPy does not, bfloat16, as whole numbers."""
    dtype = np.dtype(dtype)
    return dtype if dtype.kind in "biuf" else np.dtype(f"u{dtype.itemsize}")


def no_lists(outputs: Outputs, targets) -> dict:
    """What losses make of a teacher's Outputs where none makes lists."""
    return {}


def answers(
    teach: Callable, variables, batches: Iterable, lists: Callable = no_lists
) -> Iterable[tuple[np.ndarray, dict]]:
    """Yields (indices [n], {"first": Outputs [B, ...] on the host, perhaps "second", "lists"}); see `Feed.whole`.

    Args:
      teach: returns what of the Outputs is kept, and what `lists` is made of.
      lists: (Outputs, targets), [1, B, ...] both -> what losses make of them, likewise.
    """
    for indices, batch in batches:
        given, outputs = taught(teach, variables, batch)
        found = {"first": outputs, "lists": lists(outputs, batch["target"])}
        found |= {"second": given["second"]["taught"]} if "second" in given else {}
        yield indices, jax.tree.map(lambda leaf: leaf[0], jax.device_get(found))


def write(path: Path, dtype: np.dtype, examples: int, found: Iterable[tuple[np.ndarray, dict]]) -> None:
    """Writes the records of all examples, whole or not at all; `found`: see `answers`.

    Where the Outputs of a batch are shorter than the record, as of short texts, zeros follow.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        records = np.lib.format.open_memmap(temporary, "w+", dtype, (examples,))
        for indices, said in found:
            for name in dtype.names:
                outputs = said[name]
                leaves = {keystr(where): leaf for where, leaf in tree_leaves_with_path(outputs)}
                for field in dtype[name].names:
                    values = leaves[field][: len(indices)]
                    places = (indices, *map(slice, values.shape[1:]))
                    records[name][field][places] = values.view(_stored(values.dtype))
        records.flush()


def read(path: Path, dtype: np.dtype, examples: int) -> np.ndarray | None:
    """The records [N] in a file, mapped into memory; None if there is no such file, or it is not whole."""
    try:
        records = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return records if records.dtype == dtype and records.shape == (examples,) else None
