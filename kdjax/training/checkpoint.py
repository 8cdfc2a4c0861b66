"""Orbax save and restore of what a run needs to continue with the same bits, and the proof that it is whole.

A checkpoint is a directory: what Orbax writes, copies of the run's own files, and SHA256SUMS of them all, which
`sha256sum -c SHA256SUMS` checks too. It is written under another name and renamed when nothing is missing.
"""

import contextlib
import errno
import glob
import hashlib
import logging
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax reports every file it writes

SUMS = "SHA256SUMS"

_ONE_AT_A_TIME = threading.Lock()
"""Orbax numbers its operations per process: two threads that save at once take each other's for their own."""


def _alone() -> ocp.options.MultiprocessingOptions:
    """Orbax waits for no other process: one writes, each reads for itself."""
    own = jax.process_index()
    return ocp.options.MultiprocessingOptions(primary_host=own, active_processes={own})


@contextlib.contextmanager
def _plain(directory: Path) -> Iterator[Path]:
    """A directory by a name in which no character is a wildcard: Orbax looks for its own files by patterns of them.

    In "runs [v2]" it would not find what it has just written, in "a*b" it would find the files of "a1b" too.

    Raises:
      OSError: the folder for temporary files has such a name itself.
    """
    directory = Path(directory).absolute()
    if not glob.has_magic(str(directory)):
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="kdjax-") as folder:
        if glob.has_magic(folder):
            raise OSError(
                errno.EINVAL, "temporary files need a folder without *, ? and [ in its name; set TMPDIR", folder
            )
        link = Path(folder) / "checkpoints"
        link.symlink_to(directory, target_is_directory=True)
        yield link


def save(directory: Path, number: int, tree, files: dict[str, bytes], keep: int = 2) -> None:
    """Writes `tree` and `files` to directory/<number>, whole or not at all, and removes all but the newest `keep`.

    Raises:
      OSError: no space, no permission, ...; checkpoints that were there are as before.
    """
    directory = Path(directory).absolute()
    directory.mkdir(parents=True, exist_ok=True)
    part = f"{number}.tmp"
    try:
        with _plain(directory) as folder:
            _write(folder / part, tree, files)
        (directory / part).rename(directory / str(number))
    finally:
        for leftover in unfinished(directory):  # a full disk is not filled further
            if leftover.name.startswith(part):
                shutil.rmtree(leftover, ignore_errors=True)
    for old in numbers(directory)[:-keep]:
        shutil.rmtree(directory / str(old), ignore_errors=True)


def _write(path: Path, tree, files: dict[str, bytes]) -> None:
    try:
        with _ONE_AT_A_TIME, ocp.StandardCheckpointer(multiprocessing_options=_alone()) as checkpointer:
            checkpointer.save(path, jax.tree.map(_on_host, tree))
    except OSError:
        raise
    except Exception as error:  # tensorstore reports a full disk as a ValueError, for one
        known = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EIO)
        number = next((n for n in known if os.strerror(n) in str(error)), errno.EIO)
        raise OSError(number, f"{os.strerror(number)} (writing a checkpoint)", path.parent) from error
    for name, content in files.items():
        (path / name).write_bytes(content)
    lines = "".join(f"{digest}  {name}\n" for name, digest in _digests(path, sync=True).items())
    with open(path / SUMS, "w", encoding="utf-8") as file:
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())


def _digests(path: Path, sync: bool = False) -> dict[str, str]:
    """SHA-256 of every file below `path` but SUMS and hidden ones, which file managers and NFS leave behind.

    `sync` has their contents on the disk before it returns.
    """
    found = {}
    for file_path in sorted(p for p in path.rglob("[!.]*") if p.is_file() and p.name != SUMS):
        with open(file_path, "rb") as file:
            found[str(file_path.relative_to(path))] = hashlib.file_digest(file, "sha256").hexdigest()
            if sync:
                os.fsync(file.fileno())
    return found


def damage(path: Path) -> str:
    """What is wrong with a checkpoint: a file that is missing, changed or not its own, or it cannot be opened.

    "" if it is whole.
    """
    return _damaged_file(path) or _unreadable(path)


def _unreadable(path: Path) -> str:
    """Why Orbax cannot read a checkpoint whose files are as they were written; "" if it can."""
    try:
        with _plain(path.parent) as folder, _checkpointer() as checkpointer:
            checkpointer.restore(folder / path.name)
    except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
        return f"it cannot be opened: {str(error).splitlines()[0][:200]}"
    return ""


def _damaged_file(path: Path) -> str:
    try:
        lines = (path / SUMS).read_text("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return f"{SUMS} is missing"
    written = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    found = _digests(path)
    for name in sorted({*written, *found}):
        if name not in found:
            return f"{name or SUMS} is missing or empty"
        if name not in written:
            return f"{SUMS} does not know {name}"
        if written[name] != found[name]:
            return f"{name} has changed since it was written"
    return "" if found else "it is empty"


_NUMBER = re.compile(r"0|[1-9][0-9]*")
_UNFINISHED = re.compile(r"[0-9]+\.tmp.*")


def numbers(directory: Path) -> list[int]:
    """The checkpoints here, whole or not, oldest first; what others have put among them is none."""
    directory = Path(directory)
    if not directory.is_dir():
        return []
    return sorted(int(path.name) for path in directory.iterdir() if _NUMBER.fullmatch(path.name) and _own(path))


def _own(path: Path) -> bool:
    """Whether a directory is one that `save` has made: it holds something of what every checkpoint holds."""
    return any((path / name).exists() for name in (SUMS, "_METADATA", "_CHECKPOINT_METADATA"))


def unfinished(directory: Path) -> list[Path]:
    """What `save` has left half written: Orbax adds to the name while it writes."""
    return [path for path in directory.iterdir() if _UNFINISHED.fullmatch(path.name) and path.is_dir()]


def newest(directory: Path, say: Callable[[str], None]) -> int | None:
    """The newest whole checkpoint, or None; what is damaged or half written is removed, and `say` told of damage."""
    directory = Path(directory)
    for leftover in unfinished(directory) if directory.is_dir() else ():
        shutil.rmtree(leftover)
    for number in reversed(numbers(directory)):
        problem = damage(directory / str(number))
        if not problem:
            return number
        say(f"{directory / str(number)} is damaged ({problem}): removed")
        shutil.rmtree(directory / str(number))
    return None


def restore(directory: Path, number: int, like):
    """A checkpoint as a tree of the structure, shapes, dtypes and devices of `like`.

    Raises:
      ValueError: it holds another tree, that of another version of the code.
    """
    path = Path(directory).absolute() / str(number)
    try:
        with (
            _plain(directory) as folder,
            ocp.StandardCheckpointer(multiprocessing_options=_alone()) as checkpointer,
        ):
            saved = checkpointer.restore(folder / str(number), jax.tree.map(_empty, like))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is whole but holds another state than this version of the code makes; give config.experiment "
            f"another name or remove the run's directory ({str(error).splitlines()[0][:200]})"
        ) from error
    return jax.tree.map(_placed, saved, like)


def _is_key(leaf) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _on_host(leaf) -> np.ndarray:
    """A leaf as Orbax gets it, the same on any number of devices and processes."""
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _empty(like: jax.ShapeDtypeStruct) -> np.ndarray:
    shape = jax.eval_shape(jax.random.key_data, like) if _is_key(like) else like
    return np.empty(shape.shape, shape.dtype)


def _placed(leaf: np.ndarray, like: jax.ShapeDtypeStruct) -> jax.Array:
    return jax.device_put(jax.random.wrap_key_data(leaf) if _is_key(like) else leaf, like.sharding)


def student(directory: Path, fingerprint_: str = "") -> dict:
    """The variables of the student in the newest checkpoint of a run, as host arrays.

    Args:
      fingerprint_: what the run's result says of them; "" if it says nothing.

    Raises:
      ValueError: there is no checkpoint, it is damaged, or it is not the one that the result was measured with.
    """
    found = numbers(directory)
    if not found:
        raise ValueError(f"{directory} holds no checkpoint")
    path = Path(directory).absolute() / str(found[-1])
    problem = damage(path)
    if problem:
        raise ValueError(f"{path} is damaged: {problem}")
    variables = _student(path)
    if fingerprint_ and fingerprint(variables) != fingerprint_:
        raise ValueError(f"{path} is not the checkpoint that result.json was measured with: the last is missing")
    return variables


def _checkpointer() -> ocp.Checkpointer:
    """Reads trees of any structure."""
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=_alone())
    return ocp.Checkpointer(handler, multiprocessing_options=_alone())


def _student(path: Path) -> dict:
    with _plain(path.parent) as folder, _checkpointer() as checkpointer:
        path = folder / path.name
        saved = checkpointer.metadata(path).item_metadata.tree["state"]
        stats = {name: {"student": tree["student"]} for name, tree in saved["stats"].items() if "student" in tree}
        wanted = {"state": {"params": {"student": saved["params"]["student"]}, "stats": stats}}
        wanted = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), wanted)
        arrays = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
        arguments = ocp.args.PyTreeRestore(item=wanted, restore_args=arrays, partial_restore=True)
        state = checkpointer.restore(path, args=arguments)["state"]
    return {"params": state["params"]["student"], **{name: tree["student"] for name, tree in state["stats"].items()}}


def fingerprint(variables) -> str:
    """SHA-256 of a tree of arrays: their paths, types, shapes and bits."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
