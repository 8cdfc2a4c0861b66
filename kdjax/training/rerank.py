"""Evaluation of what reads a query and a document together: it orders the first documents of another search.

A pass for every pair of a query and a document of a catalogue is too much. As is usual (Nogueira and Cho 2019,
arXiv:1901.04085), a first stage that costs little, TF-IDF of characters here, names some documents of each query; the
network orders these, and all others stay behind them as the first stage has them.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax.data.search.negatives import hardest
from kdjax.data.text.references import cosines_of_characters
from kdjax.models import convolve
from kdjax.training.step import make_teach


class First(NamedTuple):
    """The first stage: what is asked and found, and what a network is shown of it."""

    texts: dict  # split -> its queries, and "documents"
    transform: Callable  # {"query", "items"} as stored -> what networks take
    count: int  # documents of a query that the network sees

    def scores(self, split: str) -> Iterable[np.ndarray]:
        """Yields its scores [q, M] of all documents, some queries of a split after the other."""
        return cosines_of_characters(self.texts[split], self.texts["documents"])


def compiled(model, first: First, batch_size: int) -> Callable:
    """fn(variables, split, queries, devices) -> blocks [q, M] of scores of all documents, as `blocks` yields them."""
    score = scorer(model, first.transform)

    @functools.cache
    def named(split: str) -> np.ndarray:
        """Documents [N, P] of the first stage, the same at each evaluation."""
        return hardest(first.scores(split), np.empty((len(first.texts[split]), 0), np.int32), first.count)

    def searched(variables, split: str, queries, devices) -> Iterable[np.ndarray]:
        own = scored(score, variables, queries, named(split), batch_size, devices)
        return blocks(first.scores(split), named(split), own)

    return searched


def blocks(scores: Iterable[np.ndarray], found: np.ndarray, own: np.ndarray) -> Iterable[np.ndarray]:
    """Yields the scores of a first stage, between 0 and 1, those of the documents that it found above all others.

    Of these they are whole numbers from 2 on, in the order of the network's, equal where it has them equal, and NaN
    where one of the network's is not finite.

    Args:
      scores: [q, M] of some queries after the other; found: [N, P] documents, -1 at padding; own: [N, P] the network's
        scores of them.
    """
    at = 0
    for block in scores:
        block, of_block = np.array(block), slice(at, at + len(block))
        for row, items, values in zip(block, found[of_block], own[of_block], strict=True):
            there = items >= 0
            ranks = np.unique(values[there], return_inverse=True)[1]
            row[items[there]] = 2 + ranks if np.isfinite(values[there]).all() else np.nan
        at += len(block)
        yield block


def scorer(model, transform: Callable) -> Callable:
    """score(variables, {"query", "items"} as stored) -> [B, P] float32, compiled."""

    @jax.jit
    @convolve.fast()
    def score(variables, inputs):
        return make_teach(model)(variables, transform(inputs)).logits

    return score


def scored(
    score: Callable,
    variables,
    queries: dict,
    items: np.ndarray,
    size: int,
    devices,
    pause: Callable[[], Any] = lambda: None,
) -> np.ndarray:
    """[N, P] scores of documents [N, P], -1 at padding, so many pairs at a time as `size` says, in turn on the devices.

    Args:
      score: of `scorer`; pause: called before each part, and may raise.
    """
    rows = min(len(items), max(1, size // items.shape[1]))
    held, made = {device: jax.device_put(variables, device) for device in devices}, []
    for number, start in enumerate(range(0, len(items), rows)):
        pause()
        device = devices[number % len(devices)]
        part = jax.tree.map(lambda leaf, at=start: leaf[at : at + rows], {"query": queries, "items": items})
        missing = rows - len(part["items"])
        part = jax.tree.map(lambda leaf, more=missing: np.pad(leaf, ((0, more), (0, 0))), part)
        made.append(score(held[device], jax.device_put(part, device)))
    return np.concatenate([np.asarray(each, np.float32) for each in made])[: len(items)]
