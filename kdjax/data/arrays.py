"""What a data source returns: inputs and targets, class names, and what is worth knowing about them."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from kdjax.models.lightgcn import Graph


@dataclass(frozen=True)
class Arrays:
    """One split of a data set: examples along the first axis of every leaf."""

    input: Any  # a pytree of arrays [N, ...]: images [N, H, W, C] uint8, or what `load` makes some of, Encoded or Texts
    target: np.ndarray  # classes [N] int32, -1: unlabelled; or what else the task predicts, numbers [N] float32,
    # or the items of users [N, L] int32 (kdjax.data.interactions.arrays)

    def __len__(self) -> int:
        return len(self.target)

    def take(self, index) -> "Arrays":
        """The examples at `index` [n], in that order."""
        return Arrays(jax.tree.map(lambda leaf: leaf[index], self.input), self.target[index])


@dataclass(frozen=True)
class Dataset:
    """What `load` returns, and a source of one's own: fn(config.data) -> Dataset."""

    train: Arrays
    validation: Arrays | None
    test: Arrays
    classes: tuple[str, ...]  # name of class 0, 1, ...; () where the task has none
    name: str  # as it stands in tables
    warnings: tuple[str, ...] = ()  # what a reader of the numbers should know, a sentence each
    fingerprint: dict = field(default_factory=dict)  # kdjax.data.fingerprint.of_data, of what `load` returns
    kind: str = "images"  # of its inputs, a name in kdjax.data.kinds.KINDS
    tokenizer: Any = None  # of texts, once they are loaded: kdjax.data.text.tokenizers.Learned or Folder
    catalogue: tuple[str, ...] = ()  # names of the items that networks rank, where they rank all that there are
    users: tuple[str, ...] = ()  # names of the users that have a number
    documents: Any = None  # of searches, all that can be found: Texts, once loaded {"tokens", "mask"} [M, T]
    texts: dict = field(default_factory=dict)  # of searches: "documents", "ids" [M] and, split -> [N], its queries
    relevant: Any = None  # of searches, documents with a grade above 0: place of a training query -> their numbers, as
    # a list need not have all of them; None: it does. Once loaded [N, R] of the training split, -1 at padding

    @property
    def known(self) -> dict:
        """What a network is made for besides the number of classes, by the names of its fields: {"vocabulary": 812}."""
        vocabulary = {"vocabulary": self.tokenizer.size} if self.tokenizer else {}
        front = {"front": self.tokenizer.special.front} if self.tokenizer and self.documents is not None else {}
        return vocabulary | front | ({"users": len(self.users), "graph": self.graph} if self.users else {})

    @functools.cached_property
    def graph(self) -> Graph:
        """Of interactions, who took what in the training split."""
        rows, places = np.nonzero(self.train.target >= 0)
        return Graph(self.train.input["user"][rows], self.train.target[rows, places])

    @property
    def choices(self) -> int:
        """How many things networks choose among: classes, or the items of a catalogue; 0: none."""
        return len(self.catalogue or self.classes)

    @property
    def splits(self) -> dict[str, Arrays]:
        """Name -> split, of those that there are."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in splits.items() if split is not None}

    def map(self, fn) -> "Dataset":
        """The data set with fn(split) in place of each split."""
        return replace(self, **{name: fn(split) for name, split in self.splits.items()})


@dataclass(frozen=True)
class Kind:
    """What is particular to a kind of input: all else takes inputs as pytrees of arrays and looks at none."""

    noun: str  # "images"
    prepare: Callable  # (dataset, config.data, in_memory) -> the dataset as it is held in memory; raises ValueErrors
    remarks: Callable  # dataset -> sentences that a reader of the numbers should know
    transform: Callable  # (config.data, dataset) -> fn(input [B, ...] as stored) -> what networks take
    augment: Callable  # (config.data, dataset, seen, second) -> fn(key, input as stored, target) -> (inputs by name,
    # target); `seen`: name of those who see it -> config.data as they have it; `second`: whether of a second view too
    views: bool = False  # whether there is one; `augment` of others is asked for none
    shapes: Callable = lambda inputs, config: None  # -> [N] the length that each example needs; None: all are alike
