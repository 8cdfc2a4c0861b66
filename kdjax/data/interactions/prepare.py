"""Interactions as networks take them: checked, and what is done to a batch of them."""

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.data.arrays import Dataset
from kdjax.find import nearest
from kdjax.tasks import recommendation

AUGMENTATIONS = ("next_item",)


def prepare(dataset: Dataset, config, in_memory: bool | None) -> Dataset:
    """The data set as it is.

    Raises:
      ValueError: what config.data asks for that interactions do not have; a validation split that the source did not
        make; an item that does not exist.
    """
    if in_memory is False:
        raise ValueError(f"config.execution.stream: only images are read from disk, {dataset.name} is in memory")
    _check_augment(config.augment)
    if config.train_examples:
        raise ValueError(
            "config.data.train_examples leaves users out, and networks have a vector for each user; of the generated "
            "data config.data.kwargs says how many there are"
        )
    if dataset.validation is not None and (np.asarray(dataset.validation.target) < -1).sum() == 0:
        raise ValueError(
            f"config.data.validation={config.validation}: {dataset.name} has no validation split of its own, and users "
            "who were not trained on cannot be one"
        )
    for name, split in dataset.splits.items():
        numbers = np.where(split.target < -1, -2 - split.target, split.target)
        if numbers.max(initial=0) >= len(dataset.catalogue):
            raise ValueError(f"{dataset.name}, {name}: item {numbers.max()} of {len(dataset.catalogue)}")
    return dataset


def _check_augment(spec) -> None:
    for name in spec:
        if name not in AUGMENTATIONS:
            raise ValueError(f"config.data.augment.{name}: of interactions there is{nearest(name, AUGMENTATIONS)}")
        if len(spec[name]):
            raise ValueError(f"config.data.augment.{name} has no arguments, got {', '.join(spec[name])}")


def augment(config, dataset, seen, second):
    """fn(key, inputs, target) -> (the inputs for each of `seen`, target); see `next_item`."""
    if second:
        raise ValueError("a loss asks for a second view of the batch; there is one of images alone")
    changed = next_item if "next_item" in config.augment else lambda key, inputs, target: (inputs, target)

    def prepared(key, inputs, target):
        inputs, target = changed(key, inputs, target)
        return dict.fromkeys(seen, inputs), target

    return prepared


def next_item(key, inputs, target):
    """Each user at a moment drawn from the past: the history ends before it, and the item that came is to be found.

    All other items of the user count as had before, so that none is a negative. For networks that read the history in
    its order: with the whole of it they would see what they are to find. The first item is only asked for where there
    is no other.

    Args:
      inputs: {"user": [B], "history": [B, T]}; target: [B, L], the user's items in the order of time, then padding.
    """
    length = inputs["history"].shape[1]
    count = (target >= 0).sum(1)
    drawn = jax.random.uniform(key, count.shape)
    place = jnp.minimum(
        1 + (drawn * (count - 1).astype(drawn.dtype)).astype(jnp.int32), count - 1
    )  # 1 .. count - 1; 0 where that is all
    at = place[:, None] - length + jnp.arange(length)[None]  # [B, T] places of the history, right-aligned
    before = jnp.take_along_axis(target, jnp.maximum(at, 0), axis=1)
    history = jnp.where(at >= 0, before, -1)
    others = jnp.where(target >= 0, -2 - target, target)
    wanted = jnp.arange(target.shape[1])[None] == place[:, None]
    target = jnp.where(wanted, target, others)
    return {**inputs, "history": history}, target


def remarks(dataset: Dataset) -> list[str]:
    """What recommending the same to all would reach: a network below it has learned nothing of anybody."""
    taken = dataset.train.target
    counts = np.bincount(taken[taken >= 0], minlength=len(dataset.catalogue)).astype(np.float32)
    found = []
    size = 256
    total = {"ndcg@10": 0.0, "hr@10": 0.0}
    for start in range(0, len(dataset.test), size):
        target = dataset.test.target[start : start + size]
        scores = recommendation.scores(jnp.broadcast_to(counts[None], (len(target), len(counts))), jnp.asarray(target))
        total = {name: value + float(scores[name].sum()) for name, value in total.items()}
    means = {name: value / len(dataset.test) for name, value in total.items()}
    found.append(
        f"Recommending what most users took to everybody reaches nDCG@10 {means['ndcg@10']:.4f} and HR@10 "
        f"{means['hr@10']:.4f} on the test split"
    )
    return found
