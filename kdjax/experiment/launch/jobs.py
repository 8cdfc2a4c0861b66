"""Which jobs an experiment needs, what a job does, and what has become of it."""

import contextlib
import os
import re
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from ml_collections import ConfigDict

from kdjax import config as configs
from kdjax import experiment
from kdjax.config import rows as configured
from kdjax.experiment.launch.record import Submitted
from kdjax.experiment.plan import missing, rows_of, run_path
from kdjax.find import chosen
from kdjax.runs.directory import Run
from kdjax.runs.schema import TEACHER
from kdjax.training import cohort, parallel, processes
from kdjax.training.method import Method

GRACE_SECONDS = 600.0
LEFT = "left to others"
TAIL_BYTES = 16384
"""So much of a log's end is searched for what a job said last."""


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

    @property
    def runs(self) -> tuple[tuple[int, str], ...]:
        """(seed, method) of every run that it is to finish."""
        if self.teacher_only:
            return ((self.config["teacher"]["seed"], TEACHER),)
        return tuple((seed, name) for seed in self.seeds for name in self.only)

    @property
    def experiment(self) -> Path:
        """Its directory."""
        return Path(self.root) / self.config["experiment"]

    @property
    def teachers(self) -> tuple[str, ...]:
        """The runs whose students teach the experiment; that which it trains itself, if it is of this experiment."""
        return _teachers(self.config["teacher"], self.experiment)

    @property
    def what(self) -> str:
        return TEACHER if self.teacher_only else f"seed {self.seeds[0]}: {', '.join(self.only)}"

    def __call__(self) -> None:
        """Runs what is missing. A signal stops it when every run has been checkpointed.

        The signal of the time limit (and of preemption, where the cluster announces it so) is then left to submitit,
        which requeues the job. After SIGTERM the job waits for its end: Slurm requeues a preempted job only if it has
        not ended by itself. What is wrong with the input is one line in the log.
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
            _leave(f"{LEFT}: {held}", os.EX_TEMPFAIL)
        except (ValueError, OSError) as error:
            _leave(str(error), 2)
        except cohort.Stopped as stopped:
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


def _leave(message: str, status: int):
    print(f"kdjax: {message}", flush=True)
    raise SystemExit(status)


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


def plan(
    config: ConfigDict, root, only, seeds, methods_per_job: int, covered=frozenset(), expected=frozenset()
) -> list[Job]:
    """The jobs for what is missing of an experiment: first that of its teacher if it must be trained, then the array.

    Everything is checked that can be checked without reading the data; the first job, and each one, checks the rest.
    `covered` are (seed, method) of runs, the teacher's among them, that jobs in the queue will make; `expected`, runs
    of other experiments' teachers that jobs will finish before those that are planned here begin.

    Raises:
      ValueError: something in the config or the directory is wrong.
    """
    config, root = configs.resolve(config), str(root)
    directory = Path(root) / config.experiment
    rows = rows_of(config, directory)
    seeds = tuple(seeds) or config.seeds
    unfinished = missing(config, directory, rows, (), seeds)
    names = chosen([row.name for row in rows], only)
    wanted = [(s, row) for s, row in unfinished if row.name in names and (s, row.name) not in covered]
    _check(config, list({row.name: row for _, row in wanted}.values()), expected)
    config.seeds = tuple(sorted({*config.seeds, *seeds}))  # what the table will have, said alike by every job
    jobs = []
    for seed in dict.fromkeys(seed for seed, _ in wanted):
        names = [row.name for s, row in wanted if s == seed]
        for group in _groups([row for s, row in unfinished if s == seed], names, methods_per_job):
            jobs.append(Job(config.to_dict(), root, tuple(group), (seed,)))
    if jobs and _trains_teacher(config, directory) and (config.teacher.seed, TEACHER) not in covered:
        names = tuple(dict.fromkeys(row.name for _, row in wanted))
        jobs.insert(0, Job(config.to_dict(), root, names, tuple({seed: None for seed, _ in wanted}), True))
    return jobs


def _trains_teacher(config: ConfigDict, directory: Path) -> bool:
    """Whether the experiment has a teacher of its own that is not finished."""
    spec = config.teacher
    if not spec.model or configs.origin(spec):
        return False
    return Run(run_path(directory, TEACHER, spec.seed)).result() is None


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


def _teachers(spec, directory: Path) -> tuple[str, ...]:
    if spec["run"]:
        return tuple(path.strip() for path in spec["run"].split("+"))
    own = spec["model"] and not spec["weights"]
    return (str(run_path(directory, TEACHER, spec["seed"])),) if own else ()


def _check(config: ConfigDict, rows: list[Method], expected=frozenset()) -> None:
    """Makes every model, loss and optimizer, for no matter how many classes and steps; looks for every file."""
    classes = steps = 10
    known = {"vocabulary": 10}
    for name, path in (("path", config.data.path), ("coarse_labels", config.data.coarse_labels)):
        if path and not Path(path).exists():
            raise ValueError(f"config.data.{name}: there is no {path!r} here; jobs look for it at the same place")
    if config.teacher.model:
        configured.build_model(config.teacher, classes, config.dtype, "config.teacher", known)
    for name in ("weights", "onnx", "outputs"):
        if config.teacher[name] and not Path(config.teacher[name]).exists():
            raise ValueError(f"config.teacher.{name}: there is no file {config.teacher[name]!r}")
    for path in filter(None, (path.strip() for path in config.teacher.run.split("+"))):
        if path not in expected:
            Run(Path(path)).finished()
    for row in rows:
        configured.stages(configured.with_model(row, config, classes, known), config, steps)


@dataclass(frozen=True)
class Submission:
    """What there is to do of an experiment."""

    directory: Path
    jobs: list[Job]  # to be submitted, that of its own teacher first
    waiting: list[Submitted]  # in the queue already


def submission(config: ConfigDict, root, only, seeds, size: int, waiting: list[Submitted], before) -> Submission:
    """That of an experiment, after those in `before`, whose jobs may train its teacher; the rest is as in `plan`."""
    covered = {run for at in waiting for run in at.runs}
    expected = {path for each in before for path in taught_by(each)}
    return Submission(Path(root) / config.experiment, plan(config, root, only, seeds, size, covered, expected), waiting)


def taught_by(each: Submission) -> dict[str, str]:
    """The run of an experiment's own teacher, if a job is to finish it -> the job's number, "" if it has none yet."""
    found = {path: "" for job in each.jobs if job.teacher_only for path in job.teachers}
    waiting = [(seed, job) for job in each.waiting if job.teacher for seed, _ in job.runs]
    return found | {str(run_path(each.directory, TEACHER, seed)): job.number for seed, job in waiting}


# ---- what has become of a job


@dataclass(frozen=True)
class Outcome:
    """What a job that has ended has done."""

    job: Submitted
    ok: bool  # every run that it was to finish has a result
    why: str = ""  # if not

    @property
    def left(self) -> bool:
        """Whether other processes are at work on what it has not done."""
        return self.why.startswith(LEFT)


def outcome(directory: Path, job: Submitted, ended: str) -> Outcome:
    """Whether a job has done what it was to, by its runs' results; `ended` is how its process or Slurm ended it."""
    lacking = [run for run in job.runs if Run(run_path(directory, run[1], run[0])).result() is None]
    return Outcome(
        job, not lacking, "" if not lacking else _said(Path(job.log)) or ended or "it left no result and no word"
    )


def _said(log: Path) -> str:
    """The last word of kdjax in a log, or the last exception; "" if there is neither."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        if match := re.match(r"kdjax: (?P<own>.+)|(?P<error>[A-Za-z_][\w.]*(?:Error|Exception)\b.*)", line):
            return match["own"] or match["error"]
    return ""


def report(outcomes: list[Outcome]) -> int:
    """Prints what is not done, with its log. Exit status: 0, 1 a job failed, 75 others are at work on the rest."""
    for each in outcomes:
        if not each.ok:
            log = f"\n  log: {each.job.log}" if Path(each.job.log).exists() else ""
            said = each.why if each.left or each.why.startswith("not started") else f"failed: {each.why}"
            print(f"job {each.job.job} ({each.job.what}) {said}{log}", file=sys.stderr)
    undone = [each for each in outcomes if not each.ok]
    if not undone:
        return 0
    return os.EX_TEMPFAIL if all(each.left for each in undone) else 1
