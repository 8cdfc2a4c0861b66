"""Evaluation of a search: every document of a catalogue is ranked for each query.

A network with towers embeds each document once; what reads a query and a document together orders some of another
search (kdjax.training.rerank).
"""

import jax
import numpy as np

from kdjax.models import convolve
from kdjax.models.capture import bare
from kdjax.tasks import ranking, search
from kdjax.tasks.task import Task
from kdjax.training import rerank
from kdjax.training.evaluate import Evaluation
from kdjax.training.parallel import Place

TOWERS = ("encode_query", "encode_documents")
"""Methods of a network that embed texts {"tokens", "mask"} [B, T] -> [B, D], whose products are scores."""


class Catalogue:
    """In place of `kdjax.training.evaluate.Evaluator` where a task ranks all documents for each query.

    Texts are embedded in batches of one shape, a device a batch.
    """

    def __init__(self, splits: dict, documents: dict, task: Task, batch_size: int, first: rerank.First):
        """`splits`: name -> kdjax.data.Arrays; `documents`: {"tokens", "mask"} [M, T].

        `first`: what names documents to networks without towers.
        """
        self.splits, self.documents, self.task, self.batch_size = splits, documents, task, batch_size
        self.first = first

    def compile(self, model):
        """evaluate(variables, split, place) -> Evaluation."""
        has_towers = towers(model)
        searched = self._products(model) if has_towers else rerank.compiled(model, self.first, self.batch_size)

        def evaluate(variables, split: str, place: Place) -> Evaluation:
            arrays = self.splits[split]
            blocks = searched(variables, split, arrays.input["query"], place.devices)
            kept = self.task.keep(blocks, arrays.input["items"], arrays.target)
            if not np.isfinite(kept).all():
                return Evaluation(kept, {}, {self.task.primary: np.nan})
            found = self.task.scores(kept, arrays.target, len(self.documents["mask"]))
            means = {name: float(np.mean(values)) for name, values in found.items()}
            return Evaluation(kept, {name: x.astype(np.float32) for name, x in found.items()}, means)

        return evaluate

    def _products(self, model):
        """fn(variables, split, queries, devices) -> blocks of the products of embeddings."""
        encode = encoders(model)

        def searched(variables, split, queries, devices):
            texts = {"encode_query": queries, "encode_documents": self.documents}
            return search.products(
                *(embedded(encode[n], variables, texts[n], self.batch_size, devices) for n in TOWERS)
            )

        return searched

    def remarks(self, model) -> list[str]:
        """What a reader of a network's numbers should know."""
        if towers(model):
            return []
        return [
            f"The teacher reads query and document together: it orders the first {self.first.count:,} documents of "
            "each query by TF-IDF of characters, and all others stay behind them in that order"
        ]


def towers(model) -> bool:
    """Whether a network embeds queries and documents apart, so that it ranks a catalogue by products."""
    return all(hasattr(bare(model), name) for name in TOWERS)


def loss_of(task: Task, model) -> str:
    """What a teacher is trained by here: where a catalogue is searched, one without towers as a ranker of lists."""
    return ranking.TASK.loss if task.catalogue and not towers(model) else task.loss


def check(model) -> None:
    """Raises a ValueError for a student without towers."""
    if not towers(model):
        raise ValueError(
            "config.task='search' needs a student that embeds queries and documents apart, as bi_encoder, by methods "
            f"{' and '.join(TOWERS)}; {type(bare(model)).__name__} has none. One that reads both together, as "
            "cross_encoder, may be its teacher, and is a student of config.task='ranking'"
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
