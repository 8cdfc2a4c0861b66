"""Small networks for texts: a recurrent one, a convolutional one, and one that does not look at the order of words."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.models.text.words import VOCABULARY, classified, embed, masked, mean, texts
from kdjax.types import Outputs


class Lstm(nn.Module):
    """A layer of long short-term memory, over a text forwards or backwards; padding leaves its state as it is."""

    width: int
    backwards: bool
    dtype: Any

    @nn.compact
    def __call__(self, x, mask):
        """[B, T, C], [B, T] -> ([B, T, width], the last state [B, width])."""
        gates = nn.Dense(4 * self.width, dtype=self.dtype, bias_init=_forgets_little, name="input")(x)
        shape = self.width, 4 * self.width
        kernel = self.param("recurrent", nn.initializers.orthogonal(), shape).astype(self.dtype)

        def step(state, now):
            seen, is_token = now
            i, f, o, new = jnp.split(seen + state[0] @ kernel, 4, axis=-1)
            cell = nn.sigmoid(f) * state[1] + nn.sigmoid(i) * jnp.tanh(new)
            moved = nn.sigmoid(o) * jnp.tanh(cell), cell
            state = tuple(jnp.where(is_token[:, None], a, b) for a, b in zip(moved, state, strict=True))
            return state, state[0]

        start = (jnp.zeros((len(x), self.width), self.dtype),) * 2
        given = jnp.swapaxes(gates, 0, 1), jnp.swapaxes(mask, 0, 1)
        (last, _), states = jax.lax.scan(step, start, given, reverse=self.backwards)
        return jnp.swapaxes(states, 0, 1), last


def _forgets_little(key, shape, dtype=jnp.float32):
    """Biases of 0, of the forget gate 1. Jozefowicz et al. 2015, "An Empirical Exploration of Recurrent Networks"."""
    return jnp.zeros(shape, dtype).at[shape[0] // 4 : shape[0] // 2].set(1)


class BiLstm(nn.Module):
    """LSTMs in both directions; the embedding is their last states, one beside the other."""

    num_classes: int
    vocabulary: int = VOCABULARY
    embedding: int = 100  # numbers a word
    width: int = 128  # of a direction
    layers: int = 1
    dropout: float = 0.0  # of each layer's input and of the classifier's
    dtype: Any = jnp.float32
    axis_name: str | None = None  # no BatchNorm here: nothing crosses devices

    @nn.compact
    def __call__(self, inputs, train: bool = False) -> Outputs:
        tokens, mask, _ = texts(inputs, "bilstm")
        features = [embed(tokens, self.vocabulary, self.embedding, self.dtype)]
        for i in range(self.layers):
            x = nn.Dropout(self.dropout, deterministic=not train)(features[-1])
            both = [Lstm(self.width, way == "backward", self.dtype, name=f"{way}{i}")(x, mask) for way in _WAYS]
            states, last = (jnp.concatenate(parts, -1) for parts in zip(*both, strict=True))
            features.append(states)
        return classified(last, self.num_classes, mask, features, self.dropout, train, self.dtype)


_WAYS = ("forward", "backward")


class TextCnn(nn.Module):
    """Convolutions of several widths over the words, ReLU, and the largest value of each over a text."""

    num_classes: int
    vocabulary: int = VOCABULARY
    embedding: int = 100  # numbers a word
    filters: int = 100  # of each width
    widths: tuple[int, ...] = (3, 4, 5)  # words that a filter sees
    dropout: float = 0.5  # of the classifier's input
    dtype: Any = jnp.float32
    axis_name: str | None = None  # no BatchNorm here: nothing crosses devices

    @nn.compact
    def __call__(self, inputs, train: bool = False) -> Outputs:
        tokens, mask, _ = texts(inputs, "textcnn")
        words = masked(embed(tokens, self.vocabulary, self.embedding, self.dtype), mask)
        maps = [nn.Conv(self.filters, (width,), dtype=self.dtype, name=f"conv{width}")(words) for width in self.widths]
        preact = jnp.concatenate(maps, -1)
        x = masked(nn.relu(preact), mask)
        pooled = jnp.max(x, axis=1)
        out = classified(pooled, self.num_classes, mask, (words, x), self.dropout, train, self.dtype)
        return out.replace(preacts=(words, preact))


class BagOfWords(nn.Module):
    """A linear classifier on the mean of the words' vectors."""

    num_classes: int
    vocabulary: int = VOCABULARY
    embedding: int = 100  # numbers a word
    dropout: float = 0.0
    dtype: Any = jnp.float32
    axis_name: str | None = None  # no BatchNorm here: nothing crosses devices

    @nn.compact
    def __call__(self, inputs, train: bool = False) -> Outputs:
        tokens, mask, _ = texts(inputs, "bag_of_words")
        words = embed(tokens, self.vocabulary, self.embedding, self.dtype)
        return classified(mean(words, mask), self.num_classes, mask, (words,), self.dropout, train, self.dtype)


def bilstm(num_classes: int, **fields) -> BiLstm:
    """A bidirectional LSTM, the student of Tang et al. 2019 (arXiv:1903.12136) without its hidden layer.

    Theirs has `width` 150 or 300 and `embedding` 300, and no dropout.
    """
    return BiLstm(num_classes, **fields)


def textcnn(num_classes: int, **fields) -> TextCnn:
    """The convolutional network of Kim 2014 (arXiv:1408.5882), with vectors of 100 numbers; the paper's have 300."""
    return TextCnn(num_classes, **fields)


def bag_of_words(num_classes: int, **fields) -> BagOfWords:
    """A mean of word vectors and a linear layer. Joulin et al. 2017 (fastText), arXiv:1607.01759; without n-grams."""
    return BagOfWords(num_classes, **fields)
