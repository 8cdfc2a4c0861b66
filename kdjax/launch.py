"""The runs of a table as jobs of a Slurm cluster, or as processes of this machine, through submitit.

A job trains methods of one seed, by default all of them: one teacher pass serves them all. The experiment's teacher is
a job of its own, which the others depend on. Methods that teach others, or that others begin from, stand in one job
with these. Jobs and a plain `kdjax run` write to the same directories, and leave to each other what is being trained.
"""

import contextlib
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ml_collections import ConfigDict

from kdjax import config as configs
from kdjax import experiment, parallel, processes, train
from kdjax import method as methods
from kdjax.find import nearest
from kdjax.method import Method
from kdjax.run import Run

LOCAL = {"methods_per_job": 0, "array_parallelism": 1, "gpus": ()}
"""Options of --launcher=local: at most so many methods in a job, 0 for all of a seed; jobs at a time; or the numbers
of GPUs, each of which has one job at a time to itself."""
SLURM = {"methods_per_job": 0, "max_num_timeout": 20, "time": 240, "gpus_per_node": 1, "cpus_per_task": 4}
"""Options of --launcher=slurm that are not submitit's or whose defaults differ: how often the time limit may end a job
and it continues; the time limit in minutes."""
NOT_OPTIONS = {"additional_parameters", "num_gpus", "stderr_to_stdout"}
"""Parameters of submitit that are set here, or obsolete."""
GRACE_SECONDS = 600.0


def main(launcher: str, config: ConfigDict, root, only, seeds, given, wait: bool, stop_signal: Callable):
    """Submits what is missing of an experiment and returns (exit status, the experiment's directory).

    Args:
      launcher: "slurm", or "local", which runs its jobs here and waits for them.
      config, root, only, seeds, stop_signal: as in `kdjax.experiment.run`.
      given: options of the launcher, ["--launcher.partition=gpu"].
      wait: return only when all jobs have ended.

    Raises:
      ValueError: the config, an option, or what this machine lacks; raised before anything is submitted.
      kdjax.train.Stopped: after a signal, when the jobs of this machine have been stopped.
    """
    submitit = _submitit(launcher)
    options = parse_options(launcher, given, submitit)
    directory = Path(root) / configs.resolve(config).experiment
    jobs = plan(config, root, only, seeds, options.pop("methods_per_job"))
    if not jobs:
        print(f"{directory}: everything is finished; table: kdjax table {directory}")
        return 0, directory
    if launcher == "local":
        return _report(_run_here(submitit, directory / "jobs", jobs, options, stop_signal)), directory
    submitted = _submit(submitit, directory / "jobs", jobs, options)
    _tell(directory, jobs, submitted)
    while wait and not all(job.done() for job in submitted):
        if stop_signal():
            print("kdjax: the jobs go on", file=sys.stderr)
            return 128 + stop_signal(), directory
        time.sleep(1.0)
    return _report(submitted) if wait else 0, directory


def _submitit(launcher: str):
    try:
        import submitit
    except ModuleNotFoundError as error:
        raise ValueError(f"--launcher={launcher} needs submitit: pip install submitit") from error
    return submitit


# ---- what a job does


@dataclass(frozen=True)
class Job:
    """Some runs of an experiment. submitit pickles it here and calls it there, after a requeue once more."""

    config: dict  # as resolved where it was submitted
    root: str
    only: tuple[str, ...]  # rows by their exact names
    seeds: tuple[int, ...]
    teacher_only: bool = False
    directory: str = field(default_factory=os.getcwd)
    import_paths: tuple[str, ...] = field(default_factory=lambda: tuple(sys.path))
    environment: dict[str, str | None] = field(default_factory=dict)  # variables to set, or with None to unset

    def __call__(self) -> None:
        """Runs what is missing. A signal stops it when every run has been checkpointed.

        The signal of the time limit (and of preemption, where the cluster announces it so) is then left to submitit,
        which requeues the job. After SIGTERM the job waits for its end: Slurm requeues a preempted job only if it has
        not ended by itself.
        """
        os.chdir(self.directory)
        sys.path.extend(path for path in self.import_paths if path not in sys.path)
        for name, value in self.environment.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        parallel.setup()
        processes.join("", 0, -1, self.config["execution"]["devices"])
        try:
            with _signals() as received:
                run = {"stop_signal": lambda: received[0] if received else 0, "teacher_only": self.teacher_only}
                experiment.run(self.config, self.root, self.only, self.seeds, exact=True, **run)
        except experiment.Held as held:
            print(f"left to others: {held}", flush=True)
        except train.Stopped as stopped:
            print(f"stopped by {stopped}, every run is checkpointed", flush=True)
            if stopped.signum != signal.SIGTERM:
                signal.raise_signal(stopped.signum)
            elif "SLURM_JOB_ID" in os.environ:
                time.sleep(GRACE_SECONDS)
            raise

    def checkpoint(self):
        """What submitit requeues: the same job, which continues its runs."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


@contextlib.contextmanager
def _signals():
    """Yields a list that gets the signals that ask to stop; afterwards submitit's handlers are back."""
    from submitit import JobEnvironment

    received, signums = [], (signal.SIGTERM, getattr(signal, f"SIG{JobEnvironment.USR_SIG}"))
    before = {s: signal.signal(s, lambda signum, _: received.append(signum)) for s in signums}
    try:
        yield received
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


# ---- which jobs there are


def plan(config: ConfigDict, root, only, seeds, methods_per_job: int) -> list[Job]:
    """The jobs for what is missing of an experiment: first that of its teacher if it must be trained, then the array.

    Everything is checked that can be checked without the data; the first job, and each one, checks the rest.

    Raises:
      ValueError: something in the config or the directory is wrong.
    """
    config, root = configs.resolve(config), str(root)
    directory = Path(root) / config.experiment
    rows = experiment.rows_of(config, directory)
    seeds = tuple(seeds) or config.seeds
    wanted = experiment.missing(config, directory, rows, only, seeds)
    unfinished = experiment.missing(config, directory, rows, (), seeds)
    _check(config, list({row.name: row for _, row in wanted}.values()))
    config.seeds = tuple(sorted({*config.seeds, *seeds}))  # what the table will have, said alike by every job
    jobs = []
    for seed in dict.fromkeys(seed for seed, _ in wanted):
        names = [row.name for s, row in wanted if s == seed]
        for group in _groups([row for s, row in unfinished if s == seed], names, methods_per_job):
            jobs.append(Job(config.to_dict(), root, tuple(group), (seed,)))
    if jobs and _trains_teacher(config, directory):
        names = tuple(dict.fromkeys(row.name for _, row in wanted))
        jobs.insert(0, Job(config.to_dict(), root, names, tuple({seed: None for seed, _ in wanted}), True))
    return jobs


def _trains_teacher(config: ConfigDict, directory: Path) -> bool:
    """Whether the experiment has a teacher of its own that is not finished."""
    spec = config.teacher
    if not spec.model or spec.run or spec.weights:
        return False
    return Run(experiment.run_path(directory, experiment.TEACHER, spec.seed)).result() is None


def _groups(unfinished: list[Method], wanted: list[str], size: int) -> list[list[str]]:
    """The wanted rows of a seed in groups of `size`, 0 for one group; rows that must wait for each other together."""
    families: list[set] = []
    for row in unfinished:
        family = {row.name, *row.sources} & {row.name for row in unfinished}
        touched = [other for other in families if other & family]
        families = [other for other in families if other not in touched] + [family.union(*touched)]
    order = [row.name for row in unfinished]
    groups: list[set] = [set()]
    for family in sorted(families, key=lambda family: min(map(order.index, family))):
        names = family & {*wanted}
        if size and groups[-1] and len(groups[-1]) + len(names) > size:
            groups.append(set())
        groups[-1] |= names
    return [[name for name in wanted if name in group] for group in groups if group]


def _check(config: ConfigDict, rows: list[Method]) -> None:
    """Makes every model, loss and optimizer, for no matter how many classes and steps."""
    classes = steps = 10
    if config.teacher.model:
        methods.build_model(config.teacher, classes, config.dtype, "config.teacher")
    if config.teacher.weights and not Path(config.teacher.weights).is_file():
        raise ValueError(f"config.teacher.weights: there is no file {config.teacher.weights!r}")
    for path in filter(None, (path.strip() for path in config.teacher.run.split("+"))):
        Run(Path(path)).finished()
    for row in rows:
        methods.stages(methods.with_model(row, config, classes), config, steps)


# ---- options


def parse_options(launcher: str, given: list[str], submitit) -> dict:
    """The options of a launcher, ["--launcher.time=2-00:00:00"], as {name: value} over the defaults.

    `--launcher.sbatch.name=value` of the slurm launcher is any option of sbatch, passed on as it is.

    Raises:
      ValueError: an unknown option (with the valid ones) or a value of another type.
    """
    options = dict(LOCAL if launcher == "local" else SLURM)
    valid = {*options} if launcher == "local" else {*options, *submitit.SlurmExecutor._valid_parameters()} - NOT_OPTIONS
    sbatch = {}
    for argument in given:
        name, equals, text = argument.removeprefix("--launcher.").partition("=")
        if not equals:
            raise ValueError(f"{argument}: options of the launcher have the form --launcher.name=value")
        if launcher == "slurm" and name.startswith("sbatch."):
            sbatch[name.removeprefix("sbatch.")] = text
        elif name in valid:
            options[name] = _value(name, text)
        else:
            more = "; --launcher.sbatch.name=value passes any option of sbatch on" if launcher == "slurm" else ""
            raise ValueError(f"--launcher.{name}: --launcher={launcher} has no such option{nearest(name, valid)}{more}")
    return {**options, "additional_parameters": sbatch} if launcher == "slurm" else options


COUNTS = ("methods_per_job", "array_parallelism", "max_num_timeout", "nodes", "ntasks_per_node", "cpus_per_task")
COUNTS += ("cpus_per_gpu", "gpus_per_node", "gpus_per_task", "signal_delay_s")


def _value(name: str, text: str):
    if name == "time":
        return _minutes(text)
    if name in COUNTS:
        if not text.isdecimal():
            raise ValueError(f"--launcher.{name} must be a whole number, got {text!r}")
        return int(text)
    if name == "gpus":
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if name in ("setup", "teardown"):
        return [text]
    if name == "srun_args":
        return shlex.split(text)
    return {"true": True, "false": False}.get(text.lower(), text)


def _minutes(text: str) -> int:
    """A time limit as Slurm writes it, 90 (minutes), 1:30:00 or 2-12:00:00, in whole minutes."""
    match = re.fullmatch(r"(\d+)|(?:(\d+)-)?(\d+):(\d\d):(\d\d)", text)
    if not match:
        raise ValueError(
            f"--launcher.time is minutes, hours:minutes:seconds or days-hours:minutes:seconds, got {text!r}"
        )
    minutes, days, hours, rest, seconds = (int(part or 0) for part in match.groups())
    return minutes + (24 * days + hours) * 60 + rest + (seconds > 0)


# ---- a cluster


def _submit(submitit, folder: Path, jobs: list[Job], options: dict) -> list:
    """Submits the jobs: all as an array, after the first one if that is the teacher's."""
    options = {"job_name": f"kdjax_{folder.parent.name}", **options, "stderr_to_stdout": True}
    try:
        executor = submitit.SlurmExecutor(folder, max_num_timeout=options.pop("max_num_timeout"))
    except RuntimeError as error:
        raise ValueError("--launcher=slurm: there is no srun here; submit where the cluster's commands are") from error
    executor.update_parameters(**options)
    try:
        if not jobs[0].teacher_only:
            return executor.submit_array(jobs)
        first = executor.submit(jobs[0])
        never = {**options["additional_parameters"], "kill-on-invalid-dep": "yes"}
        executor.update_parameters(dependency=f"afterok:{first.job_id}", additional_parameters=never)
        return [first, *executor.submit_array(jobs[1:])]
    except submitit.core.utils.FailedJobError as error:
        raise ValueError(f"sbatch refuses the jobs: {_last_line(str(error))}") from error


def _tell(directory: Path, jobs: list[Job], submitted: list) -> None:
    """Prints what was submitted, where its logs are and what to do next."""
    for job, at in zip(jobs, submitted, strict=True):
        print(f"job {at.job_id}  {_what(job)}")
    numbers = dict.fromkeys(at.job_id.partition("_")[0] for at in submitted)
    print(
        f"logs:   {directory}/jobs/<job>_0_log.out\n"
        f"watch:  squeue --jobs={','.join(numbers)}\n"
        f"stop:   scancel {' '.join(numbers)}\n"
        f"table:  kdjax table {directory}\n"
        "The same command submits what is missing then; what is being trained is left to the job that trains it."
    )


def _what(job: Job) -> str:
    return experiment.TEACHER if job.teacher_only else f"seed {job.seeds[0]}: {', '.join(job.only)}"


# ---- this machine


def _run_here(submitit, folder: Path, jobs: list[Job], options: dict, stop_signal: Callable) -> list:
    """Runs the jobs as processes, the teacher's before all others, and returns them when they have ended."""
    if options["array_parallelism"] < 1:
        raise ValueError("--launcher.array_parallelism must be at least 1")
    executor = submitit.LocalExecutor(folder)
    executor.update_parameters(timeout_min=60 * 24 * 365, stderr_to_stdout=True)
    free = list(options["gpus"]) or [os.environ.get("CUDA_VISIBLE_DEVICES")] * options["array_parallelism"]
    ended, running, waiting = [], {}, list(jobs)  # running: submitit's job -> the GPUs that it has
    while waiting or running:
        if stop_signal():
            _stop(running)
            raise train.Stopped(stop_signal())
        while waiting and free and not (running and jobs[0].teacher_only and not ended):
            gpus = free.pop(0)  # submitit hides all GPUs from local jobs
            with _keyboard_ignored():
                job = executor.submit(replace(waiting.pop(0), environment={"CUDA_VISIBLE_DEVICES": gpus}))
            running[job] = gpus
            print(f"{_what(jobs[len(jobs) - len(waiting) - 1])}: {job.paths.stdout}", flush=True)
        time.sleep(0.1)
        for job in [job for job in running if job.done()]:
            free.append(running.pop(job))
            ended.append(job)
            if jobs[0].teacher_only and job is ended[0] and job.exception() is not None:
                return ended
    return ended


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


def _report(ended: list) -> int:
    """Prints what failed, with its log; returns the exit status."""
    failed = [(job, error) for job in ended if (error := job.exception()) is not None]
    for job, error in failed:
        print(f"job {job.job_id} failed: {_last_line(str(error))}\n  log: {job.paths.stdout}", file=sys.stderr)
    return 1 if failed else 0


def _last_line(text: str) -> str:
    """The last line of an error's trace, which submitit frames with dashes; else of the text."""
    framed = re.search(r"-{10,}\n(.*?)\n-{10,}", text, re.DOTALL)
    return (framed[1] if framed else text).strip().rpartition("\n")[2]
