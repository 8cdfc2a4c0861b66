"""Evaluation of a search: every document of a catalogue is embedded once, and ranked for each query."""

import jax
import numpy as np

from kdjax.models import convolve
from kdjax.models.capture import bare
from kdjax.tasks import search
from kdjax.tasks.task import Task
from kdjax.training.evaluate import Evaluation
from kdjax.training.parallel import Place

TOWERS = ("encode_query", "encode_documents")
"""Methods of a network that embed texts {"tokens", "mask"} [B, T] -> [B, D], whose products are scores."""


class Catalogue:
    """In place of `kdjax.training.evaluate.Evaluator` where a task ranks all documents for each query.

    Texts are embedded in batches of one shape, a device a batch.
    """

    def __init__(self, splits: dict, documents: dict, task: Task, batch_size: int):
        """`splits`: name -> kdjax.data.Arrays; `documents`: {"tokens", "mask"} [M, T]."""
        self.splits, self.documents, self.task, self.batch_size = splits, documents, task, batch_size

    def compile(self, model):
        """evaluate(variables, split, place) -> Evaluation."""
        encode = encoders(model)

        def evaluate(variables, split: str, place: Place) -> Evaluation:
            arrays = self.splits[split]
            texts = {"encode_query": arrays.input["query"], "encode_documents": self.documents}
            queries, documents = (
                embedded(encode[name], variables, texts[name], self.batch_size, place.devices) for name in TOWERS
            )
            kept = self.task.keep(search.products(queries, documents), arrays.input["items"], arrays.target)
            if not np.isfinite(kept).all():
                return Evaluation(kept, {}, {self.task.primary: np.nan})
            found = self.task.scores(kept, arrays.target, len(documents))
            means = {name: float(np.mean(values)) for name, values in found.items()}
            return Evaluation(kept, {name: x.astype(np.float32) for name, x in found.items()}, means)

        return evaluate


def check(model) -> None:
    """Raises a ValueError for a network without towers."""
    model = bare(model)
    if missing := [name for name in TOWERS if not hasattr(model, name)]:
        raise ValueError(
            f"config.task='search' needs a network that embeds queries and documents apart, as bi_encoder; "
            f"{type(model).__name__} has no {missing[0]}. config.task='ranking' is for networks that read both together"
        )


def encoders(model) -> dict:
    """Name of TOWERS -> fn(variables, texts) -> [B, D] float32, compiled; raises as `check`."""
    check(model)
    model = bare(model)

    def compiled(name):
        @jax.jit
        @convolve.fast()
        def encode(variables, texts):
            return model.apply(variables, texts, method=name)

        return encode

    return {name: compiled(name) for name in TOWERS}


def embedded(encode, variables, texts: dict, batch_size: int, devices) -> np.ndarray:
    """[N, D] float32 of texts {"tokens", "mask"} [N, T], in batches of one shape, padded, in turn on the devices."""
    count = len(texts["mask"])
    size = min(batch_size, count)
    held = {device: jax.device_put(variables, device) for device in devices}
    made = []
    for number, start in enumerate(range(0, count, size)):
        device = devices[number % len(devices)]
        part = jax.tree.map(lambda leaf, start=start: leaf[start : start + size], texts)
        missing = size - len(part["mask"])
        part = jax.tree.map(lambda leaf, more=missing: np.pad(leaf, ((0, more), (0, 0))), part)
        made.append(encode(held[device], jax.device_put(part, device)))
    return np.concatenate([np.asarray(each, np.float32) for each in made])[:count]
