"""Several processes, on one machine or many, that train one experiment together: what they agree on, and who writes.

Each runs the same program over its own devices and takes its share of every batch. The first one alone locks
directories and writes files; the others read them, so that all must see the same file system. In a process that is
alone everything here is trivial.
"""

import json
import os
from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils

SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")


def join(coordinator: str, processes: int, process: int, mode: str) -> None:
    """Joins the other processes, through `jax.distributed`; call before JAX starts.

    Without arguments, those of the same `srun` are joined when batches are to be split over devices; in other modes
    they need not know of each other, because the runs of an experiment have locks.

    Args:
      coordinator: host:port at which the first process can be reached; "" for none.
      processes: how many there are; 0 for none.
      process: the number of this one, from 0; -1 for none.
      mode: config.execution.devices.

    Raises:
      ValueError: not all or contradicting arguments, no coordinator at that address, or too few processes that come.
    """
    if not coordinator and processes == 0 and process < 0:
        if mode == "batch" and all(name in os.environ for name in SLURM) and int(os.environ["SLURM_NTASKS"]) > 1:
            _initialize("the tasks of this srun")
        return
    if not coordinator or ":" not in coordinator or not 0 <= process < processes:
        raise ValueError(
            "several processes need --coordinator=HOST:PORT of the first, the same --processes=N for all, and "
            f"--process=0 to N-1; got --coordinator={coordinator} --processes={processes} --process={process}"
        )
    if mode != "batch":
        raise ValueError(
            "--coordinator: several processes share batches, config.execution.devices='batch'; to share runs instead "
            f"(it is {mode!r}), start the same command as often as you like without --coordinator"
        )
    _initialize(f"--coordinator={coordinator}", coordinator, processes, process)


def _initialize(who: str, *arguments) -> None:
    # On the CPU programs run side by side, and their collectives would meet those of another program elsewhere.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    try:
        jax.distributed.initialize(*arguments)
    except RuntimeError as error:
        raise ValueError(f"{who}: the processes do not find each other: {str(error).splitlines()[0]}") from error


def first() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def alone() -> bool:
    return jax.process_count() == 1


def agree(values: list[int]) -> np.ndarray:
    """[processes, n] what each process says; returns when all have said it."""
    return np.asarray(multihost_utils.process_allgather(np.asarray(values, np.int32)))


def asked(stop_signal: int) -> int:
    """The number of a signal that any process was sent, or 0."""
    return stop_signal if alone() else int(agree([stop_signal]).max())


def from_first(decide: Callable):
    """What `decide()`, a value that JSON can hold, returns in the first process; a ValueError in it is one in all."""
    if alone():
        return decide()
    told, error = {}, None
    if first():
        try:
            told = {"value": decide()}
        except ValueError as problem:
            told, error = {"error": str(problem)}, problem
    told = json.loads(_broadcast(json.dumps(told).encode()))
    if "error" in told:
        raise error or ValueError(told["error"])
    return told["value"]


def _broadcast(content: bytes) -> bytes:
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    padded = np.frombuffer(content.ljust(size)[:size], np.uint8)
    return bytes(np.asarray(multihost_utils.broadcast_one_to_all(padded), np.uint8))
