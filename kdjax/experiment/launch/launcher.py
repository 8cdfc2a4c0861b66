"""What `kdjax run --launcher` does."""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

from ml_collections import ConfigDict

from kdjax import config as configs
from kdjax.config import pairs as of_pairs
from kdjax.experiment import pairs
from kdjax.experiment.lab import named
from kdjax.experiment.launch import local, slurm
from kdjax.experiment.launch.jobs import Submission, report, submission
from kdjax.experiment.launch.options import parse


def main(
    launcher: str, config: ConfigDict, root, only, seeds, given, wait: bool, stop_signal: Callable, pair_names=()
) -> tuple[int, list[Path]]:
    """Submits what is missing of an experiment, or those of config.pairs: (exit status, their directories).

    The status is 0 when jobs were submitted or everything is finished; of jobs that were waited for, 0 when every run
    that was asked for has a result, 75 when some were left to other processes, 1 when a job failed. Of several
    experiments each teacher is one job, and whom it teaches, in whichever of them, waits for it; all are submitted, or
    none.

    Args:
      launcher: "slurm", or "local", which runs its jobs here and waits for them.
      config, root, only, seeds, stop_signal: as in `kdjax.experiment.run`; pair_names: those of config.pairs, () for
        all.
      given: options of the launcher, ["--launcher.partition=gpu"].
      wait: return only when all jobs have ended.

    Raises:
      ValueError: the config, an option, or what this machine lacks; raised before anything is submitted.
      kdjax.training.cohort.Stopped: after a signal, when the jobs of this machine have been stopped.
    """
    submitit = _submitit(launcher)
    options = parse(launcher, given, submitit)
    found, several = of_pairs.experiments(config, pair_names), bool(configs.resolve(config).pairs)
    directories = [Path(root) / each.experiment for each in found]
    chosen = (only, seeds, options.pop("methods_per_job"))
    planned = _planned(launcher, pairs.in_order(found, root) if several else found, root, *chosen)
    jobs = [job for each in planned for job in each.jobs]
    queued = [job for each in planned for job in each.waiting]
    if not jobs and not queued:
        shown = " ".join(map(str, directories))
        print(f"{shown}: everything is finished; {'grid: kdjax grid' if several else 'table: kdjax table'} {shown}")
        return 0, directories
    if launcher == "local":
        return report(local.run(submitit, jobs, options, stop_signal)), directories
    submitted = slurm.submit(submitit, planned, options)
    slurm.tell(directories, submitted, queued)
    if not wait:
        return 0, directories
    outcomes = slurm.wait([*queued, *submitted], stop_signal)
    if outcomes is None:
        print("kdjax: the jobs go on", file=sys.stderr)
        return 128 + stop_signal(), directories
    return report(outcomes), directories


def _planned(launcher: str, experiments: list[ConfigDict], root, only, seeds, size: int) -> list[Submission]:
    """What there is to do of each, those that train a teacher of others first."""
    planned = []
    for each in experiments:
        with named(each.experiment) if len(experiments) > 1 else contextlib.nullcontext():
            waiting = slurm.queued(Path(root) / each.experiment) if launcher == "slurm" else []
            planned.append(submission(each, root, only, seeds, size, waiting, planned))
    return planned


def _submitit(launcher: str):
    try:
        import submitit
    except ModuleNotFoundError as error:
        raise ValueError(f"--launcher={launcher} needs submitit: pip install submitit") from error
    return submitit
