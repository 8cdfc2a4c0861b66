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
import numpy as np
from ml_collections import ConfigDict

from kdjax import config as configs
from kdjax import data, tasks
from kdjax.config import rows, trace
from kdjax.config.build import build_model
from kdjax.data import kinds
from kdjax.experiment.callbacks import Callbacks
from kdjax.experiment.plan import rows_of, run_path
from kdjax.experiment.progress import Display
from kdjax.experiment.sights import Sight, sights, taught_data
from kdjax.models import compose, compress, cost, pytorch
from kdjax.runs.schema import TEACHER
from kdjax.training import mappings, parallel, processes
from kdjax.training.cohort import Stopped
from kdjax.training.evaluate import Evaluation
from kdjax.training.method import Method
from kdjax.training.parallel import Place
from kdjax.training.searching import loss_of
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
        self.sight, self.taught = sights(config, self.task)  # what students see, and what the experiment's teacher
        self.dataset = max((self.sight, self.taught), key=lambda sight: sight.data.image_size).dataset
        self.kind = kinds.KINDS[self.dataset.kind]
        self.outputs = self.task.outputs(self.dataset.choices)
        self.logits = self.dataset.train.target.shape[1] if self.task.lists else self.outputs  # of an example
        self.layout = [()]  # for each cohort that is trained at the same time, its places
        self._made, self._making = {}, threading.RLock()

    def seen_by(self, row: Method) -> Sight:
        """What the network of a row sees."""
        return self.taught if row.name == TEACHER else self.sight

    def report(self, evaluation: Evaluation, teacher_logits=None) -> dict:
        """What result.json says of a model by its evaluation on the test split: the task's numbers, and one's own.

        Numbers that stand in its table and are not of the report are means over examples; of a task that keeps no
        logits, to four digits, the primary score of each example stands there too, by which tables pair them.
        """
        logits, target = evaluation.logits, self.dataset.test.target
        own = {name: float(fn(logits, target)) for name, fn in self.metrics.items()}
        told = self.task.report(logits, target, teacher_logits)
        means = {key: evaluation.means[key] for key, *_ in self.task.columns if key not in told}
        if self.task.keep:
            told["examples"] = np.round(evaluation.scores[self.task.primary].astype(np.float64), 4).tolist()
        return {**means, **told, **own}

    @property
    def lengths(self) -> int:
        """How many lengths batches have, for each of which programs are compiled."""
        padded = self.kind.shapes(self.dataset.train.input, self.config.data)
        return 1 if padded is None else len(set(padded.tolist()))

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
        programs = len(self.layout) * self.lengths
        if mappings.room(programs) < methods:
            with self._making:
                self._made = {key: made for key, made in self._made.items() if key[0] == "cost"}
            gc.collect()
        return processes.from_first(lambda: mappings.room(programs))

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
            given = (self.augmentation(config, {"input": self.sight.data}), jax.random.key(0), stored, target)
            return trace.trace("config.data.augment", jax.eval_shape, *given)[1]

        return self.once(make, "target", json.dumps(configs.plain(config.data.augment)))

    def evaluate(self, model, sight: Sight):
        """The compiled evaluation of a model, made once for all methods and seeds that share it."""
        return self.once(lambda: sight.evaluator.compile(model), "evaluate", model, sight)

    def cost(self, model, sight: Sight) -> dict:
        """Parameters, FLOPs, bytes and latency of what ships of a model, measured once; trained_parameters if more."""
        network, spec = cost.shipped(model), sight.spec
        row = self.once(lambda: cost.cost(network, spec), "cost", network, sight)
        if network == model:
            return row
        trained = self.once(lambda: cost.parameters(model, spec), "cost", "parameters", model, sight)
        return row if trained == row["parameters"] else row | {"trained_parameters": trained}

    def make_batch(self, config, place: Place, own: Sight, teacher: Sight | None = None, second=False) -> Callable:
        """What makes batches for a Feed, compiled once for all seeds and methods that have the same.

        Args:
          own: what those who are trained see; teacher: what teaches them does, if anything; second: whether a loss
            asks for a second view.
        """
        seen = {"input": own, **({"teacher": teacher} if teacher not in (own, None) else {})}

        def make():
            augment = self.augmentation(config, {name: sight.data for name, sight in seen.items()}, second)
            return parallel.compile_batch(augment, place, config.execution.stream, views=config.data.views > 0)

        what = json.dumps(configs.plain(config.data.augment)), *seen.items(), second, config.data.views > 0
        return self.once(make, "make_batch", what, place.compiled_for)

    def augmentation(self, config, seen: dict, second: bool = False) -> Callable:
        """What is done to a batch of a method's own view of the data, for those who see it."""
        if second and not self.kind.views:
            raise ValueError("a loss asks for a second view of the batch; there is one of images alone")
        return self.kind.augment(config.data, self.dataset, seen, second)

    # ---- rows and networks

    def row(self, name: str) -> Method:
        """A row of the experiment with its student's model."""
        return rows.with_model(self.rows[name], self.config, self.outputs, self.dataset.known)

    def view(self, row: Method, seed: int) -> tuple[ConfigDict, data.Arrays]:
        """The config as a method has it, and the training examples that its student sees."""
        config = rows.with_view(self.config, row)
        return config, data.subset(self.dataset.train, config.data, seed)

    def taught_examples(self) -> data.Arrays:
        """What a teacher that is trained here learns from: all that has a label."""
        config = teacher_config(self.config)
        return data.subset(self.taught.dataset.train, config.data, self.config.teacher.seed)

    def model(self, spec, where: str) -> nn.Module:
        """The network that {"model", "kwargs"} names, with the logits of the task."""
        return build_model(spec, self.outputs, self.config.dtype, where, self.dataset.known)

    def stored_model(self, config: dict, path) -> nn.Module:
        """The student of a run as it was trained: in int8 where it was trained for that, also when it teaches."""
        student = _captured(config["student"], self.config.teacher, self.directory, Path(path))
        return rows.as_trained(self.model(student, f"{path}/config.json"), config["spec"])

    def start_file(self, row: Method) -> tuple[str, str]:
        """(the file of weights that a row's network begins from, "" if there is none; the field that names it)."""
        if row.name == TEACHER:
            return self.config.teacher.start, "config.teacher.start"
        own = "start" in row.spec.get("student", {})
        return row.model_config.get("start", ""), f"config.{f'methods.{row.name}.' if own else ''}student.start"

    def start(self, row: Method) -> dict | None:
        """The variables in that file, all but the classifier's; None without one, or where a row begins as another."""
        path, field = self.start_file(row)
        if not path or row.start:
            return None

        def make():
            with named(field):
                return pytorch.load_body(path, compress.unquantized(row.model), self.seen_by(row).spec)

        return self.once(make, "start", path, row.model)

    def shapes(self, sight: Sight, *models: nn.Module):
        """(a model, or the ensemble of several, the shapes of its variables, and those of an example that it sees)."""
        model = models[0] if len(models) == 1 else compose.Ensemble(models)
        init = functools.partial(model.init, train=False)
        return model, jax.eval_shape(init, jax.random.key(0), batch_of(sight.spec, 1)), sight.spec

    def teacher_row(self, model: nn.Module) -> Method:
        """The experiment's teacher as a row that can be trained."""
        spec = self.config.teacher
        made = {"model": spec.model, "kwargs": configs.plain(spec.kwargs)}
        return Method(TEACHER, TEACHER, {loss_of(self.task, model): {"weight": 1.0}}, model, made)

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
        return config.epochs * self.steps_per_epoch(config, self.taught_examples())

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
    config.data = taught_data(config)
    config.data.update(shots=0, imbalance=0.0, unlabelled=False, views=0)  # these restrict what students see
    config.data.negatives.update(random=0, hard=0)  # and this is theirs, as it is the teacher's work
    start, config.teacher = config.teacher.start, configs.default().teacher
    config.teacher.start = start
    return config


def _captured(student: dict, teacher: ConfigDict, directory: Path, path: Path) -> dict:
    """Of a run that is the experiment's teacher those layers are captured that the experiment asks for."""
    own = (run_path(directory, TEACHER, teacher.seed), *(Path(each.strip()) for each in teacher.run.split("+")))
    return {**student, "capture": teacher.capture} if teacher.capture and path in own else student


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
