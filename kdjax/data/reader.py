"""Batches of images that do not fit in memory: worker processes read and decode ahead of the training. Grain does it.

What is read is a function of (seed, epoch, step) as in memory, so a stream equals indexing the decoded array, and a
run that resumes opens its stream at the step where it stopped.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from absl import flags

from kdjax.data.batches import batch_indices
from kdjax.data.images.encoded import Encoded

_order = lru_cache(maxsize=2)(batch_indices)  # every step of an epoch asks for the same


@dataclass(frozen=True)
class Batches:
    """Random access to the batches of a training: `batches(number)`, counted from step 0 of epoch 0."""

    image: Encoded
    batch_size: int
    steps: int  # an epoch
    seed: int
    prefix: str = ""  # streams.TEACHER for a teacher
    last: int = 0  # images in the last batch of an epoch, if it is smaller
    parts: int = 1  # that a batch is split into, of which this process reads `held`, from number `first` on
    first: int = 0
    held: int = 1

    def __call__(self, number) -> tuple[np.ndarray, np.ndarray]:
        """(positions [B * held / parts] int32, their images [..., H, W, C] uint8)."""
        epoch, step = divmod(int(number), self.steps)
        index = _order(len(self.image), self.batch_size, self.steps, self.seed, epoch, self.prefix)[step]
        if self.last and step == self.steps - 1:
            index = index[: self.last]
        part = len(index) // self.parts
        index = index[self.first * part : (self.first + self.held) * part]
        return index, self.image[index].decode(threads=1)


class Reader:
    """The batches of a training in order: one stream as long as each is asked for after the one before it."""

    def __init__(self, batches: Batches, stop: int, workers: int = 0):
        """`stop`: the number after the last batch; `workers`: as in `read_ahead`."""
        self.batches, self.stop, self.workers = batches, stop, workers
        self.next, self.iterator = None, iter(())

    def __call__(self, number: int) -> np.ndarray:
        """The images of batch `number`, [B * held / parts, H, W, C] uint8."""
        if number != self.next:
            self.close()
            self.iterator = read_ahead(self.batches, number, self.stop, self.workers)
        self.next = number + 1
        return next(self.iterator)[1]

    def close(self) -> None:
        """Ends the workers; what is asked for next opens another stream."""
        if self.next is not None:
            self.iterator.close()
            self.next = None


def read_ahead(batches: Batches, start: int, stop: int, workers: int = 0, ahead: int = 4) -> Iterator:
    """Yields batches(start), ..., batches(stop - 1), in this order, decoded ahead of time.

    Args:
      start, stop: numbers of batches, epoch * steps + step; negative for epochs before the first.
      workers: processes that decode; 0: threads of this process.
      ahead: batches that each worker, or this process, keeps ready.
    """
    import grain  # slow to import

    threads = 1 if workers else ahead
    numbers = grain.MapDataset.range(start, stop).map(batches)
    dataset = numbers.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead))
    if workers:
        if not flags.FLAGS.is_parsed():  # Grain asks for flags of its own, also in a program that has none
            flags.FLAGS.mark_as_parsed()
        # Batches come through pipes: shared memory is small in containers, and Grain leaves some of it behind.
        pipes = grain.experimental.DatasetOptions(min_shm_size=sys.maxsize)
        dataset = grain.experimental.WithOptionsIterDataset(dataset, pipes)
        options = grain.multiprocessing.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=ahead)
        dataset = dataset.mp_prefetch(options)
    iterator = iter(dataset)
    try:
        yield from iterator
    finally:
        iterator.close()
