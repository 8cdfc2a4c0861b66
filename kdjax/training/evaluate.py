"""Evaluation of a model on whole splits: padded to one shape and masked, so that no example is dropped."""

import itertools

import jax
import numpy as np

from kdjax.models import convolve
from kdjax.training.parallel import Place
from kdjax.training.step import make_eval_step


class Evaluator:
    """Holds the evaluation splits at the places that ask for them, in batches of one shape, a device a batch."""

    def __init__(self, splits: dict, normalise, batch_size: int):
        """`splits`: name -> Arrays(image uint8 [N, H, W, C], label [N]); `normalise(image)` -> float32."""
        self.splits, self.normalise, self.batch_size = splits, normalise, batch_size
        self.placed = {}

    def compile(self, model):
        """evaluate(variables, split, place) -> (logits [N, K] on the host, {"top1", "nll"}: means over the split)."""
        eval_step = make_eval_step(model)

        @jax.jit
        @convolve.fast()
        def step(variables, batch):
            return eval_step(variables, self.normalise(batch["image"]), batch["label"], batch["mask"])

        def evaluate(variables, split: str, place: Place):
            held = {device: jax.device_put(variables, device) for device in place.devices}
            outputs = [step(held[device], batch) for device, batch in self._batches(split, place)]
            logits, counts = zip(*jax.device_get(outputs), strict=True)
            total = {name: np.sum([c[name] for c in counts], axis=0, dtype=np.float64) for name in counts[0]}
            means = {name: float(sum_ / count) for name, (sum_, count) in total.items()}
            return np.concatenate(logits)[: len(self.splits[split].label)], means

        return evaluate

    def _batches(self, split, place):
        if (split, place) not in self.placed:
            batches = zip(itertools.cycle(place.devices), self._padded(self.splits[split]))
            self.placed[split, place] = [(device, jax.device_put(batch, device)) for device, batch in batches]
        return self.placed[split, place]

    def _padded(self, arrays):
        examples = len(arrays.label)
        size = min(self.batch_size, examples)
        for start in range(0, examples, size):
            image, label = arrays.image[start : start + size], arrays.label[start : start + size]
            missing = size - len(label)
            mask = np.arange(size) < len(label)
            image = np.pad(image, ((0, missing), (0, 0), (0, 0), (0, 0)))
            yield {"image": image, "label": np.pad(label, (0, missing)), "mask": mask}


def first_not_finite(logits: np.ndarray) -> int | None:
    """The first example of logits [N, K] that has one that is NaN or infinite."""
    (examples,) = np.nonzero(~np.isfinite(logits).all(-1))
    return int(examples[0]) if len(examples) else None
