"""The primary score of a test split, computed from files as they are served."""

import jax.numpy as jnp
import numpy as np

from kdjax.data.arrays import Dataset
from kdjax.data.images.encoded import Encoded
from kdjax.data.text.tokenizers import rounded
from kdjax.ship import ranked, serve
from kdjax.ship.catalogue import Catalogue
from kdjax.ship.served import Served
from kdjax.tasks import search
from kdjax.tasks.task import Task


def embedded(served: Served, inputs, batch: int = 64) -> np.ndarray:
    """What a file gives of a pytree of [N, ...], [N, D]; texts of like length go together, cut to the longest."""
    if not isinstance(inputs, dict):
        inputs = inputs.decode() if isinstance(inputs, Encoded) else inputs
        return np.concatenate([served.run(inputs[at : at + batch]) for at in range(0, len(inputs), batch)])
    count = len(next(iter(inputs.values())))
    lengths = inputs["mask"].sum(axis=1) if "mask" in inputs else np.zeros(count)
    order, made = np.argsort(lengths, kind="stable"), []
    for start in range(0, count, batch):
        rows = order[start : start + batch]
        part = {name: leaf[rows] for name, leaf in inputs.items()}
        if "mask" in inputs:
            longest = rounded(max(int(lengths[rows].max()), 1))
            part = {name: leaf[:, :longest] for name, leaf in part.items()}
        made.append(np.asarray(served.run(part)))
    return np.concatenate(made)[np.argsort(order)]


def score(served: Served, dataset: Dataset, task: Task, documents: np.ndarray | None = None) -> float:
    """The primary score of a task on the test split of its data, predicted by a file.

    Args:
      served: of two towers with weights of their own, that of the queries.
      documents: [M, D] embeddings of the documents, where the file is a tower: a catalogue's.
    """
    test, form = dataset.test, serve.form(served.description)
    if form == "towers":
        queries = embedded(served, test.input["query"])
        if task.catalogue:
            kept = task.keep(search.products(queries, documents), test.input["items"], test.target)
            return float(np.mean(task.scores(kept, test.target, len(documents))[task.primary]))
        vectors = documents[np.maximum(test.input["items"], 0)]
        return _mean(task, np.einsum("nd,nld->nl", queries, vectors), test.target)
    if form == "lists":
        return _mean(task, _of_lists(served, test), test.target)
    (inputs,) = [test.input] if form in ("images", "texts") else ranked.taken(served.description, dataset, test)
    found = embedded(served, inputs)
    if form == "pairs":
        scores = np.zeros(test.target.shape, np.float32)
        scores[test.input["items"] >= 0] = found
        found = scores
    return _mean(task, found, test.target)


def of_items(served: Served, dataset: Dataset, task: Task, known: Catalogue, rows: int = 256) -> float:
    """The same of a file that embeds users, and the items of a catalogue, so many users at a time."""
    (inputs,) = ranked.taken(served.description, dataset, dataset.test)
    parts = []
    for at in range(0, len(dataset.test), rows):
        users = served.run({name: leaf[at : at + rows] for name, leaf in inputs.items()})
        scores = jnp.asarray(np.concatenate(list(known.scores(users))))
        parts.append(task.scores(scores, jnp.asarray(dataset.test.target[at : at + rows]))[task.primary])
    return float(np.nanmean(np.concatenate(parts), dtype=np.float64))


def _of_lists(served: Served, test) -> np.ndarray:
    """[N, L] the scores of lists, 0 at padding."""
    scores = np.zeros(test.target.shape, np.float32)
    mask, width = test.input["mask"], served.description["features"]
    lists = [features[own, :width] for features, own in zip(test.input["features"], mask, strict=True)]
    scores[mask] = np.concatenate(served.predict(lists))
    return scores


def _mean(task: Task, logits: np.ndarray, target: np.ndarray, rows: int = 256) -> float:
    """The mean of a task's score over the examples that count, those of tasks that do not look at all by parts."""
    if task.whole:
        return float(np.nanmean(task.scores(logits, target)[task.primary]))
    parts = [
        task.scores(jnp.asarray(logits[at : at + rows]), jnp.asarray(target[at : at + rows]))[task.primary]
        for at in range(0, len(logits), rows)
    ]
    return float(np.nanmean(np.concatenate(parts), dtype=np.float64))
