"""Jobs as processes of this machine."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace

from kdjax.experiment.launch.jobs import Job, Outcome, outcome
from kdjax.experiment.launch.record import Submitted
from kdjax.training import cohort


def run(submitit, jobs: list[Job], options: dict, stop_signal: Callable) -> list[Outcome]:
    """Runs the jobs as processes, those of teachers before those that they teach; says what has become of each.

    Raises:
      kdjax.training.cohort.Stopped: after a signal; every run has been checkpointed.
    """
    if options["array_parallelism"] < 1:
        raise ValueError("--launcher.array_parallelism must be at least 1")
    free = list(options["gpus"]) or [os.environ.get("CUDA_VISIBLE_DEVICES")] * options["array_parallelism"]
    ended, running, waiting = [], {}, list(jobs)  # running: submitit's job -> (the job, the GPUs that it has)
    while waiting or running:
        if stop_signal():
            _stop(running)
            raise cohort.Stopped(stop_signal())
        while free and (ready := _ready(waiting, [job for job, _ in running.values()])) is not None:
            job, gpus = waiting.pop(ready), free.pop(0)  # submitit hides all GPUs from local jobs
            with _keyboard_ignored():
                process = _executor(submitit, job).submit(replace(job, environment={"CUDA_VISIBLE_DEVICES": gpus}))
            running[process] = (job, gpus)
            print(f"{job.what}: {process.paths.stdout}", flush=True)
        time.sleep(0.1)
        for process in [process for process in running if process.done()]:
            job, gpus = running.pop(process)
            free.append(gpus)
            ended.append(outcome(job.experiment, _known(job, process), process.state))
            if job.teacher_only and not ended[-1].ok:
                lost = [each for each in waiting if {*each.teachers} & {*job.teachers}]
                ended += [Outcome(_known(each), False, "not started: the teacher's job failed") for each in lost]
                waiting = [each for each in waiting if each not in lost]
    return ended


def _ready(waiting: list[Job], running: list[Job]) -> int | None:
    """The place of the first job that no teacher is missing for; None without one."""
    missing = {path for job in (*waiting, *running) if job.teacher_only for path in job.teachers}
    return next((i for i, job in enumerate(waiting) if job.teacher_only or not missing & {*job.teachers}), None)


def _executor(submitit, job: Job):
    executor = submitit.LocalExecutor(job.experiment / "jobs")
    executor.update_parameters(timeout_min=60 * 24 * 365, stderr_to_stdout=True)
    return executor


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
