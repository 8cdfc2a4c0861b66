"""Orbax save and restore of what a run needs to continue with the same bits."""

import logging
import shutil
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax reports every file it writes


def save(directory: Path, number: int, tree, keep: int = 2) -> None:
    """Writes `tree` to directory/<number>, whole or not at all, and removes all but the newest `keep`."""
    directory = Path(directory).absolute()
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(directory / str(number), tree, force=True)
    for old in numbers(directory)[:-keep]:
        shutil.rmtree(directory / str(old), ignore_errors=True)


def numbers(directory: Path) -> list[int]:
    """The finished checkpoints here, oldest first."""
    directory = Path(directory)
    return sorted(int(p.name) for p in directory.iterdir() if p.name.isdigit()) if directory.is_dir() else []


def restore(directory: Path, like):
    """The newest checkpoint as a tree of the structure, shapes, dtypes and devices of `like`; None if there is none."""
    for number in reversed(numbers(directory)):
        with ocp.StandardCheckpointer() as checkpointer:
            return checkpointer.restore(Path(directory).absolute() / str(number), like)
    return None


def student(directory: Path) -> dict:
    """The variables of the student in the newest checkpoint of a run, as host arrays.

    Raises:
      ValueError: there is no checkpoint.
    """
    found = numbers(directory)
    if not found:
        raise ValueError(f"{directory} holds no checkpoint")
    path = Path(directory).absolute() / str(found[-1])
    with ocp.PyTreeCheckpointer() as checkpointer:
        saved = checkpointer.metadata(path).item_metadata.tree["state"]
        stats = {name: {"student": tree["student"]} for name, tree in saved["stats"].items() if "student" in tree}
        wanted = {"state": {"params": {"student": saved["params"]["student"]}, "stats": stats}}
        wanted = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), wanted)
        arrays = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
        arguments = ocp.args.PyTreeRestore(item=wanted, restore_args=arrays, partial_restore=True)
        state = checkpointer.restore(path, args=arguments)["state"]
    return {"params": state["params"]["student"], **{name: tree["student"] for name, tree in state["stats"].items()}}
