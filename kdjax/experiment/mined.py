"""config.data.negatives: documents that stand in training lists as irrelevant ones, drawn, or mined by the teacher.

What a teacher ranks highest of all that is not known to be relevant is found once and kept in the experiment's folder,
in a file named by all that determines it: the teacher's weights and code, queries and documents, and what was asked
for. Another seed, another process and a run that is continued find it there.
"""

import threading
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np

from kdjax.data import Arrays, fingerprint
from kdjax.data.search import negatives
from kdjax.data.text.references import cosines_of_characters
from kdjax.experiment import taught
from kdjax.experiment.lab import Lab
from kdjax.files import replacing
from kdjax.models.given import Given
from kdjax.streams import stream
from kdjax.tasks.search import products
from kdjax.training import processes, rerank, searching
from kdjax.training.parallel import Place

FOLDER = "mined"
"""In an experiment's directory."""

_making = threading.Lock()
"""Cohorts that train at the same time make a file once."""


def check(lab: Lab, config, model: nn.Module | None, where: str) -> None:
    """Raises a ValueError if lists cannot have the negatives that a row's config asks for.

    Args:
      model: what teaches the row; None: nothing does.
    """
    asked = config.data.negatives
    if not places(config):
        return
    if lab.dataset.kind != "search":
        raise ValueError(
            f"{where}: config.data.negatives are documents of searches, of a source as query_documents; "
            f"{lab.dataset.name} has none"
        )
    if not asked.hard:
        return
    if model is None or isinstance(model, Given):
        told = "is no network of JAX" if model is not None else "is not there: set config.teacher.model"
        raise ValueError(
            f"{where}: config.data.negatives.hard={asked.hard} documents are what the teacher ranks highest, and it "
            f"{told}, or take negatives.random"
        )
    if not searching.towers(model) and asked.skip + asked.hard > asked.pool:
        raise ValueError(
            f"{where}: config.data.negatives: {type(model).__name__} looks at pool={asked.pool} documents of a query, "
            f"fewer than skip={asked.skip} and hard={asked.hard} together"
        )


def places(config) -> int:
    """How many documents stand in a training list besides its own."""
    return config.data.negatives.random + config.data.negatives.hard


def wider(config, spec):
    """The shapes of an example as networks take it, a search, with the documents that its list has besides."""
    if not (more := places(config)):
        return spec
    longer = lambda leaf: jax.ShapeDtypeStruct((leaf.shape[0] + more, *leaf.shape[1:]), leaf.dtype)  # noqa: E731
    return {**spec, **{name: jax.tree.map(longer, spec[name]) for name in ("documents", "mask")}}


def extended(lab: Lab, config, arrays: Arrays, teacher, place: Place) -> Arrays:
    """The training lists with the negatives that config.data asks for, hard ones first; as they are without any.

    Args:
      teacher: what teaches, a `kdjax.experiment.teachers.Teacher`.
    """
    asked = config.data.negatives
    if not places(config):
        return arrays
    known = np.concatenate([lab.dataset.relevant, arrays.input["items"]], axis=1)
    found = _kept(lab, config, arrays, known, teacher, place) if asked.hard else known[:, :0]
    rng = stream(config.data.split_seed, "negatives").generator()
    count = len(lab.dataset.documents["mask"])
    drawn = negatives.drawn(rng, np.concatenate([known, found], axis=1), asked.random, count)
    return negatives.extended(arrays, np.concatenate([found, drawn], axis=1))


def _kept(lab: Lab, config, arrays: Arrays, known: np.ndarray, teacher, place: Place) -> np.ndarray:
    """[N, hard] int32, read from its file, which is made if it is missing."""
    path = taught.named_by(lab.directory / FOLDER, _described(lab, config, arrays, known, teacher))
    shape = len(arrays), config.data.negatives.hard

    def make() -> None:
        if _read(path, shape) is not None:
            return
        lab.display.message(f"the teacher mines {shape[1]} negatives for each of {shape[0]:,} queries, once: {path}")
        found = mined(lab, config, arrays, known, teacher, place)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            np.save(temporary, found)

    with _making:
        processes.from_first(make)
    return _read(path, shape)


def _read(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """What a file holds; None if there is no such file, or it is not whole."""
    try:
        found = np.load(path)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.dtype == np.int32 and found.shape == shape else None


def _described(lab: Lab, config, arrays: Arrays, known: np.ndarray, teacher) -> dict:
    """All that determines what is mined."""
    asked, documents = config.data.negatives, lab.dataset.documents
    by = (
        {}
        if searching.towers(teacher.model)
        else {"pool": asked.pool, "texts": fingerprint.of_texts(lab.dataset.texts)}
    )
    return {
        **taught.network(teacher),
        "queries": fingerprint.of_inputs({"query": arrays.input["query"], "known": known}),
        "documents": lab.once(lambda: fingerprint.of_inputs(documents), "documents"),
        "negatives": {"hard": asked.hard, "skip": asked.skip, **by},
    }


def mined(lab: Lab, config, arrays: Arrays, known: np.ndarray, teacher, place: Place) -> np.ndarray:
    """[N, hard] int32 documents: the teacher's first ones of the catalogue, or of a pool where it reads pairs."""
    asked, size = config.data.negatives, config.execution.eval_batch_size
    if searching.towers(teacher.model):
        encode = searching.encoders(teacher.model)
        texts = {"encode_query": arrays.input["query"], "encode_documents": lab.dataset.documents}
        made = {n: searching.embedded(encode[n], teacher.variables, texts[n], size, place.devices) for n in texts}
        return negatives.hardest(
            products(made["encode_query"], made["encode_documents"]), known, asked.hard, asked.skip
        )
    cosines = cosines_of_characters(lab.dataset.texts["train"], lab.dataset.texts["documents"])
    pool = negatives.hardest(cosines, known, asked.pool)
    score = rerank.scorer(teacher.model, lab.kind.transform(teacher.sight.data, lab.dataset))
    pause = lab.stop_if_asked if processes.alone() else lambda: None
    own = rerank.scored(score, teacher.variables, arrays.input["query"], pool, size, place.devices, pause)
    scores = np.where(pool < 0, -np.inf, own)
    best = np.argsort(-scores, axis=1, kind="stable")[:, asked.skip : asked.skip + asked.hard]
    return np.take_along_axis(pool, best, axis=1)
