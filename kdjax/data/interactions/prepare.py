"""Interactions as networks take them: checked, and what is done to a batch of them."""

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.data.arrays import Dataset
from kdjax.find import nearest
from kdjax.tasks import ranked

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
    place = popular_places(dataset)
    ndcg, hits = (float(np.mean(metric(place, 10))) for metric in (ranked.ndcg, ranked.hit_rate))
    told = f"nDCG@10 {ndcg:.4f} and HR@10 {hits:.4f} on the test split"
    return [f"Recommending what most users took to everybody reaches {told}"]


def popular_places(dataset: Dataset) -> ranked.Places:
    """Where the items to be found by test users stand, if the most popular ones that a user has not had come first.

    The order is one for all, so that places are counted in it, less what a user had, and not user by user.
    """
    taken, target = dataset.train.target, dataset.test.target
    count = np.bincount(taken[taken >= 0], minlength=len(dataset.catalogue))
    ordered = np.sort(count)
    found = (target >= 0)[:, : (target >= 0).sum(1).max()]
    had = np.where(target < -1, count[np.maximum(-2 - target, 0)], -1)  # counts of what a user had, -1 elsewhere
    own = count[np.maximum(target[:, : found.shape[1]], 0)]
    above = len(count) - np.searchsorted(ordered, own, "right")
    tied = len(count) - above - np.searchsorted(ordered, own, "left")
    for column, value in enumerate(own.T):
        above[:, column] -= (had > value[:, None]).sum(1)
        tied[:, column] -= (had == value[:, None]).sum(1)
    return ranked.counted(above, tied, found.astype(np.int64), len(count))
