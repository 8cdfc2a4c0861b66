"""The runs of one seed that train together: locked, begun or continued, fed with the same batches."""

import contextlib
import functools
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
from ml_collections import ConfigDict

from kdjax import streams
from kdjax.config import rows as configured
from kdjax.data import fingerprint
from kdjax.data.batches import Lengths
from kdjax.data.reader import Batches, Reader
from kdjax.experiment import mined, taught
from kdjax.experiment.lab import Lab, keeps_last, named
from kdjax.experiment.plan import finished, run_config, run_path, teaches
from kdjax.experiment.results import Results
from kdjax.models import weights
from kdjax.runs import identity
from kdjax.runs.directory import Run
from kdjax.runs.schema import TEACHER
from kdjax.training import checkpoint, flags, parallel, processes
from kdjax.training.cohort import Cohort, Learner, compile_program
from kdjax.training.feed import Feed
from kdjax.training.method import Method
from kdjax.training.objective import asks
from kdjax.training.parallel import Place


class Cohorts:
    """Trains methods of one seed together; runs that other processes are at work on are left to them."""

    def __init__(self, lab: Lab):
        self.lab = lab

    def train(
        self, config: ConfigDict, arrays, rows: list[Method], seed: int, teacher, places, quiet=False, until=0
    ) -> dict:
        """Trains some methods of one seed, with the given training examples, their students at `places`.

        Args:
          teacher: a `kdjax.experiment.teachers.Teacher`, or None.
          until: the epoch at whose end they are left unfinished; 0: none.

        Returns:
          {directory: holder} of the runs that other processes are at work on: they are left alone, and said so.
        """
        lab = self.lab
        lab.stop_if_asked()
        held = {}
        with contextlib.ExitStack() as locks:
            learners = []
            for row in rows:
                run = Run(run_path(lab.directory, row.name, seed))
                described = run_config(config, row, seed)
                described |= {"identity": self._identity(described, row, seed, teacher), "flags": flags.told()}
                take = functools.partial(self._take, run, described, locks)
                holder, missing = processes.from_first(take)
                if holder:
                    held[run.path] = holder
                elif missing:
                    place = places[len(learners) % len(places)]
                    learners.append(self._learner(config, row, run, seed, place, arrays, teacher))
            for path, holder in held.items() if not quiet else ():
                lab.display.message(f"{path} is held by {holder}: left to it")
            if learners:
                self._train(config, learners, seed, arrays, teacher, places[0], until)
        return held

    def _identity(self, config: dict, row: Method, seed: int, teacher) -> dict:
        """What makes a run this run besides its config."""
        lab, start = self.lab, ""
        if row.start:
            start = (Run(run_path(lab.directory, row.start, seed)).result() or {}).get("student_sha256", "")
        elif (file := lab.start_file(row))[0]:
            with named(file[1]):
                start = lab.once(lambda: fingerprint.of_file(weights.file_of(file[0])), "start", file[0])
        return identity.of_run(config, lab.dataset.fingerprint, teacher.sha256 if teacher else "", start)

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
        say, rows = self.lab.display.message, self.lab.rows
        row = rows.get(config["method"])
        if finished(run, config, teaches=row is None or teaches(row, list(rows.values()))):
            return False
        if (stored := run.config()) is not None:
            run.check(config)
            identity.check_continued(run.path, stored, config["identity"], say)
        number = checkpoint.newest(run.checkpoints, say)
        run.begin(config, run.checkpoints / str(number) if number is not None else None, say)
        return True

    def _train(self, config, learners: list[Learner], seed: int, arrays, teacher, place: Place, until: int) -> None:
        with self._cohort(config, learners, seed, arrays, teacher, place, until) as cohort:
            what = TEACHER if learners[0].program.method.name == TEACHER else f"seed {seed}"
            self.lab.display.start(what, _steps(learners, cohort.feed, until or config.epochs))
            cohort.train(learners)

    @contextlib.contextmanager
    def alone(self, config: ConfigDict, arrays, row: Method, seed: int, teacher, place: Place):
        """A row's student before its first step and the cohort that it is alone in, to be stepped through by hand.

        Yields (Cohort, Learner). The learner has no directory: nothing of it is continued or written.
        """
        with tempfile.TemporaryDirectory(prefix="kdjax-") as folder:
            learner = self._learner(config, row, Run(Path(folder)), seed, place, arrays, teacher)
            with self._cohort(config, [learner], seed, arrays, teacher, place) as cohort:
                yield cohort, learner

    @contextlib.contextmanager
    def _cohort(self, config, learners: list[Learner], seed: int, arrays, teacher, place: Place, until: int = 0):
        """The cohort of some learners, whose images are read until it is left."""
        lab = self.lab
        arrays = mined.extended(lab, config, arrays, teacher, place)
        inputs = self._inputs(config, seed, learners[0].prefix, arrays, place)
        second = any(asks(stage.objective.terms, "second") for each in learners for stage in each.program.stages)
        own = lab.seen_by(learners[0].program.method)
        seen = own, teacher.sight if teacher else None, second
        feed = self._feed(config, seed, learners[0].prefix, arrays, inputs, place, seen)
        fields = self._fields(config, learners, arrays, teacher)
        if teacher and taught.once(config, teacher.model):
            spec = mined.wider(config, teacher.sight.spec)
            terms = [t for each in learners for stage in each.program.stages for t in stage.objective.terms]
            lists = taught.lists(config, terms, arrays, teacher.model, spec)
            teach = self._teach(teacher, place.whole, None if lists else fields)  # all: lists are made of any of it
            kept = taught.keep(lab, config, feed, arrays, teacher, teach, fields, second, spec, terms, lists)
            feed = replace(feed, kept=kept, make_batch=lab.make_batch(config, place, own, None, second))
        variables = place.put(teacher.variables) if teacher else None
        results = Results(lab, config, arrays, teacher, variables, feed)
        cohort = Cohort(
            feed=feed,
            teach=self._teach(teacher, place, fields),
            teach_whole=self._teach(teacher, place.whole, fields),
            teacher_variables=variables,
            epochs=config.epochs,
            checkpoint_seconds=config.execution.checkpoint_seconds,
            on_epoch=results.on_epoch,
            on_finish=results.on_finish,
            on_step=results.on_step,
            on_main=results.on_main,
            stop_signal=lab.stop_signal,
            until=until,
        )
        with contextlib.closing(inputs) if isinstance(inputs, Reader) else contextlib.nullcontext():
            yield cohort

    def _fields(self, config, learners: list[Learner], arrays, teacher) -> frozenset:
        """The paths of what the learners' losses read of the teacher's Outputs, in any stage."""
        if not teacher:
            return frozenset()
        known = teacher.model, teacher.variables, teacher.sight.spec
        programs = [learner.program for learner in learners]
        found = [taught.fields(self.lab, config, each.method, each.stages, arrays, known) for each in programs]
        return frozenset().union(*found)

    def _teach(self, teacher, place: Place, fields: frozenset | None) -> Callable:
        """The teacher's pass, which returns `fields` of its Outputs, None: all."""
        return self.lab.teach(teacher.model, place, fields) if teacher else _nothing

    def _learner(self, config, row: Method, run: Run, seed: int, place: Place, arrays, teacher) -> Learner:
        lab = self.lab

        def make():
            stages = configured.stages(row, config, lab.steps_per_epoch(config, arrays))
            return compile_program(row, stages, lab.evaluate(row.model, lab.seen_by(row)), place)

        learner = Learner(lab.once(make, "program", row.name, place.compiled_for), run, seed, place)
        learner.prefix = streams.TEACHER if row.name == TEACHER else ""
        generations = [teacher.generation] if teacher else []
        learner.start = lab.start(row)
        if row.start:
            source = Run(run_path(lab.directory, row.start, seed))
            learner.start = checkpoint.student(source.checkpoints, source.result().get("student_sha256", ""))
            generations.append(source.generation())
        learner.generation = max(generations, default=-1) + 1
        return learner

    def _inputs(self, config, seed, prefix, arrays, place: Place):
        """The training inputs on the devices of a place, or what reads this process's share of them from disk."""
        if (padded := self.lab.kind.shapes(arrays.input, config.data)) is not None:
            return self._lengths(padded, arrays.input, place)
        if not config.execution.stream:
            return place.put(arrays.input)
        batches = Batches(
            image=arrays.input,
            batch_size=config.batch_size,
            steps=self.lab.steps_per_epoch(config, arrays),
            seed=seed,
            prefix=prefix,
            last=len(arrays) % config.batch_size if keeps_last(config, arrays) else 0,
            parts=place.parts,
            first=place.first,
            held=len(place.devices) if place.parts > 1 else 1,
        )
        return Reader(batches, config.epochs * batches.steps, config.execution.workers)

    def _lengths(self, padded, inputs, place: Place) -> Lengths:
        """Inputs that are cut to the length of each batch, at most one copy of each length on the devices."""
        cut = functools.lru_cache(lambda length: place.put(jax.tree.map(lambda leaf: leaf[:, :length], inputs)))
        return Lengths(padded, inputs["mask"].sum(axis=1), cut)

    def _feed(self, config, seed, prefix, arrays, inputs, place: Place, seen) -> Feed:
        return Feed(
            seed=seed,
            prefix=prefix,
            place=place,
            inputs=inputs,
            targets=place.put(arrays.target),
            steps=self.lab.steps_per_epoch(config, arrays),
            batch_size=config.batch_size,
            make_batch=self.lab.make_batch(config, place, *seen),
            make_batch_whole=self.lab.make_batch(config, place.whole, *seen),
            keep_last_batch=keeps_last(config, arrays),
            views=config.data.views,
            steps_per_call=parallel.steps_per_call(config.execution.steps_per_call),
        )


def _nothing(variables, inputs) -> None:
    """What teaches where there is no teacher."""


def _steps(learners: list[Learner], feed: Feed, epochs: int) -> int:
    """Steps that this cohort has still to take to the end of so many epochs, for the display."""
    done = [max(checkpoint.numbers(learner.run.checkpoints), default=0) for learner in learners]
    return sum(
        max((epochs - learner.program.first_epoch) * feed.steps - n, 0)
        for learner, n in zip(learners, done, strict=True)
    )
