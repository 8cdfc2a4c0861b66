"""Jobs of a Slurm cluster: submitted all or none, never twice, and followed to their end."""

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from kdjax.experiment.launch import record, scheduler
from kdjax.experiment.launch.jobs import Job, Outcome, Submission, outcome, taught_by
from kdjax.experiment.launch.record import Submitted

POLL_SECONDS = 5.0
LATE_SECONDS = 20.0
"""So long a result may take to be seen here after its job has ended: network file systems keep what they have read."""
KEPT = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_TIME_FORMAT")
KILL_WAIT_SECONDS = 30
"""Slurm's own default of KillWait; with less a checkpoint may be cut off."""


def queued(directory: Path) -> list[Submitted]:
    """The jobs of an experiment that have been submitted and have not ended.

    Raises:
      ValueError: some have been submitted, and Slurm does not say what has become of them.
    """
    submitted = record.read(directory)
    if not submitted:
        return []
    live = scheduler.queue()
    if live is None:
        raise ValueError(
            f"squeue does not answer, and {len(submitted)} jobs of {directory} were submitted earlier: nothing is "
            f"submitted, so that none runs twice; if they are gone, remove {record.path(directory)}"
        )
    return [job for job in submitted if job.job in live]


# ---- submitting


def submit(submitit, experiments: list[Submission], options: dict) -> list[Submitted]:
    """Submits the jobs: all as arrays, after those of their teachers that are to be trained; or none of them.

    Args:
      experiments: those that train a teacher of others before these.
      options: as kdjax.experiment.launch.options.parse returns them.

    Raises:
      ValueError: sbatch refuses a job; what it had taken is cancelled.
    """
    experiments, known = [each for each in experiments if each.jobs], _numbers(experiments)
    if not experiments:
        return []
    settings, taken = scheduler.settings(), []
    _warn(settings)
    largest = settings.get("MaxArraySize", 1001)
    arrays = sum(len(_arrays(each.jobs, largest)) for each in experiments)
    options = {**options, "array_parallelism": max(1, options.get("array_parallelism", 256) // max(1, arrays))}
    before = _files(experiments)
    try:
        with _outside_of_jobs():
            for each in experiments:
                for some in _submit(submitit, each, known, options, largest):
                    record.add(each.directory, some)
                    taken += some
    except submitit.core.utils.FailedJobError as error:
        scheduler.cancel(job.number for job in taken)
        _remove(_files(experiments) - before)
        raise ValueError(f"sbatch refuses the jobs: {_refusal(str(error), options)}{_cancelled(taken)}") from error
    return taken


def _numbers(experiments: list[Submission]) -> dict[str, str]:
    """The run of a teacher -> the number of the job that is in the queue for it."""
    return {path: number for each in experiments for path, number in taught_by(each).items() if number}


def _arrays(jobs: list[Job], largest: int) -> list[list[Job]]:
    """The jobs but the teacher's, in arrays of at most `largest`."""
    rest = [job for job in jobs if not job.teacher_only]
    return [rest[start : start + largest] for start in range(0, len(rest), largest)]


def _files(experiments: list[Submission]) -> set[Path]:
    found = set()
    for directory in (each.directory for each in experiments):
        found |= {directory.parent, directory, directory / "jobs", *directory.glob("jobs/*")}
    return {path for path in found if path.exists()}


def _remove(paths: set[Path]) -> None:
    """Removes what was made for jobs that are not there: files, then the folders that held nothing else."""
    for path in sorted(paths, reverse=True):
        with contextlib.suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()


def _submit(submitit, each: Submission, known: dict, options: dict, largest: int) -> Iterator[list[Submitted]]:
    """Hands an experiment's jobs to sbatch and yields what it has taken, call by call; notes in `known` who teaches."""
    options = dict(options)
    of_teacher, make = options.pop("teacher"), _maker(submitit, each.directory / "jobs", options)
    for teacher in (job for job in each.jobs if job.teacher_only):
        taken = make(of_teacher).submit(teacher)
        yield [_submitted(teacher, taken)]
        known |= dict.fromkeys(teacher.teachers, taken.job_id)
    first = ":".join(known[path] for path in each.jobs[0].teachers if path in known)
    if first:
        options = _after(options, first)
    for array in _arrays(each.jobs, largest):
        yield [
            _submitted(job, taken, first) for job, taken in zip(array, make(options).submit_array(array), strict=True)
        ]


def _maker(submitit, folder: Path, options: dict) -> Callable:
    """make(options) -> an executor with them; takes from `options` what the executor itself is made with."""
    python, most = options.pop("python") or None, options.pop("max_num_timeout")

    def make(chosen: dict):
        try:
            executor = submitit.SlurmExecutor(folder, max_num_timeout=most, python=python)
        except RuntimeError as error:
            raise ValueError(
                "--launcher=slurm: there is no srun here; submit where the cluster's commands are"
            ) from error
        no_gpus = {"gpus_per_node"} if chosen.get("gpus_per_node") == 0 else set()
        named = {"job_name": f"kdjax_{folder.parent.name}", **chosen, "stderr_to_stdout": True}
        executor.update_parameters(**{name: value for name, value in named.items() if name not in no_gpus})
        return executor

    return make


def _after(options: dict, first: str) -> dict:
    """The options of jobs that begin when another one has succeeded, and leave the queue if it has not."""
    dependency = ",".join(filter(None, (options.get("dependency", ""), f"afterok:{first}")))
    never = {**options["additional_parameters"], "kill-on-invalid-dep": "yes"}
    return {**options, "dependency": dependency, "additional_parameters": never}


def _submitted(job: Job, taken, after: str = "") -> Submitted:
    return Submitted(taken.job_id, job.what, str(taken.paths.stdout), job.runs, job.teacher_only, after)


@contextlib.contextmanager
def _outside_of_jobs():
    """Without what Slurm tells the job in which this command runs: sbatch would hand it on to those submitted."""
    inside = ("SLURM_", "SRUN_", "PMI_", "PMIX_")
    hidden = {name: os.environ.pop(name) for name in [*os.environ] if name.startswith(inside) and name not in KEPT}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _warn(settings: dict[str, int]) -> None:
    kill = settings.get("KillWait", KILL_WAIT_SECONDS)
    if kill < KILL_WAIT_SECONDS:
        print(
            f"kdjax: this cluster kills a job {kill} s (KillWait) after it has told it to end: a preempted job whose "
            "checkpoint takes longer continues from the one before; see config.execution.checkpoint_seconds",
            file=sys.stderr,
        )


def _refusal(text: str, options: dict) -> str:
    """Why sbatch refuses, and what helps where that is known."""
    lines = [line.removeprefix("sbatch: error: ") for line in text.splitlines() if line.strip()]
    said = lines[-1].strip() if lines else "it does not say why"
    if "gres" in text.lower() and options.get("gpus_per_node"):
        said += "; on a cluster without GPUs: --launcher.gpus_per_node=0"
    return said


def _cancelled(taken: list[Submitted]) -> str:
    numbers = ", ".join(sorted({job.number for job in taken}))
    return f"; job {numbers}, which it had taken, is cancelled" if taken else ""


def tell(directories: list[Path], submitted: list[Submitted], waiting: list[Submitted]) -> None:
    """Prints what was submitted, what was there already, where the logs are and what to do next."""
    several = len(directories) > 1
    for job, there in [*((job, "") for job in submitted), *((job, " (submitted earlier)") for job in waiting)]:
        print(f"job {job.job}  {f'{job.directory.name}, ' * several}{job.what}{there}")
    numbers = list(dict.fromkeys(job.number for job in (*waiting, *submitted)))
    given = " ".join(map(str, directories))
    print(
        f"logs:   {directories[0].parent / '<experiment>' if several else given}/jobs/<job>_0_log.out\n"
        f"watch:  kdjax status {given}\n"
        f"stop:   scancel {' '.join(numbers)}\n"
        f"{'grid:   kdjax grid' if several else 'table:  kdjax table'} {given}\n"
        "The same command submits what is missing and not in the queue."
    )


# ---- waiting


def wait(jobs: list[Submitted], stop_signal: Callable) -> list[Outcome] | None:
    """Follows jobs until none is in the queue and says what has become of each; None after a signal.

    A job has ended when Slurm does not list it any more, twice in a row: a requeued one is listed again at once.
    Whether it has done what it was to do is seen in the directories of its runs.
    """
    gone, shown, silent = Counter(), "", False
    while not all(gone[job.job] >= 2 for job in jobs):
        if stop_signal():
            return None
        live = scheduler.queue()
        if live is None and not silent:
            print("kdjax: squeue does not answer; it is asked again", file=sys.stderr)
        silent = live is None
        if live is not None:
            _give_up([live.get(job.job) for job in jobs], jobs)
            gone = Counter({job.job: gone[job.job] + 1 for job in jobs if job.job not in live})
            if (now := progress(jobs, live)) != shown:
                print(shown := now, flush=True)
        _pause(stop_signal)
    return _outcomes(jobs)


def _pause(stop_signal: Callable) -> None:
    until = time.monotonic() + POLL_SECONDS
    while time.monotonic() < until and not stop_signal():
        time.sleep(0.1)


def _give_up(states, jobs: list[Submitted]) -> None:
    """Cancels what will never start, where the cluster leaves it in the queue."""
    never = [job.job for job, at in zip(jobs, states, strict=True) if at and at.reason == scheduler.NEVER]
    if never:
        scheduler.cancel(never)


def progress(jobs: list[Submitted], live: dict) -> str:
    """What the jobs do, "2 running, 3 pending (Priority), 1 ended"."""
    states = [live.get(job.job) for job in jobs]
    names = (f"{at.state.lower()} ({at.reason})" if at.state == "PENDING" else at.state.lower() for at in states if at)
    counts = sorted(Counter(names).items(), key=lambda item: (not item[0].startswith("running"), item[0]))
    over = [("ended", sum(at is None for at in states))] if None in states else []
    return ", ".join(f"{count} {name}" for name, count in [*counts, *over])


def _outcomes(jobs: list[Submitted]) -> list[Outcome]:
    until = time.monotonic() + LATE_SECONDS
    while True:
        found = [_outcome(job, jobs) for job in jobs]
        if all(each.ok for each in found) or time.monotonic() > until or _settled(found):
            return found
        time.sleep(1.0)


def _settled(outcomes: list[Outcome]) -> bool:
    """Whether all that have not done what they should say why: no result is on its way."""
    return all(each.ok or each.why != "COMPLETED" for each in outcomes)


def _outcome(job: Submitted, jobs: list[Submitted]) -> Outcome:
    awaited = [other for other in jobs if other.teacher and other != job]
    awaited = [other for other in awaited if not job.after or other.job in job.after.split(":")]
    if not Path(job.log).exists() and any(not outcome(other.directory, other, "").ok for other in awaited):
        return Outcome(job, False, "not started: the teacher's job failed")
    return outcome(job.directory, job, scheduler.ended(job.job))
