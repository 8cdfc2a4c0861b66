"""The teacher of elsewhere that a config names, made for an experiment's data."""

import jax
import numpy as np

from kdjax import config as configs
from kdjax import tasks
from kdjax.data import kinds
from kdjax.experiment.elsewhere import Elsewhere, function, network, outputs
from kdjax.experiment.lab import Lab
from kdjax.experiment.sights import Sight
from kdjax.runs import identity

TRIED = 2
"""Examples of the test split on which one is tried before anything is trained."""

LENGTHS = ("features", "preacts", "attentions", "qkv")
"""Fields of Outputs that have an axis of tokens where examples have lengths."""


def of(lab: Lab) -> Elsewhere | None:
    """The teacher of elsewhere of an experiment, loaded once; None where it has none."""
    return lab.once(lambda: load(lab.config, lab.taught, lab.logits), "elsewhere")


def load(config, sight: Sight, logits: int) -> Elsewhere | None:
    """The teacher that config.teacher.onnx, function or outputs names; None where none does.

    Args:
      sight: what it sees; logits: how many an example has.

    Raises:
      ValueError: it cannot be read, or cannot teach on these data.
    """
    spec, origin, dataset = config.teacher, configs.origin(config.teacher), sight.dataset
    if origin not in ("onnx", "function", "outputs"):
        return None
    if spec.capture:
        raise ValueError(f"config.teacher.capture names layers of a Linen module, and config.teacher.{origin} is none")
    if tasks.named(config.task).catalogue:
        raise ValueError(
            f"config.teacher.{origin}: config.task={config.task!r} ranks all documents by the network itself, and of a "
            "teacher of elsewhere only what it says of single examples is known; its scores of lists teach by "
            "config.task='ranking'"
        )
    where, tried = f"config.teacher.{origin}", min(TRIED, len(dataset.test))
    if origin == "outputs":
        sizes = {name: len(split) for name, split in dataset.splits.items()}
        found = _named(where, outputs.load, spec.outputs, sizes, logits)
    elif origin == "onnx":
        found, known = _named(where, network.load, spec.onnx, shown(sight, tried), sight.data, logits)
        given = dataset.classes, sight.image_shape, (), ()
        _named(where, identity.check_teaches, known, *given, spec.onnx)
    else:
        found = function.load(spec.function, shown(sight, tried), tried, logits)
    shapes = kinds.KINDS[dataset.kind].shapes(dataset.test.input, sight.data)
    if shapes is not None and (stray := [name for name, _ in found.model.shapes if name in LENGTHS]):
        raise ValueError(
            f"{where}: it gives {stray[0]} of texts, which batches cut to many lengths; losses can read logits and an "
            "embedding of a teacher of elsewhere"
        )
    return found


def shown(sight: Sight, examples: int):
    """The first examples of the test split as the teacher sees them, NumPy arrays [B, ...]."""
    kind = kinds.KINDS[sight.dataset.kind]
    inputs = sight.dataset.test.take(slice(examples)).input
    return jax.tree.map(np.asarray, kind.transform(sight.data, sight.dataset)(inputs))


def _named(where: str, call, *given):
    """What is wrong with a file, with the field that names it."""
    try:
        return call(*given)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
