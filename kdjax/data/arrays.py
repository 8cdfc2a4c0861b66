"""What a data source returns: images, labels, class names, and what is worth knowing about them."""

from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class Arrays:
    """One split of a data set."""

    image: np.ndarray  # [N, H, W, C] uint8, C = 1 or 3; or `images.Encoded`, decoded when it is indexed
    label: np.ndarray  # [N] int32; -1: unlabelled

    def __len__(self) -> int:
        return len(self.label)

    def take(self, index) -> "Arrays":
        """The examples at `index` [n], in that order."""
        return Arrays(self.image[index], self.label[index])


@dataclass(frozen=True)
class Dataset:
    """What `load` returns, and a source of one's own: fn(config.data) -> Dataset."""

    train: Arrays
    validation: Arrays | None
    test: Arrays
    classes: tuple[str, ...]  # name of label 0, 1, ...
    name: str  # as it stands in tables
    warnings: tuple[str, ...] = ()  # what a reader of the numbers should know, a sentence each
    fingerprint: dict = field(default_factory=dict)  # kdjax.data.fingerprint.of_data, of what `load` returns

    @property
    def splits(self) -> dict[str, Arrays]:
        """Name -> split, of those that there are."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in splits.items() if split is not None}

    def map(self, fn) -> "Dataset":
        """The data set with fn(split) in place of each split."""
        return replace(self, **{name: fn(split) for name, split in self.splits.items()})
