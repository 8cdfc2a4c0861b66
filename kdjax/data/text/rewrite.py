"""Training texts with some words replaced by what a pretrained language head proposes: texts for a teacher to label.

Jiao et al. 2020 (TinyBERT), arXiv:1909.10351, Algorithm 1; Tang et al. 2019, arXiv:1903.12136, mask instead, which is
`kdjax.data.text.augmentations.word_dropout`. Two differences to TinyBERT's code (data_augmentation.py). Its language
model sees one word masked at a time; here a seventh of a text's words, the share of BERT's pretraining, so that a text
costs PARTS passes however long it is. Words of several pieces, which it replaces by neighbours in GloVe, stay.
"""

import functools
import re
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.data.text import prepare, tokenizers
from kdjax.data.text.texts import Texts
from kdjax.models.text import masked
from kdjax.streams import stream

PARTS = 7
"""Passes over each text: every one masks another seventh of its words, of which BERT masked 15 %."""

BATCH = 64
"""Texts that the network sees at a time."""

LENGTHS = 4
"""To which texts are padded, at most: each is compiled."""


def rewritten(
    texts: Texts, folder, *, copies: int = 4, p: float = 0.4, top: int = 15, seed: int = 0, say: Callable = print
) -> list[tuple[str, ...]]:
    """Up to `copies` of each text, in each of which a word is replaced with probability p by one of `top` proposals.

    Args:
      texts: [N]; of pairs the language head sees both texts at once, and either may change.
      folder: of Hugging Face's, with a tokenizer and a BertForMaskedLM.
      top: how many words are drawn from, all alike: TinyBERT's K.
      say: called with a line of progress now and then.

    Returns:
      the copies that differ from their text and from each other, the words of each as the tokenizer writes them, of
      pairs both. A function of the arguments alone.

    Raises:
      ValueError: numbers that cannot be right; no language head in the folder; a tokenizer without [MASK], or of
        another vocabulary than the network's.
    """
    _check(copies >= 1, "copies must be at least 1", copies)
    _check(0 < p <= 1, "p must lie above 0 and not above 1", p)
    tokenizer = tokenizers.of_folder(str(folder))
    model, variables = masked.load(folder)
    names = tokenizer.names()
    if tokenizer.special.mask < 0 or len(names) != model.vocabulary:
        raise ValueError(
            f"{folder}: its tokenizer has {len(names):,} tokens and {'a' if tokenizer.special.mask >= 0 else 'no'} "
            f"[MASK], its network a vocabulary of {model.vocabulary:,}; they do not belong together"
        )
    proposable = [not (name.startswith("##") or re.fullmatch(r"\[.+\]|<.+>", name)) for name in names]
    _check(
        1 <= top <= sum(proposable), f"top must lie between 1 and {sum(proposable):,}, the words that there are", top
    )
    rows = tokenizer.encode(texts.first, texts.second, model.positions)
    longest = min(model.positions, tokenizers.rounded(max(len(ids) for ids, _ in rows)))
    inputs = tokenizers.padded(rows, longest, tokenizer.padding, texts.second is not None)
    words = replaceable(inputs, tokenizer.special, np.array([name.startswith("##") for name in names]))
    random = stream(seed, "rewrite").generator()
    candidates = proposals(
        model, variables, inputs, words, tokenizer.special.mask, np.array(proposable), top, random, say
    )
    return [
        tuple(tokenizer.decode(part) for part in parts)
        for parts in drawn(inputs, words, candidates, copies, p, random, tokenizer.special.numbers)
    ]


def replaceable(inputs: dict, special: tokenizers.Special, continues: np.ndarray) -> np.ndarray:
    """[N, T] bool: tokens that are a whole word, and none of the tokenizer's own; `continues` [V]: pieces of words."""
    tokens = inputs["tokens"]
    piece = continues[tokens]
    goes_on = np.concatenate([piece[:, 1:], np.zeros((len(tokens), 1), bool)], axis=1)
    return inputs["mask"] & ~np.isin(tokens, special.numbers) & ~piece & ~goes_on


def proposals(
    model, variables, inputs: dict, words: np.ndarray, mask: int, proposable: np.ndarray, top: int, random, say
) -> np.ndarray:
    """[N, T, top] int32: what the network finds most likely at each of `words` [N, T] where it is masked; else 0.

    Args:
      proposable: [V] bool, tokens that may be proposed.
      random: a generator, which says what words of a text are masked together.
    """
    found = np.zeros((*words.shape, top), np.int32)
    part = np.where(words, _ranks(words, random) % PARTS, -1)
    pads = prepare.shapes(inputs, LENGTHS)
    step = jax.jit(functools.partial(_most_likely, model, top=top))
    banned = jnp.where(jnp.asarray(proposable), 0.0, -jnp.inf)
    for length in np.unique(pads):
        most = -(-int(words[pads == length].sum(axis=1).max(initial=0)) // PARTS)
        (rows,) = np.nonzero(pads == length)
        for start in range(0, len(rows) if most else 0, BATCH):
            own = rows[start : start + BATCH]
            full = np.resize(own, BATCH)  # one shape: the last batch sees some texts again
            given = {name: leaf[full, :length] for name, leaf in inputs.items()}
            for number in range(PARTS):
                hidden = part[full, :length] == number
                at = np.argsort(~hidden, axis=1, kind="stable")[:, :most]
                seen = {**given, "tokens": np.where(hidden, mask, given["tokens"])}
                told = np.asarray(step(variables, seen, at, banned))
                row, place = np.nonzero(np.take_along_axis(hidden, at, axis=1)[: len(own)])
                found[own[row], at[row, place]] = told[row, place]
            say(f"words are proposed for {min(start + BATCH, len(rows)):,} of {len(rows):,} texts of {length} tokens")
    return found


def _most_likely(model, variables, inputs, at, banned, top: int):
    """[B, M, top]: the tokens that are most likely at places `at` [B, M], most likely first."""
    return jax.lax.top_k(model.apply(variables, inputs, at) + banned[None, None], top)[1].astype(jnp.int32)


def _ranks(words: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """[N, T]: the place of each word among those of its text, in a random order."""
    chance = np.where(words, random.random(words.shape), np.inf)
    return np.argsort(np.argsort(chance, axis=1), axis=1)


def drawn(
    inputs: dict, words: np.ndarray, candidates: np.ndarray, copies: int, p: float, random, special: tuple[int, ...]
) -> Iterator[list[np.ndarray]]:
    """The tokens of each new text, of pairs of both, without special ones; those of one text follow each other."""
    segments = inputs.get("segments", np.zeros_like(inputs["tokens"]))
    for own, word, known, segment in zip(inputs["tokens"], words, candidates, segments, strict=True):
        said = {own.tobytes()}
        for _ in range(copies):
            chosen = known[np.arange(len(own)), random.integers(known.shape[1], size=len(own))]
            new = np.where(word & (random.random(len(own)) < p), chosen, own)
            if new.tobytes() not in said:
                said.add(new.tobytes())
                inside = ~np.isin(new, special)
                yield [new[inside & (segment == number)] for number in range(1 + ("segments" in inputs))]


def _check(holds: bool, rule: str, value) -> None:
    if not holds:
        raise ValueError(f"{rule}; got {value!r}")
