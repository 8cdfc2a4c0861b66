"""The kinds of input that there are, by the name that a Dataset says: images, texts, lists, searches and others."""

from dataclasses import replace

import jax
import numpy as np

from kdjax.data.arrays import Dataset, Kind
from kdjax.data.images import prepare
from kdjax.data.images.augment import compose, normalise
from kdjax.data.interactions import prepare as interactions
from kdjax.data.search import prepare as search
from kdjax.data.text import augment as text_augment
from kdjax.data.text import prepare as text


def _checked_numbers(dataset: Dataset, config, in_memory) -> Dataset:
    """Numbers as they are, all finite and of one shape; nothing else is done to them."""
    if in_memory is False:
        raise ValueError(f"config.execution.stream: only images are read from disk, {dataset.name} is in memory")
    if len(config.augment):
        raise ValueError(f"config.data.augment: there is no augmentation for numbers, {dataset.name} has no images")
    shapes = jax.tree.map(lambda leaf: leaf.shape[1:], dataset.train.input)
    for name, split in dataset.splits.items():
        for leaf in jax.tree.leaves(split.input):
            if len(leaf) != len(split) or not np.isfinite(leaf).all():
                raise ValueError(f"{dataset.name}, {name}: inputs must be finite numbers, one row [N, ...] an example")
        if jax.tree.map(lambda leaf: leaf.shape[1:], split.input) != shapes:
            raise ValueError(f"{dataset.name}: inputs of {name} have other shapes than those of train")
    return dataset


def _unchanged(config, dataset, seen, second):
    return lambda key, numbers, target: (dict.fromkeys(seen, numbers), target)


def _as_stored(config, dataset):
    return lambda inputs: inputs


NUMBERS = Kind(
    noun="examples",
    prepare=_checked_numbers,
    remarks=lambda dataset: [],
    transform=_as_stored,
    augment=_unchanged,
)


KINDS = {
    "images": Kind(
        noun="images",
        prepare=prepare.prepare,
        remarks=prepare.repeated_images,
        transform=lambda config, dataset: lambda image: normalise(image, config.mean, config.std),
        augment=lambda config, dataset, seen, second: compose(
            config.augment, seen, len(dataset.classes), config.second_augment if second else None
        ),
        views=True,
    ),
    "text": Kind(
        noun="texts",
        prepare=text.prepare,
        remarks=lambda dataset: [],  # said while there still are texts
        transform=_as_stored,
        augment=lambda config, dataset, seen, second: text_augment.compose(config.augment, dataset, seen),
        shapes=lambda inputs, config: text.shapes(inputs, config.buckets),
    ),
    "lists": replace(NUMBERS, noun="queries"),
    "numbers": NUMBERS,
    "search": Kind(
        noun="queries",
        prepare=search.prepare,
        remarks=lambda dataset: [],  # said while there still are texts
        transform=search.transform,
        augment=search.augment,
    ),
    "interactions": Kind(
        noun="users",
        prepare=interactions.prepare,
        remarks=interactions.remarks,
        transform=_as_stored,
        augment=interactions.augment,
    ),
}


def spec(dataset: Dataset, config):
    """The shapes of one example as networks take it: a pytree of jax.ShapeDtypeStruct without the batch axis."""
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype), dataset.train.input)
    made = jax.eval_shape(KINDS[dataset.kind].transform(config, dataset), one)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), made)
