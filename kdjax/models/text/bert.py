"""BERT, in any size. Devlin et al. 2019, arXiv:1810.04805; small ones: Turc et al. 2019, arXiv:1908.08962."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.models.text.words import VOCABULARY, classified, embed, mean, texts
from kdjax.types import Outputs

POOLINGS = ("mean", "cls", "pooler")
_init = nn.initializers.normal(0.02)
_NOTHING = jnp.finfo(jnp.float32).min
"""The score of padding. Finite, so that a text without any token has numbers."""


class Encoder(nn.Module):
    """A layer of BERT: self-attention and a two-layer perceptron, each added to what it sees and normalised then."""

    heads: int
    hidden: int
    dropout: float
    epsilon: float
    dtype: Any

    @nn.compact
    def __call__(self, x, mask, train: bool):
        """[B, T, C], [B, T] -> ([B, T, C], scores [B, heads, T, T], (queries, keys, values) [B, T, heads, D])."""
        width = x.shape[-1]
        split = (*x.shape[:2], self.heads, width // self.heads)
        q, k, v = (self._dense(x, width, f"attention_self_{name}").reshape(split) for name in ("query", "key", "value"))
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k, preferred_element_type=jnp.float32) * split[-1] ** -0.5
        weights = nn.softmax(jnp.where(mask[:, None, None, :], scores, _NOTHING)).astype(v.dtype)
        seen = jnp.einsum("bhqk,bkhd->bqhd", self._drop(weights, train), v).reshape(x.shape)
        x = self._added(x, self._dense(seen, width, "attention_output_dense"), "attention_output", train)
        y = nn.gelu(self._dense(x, self.hidden, "intermediate_dense"), approximate=False)
        x = self._added(x, self._dense(y, width, "output_dense"), "output", train)
        return x, scores, (q, k, v)

    def _added(self, x, new, name: str, train: bool):
        return normalise(x + self._drop(new, train), self.epsilon, f"{name}_LayerNorm")

    def _dense(self, x, width: int, name: str):
        return nn.Dense(width, dtype=self.dtype, kernel_init=_init, name=name)(x)

    def _drop(self, x, train: bool):
        return nn.Dropout(self.dropout, deterministic=not train)(x)


def normalise(x, epsilon: float, name: str):
    """LayerNorm of x [..., C] over C, in float32."""
    layer = nn.LayerNorm(epsilon=epsilon, use_fast_variance=False, name=name)
    return layer(x.astype(jnp.float32)).astype(x.dtype)


class Embeddings(nn.Module):
    """The sum of the vectors of words, positions and segments, normalised."""

    vocabulary: int
    width: int
    positions: int
    segments: int
    dropout: float
    epsilon: float
    dtype: Any

    @nn.compact
    def __call__(self, tokens, segments, train: bool):  # [B, T], [B, T] or None -> [B, T, C]
        places = jnp.arange(tokens.shape[1], dtype=jnp.int32)[None, :]
        segments = jnp.zeros_like(tokens) if segments is None else segments
        x = embed(tokens, self.vocabulary, self.width, self.dtype, _init)
        x = x + self._vectors(places, self.positions, "position") + self._vectors(segments, self.segments, "token_type")
        x = normalise(x, self.epsilon, "LayerNorm")
        return nn.Dropout(self.dropout, deterministic=not train)(x)

    def _vectors(self, indices, entries: int, name: str):
        fields = dict(dtype=self.dtype, embedding_init=_init, name=f"{name}_embeddings")
        return nn.Embed(entries, self.width, **fields)(indices)


class Bert(nn.Module):
    """An encoder of texts with normalisation after each addition, and a linear classifier on one vector a text.

    `features` are the embeddings' output and that of each layer; `attentions` and `qkv` have no padding taken out,
    which is what `mask` is for. Layers are named as in Hugging Face's BertModel (kdjax.models.text.huggingface).
    """

    num_classes: int
    vocabulary: int = VOCABULARY
    layers: int = 2
    width: int = 128
    heads: int | None = None  # None: width / 64
    hidden: int | None = None  # width between the two layers of a perceptron; None: 4 x width
    dropout: float = 0.1  # of embeddings, attention weights, what is added, and the classifier's input
    positions: int = 512  # the most tokens of a text
    segments: int = 2
    epsilon: float = 1e-12  # of LayerNorm
    pooling: str = "mean"  # or "cls", the first token's; or "pooler", that through a dense layer and tanh
    dtype: Any = jnp.float32
    axis_name: str | None = None  # no BatchNorm here: nothing crosses devices

    @nn.compact
    def __call__(self, inputs, train: bool = False) -> Outputs:
        tokens, mask, segments = texts(inputs, "bert")
        self._check(tokens.shape[1])
        shared = dict(dropout=self.dropout, epsilon=self.epsilon, dtype=self.dtype)
        sizes = self.vocabulary, self.width, self.positions, self.segments
        x = Embeddings(*sizes, **shared, name="embeddings")(tokens, segments, train)
        features, attentions, qkv = [x], [], ()
        for i in range(self.layers):
            layer = Encoder(self.number_of_heads, self.between, **shared, name=f"encoder_layer_{i}")
            x, scores, qkv = layer(x, mask, train)
            features.append(x)
            attentions.append(scores)
        fields = dict(attentions=tuple(attentions), qkv=qkv, init=_init)
        pooled = self._pooled(x, mask)
        return classified(pooled, self.num_classes, mask, features, self.dropout, train, self.dtype, **fields)

    def _pooled(self, x, mask) -> jax.Array:
        if self.pooling == "mean":
            return mean(x, mask)
        if self.pooling == "cls":
            return x[:, 0]
        return jnp.tanh(nn.Dense(self.width, dtype=self.dtype, kernel_init=_init, name="pooler_dense")(x[:, 0]))

    @property
    def number_of_heads(self) -> int:
        return self.heads or max(self.width // 64, 1)

    @property
    def between(self) -> int:
        """The width between the two layers of a perceptron."""
        return self.hidden or 4 * self.width

    def _check(self, length: int) -> None:
        """Raises a ValueError for sizes that do not fit together, or longer texts than there are positions."""
        if self.width % self.number_of_heads:
            raise ValueError(f"bert: width {self.width} does not divide into {self.number_of_heads} heads")
        if self.pooling not in POOLINGS:
            raise ValueError(f"bert: pooling {self.pooling!r} is unknown; valid are {', '.join(POOLINGS)}")
        if length > self.positions:
            raise ValueError(f"bert: texts of {length} tokens, and it has {self.positions} positions; cut them shorter")


def bert(num_classes: int, **fields) -> Bert:
    """BERT in any size, 2 layers of 128 unless told otherwise; afresh or with the weights of a Hugging Face folder.

    Turc et al.: tiny 2 x 128, mini 4 x 256, small 4 x 512, medium 8 x 512; BERT-base is 12 x 768. The sizes of a
    Hugging Face folder: `kdjax.models.text.huggingface.sizes(folder)`.
    """
    return Bert(num_classes, **fields)
