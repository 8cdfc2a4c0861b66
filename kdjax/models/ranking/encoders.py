"""Networks that score a query's documents by any encoder of texts: two towers, or one that reads both together.

They take a search, {"query": {"tokens", "mask"} [B, T], "documents": {"tokens", "mask"} [B, L, T'], "mask": [B, L]},
true where there is a document, and give scores [B, L], 0 at padding, which changes nothing else either.
"""

import importlib
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.types import Outputs, as_outputs

SIMILARITIES = ("cosine", "dot")


class BiEncoder(nn.Module):
    """See `bi_encoder`."""

    num_classes: int  # the number of scores a document: 1
    encoder: nn.Module
    document_encoder: nn.Module | None = None  # None: the other one, for both
    similarity: str = "cosine"
    scale: float = 20.0  # of the scores
    dtype: Any = jnp.float32
    axis_name: str | None = None  # no BatchNorm here: nothing crosses devices

    @property
    def towers(self) -> tuple[str, ...]:
        """Names of the encoders among the parameters."""
        return ("encoder",) if self.document_encoder is None else ("encoder", "document_encoder")

    def __call__(self, search, train: bool = False) -> Outputs:
        query, documents, mask = taken("bi_encoder", search, self.num_classes)
        q = self.encode_query(query, train)
        d = self.encode_documents(jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]), documents), train)
        d = jnp.where(mask[..., None], d.reshape(*mask.shape, -1), 0.0)
        scores = self.scale * jnp.sum(q[:, None] * d, axis=-1)
        return Outputs(scores, (d,), embedding=q, mask=mask)

    def encode_query(self, texts, train: bool = False) -> jax.Array:
        """Texts {"tokens", "mask"} [B, T] -> [B, D] float32, of length 1 by cosine."""
        return self._vector(self.encoder, texts, train)

    def encode_documents(self, texts, train: bool = False) -> jax.Array:
        """The same of documents: `scale` times the product with a query's is the score."""
        return self._vector(self.document_encoder or self.encoder, texts, train)

    def _vector(self, encoder, texts, train: bool):
        if self.similarity not in SIMILARITIES:
            raise ValueError(
                f"bi_encoder: similarity {self.similarity!r} is unknown; valid are {', '.join(SIMILARITIES)}"
            )
        x = as_outputs(encoder(texts, train)).embedding.astype(jnp.float32)
        if self.similarity == "dot":
            return x
        return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(x), axis=-1, keepdims=True), 1e-12))


class CrossEncoder(nn.Module):
    """See `cross_encoder`."""

    num_classes: int  # the number of scores a document: 1
    encoder: nn.Module
    front: int = 1  # special tokens before every text, of which a pair has one set
    dropout: float = 0.0  # of the classifier's input
    dtype: Any = jnp.float32
    axis_name: str | None = None  # no BatchNorm here: nothing crosses devices
    towers = ("encoder",)  # names of the encoders among the parameters

    def __call__(self, search, train: bool = False) -> Outputs:
        query, documents, mask = taken("cross_encoder", search, self.num_classes)
        pairs = joined(query, documents, self.front)
        scores, x = self.pairs(jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]), pairs), train)
        x = jnp.where(mask[..., None], x.reshape(*mask.shape, -1), jnp.zeros((), x.dtype))
        return Outputs(jnp.where(mask, scores.reshape(mask.shape), 0.0), (x,), mask=mask)

    @nn.compact
    def pairs(self, texts, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Pairs as one text each, {"tokens", "mask", "segments"} [N, T] -> scores [N] and embedding [N, D]."""
        x = as_outputs(self.encoder(texts, train)).embedding
        kept = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(1, dtype=self.dtype, name="classifier")(kept)[..., 0].astype(jnp.float32), x


def joined(query, documents, front: int) -> dict:
    """Each document after its query, without its first `front` tokens: {"tokens", "mask", "segments"} [B, L, T + T'].

    All padding stands at the end, as if both texts had been tokenized together: positions are those of the pair.
    """
    lists = documents["mask"].shape[:2]
    first = {name: jnp.broadcast_to(leaf[:, None], (*lists, leaf.shape[-1])) for name, leaf in query.items()}
    second = {name: leaf[..., front:] for name, leaf in documents.items()}
    both = {name: jnp.concatenate([first[name], second[name]], -1) for name in ("tokens", "mask")}
    segments = jnp.arange(both["mask"].shape[-1]) >= first["mask"].shape[-1]
    both["segments"] = jnp.broadcast_to(segments, both["mask"].shape).astype(jnp.int32)
    order = jnp.argsort(~both["mask"], axis=-1, stable=True)
    moved = {name: jnp.take_along_axis(leaf, order, axis=-1) for name, leaf in both.items()}
    return {**moved, "segments": jnp.where(moved["mask"], moved["segments"], 0)}


def taken(network: str, search, outputs: int) -> tuple:
    """(query, documents, mask [B, L] bool) of a batch of searches.

    Raises:
      ValueError: it is none, or the network is made for another number of outputs.
    """
    known = isinstance(search, dict) and search.keys() == {"query", "documents", "mask"}
    shape = search["mask"].shape if known else ()
    if not known or any(leaf.ndim != 3 or leaf.shape[:2] != shape for leaf in search["documents"].values()):
        told = jax.tree.map(jnp.shape, search)
        raise ValueError(
            f"{network} takes searches, {{'query': texts [B, T], 'documents': texts [B, L, T], 'mask': [B, L]}}; got "
            f"{told}"
        )
    if outputs != 1:
        raise ValueError(f"{network} gives one score a document, of tasks 'ranking' and 'search'; {outputs} are asked")
    return search["query"], search["documents"], search["mask"].astype(bool)


def bi_encoder(
    num_classes: int,
    encoder: str = "bag_of_words",
    shared: bool = True,
    similarity: str = "cosine",
    scale: float = 20.0,
    dtype: Any = jnp.float32,
    **fields,
) -> BiEncoder:
    """Two towers, each an encoder of texts, whose vectors' cosine or product is the score. Reimers and Gurevych 2019.

    arXiv:1908.10084. Documents are encoded without a query, so that a whole catalogue is searched by products. The
    Outputs' embedding is that of queries [B, D], the last of `features` that of the documents [B, L, D].

    Args:
      encoder: a network for texts in kdjax.models.
      shared: whether one encoder is for queries and documents.
      similarity: "cosine" or "dot"; scale: times which it is the score.
      fields: of the encoder.
    """
    towers = [_encoder("bi_encoder", encoder, dtype, fields) for _ in range(1 if shared else 2)]
    return BiEncoder(num_classes, *towers, similarity=similarity, scale=scale, dtype=dtype)


def cross_encoder(
    num_classes: int, encoder: str = "bert", front: int = 1, dropout: float = 0.0, dtype: Any = jnp.float32, **fields
) -> CrossEncoder:
    """An encoder that reads a query and a document as one text, and a linear layer that scores it.

    Nogueira and Cho 2019, arXiv:1901.04085. It sees both at once and costs a pass for every pair: it orders lists, and
    teaches what searches catalogues.

    Args:
      encoder: a network for texts in kdjax.models; one that knows segments is told them, others see the texts alone.
      front: special tokens at the beginning of a text, left out of the second; the tokenizer says it.
      dropout: of the scored vector, and where the encoder has it.
      fields: of the encoder.
    """
    made = _encoder("cross_encoder", encoder, dtype, {"dropout": dropout, **fields})
    return CrossEncoder(num_classes, made, front, dropout, dtype)


def _encoder(network: str, name: str, dtype, fields: dict) -> nn.Module:
    models = importlib.import_module("kdjax.models")
    known = [fn.__name__ for fn in models.FAMILIES["texts"]]
    if name not in known:
        raise ValueError(f"{network}: encoder {name!r} is no network for texts; there are {', '.join(known)}")
    return getattr(models, name)(num_classes=0, dtype=dtype, **fields)
