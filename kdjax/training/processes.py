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

PATIENCE = 60
"""Seconds that a process which ends waits for the others; then those that still wait for it are ended, too."""


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
        jax.distributed.initialize(*arguments, shutdown_timeout_seconds=PATIENCE)
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
    """What `decide()`, a value that JSON can hold, returns in the first process; an error in it is one in all."""
    if alone():
        return decide()
    told, error = {}, None
    if first():
        try:
            told = {"value": decide()}
        except Exception as problem:
            told, error = _told(problem), problem
    told = json.loads(_broadcast(json.dumps(told).encode()))
    if "kind" in told:
        raise error or _error(told, 0)
    return told["value"]


def together(act: Callable):
    """What `act()` returns in this process; an error in one of them is one in all.

    For what each process does by itself and may fail at alone, as reading its disk; `act` asks no other process.
    """
    if alone():
        return act()
    value, error = None, None
    try:
        value = act()
    except Exception as problem:
        error = problem
    told = json.dumps(_told(error) if error else {}).encode()
    size = int(agree([len(told)]).max())
    said = multihost_utils.process_allgather(np.frombuffer(told.ljust(size), np.uint8))
    failed = [(n, told) for n, told in enumerate(json.loads(bytes(row)) for row in np.asarray(said)) if told]
    if failed:
        number, told = failed[0]
        raise error or _error(told, number)
    return value


def _told(error: Exception) -> dict:
    """An error as the other processes are told of it."""
    kind = next((kind for kind in (OSError, ValueError) if isinstance(error, kind)), RuntimeError)
    whole = kind is OSError and error.errno is not None
    arguments = [error.errno, error.strerror, str(error.filename)] if whole else [str(error)]
    return {"kind": kind.__name__, "type": type(error).__name__, "arguments": arguments}


def _error(told: dict, process: int) -> Exception:
    """The error of another process, here."""
    if told["kind"] == "OSError":
        return OSError(*told["arguments"])
    if told["kind"] == "ValueError":
        return ValueError(*told["arguments"])
    return RuntimeError(f"process {process}: {told['type']}: {told['arguments'][0]}")


def _broadcast(content: bytes) -> bytes:
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    padded = np.frombuffer(content.ljust(size)[:size], np.uint8)
    return bytes(np.asarray(multihost_utils.broadcast_one_to_all(padded), np.uint8))
