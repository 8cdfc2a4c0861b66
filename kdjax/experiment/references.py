"""What stands in a table beside the networks: config.references, learned from what students of a seed see."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from kdjax import data
from kdjax.data.text import references
from kdjax.experiment.lab import Lab
from kdjax.find import find
from kdjax.training.evaluate import Evaluation


def check(lab: Lab) -> None:
    """Raises a ValueError for a reference that does not exist or is of other data."""
    for name in lab.config.references:
        found = _found(name)
        if found.__module__ != references.__name__:
            continue
        if found in references.SEARCHES and not lab.task.catalogue:
            raise ValueError(f"config.references: {name!r} is of config.task='search', here it is {lab.task.name!r}")
        if found not in references.SEARCHES and (lab.dataset.kind != "text" or not lab.dataset.classes):
            raise ValueError(f"config.references: {name!r} classifies texts, and {lab.dataset.name} is no such data")


def measured(lab: Lab, seed: int) -> dict[str, dict[str, float]]:
    """{name: the task's scores on the test split} of the references, made once a seed."""
    return {
        name: lab.once(lambda name=name: _measured(lab, name, seed), "reference", name, seed) for name in _names(lab)
    }


def _names(lab: Lab) -> list[str]:
    return list(dict.fromkeys(lab.config.references))


def _measured(lab: Lab, name: str, seed: int) -> dict[str, float]:
    seen, test = data.subset(lab.dataset.train, lab.config.data, seed), lab.dataset.test
    if lab.task.catalogue:
        return _searched(lab, name, seen)
    logits = np.asarray(_found(name)(seen, test.input, lab.dataset), np.float32)
    if logits.shape != (len(test), lab.outputs) or not np.isfinite(logits).all():
        raise ValueError(
            f"config.references {name!r}: must return finite logits {[len(test), lab.outputs]}, got {logits.shape}"
        )
    scores = jax.device_get(lab.task.scores(jnp.asarray(logits), jax.tree.map(jnp.asarray, test.target)))
    means = {key: float(np.nanmean(values)) for key, values in scores.items()}
    report = lab.report(Evaluation(logits, scores, means))
    return {key: value for key, value in report.items() if isinstance(value, float)}


def _searched(lab: Lab, name: str, seen: data.Arrays) -> dict[str, float]:
    """The scores of a reference that gives blocks of scores of all documents for the test queries."""
    test = lab.dataset.test
    kept = lab.task.keep(_found(name)(seen, test.input, lab.dataset), test.input["items"], test.target)
    if not np.isfinite(kept).all():
        raise ValueError(f"config.references {name!r}: must give finite scores of all documents for each query")
    scores = lab.task.scores(kept, test.target, len(lab.dataset.documents["mask"]))
    return {key: float(np.mean(values)) for key, values in scores.items()}


def _found(name: str) -> Callable:
    return find(name, references, "config.references")
