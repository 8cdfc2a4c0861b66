"""An experiment: config -> data -> teacher -> cohorts -> results, each run in its own directory."""

import contextlib
import functools
import gc
import itertools
import json
import math
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict
from rich.console import Console

from kdjax import (
    caution,
    checkpoint,
    cost,
    data,
    gradients,
    identity,
    mappings,
    metrics,
    parallel,
    processes,
    shapes,
    streams,
)
from kdjax import config as configs
from kdjax import method as methods
from kdjax.data import augment
from kdjax.data.stream import Batches, Reader
from kdjax.evaluate import Evaluator
from kdjax.find import chosen
from kdjax.gather import damage
from kdjax.method import Method
from kdjax.models import compose, torch, weights
from kdjax.parallel import Place
from kdjax.progress import Display
from kdjax.provenance import revision, versions
from kdjax.run import Run, write_json
from kdjax.step import make_teach, student_variables
from kdjax.train import Cohort, Feed, Learner, Stopped, compile_program

TEACHER = "teacher"
"""The method name of the teacher's own run."""


def run(
    config: ConfigDict,
    root="runs",
    only=(),
    seeds=(),
    display=None,
    stop_signal: Callable = lambda: 0,
    exact=False,
    teacher_only=False,
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

    Raises:
      ValueError: something in the config, the data or the directory is wrong; raised before any training.
      OSError: the directory cannot be written; what is finished is whole.
      kdjax.train.Stopped: after a signal, when every run has been checkpointed.
      Held: everything else is finished, but other processes are at work on some runs.
    """
    config = configs.resolve(config)
    directory, seeds = Path(root) / config.experiment, tuple(seeds) or config.seeds
    rows = rows_of(config, directory)
    found = lambda: [(seed, row.name) for seed, row in missing(config, directory, rows, only, seeds, exact)]  # noqa: E731
    by_name = {row.name: row for row in rows}
    wanted = [(seed, by_name[name]) for seed, name in processes.from_first(found)]

    def describe():
        described = experiment_config(config, rows, seeds)
        processes.from_first(lambda: write_json(directory / "config.json", described))

    if not wanted:
        describe()
        return directory
    with display or Display(None if processes.first() else Console(quiet=True)) as shown:
        lab = processes.together(lambda: Lab(config, directory, shown, _lasting(stop_signal)))
        planned = lab.plan(wanted, len(seeds))
        describe()  # not before everything is known to be right
        lab.teacher() if teacher_only else lab.train(planned)
    if lab.held:
        raise Held(lab.held)
    return directory


def rows_of(config: ConfigDict, directory: Path) -> list[Method]:
    """The rows of an experiment under the names of their directories; see `method.expand`.

    Where an older version has left the directory of an ablated row, its name is the row's label as it stands.
    """
    rows = methods.expand(config)
    old = {
        row.name
        for row in rows
        if row.name != row.row and os.path.isdir(directory / row.row) and not (directory / row.name).exists()
    }
    return [replace(row, name=row.row) if row.name in old else row for row in rows]


def missing(config, directory, rows: list[Method], only, seeds, exact=False) -> list[tuple[int, Method]]:
    """(seed, row) of all runs that are not finished, in the order in which they are trained.

    Raises:
      ValueError: an unknown name in `only`, wrong seeds, or a directory that holds a run of another config.
    """
    configs.check_seeds(seeds, "--seeds")
    names = only if exact else chosen([row.name for row in rows], only)
    return [
        (seed, row)
        for seed in seeds
        for row in rows
        if row.name in names
        and not _finished(Run(run_path(directory, row.name, seed)), run_config(config, row, seed), _teaches(row, rows))
    ]


class Held(Exception):
    """Other processes are at work on runs of this experiment; all others are finished."""

    def __init__(self, holders: dict[Path, str]):
        shown = ", ".join(f"{path} ({holder})" for path, holder in holders.items())
        super().__init__(f"{len(holders)} runs are being run elsewhere: {shown}")


class Diverged(ValueError):
    """What teaches others has diverged, or its logits are not finite: they cannot be trained."""


def _lasting(stop_signal: Callable) -> Callable:
    """`stop_signal` that keeps on saying what it once has said."""
    received = []

    def asked():
        if not received and (signum := stop_signal()):
            received.append(signum)
        return received[0] if received else 0

    return asked


def run_path(directory: Path, method: str, seed: int) -> Path:
    return Path(directory) / method / f"seed{seed}"


def experiment_config(config: ConfigDict, rows: list[Method], seeds) -> dict:
    """What the experiment's own config.json says: the whole config and the rows that the table will have."""
    listed = [{"method": row.name, "row": row.row, "ablation": dict(row.ablation)} for row in rows]
    return {**configs.plain(config), "seeds": sorted({*config.seeds, *seeds}), "rows": listed}


def run_config(config: ConfigDict, method: Method, seed: int) -> dict:
    """What a run's config.json says: all that determines its result, and how it was executed."""
    config = methods.with_view(config, method)
    shared = {k: v for k, v in configs.plain(config).items() if k not in ("methods", "ablate", "seeds", "student")}
    own = {"method": method.name, "row": method.row, "ablation": dict(method.ablation), "seed": seed}
    return {**own, "spec": method.spec, "student": dict(method.model_config), **shared}


def _teaches(row: Method, rows: list[Method]) -> bool:
    return any(row.name in other.sources for other in rows)


def _finished(run: Run, config: dict, teaches: bool) -> bool:
    """Whether there is nothing left to do for a run; one that teaches needs its last checkpoint, whole, too.

    Raises:
      ValueError: a run of another config is in its place.
    """
    run.check(config)
    result = run.result()
    if run.config() is None or result is None or damage(result):
        return False
    if teaches and result["status"] == "done":
        try:
            checkpoint.student(run.checkpoints, result.get("student_sha256", ""))
        except ValueError:
            return False
    return True


@dataclass(frozen=True)
class Teacher:
    """A model that teaches, and what was measured of it here."""

    model: nn.Module
    variables: dict
    measured: dict  # {"model", "top1", "parameters", "flops", ...}
    sha256: str  # of its variables
    remarks: tuple[str, ...]  # what a reader of the numbers should know, a sentence each
    logits: np.ndarray  # [N, K] on the test split
    generation: int  # as a student, see `kdjax.streams`; -1 for what was trained as a teacher


class Lab:
    """What all runs of an experiment share while they run: data, evaluation, compiled programs, the teacher."""

    def __init__(self, config: ConfigDict, directory: Path, display: Display, stop_signal: Callable):
        self.config, self.directory, self.display, self.stop_signal = config, directory, display, stop_signal
        self.rows = {row.name: row for row in rows_of(config, directory)}
        self.dataset = data.load(config.data, in_memory=not config.execution.stream)
        self.image_shape = self.dataset.train.image.shape[1:]
        splits = {"test": self.dataset.test}
        if self.dataset.validation is not None:
            splits["validation"] = self.dataset.validation
        mean, std = config.data.mean, config.data.std
        self.evaluator = Evaluator(
            splits, functools.partial(augment.normalise, mean=mean, std=std), config.execution.eval_batch_size
        )
        self.layout = [()]  # for each cohort that is trained at the same time, its places
        self.made, self.making = {}, threading.RLock()  # what is compiled or measured once, by several threads
        self.teachers = {}
        self.held = {}  # directories of runs that other processes are at work on -> who

    def plan(self, missing: list[tuple[int, Method]], seeds: int) -> dict:
        """{seed: methods} of the missing runs, everything about them checked.

        Raises:
          ValueError: a method, a model or a size that cannot work.
        """
        self._check_data()
        rows = {row.name: self._row(row.name) for _, row in missing}
        planned = {seed: [rows[row.name] for s, row in missing if s == seed] for seed in dict(missing)}
        self.layout = parallel.layout(self.config.execution.devices, seeds)
        arrays = data.subset(self.dataset.train, self.config.data, next(iter(planned)))
        self.display.message(self._describe(rows, len(arrays)))
        self._check_all(rows, arrays)
        return planned

    def _check_data(self) -> None:
        """Raises a ValueError if a run of this experiment has seen other data than that of now."""
        for path in sorted(self.directory.glob("*/seed*")):
            identity.check_data(path, Run(path).config(), self.dataset.fingerprint)

    def _check_same_teacher(self, teacher: Teacher) -> Teacher:
        """The experiment's teacher, if all its runs that name the same were taught by the same weights.

        Raises:
          ValueError: there is another behind the path.
        """
        named = configs.plain(self.config.teacher)
        where = named["run"] or named["weights"] or str(run_path(self.directory, TEACHER, named["seed"]))
        for row in self.rows.values():
            for path in sorted((self.directory / row.name).glob("seed*")) if not row.teacher else ():
                stored = Run(path).config()
                if stored and configs.completed(stored).get("teacher") == named:
                    identity.check_teacher(path, stored, teacher.sha256, where)
        return teacher

    def train(self, planned: dict) -> None:
        """Trains the teacher if there is none, then the planned runs, cohort by cohort, but those held by others."""
        teacher = self.teacher()
        models = list(dict.fromkeys(row.model for row in itertools.chain(*planned.values())))
        costs = processes.from_first(lambda: [self.cost(model) for model in models])  # while nothing else computes here
        larger = (caution.larger(own, teacher.measured if teacher else None) for own in costs)
        for said in dict.fromkeys(filter(None, larger)):
            self.display.message(said)
        free, failures = queue.SimpleQueue(), []
        for places in self.layout:
            free.put(places)

        def train_seed(item):
            places = free.get()
            try:
                self._seed(*item, teacher, places)
            except Exception as error:
                failures.append(error)
            finally:
                free.put(places)

        self.display.together = len(self.layout) > 1
        asked, self.stop_signal = self.stop_signal, lambda: asked() or (signal.SIGTERM if failures else 0)
        with ThreadPoolExecutor(len(self.layout)) as pool:
            list(pool.map(train_seed, planned.items()))
        if failures:  # the others were stopped by the first, and are checkpointed
            raise failures[0]

    def _seed(self, seed: int, rows: list[Method], teacher: Teacher | None, places) -> None:
        """Trains the planned runs of one seed."""
        while rows:  # methods with the same teacher and batches train together, those that teach come first
            first = rows[0]
            shared = (first.teacher, first.start, first.data)
            group = [row for row in rows if (row.teacher, row.start, row.data) == shared]
            group = group[: self._room(len(group))]
            rows = [row for row in rows if row not in group]
            try:
                if first.start:
                    self._source(first.start, seed, teacher, places)
                taught = self.student_teacher(first, seed, teacher, places) if first.teacher else teacher
            except Diverged as error:
                self.display.message(f"seed {seed}, not trained: {', '.join(row.row for row in group)}: {error}")
                continue
            self.held |= self.cohort(*self._view(first, seed), group, seed, taught, places)

    def _room(self, methods: int) -> int:
        """How many of so many methods can train together: this process can hold their programs beside what it holds.

        Where there is no room for all, what is compiled is let go; cohorts that are at work keep theirs.
        """
        if mappings.room(len(self.layout)) < methods:
            with self.making:
                self.made = {key: made for key, made in self.made.items() if key[0] == "cost"}
            gc.collect()
        return processes.from_first(lambda: mappings.room(len(self.layout)))

    def _describe(self, rows, examples: int) -> str:
        held = len(self.dataset.validation.label) if self.dataset.validation is not None else 0
        return (
            f"{self.config.experiment}: {self.dataset.name}, {len(self.dataset.classes)} classes, students train on "
            f"{examples} images, {held} validation, {len(self.dataset.test.label)} test; "
            f"{len(rows)} methods to run on {parallel.describe()}"
        )

    # ---- teachers

    def teacher(self) -> Teacher | None:
        """The experiment's teacher: from weights, from another run, or trained here as a run of its own."""
        spec = self.config.teacher
        if spec.run:
            paths = [Path(path.strip()) for path in spec.run.split("+")]
            return self._check_same_teacher(self._from_runs(paths, "config.teacher.run"))
        if not spec.model:
            return None
        model = self._model(spec, "config.teacher")
        if spec.weights:
            with _named("config.teacher.weights"):
                variables = torch.load(spec.weights, model, self.image_shape)
                remarks = self._check_teaches(_described(spec.weights), spec.weights)
            return self._check_same_teacher(self.measure(model, variables, spec.model, 0, remarks))
        config = self._teacher_config()
        if spec.start:
            self.display.message(f"teacher {spec.model}: begins from {spec.start}, its classifier afresh")
        method = self._teacher_method(model)
        self._complete(config, self.dataset.train, method, spec.seed, lambda: None, self.layout[0])
        path = run_path(self.directory, TEACHER, spec.seed)
        return self._check_same_teacher(self._from_runs([path], "the teacher's run"))

    def _check_teaches(self, known: dict, where: str) -> list[str]:
        """What should be known of a teacher on these images; a ValueError if it cannot teach on them."""
        given = self.dataset.classes, self.image_shape, self.config.data.mean, self.config.data.std
        return identity.check_teaches(known, *given, where)

    def _stop_if_asked(self) -> None:
        if stop := processes.asked(self.stop_signal()):
            raise Stopped(stop)

    def _complete(self, config, arrays, row: Method, seed: int, teacher: Callable, places) -> None:
        """Returns when a run that teaches is finished; while another process is at work on it, waits.

        Raises:
          kdjax.train.Stopped: a signal came while waiting.
        """
        run, said = Run(run_path(self.directory, row.name, seed)), ""
        while not processes.from_first(lambda: _finished(run, run_config(config, row, seed), teaches=True)):
            held = self.cohort(config, arrays, [row], seed, teacher(), places, quiet=True)
            if held.get(run.path, said) != said:
                said = held[run.path]
                self.display.message(f"waiting for {run.path}, which teaches: held by {said}")
            self._stop_if_asked()
            if held:
                time.sleep(1.0)

    def _teacher_method(self, model: nn.Module) -> Method:
        spec = self.config.teacher
        made = {"model": spec.model, "kwargs": configs.plain(spec.kwargs)}
        return Method(TEACHER, TEACHER, {"cross_entropy": {"weight": 1.0}}, model, made)

    def _teacher_config(self) -> ConfigDict:
        """The experiment's config as the teacher's own run has it."""
        config = configs.resolve(self.config)  # a copy that keeps the order of augmentations
        config.optimizer = methods.override(config.optimizer, config.teacher.optimizer, "config.teacher.optimizer")
        config.epochs = config.teacher.epochs or config.epochs
        config.batch_size = config.teacher.batch_size or config.batch_size
        config.steps_per_epoch = 0
        config.data.update(shots=0, imbalance=0.0, unlabelled=False)  # these restrict what students see
        start, config.teacher = config.teacher.start, configs.default().teacher
        config.teacher.start = start
        return config

    def student_teacher(self, row: Method, seed: int, teacher: Teacher | None, places) -> Teacher:
        """What teaches a row: the students of `row.teachers` with this seed, several as an ensemble."""
        name = row.teacher
        if (name, seed) not in self.teachers:
            paths = [self._source(part, seed, teacher, places) for part in row.teachers]
            self.teachers[name, seed] = self._from_runs(paths, f"config.methods.{name}, a teacher of others")
        return self.teachers[name, seed]

    def _source(self, name: str, seed: int, teacher: Teacher | None, places) -> Path:
        """The finished run of a method that others depend on, trained here if it is missing.

        Raises:
          Diverged: it has no student to build on.
        """
        row = self._row(name)
        if row.start:
            self._source(row.start, seed, teacher, places)
        above = functools.partial(self.student_teacher, row, seed, teacher, places)
        self._complete(*self._view(row, seed), row, seed, above if row.teacher else lambda: teacher, places)
        path = run_path(self.directory, name, seed)
        if Run(path).result()["status"] == "diverged":
            raise Diverged(f"{path}, on which they depend, has diverged")
        return path

    def _from_runs(self, paths: list[Path], where: str) -> Teacher:
        """The students of finished runs as a teacher: one, or the ensemble of several."""
        members = [self._from_run(path, where) for path in paths]
        if len(members) == 1:
            return self.measure(*members[0])
        models, variables, names, generations, remarks = zip(*members, strict=True)
        name, remarks = f"ensemble of {' + '.join(names)}", dict.fromkeys(itertools.chain(*remarks))
        return self.measure(compose.Ensemble(models), compose.join(*variables), name, max(generations), remarks)

    def _from_run(self, path: Path, where: str) -> tuple[nn.Module, dict, str, int, list[str]]:
        """(model, variables, name, generation, remarks) of the student of a finished run."""
        run = Run(path)
        with _named(where):
            config, result = run.finished()
        normalised = {name: config["data"][name] for name in ("mean", "std")}
        known = {"classes": result["classes"], "image_shape": result.get("image_shape"), **normalised}
        with _named(where):
            remarks = self._check_teaches(known, path)
            model = self._stored_model(config, path)
            variables = checkpoint.student(run.checkpoints, result.get("student_sha256", ""))
            expected = flatten_dict(dict(self._shapes(model)[1]))
            weights.check_fit(path, flatten_dict(variables, sep="."), expected)
        return model, variables, config["student"]["model"], _generation(run), remarks

    def measure(self, model: nn.Module, variables: dict, name: str, generation: int, remarks=()) -> Teacher:
        """A teacher with its accuracy on the test split and its costs, measured and not believed.

        Raises:
          Diverged: its logits of an example of the test split are not finite.
        """
        place = self.layout[0][0]
        variables = place.put(variables)
        logits, means = self.evaluate(model)(variables, "test", place)
        example = first_not_finite(logits)
        if example is not None:
            raise Diverged(
                f"teacher {name}: its logits of example {example} of the test split are not finite, so it teaches "
                "nothing; look at that image, and whether the network can divide by 0 or overflow in evaluation mode"
            )
        self.display.message(f"teacher {name}: {100 * means['top1']:.2f} % on the test split")
        for remark in remarks:
            self.display.message(f"teacher {name}: {remark}")
        report = metrics.report(logits, self.dataset.test.label)
        scores = {"top1": means["top1"], **{key: report[key] for key in ("precision", "recall", "f1", "nll", "ece")}}
        measured = {"model": name, **scores, **self.cost(model)}
        return Teacher(
            model, variables, measured, checkpoint.fingerprint(variables), tuple(remarks), logits, generation
        )

    # ---- cohorts

    def _view(self, row: Method, seed: int) -> tuple[ConfigDict, data.Arrays]:
        """The config as a method has it, and the training images that its student sees."""
        config = methods.with_view(self.config, row)
        return config, data.subset(self.dataset.train, config.data, seed)

    def cohort(
        self, config, arrays, rows: list[Method], seed: int, teacher: Teacher | None, places, quiet=False
    ) -> dict:
        """Trains some methods of one seed together, with the given training images, their students at `places`.

        Returns:
          {directory: holder} of the runs that other processes are at work on: they are left alone, and said so.
        """
        self._stop_if_asked()
        held = {}
        with contextlib.ExitStack() as locks:
            learners = []
            for row in rows:
                run = Run(run_path(self.directory, row.name, seed))
                described = run_config(config, row, seed)
                described |= {"identity": self._identity(described, row, seed, teacher), "flags": parallel.flags()}
                take = functools.partial(self._take, run, described, locks)
                holder, missing = processes.from_first(take)
                if holder:
                    held[run.path] = holder
                elif missing:
                    place = places[len(learners) % len(places)]
                    learners.append(self._learner(config, row, run, seed, place, arrays, teacher))
            for path, holder in held.items() if not quiet else ():
                self.display.message(f"{path} is held by {holder}: left to it")
            if learners:
                self._train(config, learners, seed, arrays, teacher, places[0])
        return held

    def _identity(self, config: dict, row: Method, seed: int, teacher: Teacher | None) -> dict:
        """What makes a run this run besides its config."""
        start = ""
        if row.start:
            start = (Run(run_path(self.directory, row.start, seed)).result() or {}).get("student_sha256", "")
        elif row.name == TEACHER and self.config.teacher.start:
            with _named("config.teacher.start"):
                start = self._once(lambda: identity.of_file(self.config.teacher.start), "start")
        return identity.of_run(config, self.dataset.fingerprint, teacher.sha256 if teacher else "", start)

    def _take(self, run: Run, config: dict, locks: contextlib.ExitStack) -> tuple[str, bool]:
        """Locks a run and begins it: (who else holds it or "", whether it was missing)."""
        run.path.mkdir(parents=True, exist_ok=True)
        holder = run.lock.acquire()
        if holder:
            return holder, False
        locks.callback(run.lock.release)
        return "", self._begin(run, config)

    def _begin(self, run: Run, config: dict) -> bool:
        """Takes up a run that this process holds, or tells that it is finished."""
        row = self.rows.get(config["method"])
        if _finished(run, config, teaches=row is None or _teaches(row, list(self.rows.values()))):
            return False
        if (stored := run.config()) is not None:
            run.check(config)
            identity.check_continued(run.path, stored, config["identity"], self.display.message)
        number = checkpoint.newest(run.checkpoints, self.display.message)
        run.begin(config, run.checkpoints / str(number) if number is not None else None, self.display.message)
        return True

    def _train(self, config, learners: list[Learner], seed: int, arrays, teacher: Teacher | None, place: Place) -> None:
        images = self._images(config, seed, learners[0].prefix, arrays, place)
        feed = self._feed(config, seed, learners[0].prefix, arrays, images, place)
        what = TEACHER if learners[0].program.method.name == TEACHER else f"seed {seed}"
        self.display.start(what, self._steps(learners, feed, config))

        def on_epoch(learner, losses):
            learner.diverged = processes.from_first(lambda: self._on_epoch(config, learner, losses))

        def on_finish(learner):
            processes.from_first(lambda: self._on_finish(config, arrays, teacher, learner))

        def on_main(learners, batch, taught):
            processes.from_first(lambda: self._on_main(feed, variables, learners, batch, taught))

        variables = place.put(teacher.variables) if teacher else None
        cohort = Cohort(
            feed=feed,
            teach=self.teach(teacher.model, place) if teacher else lambda variables, image: None,
            teacher_variables=variables,
            epochs=config.epochs,
            checkpoint_seconds=config.execution.checkpoint_seconds,
            on_epoch=on_epoch,
            on_finish=on_finish,
            on_step=functools.partial(self._on_step, config),
            on_main=on_main,
            stop_signal=self.stop_signal,
        )
        with contextlib.closing(images) if isinstance(images, Reader) else contextlib.nullcontext():
            cohort.train(learners)

    def _learner(self, config, row: Method, run: Run, seed: int, place: Place, arrays, teacher) -> Learner:
        def make():
            stages = methods.stages(row, config, self._steps_per_epoch(config, arrays))
            return compile_program(row, stages, self.evaluate(row.model), place)

        learner = Learner(self._once(make, "program", row.name, place.compiled_for), run, seed, place)
        learner.prefix = streams.TEACHER if row.name == TEACHER else ""
        generations = [teacher.generation] if teacher else []
        if row.name == TEACHER and config.teacher.start:
            with _named("config.teacher.start"):
                learner.start = torch.load_body(config.teacher.start, row.model, self.image_shape)
        if row.start:
            source = Run(run_path(self.directory, row.start, seed))
            learner.start = checkpoint.student(source.checkpoints, source.result().get("student_sha256", ""))
            generations.append(_generation(source))
        learner.generation = max(generations, default=-1) + 1
        return learner

    def _images(self, config, seed, prefix, arrays, place: Place) -> jax.Array | Reader:
        """The training images on the devices of a place, or what reads this process's share of them from disk."""
        if not config.execution.stream:
            return place.put(arrays.image)
        batches = Batches(
            image=arrays.image,
            batch_size=config.batch_size,
            steps=self._steps_per_epoch(config, arrays),
            seed=seed,
            prefix=prefix,
            last=len(arrays.label) % config.batch_size if self._keeps_last(config, arrays) else 0,
            parts=place.parts,
            first=place.first,
            held=len(place.devices) if place.parts > 1 else 1,
        )
        return Reader(batches, config.epochs * batches.steps, config.execution.workers)

    def _feed(self, config, seed, prefix, arrays, images, place: Place) -> Feed:
        return Feed(
            seed=seed,
            prefix=prefix,
            place=place,
            images=images,
            labels=place.put(arrays.label),
            steps=self._steps_per_epoch(config, arrays),
            batch_size=config.batch_size,
            prepare=self._prepare(config, place),
            keep_last_batch=self._keeps_last(config, arrays),
            steps_per_call=parallel.steps_per_call(config.execution.steps_per_call),
        )

    def _prepare(self, config, place: Place) -> Callable:
        """The compiled augmentation, made once for all seeds and methods that have the same."""

        def make():
            return parallel.compile_prepare(self._augmentation(config), place, streamed=config.execution.stream)

        return self._once(make, "prepare", json.dumps(configs.plain(config.data.augment)), place.compiled_for)

    def _augmentation(self, config) -> Callable:
        spec = configs.plain(config.data.augment)
        return augment.compose(spec, config.data.mean, config.data.std, len(self.dataset.classes))

    def _steps_per_epoch(self, config, arrays) -> int:
        examples = len(arrays.label)
        if config.steps_per_epoch:
            return config.steps_per_epoch
        if examples < config.batch_size:
            raise ValueError(
                f"config.batch_size {config.batch_size} is larger than the {examples} training images: "
                f"set it to at most {examples}, or set config.steps_per_epoch"
            )
        return examples // config.batch_size + self._keeps_last(config, arrays)

    def steps(self, row: Method, seed: int) -> int:
        """The steps of a method's run, those of its first stage included."""
        config, arrays = self._view(row, seed)
        return (config.epochs - row.first_epoch) * self._steps_per_epoch(config, arrays)

    def teacher_steps(self) -> int:
        """The steps of the experiment's teacher, if it is trained here."""
        config = self._teacher_config()
        return config.epochs * self._steps_per_epoch(config, self.dataset.train)

    @staticmethod
    def _keeps_last(config, arrays) -> bool:
        return config.keep_last_batch and not config.steps_per_epoch and len(arrays.label) % config.batch_size > 0

    @staticmethod
    def _steps(learners, feed, config) -> int:
        """Steps that this cohort has still to take, for the display."""
        done = [max(checkpoint.numbers(learner.run.checkpoints), default=0) for learner in learners]
        return sum(
            (config.epochs - learner.program.first_epoch) * feed.steps - n
            for learner, n in zip(learners, done, strict=True)
        )

    def _on_step(self, config, ready: list[Learner], steps: int) -> None:
        self.display.advance(steps * len(ready))
        epoch, step = ready[0].epoch + 1, ready[0].step
        self.display.status(f"{len(ready)} students, epoch {epoch}/{config.epochs}, step {step}")

    def _on_main(self, feed: Feed, teacher_variables, learners: list[Learner], batch, taught) -> None:
        """Writes how large the gradients of each method's terms are, and says where they are far apart."""
        for learner in learners:
            method, stage = learner.program.method, learner.program.stages[-1]
            if not gradients.measures(stage):
                continue
            norm = self._once(functools.partial(gradients.compile_norm, method.model), "norm", method.model)
            make = functools.partial(gradients.compile_cotangents, stage)
            cotangents = self._once(make, "cotangents", method.name)
            given = (feed.place.put(learner.state), batch, taught, teacher_variables, feed.labels)
            found = gradients.ratios(stage, stage.epochs * feed.steps, norm, cotangents, *given)
            write_json(learner.run.path / "gradients.json", {"ratios": found})
            for said in caution.gradients([found]):
                self.display.message(f"{method.row} seed {learner.seed}: {said}")

    def _on_epoch(self, config, learner: Learner, losses: dict) -> dict | None:
        """Evaluates where it is due and appends the epoch's row to metrics.jsonl; how the run has diverged, if so."""
        row = {"epoch": learner.epoch, "step": int(learner.state.step), **losses, "learning_rate": _rate(learner)}
        last = learner.epoch == config.epochs
        diverged = learner.diverged
        if not diverged and learner.epoch > 0 and (last or learner.epoch % config.eval_every_epochs == 0):
            for split in self.evaluator.splits:
                logits, means = self._evaluate(learner, split)
                row |= {f"{split}_{name}": value for name, value in means.items()}
                diverged = diverged or (_lost(learner, split, logits) if last else None)
            top1 = f"{100 * row['test_top1']:.1f} %" if math.isfinite(row["test_top1"]) else "logits are not finite"
            self.display.status(
                f"{learner.program.method.row} seed {learner.seed}, epoch {learner.epoch}/{config.epochs}, {top1}"
            )
        learner.run.append({name: value if math.isfinite(value) else None for name, value in row.items()})
        return diverged

    def _evaluate(self, learner: Learner, split: str) -> tuple[np.ndarray, dict]:
        """(logits [N, K], means over the split): NaN where one example's logits are not finite, for they mean nothing.

        The logits of the test split stay with the learner.
        """
        logits, means = learner.program.evaluate(student_variables(learner.state), split, learner.place)
        if split == "test":
            learner.logits = logits
        return logits, means if first_not_finite(logits) is None else dict.fromkeys(means, math.nan)

    def _on_finish(self, config, arrays, teacher, learner: Learner) -> None:
        """Writes result.json."""
        if not learner.diverged and learner.logits is None:  # stopped between its last epoch and its result
            for split in self.evaluator.splits:
                learner.diverged = learner.diverged or _lost(learner, split, self._evaluate(learner, split)[0])
        method, history = learner.program.method, learner.run.history()
        result = {
            "status": "diverged" if learner.diverged else "done",
            "experiment": config.experiment,
            "method": method.name,
            "seed": learner.seed,
            "generation": learner.generation,
            "epochs": config.epochs,
            "steps": int(learner.state.step),
            "last": None,
            "best": best_epoch(history),
            "peak": peak_epoch(history),
            "teacher": teacher.measured if teacher else None,
            "student": {"model": method.model_config["model"], **self.cost(method.model)},
            "dataset": self.dataset.name,
            "image_shape": list(self.image_shape),
            "classes": list(self.dataset.classes),
            "train_counts": np.bincount(arrays.label[arrays.label >= 0], minlength=len(self.dataset.classes)).tolist(),
            "gradients": learner.run.gradients(),
            "seconds": round(learner.seconds, 3),  # the cohort's, divided by its methods
            "versions": versions(),
            "device": parallel.describe(),
            "flags": learner.run.config().get("flags", []),
            "revision": revision(),
            "warnings": [*self.dataset.warnings, *(teacher.remarks if teacher else ())],
        }
        if learner.diverged:
            result["diverged"] = learner.diverged
        else:
            result["student_sha256"] = checkpoint.fingerprint(student_variables(learner.state))
            report = metrics.report(learner.logits, self.dataset.test.label, teacher.logits if teacher else None)
            result["last"] = {"epoch": config.epochs, **report}
        learner.run.finish(result)
        how = ", ".join(f"{name} {value}" for name, value in (learner.diverged or {}).items())
        shown = f"{100 * result['last']['top1']:.2f} %" if result["last"] else f"diverged: {how}"
        self.display.message(f"{method.row} seed {learner.seed}: {shown}")
        if result["last"] and teacher and (said := caution.better(result["last"]["top1"], teacher.measured["top1"])):
            self.display.message(f"{method.row} seed {learner.seed}: {said}")

    def _once(self, make: Callable, *key):
        """What `make` has made the first time that it was asked for under this key."""
        with self.making:
            if key not in self.made:
                self.made[key] = make()
            return self.made[key]

    def teach(self, model, place: Place):
        """The compiled forward pass of a teacher, made once for all seeds."""
        places = self.layout[0] if len(self.layout) == 1 else ()
        make = functools.partial(parallel.compile_teach, make_teach(model), place, places)
        return self._once(make, "teach", model, place.compiled_for)

    def evaluate(self, model):
        """The compiled evaluation of a model, made once for all methods and seeds that share it."""
        return self._once(lambda: self.evaluator.compile(model), "evaluate", model)

    def cost(self, model) -> dict:
        """Parameters, FLOPs, bytes and latency of what ships of a model, measured once; trained_parameters if more."""
        network = cost.shipped(model)
        row = self._once(lambda: cost.cost(network, self.image_shape), "cost", network)
        trained = self._once(lambda: cost.parameters(model, self.image_shape), "cost", "parameters", model)
        return row if trained == row["parameters"] else row | {"trained_parameters": trained}

    # ---- checks before any training

    def _check_all(self, rows: dict[str, Method], arrays) -> None:
        """Traces every method on shapes, before a teacher is trained for hours."""
        taught = self._teacher_shapes()
        place = self.layout[0][0]
        self._check_divides(self.config, arrays, place, "config.batch_size")
        if not (self.config.teacher.run or self.config.teacher.weights) and self.config.teacher.model:
            self._check_teacher(taught[0], place)
        for row in self._with_sources(rows):
            self._stop_if_asked()
            self._check_view(row, arrays, place)
            if place.parts > 1:
                parallel.check_synchronises(row.model, self.image_shape, f"config.methods.{row.name}.student")
            models = [self._row(name).model for name in row.teachers]
            where = f"config.methods.{row.name}"
            self._check(row, self.config, self._shapes(*models) if models else taught, arrays, where)

    def _check_teacher(self, model: nn.Module, place: Place) -> None:
        """What a teacher that is trained here needs."""
        config, arrays = self._teacher_config(), self.dataset.train
        self._check_divides(config, arrays, place, "the teacher's batch_size")
        if place.parts > 1:
            parallel.check_synchronises(model, self.image_shape, "config.teacher")
        self._check(self._teacher_method(model), config, None, arrays, "config.teacher")

    def _with_sources(self, rows: dict[str, Method]) -> list[Method]:
        """The rows and all that must be trained before them."""
        found = dict(rows)
        waiting = list(rows.values())
        while waiting:
            new = {name: self._row(name) for name in waiting.pop().sources if name not in found}
            found |= new
            waiting += new.values()
        return list(found.values())

    def _check_divides(self, config, arrays, place: Place, field: str) -> None:
        parallel.check_divides(config.batch_size, place.parts, field)
        if self._keeps_last(config, arrays):
            last = len(arrays.label) % config.batch_size
            parallel.check_divides(last, place.parts, f"config.keep_last_batch: the last batch of {field}")

    def _check_view(self, row: Method, arrays, place: Place) -> None:
        """A method's own view of the images must exist, and leave its number of steps as it is."""
        config, own = self._view(row, self.config.seeds[0])
        self._prepare(config, place)
        steps, others = self._steps_per_epoch(config, own), self._steps_per_epoch(self.config, arrays)
        if steps != others:
            raise ValueError(
                f"config.methods.{row.name}.data: {len(own):,} images make {steps} steps an epoch, the other methods "
                f"take {others}; set config.steps_per_epoch, so that all take as many"
            )

    def _check(self, row: Method, config, teacher, arrays, where: str) -> None:
        label = self._augmented_label(methods.with_view(config, row))
        given = self.image_shape, teacher, len(self.dataset.classes), len(arrays.label), label
        for stage in methods.stages(row, config, self._steps_per_epoch(config, arrays)):
            shapes.check(where, row, stage, *given)

    def _augmented_label(self, config):
        """The shape of two labels after augmentation."""
        image = jax.ShapeDtypeStruct((2, *self.image_shape), np.uint8)

        def make():
            given = (self._augmentation(config), jax.random.key(0), image, shapes.LABEL)
            return shapes.trace("config.data.augment", jax.eval_shape, *given)[1]

        return self._once(make, "label", json.dumps(configs.plain(config.data.augment)))

    def _teacher_shapes(self):
        """(model, shapes of its variables), or None without a teacher."""
        spec, models = self.config.teacher, []
        for path in filter(None, (path.strip() for path in spec.run.split("+"))):
            stored = Run(Path(path)).config()
            if stored is None:
                raise ValueError(f"config.teacher.run: {path} holds no run (no config.json)")
            models.append(self._stored_model(stored, path))
        if not spec.run and spec.model:
            models = [self._model(spec, "config.teacher")]
        return self._shapes(*models) if models else None

    def _row(self, name: str) -> Method:
        """A row of the experiment with its student's model."""
        return methods.with_model(self.rows[name], self.config, len(self.dataset.classes))

    def _model(self, spec, where) -> nn.Module:
        return methods.build_model(spec, len(self.dataset.classes), self.config.dtype, where)

    def _stored_model(self, config: dict, path) -> nn.Module:
        """The student of a run as it was trained: in int8 where it was trained for that, also when it teaches."""
        model = self._model(config["student"], f"{path}/config.json")
        return methods.as_trained(model, config["spec"])

    def _shapes(self, *models):
        model = models[0] if len(models) == 1 else compose.Ensemble(models)
        image = jax.ShapeDtypeStruct((1, *self.image_shape), np.float32)
        return model, jax.eval_shape(functools.partial(model.init, train=False), jax.random.key(0), image)


def _generation(run: Run) -> int:
    """That of a finished run as a student, see `kdjax.streams`; -1 for what was trained as a teacher."""
    return -1 if run.config()["method"] == TEACHER else run.result().get("generation", 0)


def first_not_finite(logits: np.ndarray) -> int | None:
    """The first example of logits [N, K] that has one that is NaN or infinite."""
    (examples,) = np.nonzero(~np.isfinite(logits).all(-1))
    return int(examples[0]) if len(examples) else None


def _lost(learner: Learner, split: str, logits: np.ndarray) -> dict | None:
    """What result.json says of a run whose losses were finite, and whose logits after the last epoch are not."""
    example, rate = first_not_finite(logits), _rate(learner)
    if example is None:
        return None
    place = {"epoch": learner.epoch, "step": int(learner.state.step), "split": split, "example": example}
    return {**place, "learning_rate": rate if math.isfinite(rate) else None}


def _rate(learner: Learner) -> float:
    """The learning rate of the last step taken."""
    stage = learner.program.stages[learner.program.stage(learner.epoch - 1)]
    return float(stage.rate(int(learner.state.step) - 1))


def best_epoch(history: list[dict]) -> dict | None:
    """The first epoch with the highest validation accuracy, and the test accuracy there; None without validation."""
    rows = [row for row in history if None not in (row.get("validation_top1"), row.get("test_top1"))]
    if not rows:
        return None
    row = max(rows, key=lambda row: row["validation_top1"])
    return {"epoch": row["epoch"], "validation_top1": row["validation_top1"], "top1": row["test_top1"]}


def peak_epoch(history: list[dict]) -> dict | None:
    """The highest test accuracy of any epoch: optimistic, for comparison with papers that print it."""
    rows = [row for row in history if row.get("test_top1") is not None]
    if not rows:
        return None
    row = max(rows, key=lambda row: row["test_top1"])
    return {"epoch": row["epoch"], "top1": row["test_top1"]}


def _described(path: str) -> dict:
    """What the JSON beside a file of weights says of them as a teacher; {} for PyTorch's, which have none."""
    if weights.stated_format(path) != weights.FORMAT:
        return {}
    said = weights.describe(path)
    return {"classes": said.get("classes"), "image_shape": said.get("image_shape"), **(said.get("normalisation") or {})}


@contextlib.contextmanager
def _named(field: str):
    """What is wrong with a file, with the field that names it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from error
