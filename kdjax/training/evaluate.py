"""Evaluation of a model on whole splits: padded to one shape and masked, so that no example is dropped."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.data.arrays import Arrays
from kdjax.models import convolve
from kdjax.tasks.task import Task
from kdjax.training.parallel import Place
from kdjax.training.step import make_eval_step


class Evaluation(NamedTuple):
    """What a model makes of a split, on the host."""

    logits: np.ndarray  # [N, K] float32, or what the task keeps of them
    scores: dict[str, np.ndarray]  # name -> [N] float32 of each example, NaN where it does not count
    means: dict[str, float]  # name -> over the examples that count


def _alike(inputs) -> None:
    """The lengths of examples that have none."""


class Evaluator:
    """Holds the evaluation splits at the places that ask for them, in batches of one shape, a device a batch."""

    def __init__(self, splits: dict, transform: Callable, task: Task, batch_size: int, shapes: Callable = _alike):
        """`splits`: name -> kdjax.data.Arrays; `transform`: inputs as stored -> what networks take.

        `shapes`: inputs -> [N] the length that each example is cut to, or None. Where there are lengths, examples of
        like length are evaluated together.
        """
        self.splits, self.transform, self.task, self.batch_size = splits, transform, task, batch_size
        lengths = {name: shapes(split.input) for name, split in splits.items()}
        self.lengths = {name: of for name, of in lengths.items() if of is not None}
        self.orders = {name: np.argsort(of, kind="stable") for name, of in self.lengths.items()}  # the shortest first
        self.placed = {}

    def compile(self, model):
        """evaluate(variables, split, place) -> Evaluation."""
        scored = (lambda logits, target: {}) if self.task.whole else self.task.scores
        eval_step = make_eval_step(model, scored, self.task.reads, self.task.keep)

        @jax.jit
        @convolve.fast()
        def step(variables, batch):
            return eval_step(variables, self.transform(batch["input"]), batch["target"], batch["mask"])

        def evaluate(variables, split: str, place: Place) -> Evaluation:
            held = {device: jax.device_put(variables, device) for device in place.devices}
            outputs = [step(held[device], batch) for device, batch in self._batches(split, place)]
            logits, scores, sums = zip(*jax.device_get(outputs), strict=True)
            if self.task.whole:
                return self._whole(split, self._joined(split, logits))
            total = {name: np.sum([s[name] for s in sums], axis=0, dtype=np.float64) for name in sums[0]}
            joined = {name: self._joined(split, [s[name] for s in scores]) for name in scores[0]}
            means = {name: float(sum_ / count) for name, (sum_, count) in total.items()}
            return Evaluation(self._joined(split, logits), joined, means)

        return evaluate

    def of(self, split: str, logits: np.ndarray) -> Evaluation:
        """The same of logits [N, K] of a split that were computed elsewhere."""
        if self.task.whole:
            return self._whole(split, logits)
        given = jnp.asarray(logits), jax.tree.map(jnp.asarray, self.splits[split].target)
        kept = logits if self.task.keep is None else jax.device_get(self.task.keep(*given))
        scores = jax.device_get(self.task.scores(*given))
        means = {name: float(np.nanmean(values, dtype=np.float64)) for name, values in scores.items()}
        return Evaluation(kept, scores, means)

    def _whole(self, split: str, logits: np.ndarray) -> Evaluation:
        """The scores of a task that looks at a whole split at once; NaN where one example's logits are not finite."""
        target = self.splits[split].target
        if first_not_finite(logits) is not None:
            return Evaluation(logits, {}, {self.task.primary: np.nan})
        found = self.task.scores(logits, target)
        means = {name: float(np.nanmean(values)) for name, values in found.items()}
        return Evaluation(logits, {name: x.astype(np.float32) for name, x in found.items()}, means)

    def _batches(self, split, place):
        if (split, place) not in self.placed:
            batches = zip(itertools.cycle(place.devices), self._padded(split))
            self.placed[split, place] = [(device, jax.device_put(batch, device)) for device, batch in batches]
        return self.placed[split, place]

    def _joined(self, split: str, parts) -> np.ndarray:
        """[N, ...] what batches gave, without their padding, in the order of the split."""
        joined, order = np.concatenate(parts)[: len(self.splits[split])], self.orders.get(split)
        return joined if order is None else joined[np.argsort(order)]

    def _padded(self, split: str):
        arrays, order = self.splits[split], self.orders.get(split)
        if order is not None:
            arrays = arrays.take(order)
        examples = len(arrays)
        size = min(self.batch_size, examples)
        for start in range(0, examples, size):
            part = arrays.take(slice(start, start + size))
            if order is not None:
                longest = self.lengths[split][order[start : start + size]].max()
                part = Arrays(jax.tree.map(lambda leaf, to=longest: leaf[:, :to], part.input), part.target)
            missing = size - len(part)

            def padded(leaf, missing=missing):
                return np.pad(leaf, ((0, missing), *[(0, 0)] * (leaf.ndim - 1)))

            mask = np.arange(size) < len(part)
            target = part.target[np.minimum(np.arange(size), len(part) - 1)]  # the last one's: a target as others
            yield {"input": jax.tree.map(padded, part.input), "target": target, "mask": mask}


def first_not_finite(logits: np.ndarray) -> int | None:
    """The first example of logits [N, K] that has one that is NaN or infinite."""
    (examples,) = np.nonzero(~np.isfinite(logits).all(-1))
    return int(examples[0]) if len(examples) else None
