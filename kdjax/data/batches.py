"""The order in which examples are seen, a function of (seed, epoch) and never of what ran before."""

import numpy as np


def batch_indices(examples: int, batch_size: int, steps: int, seed: int, epoch: int) -> np.ndarray:
    """[steps, batch_size] int32 positions in a training set of that many examples, for one epoch.

    Random permutations of the set one after the other: a new one begins where one is used up, in the middle of a
    batch if need be. `epoch` may be negative (a stage before the first epoch). Epochs share no state.

    Raises:
      ValueError: there are no examples.
    """
    if examples < 1:
        raise ValueError("there are no examples to make batches of")
    sign = int(epoch < 0)  # entropy must not be negative
    rng = np.random.default_rng(np.random.SeedSequence((seed, sign, abs(epoch))))
    needed = steps * batch_size
    permutations = [rng.permutation(examples) for _ in range(-(-needed // examples))]
    stream = np.concatenate([*permutations, np.zeros(0, np.int64)])[:needed]
    return stream.astype(np.int32).reshape(steps, batch_size)
