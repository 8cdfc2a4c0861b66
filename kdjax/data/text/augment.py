"""What is done to a batch of texts before networks see it: the entries of config.data.augment, one after the other."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from kdjax.data.arrays import Dataset
from kdjax.data.entries import entry
from kdjax.data.text import augmentations

ARGUMENTS = ["key", "texts", "target", "special"]


def compose(spec: Mapping[str, Mapping], dataset: Dataset, seen):
    """A function that augments a batch by every entry of `spec` in its order, and shows it to each of `seen` alike.

    Args:
      spec: name -> hyperparameters. The name is a function of `kdjax.data.text.augmentations`, unless an import path,
        fn="my_file.my_function", stands among the hyperparameters; see there for what it is called with.
      seen: names of those who see it.

    Returns:
      fn(key, texts, target [B]) -> ({name: texts}, target).

    Raises:
      ValueError: an unknown augmentation or hyperparameter, a value of another type than the default's, or targets that
        are no classes.
    """
    steps = [
        entry(name, hyper, f"config.data.augment.{name}", augmentations, "augmentation of texts", _check_arguments)
        for name, hyper in spec.items()
    ]
    special = dataset.tokenizer.special if steps else None
    if steps and not jnp.issubdtype(dataset.train.target.dtype, jnp.integer):
        raise ValueError(f"config.data.augment: {', '.join(spec)} is of texts with classes")

    def augment(key, texts, target):
        for number, (fn, hyper, _) in enumerate(steps):
            texts, target = fn(jax.random.fold_in(key, number), texts, target, special, **hyper)
        return dict.fromkeys(seen, texts), target

    return augment


def _check_arguments(path: str, positional: list[str]) -> None:
    if positional != ARGUMENTS:
        raise ValueError(f"augmentation {path!r} must be fn({', '.join(ARGUMENTS)}, *, hyperparameters)")
