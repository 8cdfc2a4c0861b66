"""How alike the stages of a teacher and of its students are, before and after distillation: linear CKA."""

from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from kdjax import config as configs
from kdjax import tasks
from kdjax.config import rows
from kdjax.data import kinds
from kdjax.runs.directory import Run
from kdjax.ship.export import batches, dataset, spread
from kdjax.training import checkpoint
from kdjax.types import as_outputs

EXAMPLES = 256
"""Of the test split, evenly spaced: activations of all of them are in memory at once."""


def cka(one: np.ndarray, other: np.ndarray) -> float:
    """Linear centred kernel alignment of two representations [N, P] and [N, Q] of the same examples, 0 to 1.

    ||Y'X||_F^2 / (||X'X||_F ||Y'Y||_F) of centred columns, by the Gram matrices [N, N] (Kornblith et al. 2019,
    arXiv:1905.00414); NaN where one is constant.
    """
    grams = []
    for each in (one, other):
        centred = np.asarray(each, np.float64) - np.mean(each, axis=0, dtype=np.float64)
        grams.append(centred @ centred.T)
    size = np.linalg.norm(grams[0]) * np.linalg.norm(grams[1])
    return float((grams[0] * grams[1]).sum() / size) if size > 0 else np.nan


def similar(teacher: Path, before: Path, after: Path) -> dict:
    """CKA of every stage of a teacher with every stage of two students, on EXAMPLES of the test split.

    Args:
      teacher, before, after: directories of finished runs of one data set, with their checkpoints.

    Returns:
      {"stages": {"teacher", "before", "after": names}, "before", "after": a list for each stage of the teacher with a
      number for each of the student, NaN where a representation is constant}. Stages are Outputs.features from shallow
      to deep, whole maps, then the embedding, then the logits.

    Raises:
      ValueError: a run is unfinished, has no checkpoint, or its data are not here.
    """
    config, _ = Run(after).finished()
    data = dataset(config)
    inputs = spread(data.test, EXAMPLES)
    found = {
        name: _stages(path, data, inputs) for name, path in (("teacher", teacher), ("before", before), ("after", after))
    }
    table = lambda name: [[cka(t, s) for s in found[name].values()] for t in found["teacher"].values()]  # noqa: E731
    return {
        "stages": {name: list(each) for name, each in found.items()},
        "before": table("before"),
        "after": table("after"),
    }


def _stages(path: Path, data, inputs) -> dict[str, np.ndarray]:
    """Name -> [N, P] of a run's student in evaluation mode."""
    run = Run(path)
    config, result = run.finished()
    described = ConfigDict(configs.completed(config)["data"])
    outputs = tasks.named(config.get("task", "classification")).outputs(len(data.classes))
    model = rows.stored_model(config, outputs, path, data.known)
    variables = checkpoint.student(run.checkpoints, result.get("student_sha256", ""))
    transform = kinds.KINDS[data.kind].transform(described, data)

    @jax.jit
    def forward(inputs):
        return as_outputs(model.apply(variables, transform(inputs), train=False))

    made = [jax.device_get(forward(part)) for part in batches(inputs)]
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *made)
    named = {f"stage {i}": each for i, each in enumerate(joined.features, 1)}
    named |= {name: getattr(joined, name) for name in ("embedding", "logits") if getattr(joined, name) is not None}
    return {name: np.asarray(each, np.float32).reshape(len(each), -1) for name, each in named.items()}
