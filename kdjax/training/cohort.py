"""The cohort loop: one batch, one teacher pass, every student's step."""

import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.streams import stream
from kdjax.training import checkpoint, parallel, processes
from kdjax.training.feed import Feed
from kdjax.training.kept import taught
from kdjax.training.method import Method, Stage
from kdjax.training.parallel import Place
from kdjax.training.step import student_variables
from kdjax.types import State

AGREE_CALLS = 16
"""So many calls apart several processes ask each other whether to stop: for that they wait for their devices."""


class Stopped(Exception):
    """A signal asked the process to stop, and every run has been checkpointed."""

    def __init__(self, signum: int):
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


@dataclass(frozen=True)
class Program:
    """A method ready to run: its stages compiled, once for all seeds that are trained in the same way."""

    method: Method
    stages: list[Stage]
    inits: list[Callable]
    steps: list[Callable]
    evaluate: Callable  # (variables, split, place) -> kdjax.training.evaluate.Evaluation

    @property
    def first_epoch(self) -> int:
        return self.method.first_epoch

    def stage(self, epoch: int) -> int:
        """The number of the stage that an epoch belongs to; the main stage starts at epoch 0."""
        return len(self.stages) - 1 if epoch >= 0 else 0


def compile_program(method: Method, stages: list[Stage], evaluate, place: Place) -> Program:
    inits = [jax.jit(stage.init) for stage in stages]
    steps = [parallel.compile_train_step(stage.objective, stage.optimizer, place) for stage in stages]
    return Program(method, stages, inits, steps, evaluate)


@dataclass
class Learner:
    """One student being trained: where it is, and what it will report."""

    program: Program
    run: Any  # its directory, a kdjax.runs.directory.Run
    seed: int
    place: Place
    state: State | None = None
    epoch: int = 0  # the epoch that `step` belongs to; below 0 in a first stage
    step: int = 0  # steps taken in that epoch
    losses: list = field(default_factory=list)  # of those steps, on the device
    seconds: float = 0.0
    saved: int = -1  # the newest checkpoint's number
    saved_at: float = field(default_factory=time.monotonic)
    diverged: dict | None = None
    evaluation: Any = None  # kdjax.training.evaluate.Evaluation of the test split after the last epoch
    generation: int = 0  # see `kdjax.streams`
    prefix: str = ""  # as that of Feed
    start: dict | None = None  # variables that the student begins with; what they lack is initialized

    def position(self, steps: int) -> int:
        """Steps taken since the run began, all stages together; `steps` is an epoch's."""
        return (self.epoch - self.program.first_epoch) * steps + self.step

    def key(self, stage: int) -> jax.Array:
        """The key of the States of a stage, counted from 0: methods with and without a first stage begin alike."""
        return stream(self.seed, f"{self.prefix}training", self.generation, stage).key()

    def stage(self, steps: int) -> Stage:
        """The stage that made `state`: that of the last step taken."""
        last = (max(self.position(steps), 1) - 1) // steps + self.program.first_epoch
        return self.program.stages[self.program.stage(last)]


@dataclass(frozen=True)
class Cohort:
    """The runs of one seed: they share teacher, batches and augmentation, and differ in method."""

    feed: Feed
    teach: Callable  # (variables, input [S, B, ...]) -> Outputs [S, B, ...] or None
    teach_whole: Callable  # the same where places split batches and this one is not
    teacher_variables: dict | None
    epochs: int
    checkpoint_seconds: float
    on_epoch: Callable  # (learner, {"loss": mean, ...}) -> None, after each epoch; `learner.epoch` are finished
    on_finish: Callable  # (learner) -> None, after the last epoch or when it has diverged
    on_step: Callable = lambda learners, steps: None
    on_main: Callable = lambda learners, batch, taught: None  # before their first step in the main stage, a batch of it
    stop_signal: Callable = lambda: 0  # the number of a signal that was received, or 0
    until: int = 0  # the epoch at whose end learners are checkpointed and left, to be continued; 0: `epochs`

    def train(self, learners: list[Learner]) -> None:
        """Trains every learner to the end of `epochs`, or `until`, continuing each from its newest checkpoint.

        Raises:
          Stopped: `stop_signal()` was not 0, and stays so; everything has been checkpointed.
        """
        self._start(learners)
        if stop := processes.asked(self.stop_signal()):
            raise Stopped(stop)
        for learner in learners:
            if learner.epoch == self.epochs:  # all but its result had been written
                self._finish(learner)
        for epoch in range(min(learner.epoch for learner in learners), self.until or self.epochs):
            active = [learner for learner in learners if learner.epoch == epoch and not learner.diverged]
            if active:
                self._epoch(epoch, active)
            for learner in learners:
                if learner in active and (learner.diverged or learner.epoch == self.epochs):
                    self._finish(learner)
                elif learner in active and learner.epoch == self.until:
                    self.save(learner)

    def steps(self, learner: Learner):
        """Trains one learner from where it is to the end of `epochs`: yields (batch, teacher Outputs) of each call.

        They are [S, B, ...] as the step had them; `learner` is as it is after it. Nothing is written or evaluated.
        """
        self._start([learner])
        place = learner.place
        constants = {place: place.put((self.teacher_variables, self.feed.targets))}
        for epoch in range(learner.epoch, self.epochs):
            if learner.step == 0 and epoch == 0 > learner.program.first_epoch:
                self._next_stage(learner)
            for _, taken, batch in self.feed.calls(epoch, learner.step):
                batch, outputs = taught(self.teach, self.teacher_variables, batch)
                self._advance(learner, taken, {place: place.take((batch, outputs))}, constants)
                yield batch, outputs
            learner.epoch, learner.step, learner.losses = epoch + 1, 0, []

    def _start(self, learners):
        first, taught = self._example()
        with ThreadPoolExecutor(parallel.compiling_threads()) as pool:
            list(pool.map(lambda learner: self._begin(learner, first, taught), learners))

    def _example(self):
        """One batch and the teacher's Outputs on it, to initialize with."""
        batch = self.feed.example()
        return _first(taught(self.teach_whole, self.teacher_variables, batch))

    def _begin(self, learner, batch, taught) -> None:
        """Where the learner is: at the newest checkpoint, which Run.begin has found whole, or at the start."""
        learner.epoch = learner.program.first_epoch
        number = max(checkpoint.numbers(learner.run.checkpoints), default=None)
        if number is not None:
            epochs, learner.step = divmod(number, self.feed.steps)
            learner.epoch += epochs
        stage = learner.program.stages.index(learner.stage(self.feed.steps))
        fresh = self._fresh(learner, stage, batch, taught)
        if number is None:
            learner.state = fresh()
            return
        shape = jax.ShapeDtypeStruct((self.feed.steps,), jnp.float32)
        like = {
            "state": jax.eval_shape(fresh),
            "losses": dict.fromkeys(loss_names(learner.program.stages[stage]), shape),
            "seconds": jax.ShapeDtypeStruct((), jnp.float32),
        }
        saved = checkpoint.restore(learner.run.checkpoints, number, learner.place.on(like))
        learner.state, learner.seconds, learner.saved = saved["state"], float(saved["seconds"]), number
        if not np.array_equal(*(jax.random.key_data(key) for key in (learner.state.key, learner.key(stage)))):
            raise ValueError(
                f"{learner.run.path} was begun with other random numbers than this version of kdjax gives it; give "
                "config.experiment another name or remove the run's directory"
            )
        losses = jax.device_get(saved["losses"])
        learner.losses = [{k: v[i : i + 1] for k, v in losses.items()} for i in range(learner.step)]

    def _fresh(self, learner, stage: int, batch, taught):
        """A function without arguments that makes the first State of a stage."""

        def fresh():
            given = learner.key(stage), batch, taught, self.teacher_variables, self.feed.targets
            state = learner.program.inits[stage](*learner.place.put(given))
            return begin(state, learner.start, learner.place) if learner.start else state

        return fresh

    def _epoch(self, epoch: int, active) -> None:
        began = time.monotonic()
        constants = {p: p.put((self.teacher_variables, self.feed.targets)) for p in {x.place for x in active}}
        for learner in active:
            if learner.step == 0 and epoch == 0 > learner.program.first_epoch:
                self._next_stage(learner)
        if epoch == 0 and (fresh := [learner for learner in active if learner.step == 0]):
            self.on_main(fresh, *self._example())
        with ThreadPoolExecutor(_threads(set(constants))) as pool:
            steps = {learner.step for learner in active}  # they may have been stopped at different ones
            calls = self.feed.calls(epoch, min(steps), steps)
            for number, (step, taken, batch) in enumerate(calls):
                ready = [learner for learner in active if learner.step == step]
                batch, outputs = taught(self.teach, self.teacher_variables, batch)
                placed = {p: p.take((batch, outputs)) for p in {learner.place for learner in ready}}
                advance = partial(self._advance, taken=taken, placed=placed, constants=constants)
                # The first call of a learner compiles: several at once.
                list((map if ready[0].losses else pool.map)(advance, ready))
                if stepped := [learner for learner in ready if learner.step > step]:  # none after a signal
                    self.on_step(stepped, taken)
                if step + taken < self.feed.steps and (processes.alone() or number % AGREE_CALLS == 0):
                    self._pause(ready, began)
            for learner in active:
                learner.seconds += (time.monotonic() - began) / len(active)
            list(pool.map(self._end_epoch, active))
        self._pause(active, None)

    def _pause(self, learners, began) -> None:
        """Writes the checkpoints that are due; all of them, and an exception, when the process was asked to stop."""
        stop = self.stop_signal()
        due = [time.monotonic() - learner.saved_at >= self.checkpoint_seconds for learner in learners]
        if not processes.alone():
            said = processes.agree([stop, *due])
            stop, due = int(said[:, 0].max()), said[0, 1:]
        for learner, now in zip(learners, due, strict=True):
            if stop or now:
                self.save(learner, (time.monotonic() - began) / len(learners) if began else 0.0)
        if stop:
            raise Stopped(stop)

    def save(self, learner, seconds: float = 0.0) -> None:
        """Writes the learner's checkpoint, unless it is there or the run has diverged: the last good one stays."""
        number = learner.position(self.feed.steps)
        if learner.diverged or learner.saved == number:
            return
        losses = {n: np.full(self.feed.steps, np.nan, np.float32) for n in loss_names(learner.stage(self.feed.steps))}
        for name, values in (stack(jax.device_get(learner.losses)) if learner.losses else {}).items():
            losses[name][: len(values)] = values
        if not np.isfinite(losses["loss"][: learner.step]).all() or not finite(learner.state):
            return
        tree = {"state": learner.state, "losses": losses, "seconds": np.float32(learner.seconds + seconds)}
        processes.from_first(lambda: checkpoint.save(learner.run.checkpoints, number, tree, learner.run.files()))
        learner.saved, learner.saved_at = number, time.monotonic()

    def _advance(self, learner, taken, placed, constants):
        if learner.step + taken < self.feed.steps and processes.alone() and self.stop_signal():
            return  # compiles nothing more; `_pause` saves each learner where it is
        batch, outputs = placed[learner.place]
        step = learner.program.steps[learner.program.stage(learner.epoch)]
        learner.state, losses = step(learner.state, batch, outputs, *constants[learner.place])
        learner.losses.append(losses)
        learner.step += taken

    def _next_stage(self, learner) -> None:
        """The main stage starts: its own objective and a fresh optimizer, with what the first stage has learned."""
        fresh = self._fresh(learner, len(learner.program.stages) - 1, *self._example())()
        params = overlay(fresh.params, learner.state.params)
        learner.state = fresh.replace(params=params, stats=overlay(fresh.stats, learner.state.stats))

    def _finish(self, learner) -> None:
        self.save(learner)
        self.on_finish(learner)

    def _end_epoch(self, learner) -> None:
        if learner.step != self.feed.steps:
            raise RuntimeError(f"{learner.run.path}: an epoch ends after {learner.step} of {self.feed.steps} steps")
        losses = stack(jax.device_get(learner.losses))
        bad = ~np.isfinite(losses["loss"])
        if bad.any():
            learner.diverged = self._divergence(learner, losses, int(bad.argmax()))
        elif not finite(learner.state):  # after the update of the last step, whose loss was finite
            learner.diverged = self._divergence(learner, losses, len(bad) - 1)
        learner.epoch, learner.step, learner.losses = learner.epoch + 1, 0, []
        self.on_epoch(learner, {name: float(np.mean(values, dtype=np.float64)) for name, values in losses.items()})

    def _divergence(self, learner, losses, step: int) -> dict:
        terms = [name for name, values in losses.items() if name != "loss" and not np.isfinite(values[step])]
        stage = learner.program.stages[learner.program.stage(learner.epoch)]
        taken = int(learner.state.step) - len(losses["loss"]) + step
        rate = float(stage.rate(taken))
        return {
            "epoch": learner.epoch + 1,
            "step": taken + 1,
            "term": (terms or ["loss"])[0].removeprefix("loss/"),
            "learning_rate": rate if np.isfinite(rate) else None,
        }


_first = jax.jit(parallel.first)


def _threads(places: set[Place]) -> int:
    """How many learners take a step, or end an epoch, at once: one a CPU device, on an accelerator all that compile.

    Where devices share batches it is one: the collectives of two programs must not meet in another order elsewhere.
    """
    if jax.default_backend() == "cpu" or any(place.parts > 1 for place in places):
        return len(places)
    return parallel.compiling_threads()


def overlay(fresh: dict, learned: dict) -> dict:
    """`fresh` with every leaf that stands at the same path in `learned` taken from there."""
    return {
        key: (overlay(value, learned[key]) if isinstance(value, dict) else learned[key]) if key in learned else value
        for key, value in fresh.items()
    }


def begin(state: State, variables: dict, place: Place) -> State:
    """The State with the student's variables taken from `variables`, as far as these have them."""
    own = place.put(jax.tree.map(jnp.array, variables))  # a copy: the step donates its State
    stats = {name: {"student": tree} for name, tree in own.items() if name != "params"}
    params = overlay(state.params, {"student": own["params"]})
    return state.replace(params=params, stats=overlay(state.stats, stats))


def finite(state: State) -> bool:
    """Whether all numbers of the student are."""
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.device_get(student_variables(state))))


def loss_names(stage: Stage) -> tuple[str, ...]:
    """The names of what a train step of this stage reports."""
    return ("loss", *(f"loss/{term.name}" for term in stage.objective.terms))


def stack(losses: list[dict]) -> dict[str, np.ndarray]:
    """Per-call losses [S] as one array of all steps per name."""
    return {name: np.concatenate([row[name] for row in losses]) for name in losses[0]}
