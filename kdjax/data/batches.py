"""The order in which examples are seen, a function of (seed, epoch) and never of what ran before."""

import numpy as np

from kdjax.streams import stream


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
