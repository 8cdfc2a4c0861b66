"""What the networks for texts share: a batch of tokens taken apart, word vectors, and means that skip the padding."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.types import Outputs

VOCABULARY = 30_522
"""Entries of a vocabulary where none is given: those of BERT's English one, in small letters."""


class Texts(NamedTuple):
    """A batch of texts, T tokens each, padding included."""

    tokens: jax.Array  # [B, T] integers
    mask: jax.Array  # [B, T] bool, true where a token is no padding
    segments: jax.Array | None = None  # [B, T] integers: 0 in a first text, 1 in the second of a pair


def texts(inputs, network: str) -> Texts:
    """The input of a batch of texts.

    Raises:
      ValueError: it is no dictionary of "tokens" and "mask" [B, T], with or without "segments" [B, T].
    """
    known = isinstance(inputs, dict) and {"tokens", "mask"} <= inputs.keys() <= set(Texts._fields)
    shapes = {leaf.shape for leaf in jax.tree.leaves(inputs)}
    if not known or len(shapes) != 1 or len(next(iter(shapes))) != 2:
        told = jax.tree.map(jnp.shape, inputs)
        raise ValueError(
            f"{network} takes texts, {{'tokens': [B, T] integers, 'mask': [B, T] true where there is no padding}} and "
            f"perhaps 'segments' [B, T]; got {told}"
        )
    return Texts(inputs["tokens"], inputs["mask"].astype(bool), inputs.get("segments"))


def masked(x, mask) -> jax.Array:
    """x [B, T, C] with zeros at the padding."""
    return jnp.where(mask[:, :, None], x, jnp.zeros((), x.dtype))


def mean(x, mask) -> jax.Array:
    """[B, T, C] -> [B, C], the mean over what is no padding; zeros for a text without any token."""
    total = jnp.sum(masked(x, mask).astype(jnp.float32), axis=1)
    count = jnp.maximum(jnp.sum(mask, axis=1, keepdims=True, dtype=jnp.float32), 1.0)
    return (total / count).astype(x.dtype)


def embed(tokens, vocabulary: int, width: int, dtype, init=None) -> jax.Array:
    """[B, T] -> [B, T, width], the trained vectors "word_embeddings"; a token outside the vocabulary becomes NaN."""
    init = init or nn.initializers.normal(1.0)
    return nn.Embed(vocabulary, width, dtype=dtype, embedding_init=init, name="word_embeddings")(tokens)


def classified(embedding, classes: int, mask, features, dropout: float, train: bool, dtype, init=None, **fields):
    """Outputs of a linear layer "classifier", in float32, on an embedding [B, D] with dropout; 0 classes: none."""
    kept = nn.Dropout(dropout, deterministic=not train)(embedding)
    init = init or nn.initializers.lecun_normal()
    if classes:
        logits = nn.Dense(classes, dtype=dtype, kernel_init=init, name="classifier")(kept).astype(jnp.float32)
    else:
        logits = jnp.zeros((len(embedding), 0))
    return Outputs(logits, tuple(features), embedding=embedding, mask=mask, **fields)
