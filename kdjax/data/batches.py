"""The order in which examples are seen, a function of (seed, epoch) and never of what ran before."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kdjax.streams import stream

BLOCK = 8
"""Steps that follow each other with inputs of one length: what one call may take together (steps_per_call)."""

POOL = 8
"""Blocks whose examples are put together by their lengths."""


@dataclass(frozen=True, eq=False)
class Lengths:
    """Examples that need not all be as long: what each batch is cut to."""

    padded: np.ndarray  # [N] int32, one of few lengths for each example, which holds it whole
    whole: np.ndarray  # [N] int32, its own
    cut: Callable[[int], Any]  # length -> the inputs of all examples, cut to it


def batch_indices(examples: int, batch_size: int, steps: int, seed: int, epoch: int, prefix: str = "") -> np.ndarray:
    """[steps, batch_size] int32 positions in a training set of that many examples, for one epoch.

    Random permutations of the set one after the other: a new one begins where one is used up, in the middle of a
    batch if need be. `epoch` may be negative (a stage before the first epoch). Epochs share no state. `prefix` is
    streams.TEACHER for the batches of a teacher.

    Raises:
      ValueError: there are no examples.
    """
    if examples < 1:
        raise ValueError("there are no examples to make batches of")
    rng = stream(seed, f"{prefix}order", epoch).generator()
    needed = steps * batch_size
    permutations = [rng.permutation(examples) for _ in range(-(-needed // examples))]
    positions = np.concatenate([*permutations, np.zeros(0, np.int64)])[:needed]
    return positions.astype(np.int32).reshape(steps, batch_size)


def by_length(order: np.ndarray, lengths: np.ndarray, seed: int, epoch: int, prefix: str = "") -> np.ndarray:
    """`order` [steps, B] with examples of like lengths in the same batches, BLOCK batches after each other.

    Within POOL x BLOCK batches every example stays; which of these an example of a length comes into, and the blocks'
    order, are random. Of an epoch the batches that make no whole block, its last ones, stay as they are, so that no
    lengths are left to the end.

    Args:
      order: of `batch_indices`; lengths: [N], see `Lengths.padded`.
    """
    result = order.copy()
    rng = stream(seed, f"{prefix}lengths", epoch).generator()
    whole = len(order) // BLOCK * BLOCK
    for start in range(0, whole, POOL * BLOCK):
        pool = order[start : min(start + POOL * BLOCK, whole)]
        flat = pool.reshape(-1)
        flat = flat[np.argsort(lengths[flat], kind="stable")]
        blocks = flat.reshape(-1, BLOCK, pool.shape[1])
        result[start : start + len(pool)] = rng.permutation(blocks).reshape(pool.shape)
    return result
