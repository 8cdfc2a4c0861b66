"""Data sets as uint8 arrays, subsets of them, the order of their batches, and what is done to a batch."""

from kdjax.data.arrays import Arrays, Dataset
from kdjax.data.batches import batch_indices
from kdjax.data.load import load
from kdjax.data.subsets import subset

__all__ = ["Arrays", "Dataset", "batch_indices", "load", "subset"]
