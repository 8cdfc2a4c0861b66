"""What is done to a batch of texts before networks see it: the entries of config.data.augment, one after the other."""

import inspect
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from kdjax.data.arrays import Dataset
from kdjax.data.text import augmentations
from kdjax.find import find
from kdjax.typed import check_dictionary, check_keywords, typed

ARGUMENTS = ["key", "texts", "target", "special"]


def compose(spec: Mapping[str, Mapping], dataset: Dataset, seen, second: bool):
    """A function that augments a batch by every entry of `spec` in its order, and shows it to each of `seen` alike.

    Args:
      spec: name -> hyperparameters. The name is a function of `kdjax.data.text.augmentations`, unless an import path,
        fn="my_file.my_function", stands among the hyperparameters; see there for what it is called with.
      seen: names of those who see it; second: whether a loss asks for a second view, which texts have none of.

    Returns:
      fn(key, texts, target [B]) -> ({name: texts}, target).

    Raises:
      ValueError: an unknown augmentation or hyperparameter, a value of another type than the default's, targets that
        are no classes, or a second view.
    """
    if second:
        raise ValueError("a loss asks for a second view of the batch; there is one of images alone")
    steps = [_step(name, hyper, f"config.data.augment.{name}") for name, hyper in spec.items()]
    special = dataset.tokenizer.special if steps else None
    if steps and not jnp.issubdtype(dataset.train.target.dtype, jnp.integer):
        raise ValueError(f"config.data.augment: {', '.join(spec)} is of texts with classes")

    def augment(key, texts, target):
        for number, (fn, hyper) in enumerate(steps):
            texts, target = fn(jax.random.fold_in(key, number), texts, target, special, **hyper)
        return dict.fromkeys(seen, texts), target

    return augment


def _step(name: str, hyper: Mapping, field: str):
    """(function, hyperparameters) of an entry, checked."""
    values = check_dictionary(hyper, field)
    path = typed(values.pop("fn", name), "", f"{field}.fn")
    fn = find(path, augmentations, "augmentation of texts")
    parameters = inspect.signature(fn).parameters.values()
    if [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY] != ARGUMENTS:
        raise ValueError(f"augmentation {path!r} must be fn({', '.join(ARGUMENTS)}, *, hyperparameters)")
    return fn, check_keywords(fn, values, field)
