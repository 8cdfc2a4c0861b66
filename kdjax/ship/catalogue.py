"""A catalogue as a file: the embeddings of documents, photographs or items, and what they are called; needs no JAX.

`.npz`, which `numpy.load` reads: `embeddings` [M, D] float32, or int8 with `scale` [M] float32, of which each row is a
multiple; of a recommender's items `bias` [M] float32, which is added to products; `names`, bytes of a JSON list of
[id, title] of each row; `description`, bytes of a JSON object.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdjax.files import write_bytes
from kdjax.tasks.search import first, products

DTYPES = ("float32", "int8")
SUFFIX = ".npz"


@dataclass(frozen=True)
class Catalogue:
    """What can be found."""

    names: list  # [id, title] of each row
    embeddings: np.ndarray  # [M, D] float32
    description: dict  # student_sha256 of the network that embedded it, dtype, and what is known of it
    bias: np.ndarray | None = None  # [M] float32, added to scores

    def scores(self, queries: np.ndarray) -> Iterator[np.ndarray]:
        """Yields the scores [q, M] of some queries [Q, D] after the other."""
        for block in products(queries, self.embeddings):
            yield block if self.bias is None else block + self.bias[None]

    def nearest(self, queries: np.ndarray, count: int) -> list[list[tuple[int, float]]]:
        """Of each query [Q, D] the first rows and their products with it, of equal ones the lowest row first."""
        found = []
        for block in self.scores(queries):
            for scores in block:
                best = first(scores, min(count, len(scores)))
                found.append([(int(row), float(scores[row])) for row in best])
        return found


def write(
    path: Path, names: list, embeddings: np.ndarray, description: dict, dtype: str = "float32", bias=None
) -> Catalogue:
    """Writes a catalogue whole or not at all, and returns it as it is read again.

    Args:
      names: [id, title] of each row; dtype: of DTYPES; int8 rounds each row to 127 steps either way.

    Raises:
      ValueError: the name ends otherwise or the dtype is unknown.
      OSError: it cannot be written.
    """
    check(path, dtype)
    arrays = stored(embeddings, dtype) | ({} if bias is None else {"bias": np.asarray(bias, np.float32)})
    description = {**description, "dtype": dtype, "rows": len(embeddings)}
    arrays |= {name: _bytes(value) for name, value in (("names", names), ("description", description))}
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_bytes(path, content.getvalue())
    return read(path)


def stored(embeddings: np.ndarray, dtype: str) -> dict[str, np.ndarray]:
    """The arrays that hold embeddings [M, D] in a dtype, by their names in the file."""
    if dtype == "float32":
        return {"embeddings": embeddings.astype(np.float32)}
    scale = np.maximum(np.abs(embeddings).max(axis=1), 1e-12).astype(np.float32) / 127
    return {"embeddings": np.rint(embeddings / scale[:, None]).astype(np.int8), "scale": scale}


def restored(arrays) -> np.ndarray:
    """The embeddings [M, D] float32 that `stored` arrays hold."""
    embeddings = arrays["embeddings"].astype(np.float32)
    return embeddings * arrays["scale"][:, None] if "scale" in arrays else embeddings


def check(path: Path, dtype: str) -> None:
    """Raises a ValueError for a file's name or a dtype that a catalogue has not."""
    if Path(path).suffix != SUFFIX:
        raise ValueError(f"{path}: the name of a catalogue ends in {SUFFIX}")
    if dtype not in DTYPES:
        raise ValueError(f"a catalogue is in {' or '.join(DTYPES)}, got {dtype!r}")


def _bytes(value) -> np.ndarray:
    return np.frombuffer(json.dumps(value, ensure_ascii=False).encode(), np.uint8)


def read(path) -> Catalogue:
    """The catalogue in a file.

    Raises:
      ValueError: there is none, or it is something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            embeddings, bias = restored(file), file.get("bias")
            names, description = (json.loads(file[name].tobytes()) for name in ("names", "description"))
    except FileNotFoundError as error:
        raise ValueError(f"{path}: there is no such file") from error
    except (OSError, ValueError, KeyError, IndexError, TypeError, EOFError) as error:
        raise ValueError(f"{path} is no catalogue that kdjax wrote: {error}") from error
    if embeddings.ndim != 2 or len(names) != len(embeddings):
        raise ValueError(f"{path} is damaged: {len(names):,} names for embeddings {list(embeddings.shape)}")
    return Catalogue(names, embeddings, description, bias)


def same_network(path, catalogue: Catalogue, description: dict) -> None:
    """Raises a ValueError where a catalogue was not embedded by the network of a file: products would mean nothing."""
    if catalogue.description.get("student_sha256") != description["student_sha256"]:
        run = catalogue.description.get("run", {})
        of = "{experiment}/{method}/seed{seed}".format(**run) if run else "another network"
        raise ValueError(
            f"{path} was embedded by {of}, and {description['weights']} is of "
            "{experiment}/{method}/seed{seed} ".format(**description["run"])
            + "with other weights: write it anew by kdjax export --catalogue or kdjax embed"
        )
