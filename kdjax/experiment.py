"""An experiment: config -> data -> teacher -> cohorts -> results, each run in its own directory."""

import contextlib
import functools
import importlib.metadata
import math
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
from ml_collections import ConfigDict

from kdjax import checkpoint, cost, data, metrics, parallel
from kdjax import config as configs
from kdjax import method as methods
from kdjax.data import augment
from kdjax.evaluate import Evaluator
from kdjax.find import nearest
from kdjax.gather import damage
from kdjax.method import Method
from kdjax.models import compose, torch
from kdjax.progress import Display
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
    rows, seeds = methods.expand(config), tuple(seeds) or config.seeds
    directory = Path(root) / config.experiment
    wanted = missing(config, directory, rows, only, seeds, exact)
    describe = functools.partial(write_json, directory / "config.json", experiment_config(config, rows, seeds))
    if not wanted:
        describe()
        return directory
    with display or Display() as shown:
        lab = Lab(config, directory, shown, _lasting(stop_signal))
        planned = lab.plan(wanted)
        describe()  # not before everything is known to be right
        lab.teacher() if teacher_only else lab.train(planned)
    if lab.held:
        raise Held(lab.held)
    return directory


def missing(config, directory, rows: list[Method], only, seeds, exact=False) -> list[tuple[int, Method]]:
    """(seed, row) of all runs that are not finished, in the order in which they are trained.

    Raises:
      ValueError: an unknown name in `only`, wrong seeds, or a directory that holds a run of another config.
    """
    configs.check_seeds(seeds, "--seeds")
    chosen = [row for row in rows if row.name in only] if exact else _select(rows, only)
    return [
        (seed, row)
        for seed in seeds
        for row in chosen
        if not _finished(Run(run_path(directory, row.name, seed)), run_config(config, row, seed), _teaches(row, rows))
    ]


class Held(Exception):
    """Other processes are at work on runs of this experiment; all others are finished."""

    def __init__(self, holders: dict[Path, str]):
        shown = ", ".join(f"{path} ({holder})" for path, holder in holders.items())
        super().__init__(f"{len(holders)} runs are being run elsewhere: {shown}")


class Diverged(Exception):
    """A run that teaches others has diverged: they cannot be trained."""


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
    shared = {k: v for k, v in configs.plain(config).items() if k not in ("methods", "ablate", "seeds", "student")}
    own = {"method": method.name, "row": method.row, "ablation": dict(method.ablation), "seed": seed}
    return {**own, "spec": method.spec, "student": dict(method.model_config), **shared}


def _teaches(row: Method, rows: list[Method]) -> bool:
    return any(row.name in other.teachers for other in rows)


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


def _select(rows: list[Method], only) -> list[Method]:
    """The rows named in `only`; a method's name stands for its ablated rows too."""
    chosen = [row for row in rows if not only or row.name in only or row.name.partition(",")[0] in only]
    for name in only:
        if not any(name in (row.name, row.name.partition(",")[0]) for row in rows):
            raise ValueError(f"--only: there is no method {name!r}{nearest(name, [row.name for row in rows])}")
    return chosen


@dataclass(frozen=True)
class Teacher:
    """A model that teaches, and what was measured of it here."""

    model: nn.Module
    variables: dict
    measured: dict  # {"model", "top1", "parameters", "flops", ...}
    logits: np.ndarray  # [N, K] on the test split


class Lab:
    """What all runs of an experiment share while they run: data, evaluation, compiled programs, the teacher."""

    def __init__(self, config: ConfigDict, directory: Path, display: Display, stop_signal: Callable):
        self.config, self.directory, self.display, self.stop_signal = config, directory, display, stop_signal
        self.rows = {row.name: row for row in methods.expand(config)}
        self.dataset = data.load(config.data)
        self.image_shape = self.dataset.train.image.shape[1:]
        splits = {"test": self.dataset.test}
        if self.dataset.validation is not None:
            splits["validation"] = self.dataset.validation
        mean, std = config.data.mean, config.data.std
        self.evaluator = Evaluator(
            splits, functools.partial(augment.normalise, mean=mean, std=std), config.execution.eval_batch_size
        )
        self.prepare = parallel.compile_prepare(
            augment.compose(configs.plain(config.data.augment), mean, std, len(self.dataset.classes))
        )
        self.evaluators, self.programs, self.costs, self.teachers, self.teaching = {}, {}, {}, {}, {}
        self.held = {}  # directories of runs that other processes are at work on -> who

    def plan(self, missing: list[tuple[int, Method]]) -> dict:
        """{seed: (training images, methods)} of the missing runs, everything about them checked.

        Raises:
          ValueError: a method, a model or a size that cannot work.
        """
        rows = {row.name: self._row(row.name) for _, row in missing}
        planned = {}
        for seed in dict.fromkeys(seed for seed, _ in missing):
            arrays = data.subset(self.dataset.train, self.config.data, seed)
            planned[seed] = arrays, [rows[row.name] for s, row in missing if s == seed]
        arrays, _ = next(iter(planned.values()))
        self.display.message(self._describe(rows, len(arrays)))
        self._check_all(rows, arrays)
        return planned

    def train(self, planned: dict) -> None:
        """Trains the teacher if there is none, then the planned runs, cohort by cohort, but those held by others."""
        teacher = self.teacher()
        for seed, (arrays, rows) in planned.items():
            while rows:  # methods with the same teacher train together, those that teach come first
                source = rows[0].teacher
                group = [row for row in rows if row.teacher == source]
                rows = [row for row in rows if row not in group]
                try:
                    taught = self.student_teacher(group[0], seed, arrays, teacher) if source else teacher
                except Diverged as error:
                    self.display.message(f"seed {seed}, not trained: {', '.join(row.row for row in group)}: {error}")
                    continue
                self.held |= self.cohort(self.config, group, seed, arrays, taught)

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
            return self._from_runs([Path(path.strip()) for path in spec.run.split("+")], "config.teacher.run")
        if not spec.model:
            return None
        model = self._model(spec, "config.teacher")
        if spec.weights:
            return self.measure(model, torch.load(spec.weights, model, self.image_shape), spec.model)
        config = self._teacher_config()
        made = {"model": spec.model, "kwargs": configs.plain(spec.kwargs)}
        method = Method(TEACHER, TEACHER, {"cross_entropy": {"weight": 1.0}}, model, made)
        self._complete(config, method, spec.seed, self.dataset.train, lambda: None)
        return self._from_runs([run_path(self.directory, TEACHER, spec.seed)], "the teacher's run")

    def _stop_if_asked(self) -> None:
        if self.stop_signal():
            raise Stopped(self.stop_signal())

    def _complete(self, config, row: Method, seed: int, arrays, teacher: Callable) -> None:
        """Returns when a run that teaches is finished; while another process is at work on it, waits.

        Raises:
          kdjax.train.Stopped: a signal came while waiting.
        """
        run, said = Run(run_path(self.directory, row.name, seed)), ""
        while not _finished(run, run_config(config, row, seed), teaches=True):
            held = self.cohort(config, [row], seed, arrays, teacher(), quiet=True)
            if held.get(run.path, said) != said:
                said = held[run.path]
                self.display.message(f"waiting for {run.path}, which teaches: held by {said}")
            self._stop_if_asked()
            if held:
                time.sleep(1.0)

    def _teacher_config(self) -> ConfigDict:
        """The experiment's config as the teacher's own run has it."""
        config = self.config.copy_and_resolve_references()
        config.optimizer = methods.override(config.optimizer, config.teacher.optimizer, "config.teacher.optimizer")
        config.epochs = config.teacher.epochs or config.epochs
        config.batch_size = config.teacher.batch_size or config.batch_size
        config.steps_per_epoch = 0
        config.data.update(shots=0, imbalance=0.0, unlabelled=False)  # these restrict what students see
        config.teacher = configs.default().teacher
        return config

    def student_teacher(self, row: Method, seed: int, arrays, teacher: Teacher | None) -> Teacher:
        """What teaches a row: the students of `row.teachers` with this seed, several as an ensemble."""
        name = row.teacher
        if (name, seed) not in self.teachers:
            for source in map(self._row, row.teachers):
                above = functools.partial(self.student_teacher, source, seed, arrays, teacher)
                self._complete(self.config, source, seed, arrays, above if source.teacher else lambda: teacher)
            paths = [run_path(self.directory, part, seed) for part in row.teachers]
            for path in paths:
                if Run(path).result()["status"] == "diverged":
                    raise Diverged(f"{path}, which teaches, has diverged")
            self.teachers[name, seed] = self._from_runs(paths, f"config.methods.{name}, a teacher of others")
        return self.teachers[name, seed]

    def _from_runs(self, paths: list[Path], where: str) -> Teacher:
        """The students of finished runs as a teacher: one, or the ensemble of several."""
        members = [self._from_run(path, where) for path in paths]
        if len(members) == 1:
            return self.measure(*members[0])
        models, variables, names = zip(*members, strict=True)
        return self.measure(compose.Ensemble(models), compose.join(*variables), f"ensemble of {' + '.join(names)}")

    def _from_run(self, path: Path, where: str) -> tuple[nn.Module, dict, str]:
        """(model, variables, name) of the student of a finished run."""
        run = Run(path)
        try:
            config, result = run.finished()
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        known, classes = len(result["classes"]), len(self.dataset.classes)
        if known != classes:
            raise ValueError(f"{where}: {path} tells {known} classes apart, the data has {classes}")
        model = self._model(config["student"], f"{path}/config.json")
        return model, checkpoint.student(run.checkpoints, result.get("student_sha256", "")), config["student"]["model"]

    def measure(self, model: nn.Module, variables: dict, name: str) -> Teacher:
        """A teacher with its accuracy on the test split and its costs, measured and not believed."""
        device = parallel.device(0)
        variables = parallel.put(variables, device)
        logits, means = self.evaluate(model)(variables, "test", device)
        self.display.message(f"teacher {name}: {100 * means['top1']:.2f} % on the test split")
        return Teacher(model, variables, {"model": name, "top1": means["top1"], **self.cost(model)}, logits)

    # ---- cohorts

    def cohort(self, config, rows: list[Method], seed: int, arrays, teacher: Teacher | None, quiet=False) -> dict:
        """Trains some methods of one seed together, with the given training images.

        Returns:
          {directory: holder} of the runs that other processes are at work on: they are left alone, and said so.
        """
        self._stop_if_asked()
        held = {}
        with contextlib.ExitStack() as locks:
            learners = []
            for row in rows:
                run = Run(run_path(self.directory, row.name, seed))
                run.path.mkdir(parents=True, exist_ok=True)
                holder = run.lock.acquire()
                if holder:
                    held[run.path] = holder
                    continue
                locks.callback(run.lock.release)
                if self._begin(run, run_config(config, row, seed), teaches=_teaches(row, list(self.rows.values()))):
                    learners.append(self._learner(config, row, run, seed, len(learners), arrays))
            for path, holder in held.items() if not quiet else ():
                self.display.message(f"{path} is held by {holder}: left to it")
            if learners:
                self._train(config, learners, seed, arrays, teacher)
        return held

    def _begin(self, run: Run, config: dict, teaches: bool) -> bool:
        """Takes up a run that this process holds, or tells that it is finished."""
        if _finished(run, config, teaches or config["method"] == TEACHER):
            return False
        number = checkpoint.newest(run.checkpoints, self.display.message)
        run.begin(config, run.checkpoints / str(number) if number is not None else None, self.display.message)
        return True

    def _train(self, config, learners: list[Learner], seed: int, arrays, teacher: Teacher | None) -> None:
        feed = self._feed(config, seed, arrays)
        what = TEACHER if learners[0].program.method.name == TEACHER else f"seed {seed}"
        self.display.start(what, self._steps(learners, feed, config))
        Cohort(
            feed=feed,
            teach=self.teach(teacher.model) if teacher else lambda variables, image: None,
            teacher_variables=teacher.variables if teacher else None,
            epochs=config.epochs,
            checkpoint_seconds=config.execution.checkpoint_seconds,
            on_epoch=functools.partial(self._on_epoch, config),
            on_finish=functools.partial(self._on_finish, config, arrays, teacher),
            on_step=functools.partial(self._on_step, config),
            stop_signal=self.stop_signal,
        ).train(learners)

    def _learner(self, config, row: Method, run: Run, seed: int, number: int, arrays) -> Learner:
        if row.name not in self.programs:
            stages = methods.stages(row, config, self._steps_per_epoch(config, arrays))
            self.programs[row.name] = compile_program(row, stages, self.evaluate(row.model))
        return Learner(self.programs[row.name], run, seed, parallel.device(number))

    def _feed(self, config, seed, arrays) -> Feed:
        device = parallel.device(0)
        return Feed(
            seed=seed,
            images=parallel.put(arrays.image, device),
            labels=parallel.put(arrays.label, device),
            steps=self._steps_per_epoch(config, arrays),
            batch_size=config.batch_size,
            prepare=self.prepare,
            keep_last_batch=self._keeps_last(config, arrays),
            steps_per_call=parallel.steps_per_call(config.execution.steps_per_call),
        )

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

    def _on_epoch(self, config, learner: Learner, losses: dict) -> None:
        """Evaluates where it is due and appends the epoch's row to metrics.jsonl."""
        stage, step = learner.program.stages[learner.program.stage(learner.epoch - 1)], int(learner.state.step)
        row = {"epoch": learner.epoch, "step": step, **losses, "learning_rate": float(stage.rate(step - 1))}
        last = learner.epoch == config.epochs
        if not learner.diverged and learner.epoch > 0 and (last or learner.epoch % config.eval_every_epochs == 0):
            variables = student_variables(learner.state)
            for split in self.evaluator.splits:
                logits, means = learner.program.evaluate(variables, split, learner.device)
                row |= {f"{split}_{name}": value for name, value in means.items()}
                if last and split == "test":
                    learner.logits = logits
            self.display.status(
                f"{learner.program.method.row} seed {learner.seed}, epoch {learner.epoch}/{config.epochs}, "
                f"{100 * row['test_top1']:.1f} %"
            )
        learner.run.append({name: value if math.isfinite(value) else None for name, value in row.items()})

    def _on_finish(self, config, arrays, teacher, learner: Learner) -> None:
        """Writes result.json."""
        method, history = learner.program.method, learner.run.history()
        result = {
            "status": "diverged" if learner.diverged else "done",
            "experiment": config.experiment,
            "method": method.name,
            "seed": learner.seed,
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
            "seconds": round(learner.seconds, 3),
            "versions": versions(),
            "device": parallel.describe(),
            "revision": revision(),
            "warnings": list(self.dataset.warnings),
        }
        if learner.diverged:
            result["diverged"] = learner.diverged
        else:
            result["student_sha256"] = checkpoint.fingerprint(student_variables(learner.state))
            if learner.logits is None:  # the run was stopped between its last epoch and its result
                variables = student_variables(learner.state)
                learner.logits, _ = learner.program.evaluate(variables, "test", learner.device)
            report = metrics.report(learner.logits, self.dataset.test.label, teacher.logits if teacher else None)
            result["last"] = {"epoch": config.epochs, **report}
        learner.run.finish(result)
        shown = f"{100 * result['last']['top1']:.2f} %" if result["last"] else f"diverged: {learner.diverged}"
        self.display.message(f"{method.row} seed {learner.seed}: {shown}")

    def teach(self, model):
        """The compiled forward pass of a teacher, made once for all seeds."""
        if model not in self.teaching:
            self.teaching[model] = parallel.compile_teach(make_teach(model))
        return self.teaching[model]

    def evaluate(self, model):
        """The compiled evaluation of a model, made once for all methods and seeds that share it."""
        if model not in self.evaluators:
            self.evaluators[model] = self.evaluator.compile(model)
        return self.evaluators[model]

    def cost(self, model) -> dict:
        """Parameters, FLOPs, bytes and latency of a model, measured once."""
        if model not in self.costs:
            self.costs[model] = cost.cost(model, self.image_shape)
        return self.costs[model]

    # ---- checks before any training

    def _check_all(self, rows: dict[str, Method], arrays) -> None:
        """Traces every method on shapes, before a teacher is trained for hours."""
        taught = self._teacher_shapes()
        for row in rows.values():
            self._stop_if_asked()
            models = [self._row(name).model for name in row.teachers]
            self._check(row, self.config, self._shapes(*models) if models else taught, arrays)

    def _check(self, row: Method, config, teacher, arrays) -> None:
        for stage in methods.stages(row, config, self._steps_per_epoch(config, arrays)):
            methods.check(row, stage, self.image_shape, teacher, len(self.dataset.classes), len(arrays.label))

    def _teacher_shapes(self):
        """(model, shapes of its variables), or None without a teacher."""
        spec, models = self.config.teacher, []
        for path in filter(None, (path.strip() for path in spec.run.split("+"))):
            stored = Run(Path(path)).config()
            if stored is None:
                raise ValueError(f"config.teacher.run: {path} holds no run (no config.json)")
            models.append(self._model(stored["student"], f"{path}/config.json"))
        if not spec.run and spec.model:
            models = [self._model(spec, "config.teacher")]
        return self._shapes(*models) if models else None

    def _row(self, name: str) -> Method:
        """A row of the experiment with its student's model."""
        return methods.with_model(self.rows[name], self.config, len(self.dataset.classes))

    def _model(self, spec, where) -> nn.Module:
        return methods.build_model(spec, len(self.dataset.classes), self.config.dtype, where)

    def _shapes(self, *models):
        model = models[0] if len(models) == 1 else compose.Ensemble(models)
        image = jax.ShapeDtypeStruct((1, *self.image_shape), np.float32)
        return model, jax.eval_shape(functools.partial(model.init, train=False), jax.random.key(0), image)


def best_epoch(history: list[dict]) -> dict | None:
    """The first epoch with the highest validation accuracy, and the test accuracy there; None without validation."""
    rows = [row for row in history if row.get("validation_top1") is not None]
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


@functools.cache
def versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    packages = ("kdjax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}


@functools.cache
def revision() -> str:
    """The git revision of this checkout, with a + when it has changes; "" outside a checkout."""
    folder = Path(__file__).parent
    try:
        git = functools.partial(subprocess.run, cwd=folder, capture_output=True, text=True, check=True)
        changed = git(["git", "status", "--porcelain", "--untracked-files=no", "."]).stdout.strip()
        return git(["git", "rev-parse", "--short=12", "HEAD"]).stdout.strip() + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""
