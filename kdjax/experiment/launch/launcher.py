"""What `kdjax run --launcher` does."""

import sys
from collections.abc import Callable
from pathlib import Path

from ml_collections import ConfigDict

from kdjax import config as configs
from kdjax.experiment.launch import local, slurm
from kdjax.experiment.launch.jobs import plan, report
from kdjax.experiment.launch.options import parse


def main(launcher: str, config: ConfigDict, root, only, seeds, given, wait: bool, stop_signal: Callable):
    """Submits what is missing of an experiment and returns (exit status, the experiment's directory).

    The status is 0 when jobs were submitted or everything is finished; of jobs that were waited for, 0 when every run
    that was asked for has a result, 75 when some were left to other processes, 1 when a job failed.

    Args:
      launcher: "slurm", or "local", which runs its jobs here and waits for them.
      config, root, only, seeds, stop_signal: as in `kdjax.experiment.run`.
      given: options of the launcher, ["--launcher.partition=gpu"].
      wait: return only when all jobs have ended.

    Raises:
      ValueError: the config, an option, or what this machine lacks; raised before anything is submitted.
      kdjax.training.cohort.Stopped: after a signal, when the jobs of this machine have been stopped.
    """
    submitit = _submitit(launcher)
    options = parse(launcher, given, submitit)
    directory = Path(root) / configs.resolve(config).experiment
    queued = slurm.queued(directory) if launcher == "slurm" else []
    jobs = plan(config, root, only, seeds, options.pop("methods_per_job"), {run for at in queued for run in at.runs})
    if not jobs and not queued:
        print(f"{directory}: everything is finished; table: kdjax table {directory}")
        return 0, directory
    if launcher == "local":
        return report(local.run(submitit, directory, jobs, options, stop_signal)), directory
    submitted = slurm.submit(submitit, directory, jobs, queued, options)
    slurm.tell(directory, submitted, queued)
    if not wait:
        return 0, directory
    outcomes = slurm.wait([*queued, *submitted], stop_signal)
    if outcomes is None:
        print("kdjax: the jobs go on", file=sys.stderr)
        return 128 + stop_signal(), directory
    return report(outcomes), directory


def _submitit(launcher: str):
    try:
        import submitit
    except ModuleNotFoundError as error:
        raise ValueError(f"--launcher={launcher} needs submitit: pip install submitit") from error
    return submitit
