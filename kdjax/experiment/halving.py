"""Early stopping of trials: successive halving within each method, at stated epochs, by the validation split.

The rule is one for all methods, so that budgets stay equal: at the end of each stated epoch the better half of a
method's trials goes on, by their mean validation score over the seeds there, and trial 0, the config's own values, is
always among them; the others have no more epochs (Jamieson and Talwalkar 2016, arXiv:1502.07943, its rungs given).
Learning rates follow the schedule of all epochs from the beginning, so a trial that goes on is what it would have been
without a rung. What goes on depends on scores in metrics.jsonl alone: it is the same whenever it is asked for.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from kdjax.experiment.plan import run_path
from kdjax.runs.directory import Run
from kdjax.tasks.task import Task

LEAST = 2
"""Trials that go on at least: trial 0 and another, or there would be nothing to choose."""


def check(rungs: Sequence[int], trials: int, config: ConfigDict) -> None:
    """Raises a ValueError if these are no epochs of the config after which trials can be stopped."""
    if list(rungs) != sorted(set(rungs)) or any(not 0 < epoch < config.epochs for epoch in rungs):
        raise ValueError(
            f"--halve takes epochs in rising order, above 0 and below config.epochs, {config.epochs}: the last is for "
            f"those that go on; got {', '.join(map(str, rungs))}"
        )
    every = config.eval_every_epochs
    if blind := [epoch for epoch in rungs if epoch % every]:
        raise ValueError(
            f"--halve={blind[0]}: trials have a validation score every {every} epochs (config.eval_every_epochs); give "
            f"a multiple of {every}"
        )
    for epoch, before, after in zip(rungs, (trials, *kept(trials, rungs)), kept(trials, rungs), strict=False):
        if after == before:
            raise ValueError(
                f"--halve={epoch} stops none of the {before} trials of a method that there are: at least {LEAST} go "
                "on; leave that epoch out, or give more --trials"
            )


def kept(trials: int, rungs: Sequence[int]) -> list[int]:
    """How many of a method's trials go on after each rung, at most: those that diverge leave their place empty."""
    numbers = []
    for _ in rungs:
        trials = min(trials, max(LEAST, math.ceil(trials / 2)))
        numbers.append(trials)
    return numbers


def going_on(means: Mapping[int, float | None], most: int, higher_is_better: bool) -> list[int]:
    """The numbers of the trials that go on, trial 0 first: of equal ones the first; none that diverged but trial 0.

    Args:
      means: number -> mean validation score at the rung, None where the trial diverged with a seed.
    """
    sign = -1 if higher_is_better else 1
    known = [number for number, mean in means.items() if number and mean is not None]
    return [0, *sorted(sorted(known, key=lambda number: (sign * means[number], number))[: most - 1])]


def stopped(of_trial: Sequence[Sequence[Run]], task: Task, rungs: Sequence[int]) -> dict[int, int]:
    """Number -> the epoch at whose end a trial was stopped, of those of a method that were.

    Args:
      of_trial: the runs of each of its trials, one a seed, which have come to the last of `rungs` or diverged before.
    """
    alive, found = list(range(len(of_trial))), {}
    for epoch, most in zip(rungs, kept(len(of_trial), rungs), strict=True):
        means = {number: mean([score(run, task, epoch) for run in of_trial[number]]) for number in alive}
        on = going_on(means, most, task.higher_is_better)
        found |= {number: epoch for number in alive if number not in on}
        alive = on
    return found


def score(run: Run, task: Task, epoch: int) -> float | None:
    """The primary score of a run on the validation split at the end of an epoch; None if it diverged before."""
    return next((row.get(f"validation_{task.primary}") for row in run.history() if row["epoch"] == epoch), None)


def mean(scores: Sequence[float | None]) -> float | None:
    return None if None in scores else sum(scores) / len(scores)


def runs(directory: Path, rows: Sequence[str], seeds: Sequence[int]) -> list[list[Run]]:
    """The runs of each of these rows, one a seed."""
    return [[Run(run_path(directory, row, seed)) for seed in seeds] for row in rows]
