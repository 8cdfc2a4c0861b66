"""Texts as a source gives them to what networks take: tokenized, cut at one length, checked."""

from dataclasses import replace

import numpy as np

from kdjax.data.arrays import Arrays, Dataset
from kdjax.data.text import tables, tokenizers
from kdjax.data.text.texts import Texts

WHOLE = 0.99
"""The share of training texts that the length by itself holds whole."""

ENOUGH = 0.1
"""The share of tokens that one more length must save."""

MOST = 512
"""The length by itself is at most this: positions of a BERT."""


def prepare(dataset: Dataset, config, in_memory: bool | None) -> Dataset:
    """The splits as {"tokens": [N, T] int32, "mask": [N, T] bool}, of pairs of texts "segments" [N, T] int32, too.

    A vocabulary of one's own is learned from the training split alone. T is config.data.length, or else what holds 99 %
    of the training texts whole, rounded up to a multiple of 8 and at most 512.

    Raises:
      ValueError: what config.data asks for that texts do not have; no tokenizer; inputs that are no Texts.
    """
    _check(dataset, config, in_memory)
    train = dataset.train.input
    tokenizer = tokenizer_of([*train.first, *(train.second if train.second is not None else ())], config)
    rows = {name: tokenizer.encode(split.input.first, split.input.second, 0) for name, split in dataset.splits.items()}
    length = config.length or holds_most([len(ids) for ids, _ in rows["train"]])
    cut = sum(len(ids) > length for ids, _ in rows["train"])
    if any(len(ids) > length for split in rows.values() for ids, _ in split):
        rows = {
            name: tokenizer.encode(split.input.first, split.input.second, length)
            for name, split in dataset.splits.items()
        }
    pairs = train.second is not None
    arrays = {
        name: Arrays(tokenizers.padded(rows[name], length, tokenizer.padding, pairs), split.target)
        for name, split in dataset.splits.items()
    }
    warnings = [*dataset.warnings, *tables.repeated(dataset), *told_cut(cut, len(train), length)]
    fingerprint = {**dataset.fingerprint, "tokenizer": tokenizers.digest(tokenizer)}
    return replace(dataset, **arrays, warnings=tuple(warnings), tokenizer=tokenizer, fingerprint=fingerprint)


def _check(dataset: Dataset, config, in_memory: bool | None) -> None:
    check_config(dataset, config, in_memory)
    for name, split in dataset.splits.items():
        if not isinstance(split.input, Texts):
            raise ValueError(
                f"{dataset.name}, {name}: a source with kind='text' returns kdjax.data.text.texts.Texts as input, got "
                f"{type(split.input).__name__}"
            )


def check_config(dataset: Dataset, config, in_memory: bool | None) -> None:
    """Raises a ValueError for what config.data asks for that no texts have."""
    if in_memory is False:
        raise ValueError(f"config.execution.stream: only images are read from disk, {dataset.name} is in memory")
    if config.image_size:
        raise ValueError(
            f"config.data.image_size is of images, and {dataset.name} has texts; config.data.length is theirs"
        )
    if config.length and config.length < tokenizers.MULTIPLE:
        raise ValueError(f"config.data.length is at least {tokenizers.MULTIPLE} tokens, got {config.length}")


def tokenizer_of(texts: list[str], config) -> tokenizers.Learned | tokenizers.Folder:
    """That of the folder config.data.tokenizer, or one learned from these texts."""
    kind = config.tokenizer
    if kind not in tokenizers.KINDS:
        return tokenizers.of_folder(kind)
    return tokenizers.learn(kind, texts, config.min_count, config.vocabulary)


def holds_most(lengths: list[int]) -> int:
    """The length that holds WHOLE of the texts, rounded up to a multiple of MULTIPLE, at most MOST."""
    return min(MOST, tokenizers.rounded(np.quantile(lengths, WHOLE, method="higher")))


def told_cut(cut: int, texts: int, length: int, what: str = "training texts") -> list[str]:
    """A warning where more texts lose their end than the length by itself allows."""
    if cut <= (1 - WHOLE) * texts:
        return []
    return [f"{cut:,} of {texts:,} {what} lose their end: they are longer than {length} tokens"]


def shapes(inputs: dict[str, np.ndarray], most: int) -> np.ndarray:
    """[N] int32: the length that each example is padded to, one of at most `most` lengths.

    These are multiples of 8 and the whole length: of all choices of so many the one with the fewest tokens, padding
    included. One more is taken where it saves a tenth of them (ENOUGH), as each has its programs compiled.
    """
    lengths, longest = inputs["mask"].sum(axis=1), inputs["mask"].shape[1]
    steps = np.unique(np.minimum(longest, tokenizers.MULTIPLE * -(-np.arange(1, longest + 1) // tokenizers.MULTIPLE)))
    counts = np.bincount(np.searchsorted(steps, lengths), minlength=len(steps))
    chosen = _fewest_tokens(steps, counts, most)
    return steps[chosen][np.searchsorted(steps[chosen], lengths)].astype(np.int32)


def _fewest_tokens(steps: np.ndarray, counts: np.ndarray, most: int) -> list[int]:
    """The places of the chosen lengths among `steps` [L], of which `counts` [L] examples need each; the last is one."""
    below = np.concatenate([[0], np.cumsum(counts)])
    best = {end: (below[end + 1] * steps[end], [end]) for end in range(len(steps))}  # with one length, up to each end
    found = best[len(steps) - 1]
    for _ in range(1, most):
        further = {}
        for end in range(1, len(steps)):
            rest = ((best[at][0] + (below[end + 1] - below[at + 1]) * steps[end], at) for at in best if at < end)
            tokens, at = min(rest, default=(np.inf, -1))
            if at >= 0:
                further[end] = tokens, [*best[at][1], end]
        best = further
        tokens, chosen = best.get(len(steps) - 1, (np.inf, []))
        if tokens > (1 - ENOUGH) * found[0]:
            break
        found = tokens, chosen
    return found[1]
