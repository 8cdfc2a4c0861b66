"""What students see: the training set at its place, and the batches of each epoch in order."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from kdjax.data.batches import BLOCK, Lengths, batch_indices, by_length
from kdjax.data.reader import Reader
from kdjax.streams import stream
from kdjax.training.parallel import Place


@dataclass(frozen=True)
class Feed:
    """What the students of one seed see: the training set on their first place and the order of each epoch."""

    seed: int
    place: Place
    inputs: Any  # a pytree of [N, ...], a Reader, which reads images from disk, or Lengths, which cuts inputs
    targets: jax.Array  # [N]
    steps: int  # an epoch
    batch_size: int
    make_batch: Callable  # (inputs, targets, indices [S, B], key, steps [S]) -> Batch [S, B, ...]
    make_batch_whole: Callable  # the same where places split batches and this one is not
    keep_last_batch: bool = False
    steps_per_call: int = 1
    prefix: str = ""  # of the roles of its random numbers: streams.TEACHER where a teacher is trained
    views: int = 0  # of each example, that epochs take in turn; 0: every epoch has its own
    kept: Callable | None = None  # what a teacher says of a batch, looked up: a kdjax.training.kept.Kept

    def calls(self, epoch: int, start: int, joins=()):
        """Yields (first step, steps taken, Batch) from step `start` of an epoch on; one begins at each of `joins`."""
        examples, whole = len(self.targets), self.steps - self.keep_last_batch
        order, key = self._order(epoch), self._key(epoch)
        step = start
        while step < self.steps:
            taken = max(1, min(self.steps_per_call - step % self.steps_per_call, whole - step))
            if isinstance(self.inputs, Lengths):
                taken = min(taken, BLOCK - step % BLOCK)
            taken = min([taken, *(join - step for join in joins if join > step)])
            indices = order[step : step + taken]
            if step == whole:  # the smaller last batch: what the epoch's permutation has left
                indices = indices[:, : examples - whole * self.batch_size]
            numbers = np.arange(step, step + taken, dtype=np.int32)
            indices = self.place.shares(indices)
            inputs = self._inputs(epoch, step, indices.shape)
            batch = self.make_batch(inputs, self.targets, indices, key, numbers)
            yield step, taken, self._answered(batch, epoch, indices, self.place.put_parts)
            step += taken

    def _answered(self, batch, epoch: int, indices: np.ndarray, put: Callable):
        """The batch, with what is kept of the teacher's Outputs on it, "taught", where something is."""
        return batch if self.kept is None else {**batch, "taught": jax.tree.map(put, self.kept(epoch, indices, batch))}

    def _inputs(self, epoch: int, step: int, shape: tuple[int, ...]):
        """The training set, cut to a length; or if it is read from disk the images of one call: [*shape, H, W, C]."""
        if isinstance(self.inputs, Lengths):
            return self._cut(epoch, step)
        if not isinstance(self.inputs, Reader):
            return self.inputs
        steps, number = shape[-2], epoch * self.steps + step
        images = np.stack([self.inputs(number + i) for i in range(steps)])  # [S, D * b, H, W, C]
        if self.place.parts > 1:
            images = np.moveaxis(images.reshape(steps, shape[0], shape[-1], *images.shape[2:]), 1, 0)
        return self.place.put_parts(images.reshape(*shape, *images.shape[-3:]))

    def example(self):
        """The first batch of the first epoch, [1, B, ...], whole on every device: what students are made with."""
        indices, inputs = self._order(0)[:1], self.inputs
        if isinstance(inputs, Lengths):
            inputs = self._cut(0, 0)
        if isinstance(inputs, Reader):
            inputs = self.place.put(inputs.batches.image[indices[0]].decode()[None])
        batch = self.make_batch_whole(inputs, self.targets, indices, self._key(0), np.zeros(1, np.int32))
        return self._answered(batch, 0, indices, self.place.put)

    def whole(self, view: int, size: int):
        """Yields (indices [n], Batch [1, B, ...] of these), of all examples once, in one view.

        Those of like length are together; the last batch is filled up with its last example.
        """
        examples, inputs = len(self.targets), self.inputs
        order = np.argsort(inputs.padded, kind="stable") if isinstance(inputs, Lengths) else np.arange(examples)
        for start in range(0, examples, size):
            indices = order[start : start + size]
            filled = np.pad(indices, (0, size - len(indices)), mode="edge").astype(np.int32)[None]
            if isinstance(inputs, Lengths):
                given = inputs.cut(int(inputs.padded[indices].max()))
            elif isinstance(inputs, Reader):
                given = self.place.put(inputs.batches.image[filled[0]].decode()[None])
            else:
                given = inputs
            yield indices, self.make_batch_whole(given, self.targets, filled, self._key(view), np.zeros(1, np.int32))

    def _order(self, epoch: int) -> np.ndarray:
        given = len(self.targets), self.batch_size, self.steps, self.seed, epoch, self.prefix
        if isinstance(self.inputs, Lengths):
            return _by_length(self.inputs, self.steps - self.keep_last_batch, *given)
        return batch_indices(*given)

    def _cut(self, epoch: int, step: int):
        """The training set cut to the length of the block of steps that one belongs to."""
        start = step - step % BLOCK
        return self.inputs.cut(int(self.inputs.padded[self._order(epoch)[start : start + BLOCK]].max()))

    def tokens(self, epoch: int, step: int, steps: int) -> int:
        """Those of so many steps from one on, without padding; 0 where examples have no lengths."""
        if not isinstance(self.inputs, Lengths):
            return 0
        return int(self.inputs.whole[self._order(epoch)[step : step + steps]].sum())

    def _key(self, epoch: int) -> jax.Array:
        if self.views:  # divided by example
            return self.place.put(stream(self.seed, f"{self.prefix}views", epoch % self.views).key())
        return self.place.put(stream(self.seed, f"{self.prefix}augment", epoch).key())


@functools.lru_cache(maxsize=8)  # every step of an epoch asks for the same
def _by_length(lengths: Lengths, whole: int, examples: int, batch_size: int, steps: int, seed: int, epoch: int, prefix):
    """The order of an epoch whose first `whole` batches are of like lengths; a smaller last one stays as it is."""
    order = batch_indices(examples, batch_size, steps, seed, epoch, prefix)
    return np.concatenate([by_length(order[:whole], lengths.padded, seed, epoch, prefix), order[whole:]])
