"""What teaches: the experiment's teacher, students of other rows, ensembles; each measured here and not believed."""

import functools
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import flax.linen as nn
import numpy as np
from flax.traverse_util import flatten_dict

from kdjax import config as configs
from kdjax.data.text import tokenizers
from kdjax.experiment.cohorts import Cohorts
from kdjax.experiment.elsewhere import Elsewhere, load
from kdjax.experiment.lab import Lab, named, teacher_config
from kdjax.experiment.plan import finished, run_config, run_path
from kdjax.experiment.sights import Sight
from kdjax.models import compose, pytorch, weights
from kdjax.models.given import VARIABLES
from kdjax.runs import identity
from kdjax.runs.directory import Run
from kdjax.runs.schema import TEACHER, damage
from kdjax.training import checkpoint, processes
from kdjax.training.evaluate import Evaluation, first_not_finite
from kdjax.training.method import Method


class Diverged(ValueError):
    """What teaches others has diverged, or its logits are not finite: they cannot be trained."""


@dataclass(frozen=True)
class Teacher:
    """A model that teaches, and what was measured of it here."""

    model: nn.Module
    variables: dict
    measured: dict  # {"model", "top1", "parameters", "flops", ...}
    sha256: str  # of its variables
    remarks: tuple[str, ...]  # what a reader of the numbers should know, a sentence each
    logits: np.ndarray | None  # [N, K] on the test split; None: not known
    generation: int  # as a student, see `kdjax.streams`; -1 for what was trained as a teacher
    sight: Sight  # what it sees
    elsewhere: Elsewhere | None = None  # what is asked in place of the model, where that is no network of JAX


class Teachers:
    """The teachers of an experiment, made or trained when they are asked for, once."""

    def __init__(self, lab: Lab, cohorts: Cohorts):
        self.lab, self.cohorts, self._students = lab, cohorts, {}

    def own(self) -> Teacher | None:
        """The experiment's teacher: from weights, from another run, or trained here as a run of its own."""
        lab, spec = self.lab, self.lab.config.teacher
        if elsewhere := load.of(lab):
            return self._check_same(self._elsewhere(elsewhere))
        if spec.run:
            paths = [Path(path.strip()) for path in spec.run.split("+")]
            return self._check_same(self._from_runs(paths, lab.taught, "config.teacher.run"))
        if not spec.model:
            return None
        model = lab.model(spec, "config.teacher")
        if spec.weights:
            with named("config.teacher.weights"):
                variables = pytorch.load(spec.weights, model, lab.taught.spec)
                said = _described(spec.weights)
                remarks = _check_teaches(said, lab.taught, spec.weights)
                if said:
                    here = lab.dataset.fingerprint.get("tokenizer")
                    identity.check_tokenizer(said["tokenizer"], here, spec.weights)
            return self._check_same(self.measure(model, variables, spec.model, 0, lab.taught, remarks))
        if spec.start:
            lab.display.message(f"teacher {spec.model}: begins from {spec.start}, its classifier afresh")
        row, config = lab.teacher_row(model), teacher_config(lab.config)
        self._complete(config, lab.taught_examples(), row, spec.seed, lambda: None, lab.layout[0])
        path = run_path(lab.directory, TEACHER, spec.seed)
        return self._check_same(self._from_runs([path], lab.taught, "the teacher's run"))

    def of(self, row: Method, seed: int, teacher: Teacher | None, places) -> Teacher:
        """What teaches a row: the students of `row.teachers` with this seed, several as an ensemble."""
        name = row.teacher
        if (name, seed) not in self._students:
            paths = [self.source(part, seed, teacher, places) for part in row.teachers]
            where = f"config.methods.{name}, a teacher of others"
            self._students[name, seed] = self._from_runs(paths, self.lab.sight, where)
        return self._students[name, seed]

    def source(self, name: str, seed: int, teacher: Teacher | None, places) -> Path:
        """The finished run of a method that others depend on, trained here if it is missing.

        Raises:
          Diverged: it has no student to build on.
        """
        row = self.lab.row(name)
        if row.start:
            self.source(row.start, seed, teacher, places)
        above = functools.partial(self.of, row, seed, teacher, places)
        self._complete(*self.lab.view(row, seed), row, seed, above if row.teacher else lambda: teacher, places)
        path = run_path(self.lab.directory, name, seed)
        if Run(path).result()["status"] == "diverged":
            raise Diverged(f"{path}, on which they depend, has diverged")
        return path

    def _complete(self, config, arrays, row: Method, seed: int, teacher: Callable, places) -> None:
        """Returns when a run that teaches is finished; while another process is at work on it, waits.

        Raises:
          kdjax.training.cohort.Stopped: a signal came while waiting.
        """
        lab, said = self.lab, ""
        run, held = Run(run_path(lab.directory, row.name, seed)), True
        while not processes.from_first(lambda: finished(run, run_config(config, row, seed), teaches=True)):
            if not held:
                raise RuntimeError(f"{run.path} was trained, and what it left is not accepted: {damage(run.result())}")
            held = self.cohorts.train(config, arrays, [row], seed, teacher(), places, quiet=True)
            if held.get(run.path, said) != said:
                said = held[run.path]
                lab.display.message(f"waiting for {run.path}, which teaches: held by {said}")
            lab.stop_if_asked()
            if held:
                time.sleep(1.0)

    def _from_runs(self, paths: list[Path], sight: Sight, where: str) -> Teacher:
        """The students of finished runs as a teacher of that sight: one, or the ensemble of several."""
        members = [self._from_run(path, sight, where) for path in paths]
        models, variables, names, generations, remarks = zip(*members, strict=True)
        if len(members) == 1:
            return self.measure(models[0], variables[0], names[0], generations[0], sight, remarks[0])
        name, remarks = f"ensemble of {' + '.join(names)}", dict.fromkeys(itertools.chain(*remarks))
        joined = compose.Ensemble(models), compose.join(*variables)
        return self.measure(*joined, name, max(generations), sight, remarks)

    def _from_run(self, path: Path, sight: Sight, where: str) -> tuple[nn.Module, dict, str, int, list[str]]:
        """(model, variables, name, generation, remarks) of the student of a finished run."""
        run = Run(path)
        with named(where):
            config, result = run.finished()
        normalised = {name: config["data"][name] for name in ("mean", "std")}
        known = {"classes": result["classes"], "image_shape": result.get("image_shape"), **normalised}
        with named(where):
            remarks = _check_teaches(known, sight, path)
            tokenizer = identity.stored(config).get("data", {}).get("tokenizer")
            identity.check_tokenizer(tokenizer, self.lab.dataset.fingerprint.get("tokenizer"), path)
            if self.lab.dataset.catalogue:
                identity.check_names(identity.stored(config).get("data"), self.lab.dataset.fingerprint, path)
            model = self.lab.stored_model(config, path)
            variables = checkpoint.student(run.checkpoints, result.get("student_sha256", ""))
            expected = flatten_dict(dict(self.lab.shapes(sight, model)[1]))
            weights.check_fit(path, flatten_dict(variables, sep="."), expected)
        return model, variables, config["student"]["model"], run.generation(), remarks

    def measure(
        self, model: nn.Module, variables: dict, name: str, generation: int, sight: Sight, remarks=()
    ) -> Teacher:
        """A teacher with its accuracy on the test split and its costs, of what it sees, measured and not believed.

        Raises:
          Diverged: its logits of an example of the test split are not finite.
        """
        lab, place = self.lab, self.lab.layout[0][0]
        variables = place.put(variables)
        evaluation = lab.evaluate(model, sight)(variables, "test", place)
        example = first_not_finite(evaluation.logits)
        if example is not None:
            raise Diverged(
                f"teacher {name}: its logits of example {example} of the test split are not finite, so it teaches "
                "nothing; look at it, and whether the network can divide by 0 or overflow in evaluation mode"
            )
        scores = self._scores(name, evaluation)
        remarks = [*remarks, *(sight.evaluator.remarks(model) if lab.task.catalogue else ())]
        for remark in remarks:
            lab.display.message(f"teacher {name}: {remark}")
        measured = {"model": name, **scores, **lab.cost(model, sight)}
        digest = checkpoint.fingerprint(variables)
        return Teacher(model, variables, measured, digest, tuple(remarks), evaluation.logits, generation, sight)

    def _scores(self, name: str, evaluation: Evaluation) -> dict[str, float]:
        """What a table says of how good a teacher is; the log is told."""
        task = self.lab.task
        primary = evaluation.means[task.primary]
        self.lab.display.message(f"teacher {name}: {task.shown(primary)} on the test split")
        report = self.lab.report(evaluation)
        numbers = {key: value for key, value in report.items() if isinstance(value, float) and key != "agreement"}
        return {**numbers, task.primary: primary}

    def _elsewhere(self, found: Elsewhere) -> Teacher:
        """A teacher of elsewhere with its accuracy on the test split, where that is known; its costs are not.

        Raises:
          ValueError: it fails on an example, or its numbers are not finite.
        """
        lab, sight, test = self.lab, self.lab.taught, self.lab.taught.dataset.test
        transform = lab.kind.transform(sight.data, sight.dataset)
        said = found.of("test", test, transform, lab.config.execution.eval_batch_size)
        measured, logits = {"model": found.name, **dict.fromkeys(("parameters", "flops", "bytes"))}, None
        if said is not None:
            evaluation = sight.evaluator.of("test", getattr(said, lab.task.reads))
            measured, logits = measured | self._scores(found.name, evaluation), evaluation.logits
        for remark in found.remarks:
            lab.display.message(f"teacher {found.name}: {remark}")
        origin = dict(variables=VARIABLES, sha256=found.sha256, remarks=found.remarks, generation=0, elsewhere=found)
        return Teacher(model=found.model, measured=measured, logits=logits, sight=sight, **origin)

    # ---- checks

    def _check_same(self, teacher: Teacher) -> Teacher:
        """The experiment's teacher, if all its runs that name the same were taught by the same weights.

        Raises:
          ValueError: there is another behind the path.
        """
        lab, stated = self.lab, configs.plain(self.lab.config.teacher)
        where = stated.get(configs.origin(stated)) or str(run_path(lab.directory, TEACHER, stated["seed"]))
        for row in lab.rows.values():
            for path in sorted((lab.directory / row.name).glob("seed*")) if not row.teacher else ():
                stored = Run(path).config()
                if stored and configs.completed(stored).get("teacher") == stated:
                    identity.check_teacher(path, stored, teacher.sha256, where)
        return teacher


def _check_teaches(known: dict, sight: Sight, where) -> list[str]:
    """What should be known of a teacher on these images; a ValueError if it cannot teach on them."""
    given = sight.dataset.classes, sight.image_shape, sight.data.mean, sight.data.std
    return identity.check_teaches(known, *given, where)


def _described(path: str) -> dict:
    """What the JSON beside a file of weights says of them as a teacher; {} for PyTorch's, which have none."""
    if weights.stated_format(path) != weights.FORMAT:
        return {}
    said = weights.describe(path)
    tokenizer = tokenizers.digest(tokenizers.loaded(said["tokenizer"])) if "tokenizer" in said else None
    shape = {"image_shape": said.get("image_shape"), "tokenizer": tokenizer}
    return {"classes": said.get("classes"), **shape, **(said.get("normalisation") or {})}
