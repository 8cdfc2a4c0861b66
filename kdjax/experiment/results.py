"""What is written of runs while they train: the rows of metrics.jsonl, gradients.json, result.json."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from kdjax.data import Arrays
from kdjax.experiment import predictions, references
from kdjax.experiment.lab import Lab
from kdjax.experiment.provenance import revision, versions
from kdjax.files import write_json, write_text
from kdjax.runs import caution
from kdjax.runs import task as described
from kdjax.runs.schema import TEACHER
from kdjax.tasks.task import Task
from kdjax.training import checkpoint, gradients, parallel, processes
from kdjax.training.cohort import Learner
from kdjax.training.evaluate import Evaluation, first_not_finite
from kdjax.training.feed import Feed
from kdjax.training.step import student_variables


@dataclass(frozen=True)
class Results:
    """What a cohort calls as it trains; of several processes the first alone writes."""

    lab: Lab
    config: ConfigDict
    arrays: Arrays  # the training examples that its students see
    teacher: Any  # a kdjax.experiment.teachers.Teacher, or None
    teacher_variables: dict | None  # its variables where the cohort trains
    feed: Feed

    def on_step(self, ready: list[Learner], steps: int) -> None:
        epoch, step = ready[0].epoch + 1, ready[0].step
        self.lab.display.tokens += self.feed.tokens(ready[0].epoch, step - steps, steps) * len(ready)
        self.lab.display.advance(steps * len(ready))
        self.lab.display.status(f"{len(ready)} students, epoch {epoch}/{self.config.epochs}, step {step}")
        for learner in ready:
            self.lab.callbacks.stepped(learner)

    def on_main(self, learners: list[Learner], batch, taught) -> None:
        processes.from_first(lambda: self._gradients(learners, batch, taught))

    def on_epoch(self, learner: Learner, losses: dict) -> None:
        learner.diverged = processes.from_first(lambda: self._epoch(learner, losses))

    def on_finish(self, learner: Learner) -> None:
        processes.from_first(lambda: self._finish(learner))

    def _gradients(self, learners: list[Learner], batch, taught) -> None:
        """Writes how gradients of each method's terms stand to cross-entropy's, and says where they are far apart."""
        lab, feed = self.lab, self.feed
        for learner in learners:
            method, stage = learner.program.method, learner.program.stages[-1]
            if not gradients.measures(stage):
                continue
            make = functools.partial(gradients.compile_gradient, method.model)
            gradient = lab.once(make, "gradient", method.model)
            make = functools.partial(gradients.compile_cotangents, stage)
            cotangents = lab.once(make, "cotangents", method.name)
            given = (feed.place.put(learner.state), batch, taught, self.teacher_variables, feed.targets)
            found = gradients.measured(stage, stage.epochs * feed.steps, gradient, cotangents, *given)
            write_json(learner.run.path / "gradients.json", {"ratios": {}, **found})
            for said in caution.gradients([found.get("ratios")]):
                lab.display.message(f"{method.row} seed {learner.seed}: {said}")

    def _epoch(self, learner: Learner, losses: dict) -> dict | None:
        """Evaluates where it is due and appends the epoch's row to metrics.jsonl; how the run has diverged, if so."""
        config = self.config
        row = {"epoch": learner.epoch, "step": int(learner.state.step), **losses, "learning_rate": _rate(learner)}
        last = learner.epoch == config.epochs
        diverged = learner.diverged
        if not diverged and learner.epoch > 0 and (last or learner.epoch % config.eval_every_epochs == 0):
            for split in self.lab.sight.evaluator.splits:
                found = _evaluate(learner, split)
                row |= {f"{split}_{name}": value for name, value in found.means.items()}
                diverged = diverged or (_lost(learner, split, found.logits) if last else None)
            primary = row[f"test_{self.lab.task.primary}"]
            now = self.lab.task.shown(primary, 1) if math.isfinite(primary) else "logits are not finite"
            self.lab.display.status(
                f"{learner.program.method.row} seed {learner.seed}, epoch {learner.epoch}/{config.epochs}, {now}"
            )
        row = {name: value if math.isfinite(value) else None for name, value in row.items()}
        learner.run.append(row)
        self.lab.callbacks.ended(learner, row)
        return diverged

    def _finish(self, learner: Learner) -> None:
        """Writes result.json."""
        if not learner.diverged and learner.evaluation is None:  # stopped between its last epoch and its result
            for split in self.lab.sight.evaluator.splits:
                learner.diverged = learner.diverged or _lost(learner, split, _evaluate(learner, split).logits)
        result = self._result(learner)
        if self.config.execution.keep_predictions and not learner.diverged:
            kept = "logits" if self.lab.task.keep is None else "kept"
            predictions.write(learner.run.path, learner.evaluation, self.lab.dataset.test.target, kept)
        if (tokenizer := self.lab.dataset.tokenizer) is not None:
            write_text(learner.run.path / "tokenizer.json", tokenizer.text())
        learner.run.finish(result)
        say, method, teacher = self.lab.display.message, learner.program.method, self.teacher
        how = ", ".join(f"{name} {value}" for name, value in (learner.diverged or {}).items())
        task = self.lab.task
        shown = task.shown(result["last"][task.primary]) if result["last"] else f"diverged: {how}"
        say(f"{method.row} seed {learner.seed}: {shown}")
        scores = [(of or {}).get(task.primary) for of in (result["last"], teacher and teacher.measured)]
        if said := caution.better(*scores, described.of(result)):
            say(f"{method.row} seed {learner.seed}: {said}")
        self.lab.callbacks.finished(learner, result)

    def _result(self, learner: Learner) -> dict:
        lab, config, teacher = self.lab, self.config, self.teacher
        method, history, task = learner.program.method, learner.run.history(), lab.task
        sight = lab.seen_by(method)
        result = {
            "status": "diverged" if learner.diverged else "done",
            "experiment": config.experiment,
            "method": method.name,
            "seed": learner.seed,
            "generation": learner.generation,
            "epochs": config.epochs,
            "steps": int(learner.state.step),
            "last": None,
            "task": task.describe(lab.metrics),
            "best": best_epoch(history, task),
            "peak": peak_epoch(history, task),
            "teacher": teacher.measured if teacher else None,
            **self._references(learner),
            "student": {"model": method.model_config["model"], **lab.cost(method.model, sight)},
            "dataset": lab.dataset.name,
            "image_shape": list(sight.image_shape) if sight.image_shape else None,
            **_text_shape(sight),
            "classes": list(lab.dataset.classes),
            "train_examples": len(self.arrays),
            "train_counts": _counts(self.arrays.target, len(lab.dataset.classes)),
            "gradients": learner.run.gradients("ratios"),
            "cosines": learner.run.gradients("cosines"),
            "seconds": round(learner.seconds, 3),  # the cohort's, divided by its methods
            "versions": versions(),
            "device": parallel.describe(),
            "flags": learner.run.config().get("flags", []),
            "revision": revision(),
            "warnings": [*lab.dataset.warnings, *(teacher.remarks if teacher else ())],
        }
        if learner.diverged:
            return {**result, "diverged": learner.diverged}
        report = lab.report(learner.evaluation, teacher.logits if teacher else None)
        digest = checkpoint.fingerprint(student_variables(learner.state))
        return {**result, "student_sha256": digest, "last": {"epoch": config.epochs, **report}}

    def _references(self, learner: Learner) -> dict:
        if not self.lab.config.references or learner.program.method.name == TEACHER:
            return {}
        return {"references": references.measured(self.lab, learner.seed)}


def _text_shape(sight) -> dict:
    """Of texts the most tokens that one has, and whether an example is a pair of them."""
    if sight.dataset.kind != "text":
        return {}
    return {"length": sight.spec["tokens"].shape[0], "pairs": "segments" in sight.spec}


def _counts(target: np.ndarray, classes: int) -> list[int] | None:
    """How many examples each class has, the unlabelled left out; None where there are no classes."""
    return np.bincount(target[target >= 0], minlength=classes).tolist() if classes else None


def _evaluate(learner: Learner, split: str) -> Evaluation:
    """A split, its means NaN where one example's logits are not finite, for they mean nothing.

    That of the test split stays with the learner.
    """
    found = learner.program.evaluate(student_variables(learner.state), split, learner.place)
    if split == "test":
        learner.evaluation = found
    if first_not_finite(found.logits) is None:
        return found
    return found._replace(means=dict.fromkeys(found.means, math.nan))


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


def best_epoch(history: list[dict], task: Task) -> dict | None:
    """The first epoch with the best primary score on the validation split, and the test score there; None without."""
    validation, test = f"validation_{task.primary}", f"test_{task.primary}"
    rows = [row for row in history if None not in (row.get(validation), row.get(test))]
    if not rows:
        return None
    row = _best(rows, validation, task)
    return {"epoch": row["epoch"], validation: row[validation], task.primary: row[test]}


def peak_epoch(history: list[dict], task: Task) -> dict | None:
    """The best test score of any epoch: optimistic, for comparison with papers that print it."""
    test = f"test_{task.primary}"
    rows = [row for row in history if row.get(test) is not None]
    if not rows:
        return None
    row = _best(rows, test, task)
    return {"epoch": row["epoch"], task.primary: row[test]}


def _best(rows: list[dict], name: str, task: Task) -> dict:
    """The first row with the best value."""
    return (max if task.higher_is_better else min)(rows, key=lambda row: row[name])
