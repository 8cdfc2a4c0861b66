"""The fingerprint of a data set: of its classes, and of targets and inputs of every split."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np

from kdjax.cores import cores
from kdjax.data.images.encoded import Encoded
from kdjax.data.text.texts import Texts

LARGE = 4 * 2**30
"""Bytes of image files above which only the ends of each, and its size, are read: hours otherwise."""


END = 32 * 1024


CHUNK = 256  # files that a thread reads at a time


def of_data(dataset) -> dict:
    """The fingerprint of a kdjax.data.Dataset, the same whether images are decoded now or streamed later.

    {"classes": how many, or items of a catalogue, "names": digest of their names in order, and of users', or of the
    texts of a search's documents, "splits":
    [{"split", "examples", "sha256"}]}, of targets and inputs in order, as the source gave them: files as they are,
    arrays by their numbers, texts by their characters. Of texts `load` adds "tokenizer", the digest of what makes
    numbers of them.
    """
    splits = [
        {"split": name, "examples": len(split.target), "sha256": of_split(split)}
        for name, split in dataset.splits.items()
    ]
    names = dataset.classes or (*dataset.catalogue, *dataset.users)
    if dataset.documents is not None:
        names = tuple(dataset.documents.first)
    return {"classes": dataset.choices, "names": _digest(*map(str, names)), "splits": splits}


def of_split(split) -> str:
    """SHA-256 of targets and inputs of a kdjax.data.Arrays."""
    target = np.asarray(split.target)
    whole = np.issubdtype(target.dtype, np.integer)
    digest = hashlib.sha256(np.ascontiguousarray(target, np.int64 if whole else target.dtype).tobytes())
    return of_inputs(split.input, digest)


def of_inputs(inputs, digest=None) -> str:
    """SHA-256 of the inputs of some examples, in their order; of what went into `digest` before, too."""
    digest = digest or hashlib.sha256()
    if not isinstance(inputs, Encoded):
        for leaf in jax.tree.leaves(inputs):
            if isinstance(leaf, Texts):
                for column in filter(lambda column: column is not None, (leaf.first, leaf.second)):
                    digest.update(_digest(*column).encode())
            else:
                digest.update(f"{leaf.dtype} {leaf.shape}".encode())
                digest.update(np.ascontiguousarray(leaf))
        return digest.hexdigest()
    items = inputs.items  # images.Encoded: all are paths, or all the bytes of files
    if isinstance(items[0], bytes):
        digests = (hashlib.sha256(item).digest() for item in items)
    else:
        partly = sum(map(_size, items)) > LARGE
        chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
        with ThreadPoolExecutor(cores()) as pool:
            digests = pool.map(lambda chunk: b"".join(_digest_file(path, partly) for path in chunk), chunks)
    for each in digests:
        digest.update(each)
    return digest.hexdigest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _digest_file(path: Path, partly: bool) -> bytes:
    try:
        with open(path, "rb") as file:
            if not partly or (size := os.fstat(file.fileno()).st_size) <= 2 * END:
                return hashlib.file_digest(file, "sha256").digest()
            ends = file.read(END)
            file.seek(-END, os.SEEK_END)
            return hashlib.sha256(b"%d " % size + ends + file.read()).digest()
    except OSError:  # whoever decodes it tells what is wrong with it
        return b""


def of_texts(texts: dict) -> str:
    """SHA-256 of texts, name -> an array [N] of them."""
    return _digest(*(_digest(name, *texts[name]) for name in sorted(texts)))


def of_file(path: str) -> str:
    """SHA-256 of a file.

    Raises:
      ValueError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(map(repr, texts)).encode(errors="surrogatepass")).hexdigest()
