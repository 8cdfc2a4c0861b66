"""What all runs of an experiment share while they run: data, evaluation, compiled programs, measured costs."""

import contextlib
import functools
import gc
import json
import threading
from collections.abc import Callable
from pathlib import Path

import flax.linen as nn
import jax
from ml_collections import ConfigDict

from kdjax import config as configs
from kdjax import data, tasks
from kdjax.config import rows, trace
from kdjax.config.build import build_model
from kdjax.data import kinds
from kdjax.experiment.callbacks import Callbacks
from kdjax.experiment.plan import rows_of
from kdjax.experiment.progress import Display
from kdjax.models import compose, cost
from kdjax.runs.schema import TEACHER
from kdjax.training import mappings, parallel, processes
from kdjax.training.cohort import Stopped
from kdjax.training.evaluate import Evaluator
from kdjax.training.method import Method
from kdjax.training.parallel import Place
from kdjax.training.step import make_teach
from kdjax.types import batch_of

NO_CALLBACKS = Callbacks()


class Lab:
    """The config as it was resolved, the data set, the display, and what is made once, by whichever thread asks."""

    def __init__(
        self, config: ConfigDict, directory: Path, display: Display, stop_signal: Callable, callbacks=NO_CALLBACKS
    ):
        self.config, self.directory, self.display, self.stop_signal = config, directory, display, stop_signal
        self.callbacks = callbacks
        self.rows = {row.name: row for row in rows_of(config, directory)}
        self.task = tasks.named(config.task)
        self.metrics = tasks.own_metrics(config.metrics)
        self.dataset = data.load(config.data, in_memory=not config.execution.stream, task=self.task)
        self.kind = kinds.KINDS[self.dataset.kind]
        self.spec = kinds.spec(self.dataset, config.data)
        self.outputs = self.task.outputs(len(self.dataset.classes))
        splits = {"test": self.dataset.test}
        if self.dataset.validation is not None:
            splits["validation"] = self.dataset.validation
        transform = self.kind.transform(config.data)
        self.evaluator = Evaluator(splits, transform, self.task, config.execution.eval_batch_size)
        self.layout = [()]  # for each cohort that is trained at the same time, its places
        self._made, self._making = {}, threading.RLock()

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """(H, W, C) where examples are images."""
        return self.spec.shape if self.dataset.kind == "images" else None

    def report(self, logits, teacher_logits=None) -> dict:
        """What result.json says of a model by its logits on the test split: the task's scores, and one's own."""
        target = self.dataset.test.target
        own = {name: float(fn(logits, target)) for name, fn in self.metrics.items()}
        return {**self.task.report(logits, target, teacher_logits), **own}

    # ---- what is made once

    def once(self, make: Callable, *key):
        """What `make` has made the first time that it was asked for under this key."""
        with self._making:
            if key not in self._made:
                self._made[key] = make()
            return self._made[key]

    def room(self, methods: int) -> int:
        """How many of so many methods can train together: this process can hold their programs beside what it holds.

        Where there is no room for all, what is compiled is let go; cohorts that are at work keep theirs.
        """
        if mappings.room(len(self.layout)) < methods:
            with self._making:
                self._made = {key: made for key, made in self._made.items() if key[0] == "cost"}
            gc.collect()
        return processes.from_first(lambda: mappings.room(len(self.layout)))

    def teach(self, model, place: Place, paths: frozenset):
        """The compiled forward pass of a teacher, made once for all seeds; of its Outputs what `paths` names."""
        places = self.layout[0] if len(self.layout) == 1 else ()
        make = functools.partial(parallel.compile_teach, make_teach(model), place, places, paths)
        return self.once(make, "teach", model, place.compiled_for, paths)

    def target(self, config) -> jax.ShapeDtypeStruct:
        """The shape of two targets after augmentation: [2], or [2, K] where it mixes labels."""
        train = self.dataset.train
        two = lambda leaf: jax.ShapeDtypeStruct((2, *leaf.shape[1:]), leaf.dtype)  # noqa: E731
        stored, target = jax.tree.map(two, train.input), two(train.target)

        def make():
            given = (self.augmentation(config), jax.random.key(0), stored, target)
            return trace.trace("config.data.augment", jax.eval_shape, *given)[1]

        return self.once(make, "target", json.dumps(configs.plain(config.data.augment)))

    def evaluate(self, model):
        """The compiled evaluation of a model, made once for all methods and seeds that share it."""
        return self.once(lambda: self.evaluator.compile(model), "evaluate", model)

    def cost(self, model) -> dict:
        """Parameters, FLOPs, bytes and latency of what ships of a model, measured once; trained_parameters if more."""
        network = cost.shipped(model)
        row = self.once(lambda: cost.cost(network, self.spec), "cost", network)
        trained = self.once(lambda: cost.parameters(model, self.spec), "cost", "parameters", model)
        return row if trained == row["parameters"] else row | {"trained_parameters": trained}

    def prepare(self, config, place: Place) -> Callable:
        """The compiled augmentation, made once for all seeds and methods that have the same."""

        def make():
            return parallel.compile_prepare(self.augmentation(config), place, streamed=config.execution.stream)

        return self.once(make, "prepare", json.dumps(configs.plain(config.data.augment)), place.compiled_for)

    def augmentation(self, config) -> Callable:
        """What is done to a batch of a method's own view of the data."""
        return self.kind.augment(config.data, len(self.dataset.classes))

    # ---- rows and networks

    def row(self, name: str) -> Method:
        """A row of the experiment with its student's model."""
        return rows.with_model(self.rows[name], self.config, self.outputs)

    def view(self, row: Method, seed: int) -> tuple[ConfigDict, data.Arrays]:
        """The config as a method has it, and the training examples that its student sees."""
        config = rows.with_view(self.config, row)
        return config, data.subset(self.dataset.train, config.data, seed)

    def model(self, spec, where: str) -> nn.Module:
        """The network that {"model", "kwargs"} names, with the logits of the task."""
        return build_model(spec, self.outputs, self.config.dtype, where)

    def stored_model(self, config: dict, path) -> nn.Module:
        """The student of a run as it was trained: in int8 where it was trained for that, also when it teaches."""
        model = self.model(config["student"], f"{path}/config.json")
        return rows.as_trained(model, config["spec"])

    def shapes(self, *models: nn.Module):
        """(a model, or the ensemble of several, and the shapes of its variables)."""
        model = models[0] if len(models) == 1 else compose.Ensemble(models)
        init = functools.partial(model.init, train=False)
        return model, jax.eval_shape(init, jax.random.key(0), batch_of(self.spec, 1))

    def teacher_row(self, model: nn.Module) -> Method:
        """The experiment's teacher as a row that can be trained."""
        spec = self.config.teacher
        made = {"model": spec.model, "kwargs": configs.plain(spec.kwargs)}
        return Method(TEACHER, TEACHER, {self.task.loss: {"weight": 1.0}}, model, made)

    # ---- steps

    def steps_per_epoch(self, config, arrays) -> int:
        examples = len(arrays)
        if config.steps_per_epoch:
            return config.steps_per_epoch
        if examples < config.batch_size:
            raise ValueError(
                f"config.batch_size {config.batch_size} is larger than the {examples} training {self.kind.noun}: "
                f"set it to at most {examples}, or set config.steps_per_epoch"
            )
        return examples // config.batch_size + keeps_last(config, arrays)

    def steps(self, row: Method, seed: int) -> int:
        """The steps of a method's run, those of its first stage included."""
        config, arrays = self.view(row, seed)
        return (config.epochs - row.first_epoch) * self.steps_per_epoch(config, arrays)

    def teacher_steps(self) -> int:
        """The steps of the experiment's teacher, if it is trained here."""
        config = teacher_config(self.config)
        return config.epochs * self.steps_per_epoch(config, self.dataset.train)

    def stop_if_asked(self) -> None:
        """Raises kdjax.training.cohort.Stopped after a signal."""
        if stop := processes.asked(self.stop_signal()):
            raise Stopped(stop)


def teacher_config(config: ConfigDict) -> ConfigDict:
    """The experiment's config as the teacher's own run has it."""
    config = configs.resolve(config)  # a copy that keeps the order of augmentations
    config.optimizer = rows.override(config.optimizer, config.teacher.optimizer, "config.teacher.optimizer")
    config.epochs = config.teacher.epochs or config.epochs
    config.batch_size = config.teacher.batch_size or config.batch_size
    config.steps_per_epoch = 0
    config.data.update(shots=0, imbalance=0.0, unlabelled=False)  # these restrict what students see
    start, config.teacher = config.teacher.start, configs.default().teacher
    config.teacher.start = start
    return config


def keeps_last(config, arrays) -> bool:
    """Whether an epoch ends with a smaller batch."""
    return config.keep_last_batch and not config.steps_per_epoch and len(arrays) % config.batch_size > 0


@contextlib.contextmanager
def named(field: str):
    """What is wrong with a file, with the field that names it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from error
