"""Runs what is missing of an experiment: plans it, checks it, trains its teacher, then cohort after cohort."""

import itertools
import queue
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ml_collections import ConfigDict
from rich.console import Console

from kdjax import config as configs
from kdjax import data
from kdjax.experiment import checks
from kdjax.experiment.cohorts import Cohorts
from kdjax.experiment.lab import NO_CALLBACKS, Lab
from kdjax.experiment.plan import experiment_config, missing, rows_of
from kdjax.experiment.progress import Display
from kdjax.experiment.teachers import Diverged, Teacher, Teachers
from kdjax.files import write_json
from kdjax.runs import caution
from kdjax.training import parallel, processes
from kdjax.training.method import Method


class Held(Exception):
    """Other processes are at work on runs of this experiment; all others are finished."""

    def __init__(self, holders: dict[Path, str]):
        shown = ", ".join(f"{path} ({holder})" for path, holder in holders.items())
        super().__init__(f"{len(holders)} runs are being run elsewhere: {shown}")


def run(
    config: ConfigDict,
    root="runs",
    only=(),
    seeds=(),
    display=None,
    stop_signal: Callable = lambda: 0,
    exact=False,
    teacher_only=False,
    callbacks=NO_CALLBACKS,
    until=0,
) -> Path:
    """Runs what is missing of an experiment and returns its directory.

    Args:
      config: an experiment; fields that it lacks have the defaults of kdjax.config.
      root: the directory under which the experiment has its own.
      only: names of methods to run, () for all; `seeds`: likewise.
      display: where progress is shown.
      stop_signal: returns the number of a signal that asks to stop, or 0.
      exact: names in `only` do not stand for ablated rows.
      teacher_only: check all that is missing, but train no more than the experiment's teacher.
      callbacks: `kdjax.experiment.callbacks.Callbacks`, told of each step, epoch and finished run.
      until: the epoch at whose end runs are checkpointed and left, but those on which others depend; 0: none.

    Raises:
      ValueError: something in the config, the data or the directory is wrong; raised before any training.
      OSError: the directory cannot be written; what is finished is whole.
      kdjax.training.cohort.Stopped: after a signal, when every run has been checkpointed.
      Held: everything else is finished, but other processes are at work on some runs.
    """
    config = configs.resolve(config)
    if len(config.pairs):
        raise ValueError(f"config.pairs are {len(config.pairs)} experiments: kdjax.experiment.pairs.run runs them")
    directory, seeds = Path(root) / config.experiment, tuple(seeds) or config.seeds
    rows = rows_of(config, directory)
    by_name = {row.name: row for row in rows}

    def found():
        return [(seed, row.name) for seed, row in missing(config, directory, rows, only, seeds, exact, until)]

    wanted = [(seed, by_name[name]) for seed, name in processes.from_first(found)]

    def describe():
        described = experiment_config(config, rows, seeds)
        processes.from_first(lambda: write_json(directory / "config.json", described))

    if not wanted:
        describe()
        return directory
    with display or Display(None if processes.first() else Console(quiet=True)) as shown:
        lab = processes.together(lambda: Lab(config, directory, shown, _lasting(stop_signal), callbacks))
        planned = plan(lab, wanted, len(seeds))
        describe()  # not before everything is known to be right
        teachers = Teachers(lab, Cohorts(lab))
        teacher = teachers.own()
        held = {} if teacher_only else Training(lab, teachers, teacher, until).train(planned)
    if held:
        raise Held(held)
    return directory


def plan(lab: Lab, missing: list[tuple[int, Method]], seeds: int) -> dict:
    """{seed: methods} of the missing runs, everything about them checked; says what there is to do.

    Raises:
      ValueError: a method, a model or a size that cannot work.
    """
    checks.check_data(lab)
    rows = {row.name: lab.row(row.name) for _, row in missing}
    planned = {seed: [rows[row.name] for s, row in missing if s == seed] for seed in dict(missing)}
    lab.layout = parallel.layout(lab.config.execution.devices, seeds)
    arrays = data.subset(lab.dataset.train, lab.config.data, next(iter(planned)))
    lab.display.message(_described(lab, rows, len(arrays)))
    checks.check_rows(lab, rows, arrays)
    return planned


def _described(lab: Lab, rows, examples: int) -> str:
    held = len(lab.dataset.validation) if lab.dataset.validation is not None else 0
    kinds = "items" if lab.dataset.catalogue else "classes"
    classes = f"{lab.dataset.choices:,} {kinds}, " if lab.dataset.choices else ""
    return (
        f"{lab.config.experiment}: {lab.dataset.name}, {classes}students train on "
        f"{examples} {lab.kind.noun}, {held} validation, {len(lab.dataset.test)} test; "
        f"{len(rows)} methods to run on {parallel.describe()}"
    )


def _lasting(stop_signal: Callable) -> Callable:
    """`stop_signal` that keeps on saying what it once has said."""
    received = []

    def asked():
        if not received and (signum := stop_signal()):
            received.append(signum)
        return received[0] if received else 0

    return asked


class Training:
    """Trains planned runs, as many cohorts at a time as the layout has."""

    def __init__(self, lab: Lab, teachers: Teachers, teacher: Teacher | None, until: int = 0):
        self.lab, self.teachers, self.teacher, self.until = lab, teachers, teacher, until
        self.held = {}  # directories of runs that other processes are at work on -> who

    def train(self, planned: dict[int, list[Method]]) -> dict[Path, str]:
        """Trains all, but those that other processes hold: returns these."""
        lab = self.lab
        self._say_larger(planned)
        free, failures = queue.SimpleQueue(), []
        for places in lab.layout:
            free.put(places)

        def train_seed(item):
            places = free.get()
            try:
                self._seed(*item, places)
            except Exception as error:
                failures.append(error)
            finally:
                free.put(places)

        lab.display.together = len(lab.layout) > 1
        asked, lab.stop_signal = lab.stop_signal, lambda: asked() or (signal.SIGTERM if failures else 0)
        with ThreadPoolExecutor(len(lab.layout)) as pool:
            list(pool.map(train_seed, planned.items()))
        if failures:  # the others were stopped by the first, and are checkpointed
            raise failures[0]
        return self.held

    def _say_larger(self, planned) -> None:
        """Measures what students cost while nothing else computes here, and tells of those that are no smaller."""
        models = list(dict.fromkeys(row.model for row in itertools.chain(*planned.values())))
        costs = processes.from_first(lambda: [self.lab.cost(model, self.lab.sight) for model in models])
        larger = (caution.larger(own, self.teacher.measured if self.teacher else None) for own in costs)
        for said in dict.fromkeys(filter(None, larger)):
            self.lab.display.message(said)

    def _seed(self, seed: int, rows: list[Method], places) -> None:
        """Trains the planned runs of one seed."""
        lab, teachers, teacher = self.lab, self.teachers, self.teacher
        while rows:  # methods with the same teacher and batches train together, those that teach come first
            first = rows[0]
            shared = (first.teacher, first.start, first.data)
            group = [row for row in rows if (row.teacher, row.start, row.data) == shared]
            group = group[: lab.room(len(group))]
            rows = [row for row in rows if row not in group]
            try:
                if first.start:
                    teachers.source(first.start, seed, teacher, places)
                taught = teachers.of(first, seed, teacher, places) if first.teacher else teacher
            except Diverged as error:
                lab.display.message(f"seed {seed}, not trained: {', '.join(row.row for row in group)}: {error}")
                continue
            self.held |= teachers.cohorts.train(*lab.view(first, seed), group, seed, taught, places, until=self.until)
