"""Augmentations of texts: fn(key, texts, target, special, *, hyperparameters) -> (texts, target), on the device.

`texts` are {"tokens": [B, T] int32, "mask": [B, T] bool, perhaps "segments"}, `special` a
`kdjax.data.text.tokenizers.Special`. What a teacher says of sentences that are made anew each epoch is what distilling
into small networks rests on where texts are few: Tang et al. 2019, arXiv:1903.12136, section 3.3, of whose three rules
the one by parts of speech is not here, as it needs a tagger. Words are tokens here: of WordPiece and BPE they are
pieces of words.
"""

import jax
import jax.numpy as jnp

from kdjax.data.text.tokenizers import Special


def word_dropout(key, texts, target, special: Special, *, p: float = 0.1):
    """Puts [MASK] in the place of each word with probability p; the label stays. Tang et al. 2019."""
    _check(0 <= p <= 1, "word_dropout.p must lie between 0 and 1", p)
    if special.mask < 0:
        raise ValueError("config.data.augment.word_dropout needs a tokenizer that has a token [MASK] or <mask>")
    tokens = texts["tokens"]
    word = texts["mask"] & ~jnp.isin(tokens, jnp.asarray(special.numbers, jnp.int32))
    dropped = word & jax.random.bernoulli(key, p, tokens.shape)
    return {**texts, "tokens": jnp.where(dropped, jnp.int32(special.mask), tokens)}, target


def ngram(key, texts, target, special: Special, *, p: float = 0.25, longest: int = 5, label: bool = False):
    """Leaves with probability p of a text only 1 to `longest` words that follow each other. Tang et al. 2019.

    Unless `label`, what was cut has no label any more: its words may be those of another class, and only the teacher
    knows. A text of no more words stays whole, and keeps its label; pairs of texts are not cut.
    """
    _check(0 <= p <= 1, "ngram.p must lie between 0 and 1", p)
    _check(longest >= 1, "ngram.longest must be >= 1 word", longest)
    if "segments" in texts:
        raise ValueError("config.data.augment.ngram is of single texts, and examples are pairs")
    tokens, mask = texts["tokens"], texts["mask"]
    chance, size, place = jax.random.split(key, 3)
    rows = (len(tokens), 1)
    words = mask.sum(axis=1, keepdims=True, dtype=jnp.int32) - (special.front + special.back)
    kept = jax.random.randint(size, rows, 1, longest + 1)
    cut = jax.random.bernoulli(chance, p, rows) & (kept < words)
    start = jax.random.randint(place, rows, 0, jnp.maximum(words - kept, 0) + 1)
    at = jnp.arange(tokens.shape[1], dtype=jnp.int32)[None, :]
    source = jnp.where(at < special.front, at, jnp.where(at < special.front + kept, at + start, at + words - kept))
    inside = at < special.front + kept + special.back
    shorter = jnp.take_along_axis(tokens, jnp.minimum(source, tokens.shape[1] - 1), axis=1)
    shorter = jnp.where(inside, shorter, jnp.int32(special.padding))
    if not label:
        target = jnp.where(cut[:, 0], jnp.asarray(-1, target.dtype), target)
    return {"tokens": jnp.where(cut, shorter, tokens), "mask": jnp.where(cut, inside, mask)}, target


def _check(holds: bool, rule: str, value) -> None:
    if not holds:
        raise ValueError(f"config.data.augment.{rule}; got {value!r}")
