"""Jobs as processes of this machine."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kdjax.experiment.launch.jobs import Job, Outcome, outcome
from kdjax.experiment.launch.record import Submitted
from kdjax.training import cohort


def run(submitit, directory: Path, jobs: list[Job], options: dict, stop_signal: Callable) -> list[Outcome]:
    """Runs the jobs as processes, the teacher's before all others, and says what has become of each.

    Raises:
      kdjax.training.cohort.Stopped: after a signal; every run has been checkpointed.
    """
    if options["array_parallelism"] < 1:
        raise ValueError("--launcher.array_parallelism must be at least 1")
    executor = submitit.LocalExecutor(directory / "jobs")
    executor.update_parameters(timeout_min=60 * 24 * 365, stderr_to_stdout=True)
    free = list(options["gpus"]) or [os.environ.get("CUDA_VISIBLE_DEVICES")] * options["array_parallelism"]
    ended, running, waiting = [], {}, list(jobs)  # running: submitit's job -> (the job, the GPUs that it has)
    while waiting or running:
        if stop_signal():
            _stop(running)
            raise cohort.Stopped(stop_signal())
        while waiting and free and not (running and jobs[0].teacher_only and not ended):
            job, gpus = waiting.pop(0), free.pop(0)  # submitit hides all GPUs from local jobs
            with _keyboard_ignored():
                process = executor.submit(replace(job, environment={"CUDA_VISIBLE_DEVICES": gpus}))
            running[process] = (job, gpus)
            print(f"{job.what}: {process.paths.stdout}", flush=True)
        time.sleep(0.1)
        for process in [process for process in running if process.done()]:
            job, gpus = running.pop(process)
            free.append(gpus)
            ended.append(outcome(directory, _known(job, process), process.state))
            if job.teacher_only and not ended[-1].ok:
                rest = [_known(each) for each in waiting]
                return [*ended, *(Outcome(each, False, "not started: the teacher's job failed") for each in rest)]
    return ended


def _known(job: Job, process=None) -> Submitted:
    number, log = (process.job_id, str(process.paths.stdout)) if process else ("-", "")
    return Submitted(number, job.what, log, job.runs, job.teacher_only)


@contextlib.contextmanager
def _keyboard_ignored():
    """Processes started inside do not get Ctrl-C: it stops this process, which stops them in order."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _stop(running) -> None:
    """Asks local jobs to checkpoint and end, and waits for that."""
    for job in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(job.job_id), signal.SIGTERM)  # submitit's controller passes it on
    while not all(job.done() for job in running):
        time.sleep(0.1)
