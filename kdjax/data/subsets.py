"""Which examples of a training set to use: stratified parts, few shots, long tails, missing labels.

Everything rests on one order: `class_ranks` shuffles each class and numbers its examples. Taking the first k of
every class, or a fraction of it, then gives subsets that are nested in each other.
"""

import numpy as np

from kdjax.data.arrays import Arrays
from kdjax.streams import stream


def class_ranks(label: np.ndarray, seed: int, role: str) -> np.ndarray:
    """[N] the place of each example in a random order of its class, counted from 0.

    The order of a class depends on the seed, the role (see `kdjax.streams`), the class and its number of examples only.
    """
    rank = np.zeros(len(label), np.int64)
    for c in np.unique(label):
        (members,) = np.nonzero(label == c)
        rank[stream(seed, role, c).generator().permutation(members)] = np.arange(len(members))
    return rank


def stratified(label: np.ndarray, examples: int, seed: int = 0, role: str = "train_examples") -> np.ndarray:
    """[examples] sorted positions of a part in which each class keeps its share, to within one example.

    Nested: a smaller part lies within a larger one.
    """
    rank = class_ranks(label, seed, role)
    _, inverse, counts = np.unique(label, return_inverse=True, return_counts=True)
    share = (rank + 0.5) / counts[inverse]  # the k-th of n examples enters when (k - 0.5) / n of the set is taken
    return np.sort(np.lexsort((inverse, share))[:examples])


def split(arrays: Arrays, examples: int, strata: np.ndarray | None = None) -> tuple[Arrays, Arrays]:
    """(the rest, a part of that many examples, held out), stratified by `strata` [N], or by the targets, as classes."""
    part = stratified(arrays.target if strata is None else strata, examples, role="validation")
    rest = np.setdiff1d(np.arange(len(arrays)), part)
    return arrays.take(rest), arrays.take(part)


def labelled_per_class(label: np.ndarray, config, classes=None) -> np.ndarray:
    """[K] how many labelled images of each class the students see.

    `config.shots` is the number for every class, or with `config.imbalance` = r for the largest: then the i-th
    of K classes, largest first, has max(1, floor(n r^(-i / (K - 1)))) images, as in the long-tailed CIFAR of Cui
    et al. 2019 (arXiv:1901.05555), where n is `shots` or the size of the largest class. Classes of equal size
    keep the order of their labels, and no class gets more images than it has.

    Raises:
      ValueError: a class has fewer images than `shots`, with `imbalance` the largest; `imbalance` lies between 0 and 1.
    """
    counts = np.bincount(label[label >= 0], minlength=len(classes or ()))
    limit = np.full(len(counts), config.shots or counts.max(initial=0))
    if config.imbalance:
        if config.imbalance < 1:
            raise ValueError(f"config.data.imbalance is most over fewest images, >= 1, got {config.imbalance!r}")
        if config.shots > counts.max(initial=0):
            raise ValueError(f"config.data.shots={config.shots}, but the largest class has {counts.max()} examples")
        place = np.argsort(np.argsort(-counts, kind="stable"))
        decay = config.imbalance ** (-place / max(len(counts) - 1, 1))
        limit = np.maximum(1, np.floor(limit * decay + 1e-9)).astype(np.int64)  # 1e-9: 100 * 10^-1 is 10, not 9.99...
    elif config.shots and counts.min() < config.shots:
        c = int(counts.argmin())
        name = f"class {classes[c]!r}" if classes else f"class {c}"
        raise ValueError(
            f"config.data.shots={config.shots}, but {name} has {counts[c]} labelled training examples; "
            f"the most that every class has is {counts[c]}"
        )
    return np.minimum(limit, counts)


def subset(arrays: Arrays, config, seed: int) -> Arrays:
    """The training set that students see: config.shots, config.imbalance, config.unlabelled (see `kdjax.config`).

    A function of its arguments only, and nested in `shots` for one seed. With `unlabelled` every image stays at
    its position and those beyond the labelled ones get label -1; without, they are left out, as are the texts of
    config.transfer.

    Raises:
      ValueError: as `labelled_per_class`.
    """
    if not config.shots and not config.imbalance:
        others = config.transfer and not config.unlabelled
        return arrays.take(np.flatnonzero(arrays.target >= 0)) if others else arrays
    label = arrays.target
    limit = labelled_per_class(label, config)
    keep = (label >= 0) & (class_ranks(label, seed, "shots") < limit[label])
    if config.unlabelled:
        return Arrays(arrays.input, np.where(keep, label, -1).astype(np.int32))
    return arrays.take(np.flatnonzero(keep))
