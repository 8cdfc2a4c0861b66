"""`kdjax clean`: what finished runs keep on disk and nothing needs any more.

A finished run needs its last checkpoint, with which it is predicted with, exported, and teaches; config.json,
metrics.jsonl, gradients.json, result.json and predictions.npz are what tables are made of. What goes are checkpoints
before the last, all of those of runs that have diverged, and what was half written when a process was killed. A run
that is unfinished keeps all, to be continued with, and one that another process holds is left alone.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from kdjax.files import size
from kdjax.runs import gather
from kdjax.runs.directory import Run, leftovers
from kdjax.runs.schema import damage
from kdjax.training import checkpoint


@dataclass(frozen=True)
class Spare:
    """What can go of one run."""

    run: Run
    what: str  # in words
    paths: list[Path]
    bytes: int


def find(directory) -> tuple[list[Spare], list[str]]:
    """(what can go, why some of it stays) of an experiment, or of all in a folder; nothing is touched.

    Raises:
      ValueError: the directory holds no experiments.
    """
    directory = Path(directory)
    folders = gather.experiments(directory) if gather.is_folder(directory) else [directory]
    found, said = [], []
    for folder in folders:
        for line in gather.gather(folder):
            run = Run(folder / line["run"])
            if run.path.is_dir():
                spare, why = _of_run(run)
                found += [spare] if spare else []
                said += [f"{run.path}: {why}"] if why else []
    return found, said


def remove(spare: Spare) -> str:
    """Removes it under the run's lock; "", or why it stays: it is looked at anew, as it may have changed."""
    holder = spare.run.lock.acquire()
    if holder:
        return f"{spare.run.path} is held by {holder}: left alone"
    try:
        again, why = _of_run(spare.run, mine=True)
        if again is None or set(again.paths) != set(spare.paths):
            return why or f"{spare.run.path} has changed meanwhile: left alone"
        for path in spare.paths:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    finally:
        spare.run.lock.release()
    return ""


def _of_run(run: Run, mine: bool = False) -> tuple[Spare | None, str]:
    """(what can go of a run, why it keeps what it would not need)."""
    result = run.result()
    if run.config() is None or result is None or damage(result):
        return None, ""
    if not mine and (holder := run.lock.holder()):
        return None, f"held by {holder}: left alone"
    numbers = checkpoint.numbers(run.checkpoints)
    older, words = numbers[:-1], "checkpoints before the last"
    if result["status"] == "diverged":
        older, words = numbers, "checkpoints of a run that has diverged"
    elif older and (problem := checkpoint.damage(run.checkpoints / str(numbers[-1]))):
        return None, f"its last checkpoint is damaged ({problem}): the others stay; the command that made it repairs it"
    half = [*leftovers(run.path), *(checkpoint.unfinished(run.checkpoints) if run.checkpoints.is_dir() else ())]
    paths = [*(run.checkpoints / str(number) for number in older), *half]
    if not paths:
        return None, ""
    parts = [f"{len(older)} {words}"] * bool(older) + [f"{len(half)} half written"] * bool(half)
    return Spare(run, ", ".join(parts), paths, sum(map(size, paths))), ""
