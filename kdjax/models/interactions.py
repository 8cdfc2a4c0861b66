"""Networks that score every item of a catalogue for a user: `{"user": [B], "history": [B, T]}` -> logits [B, I].

`matrix_factorisation` and `sasrec` score by a product of a vector of the user, their `embedding`, and one of the item,
which is row i of params["items"]["embedding"]: losses on vectors of items find it there.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.types import Outputs


def user_of(inputs, network: str):
    """[B] numbers of users in the input of a batch.

    Raises:
      ValueError: it is no dictionary of "user" [B] and "history" [B, T].
    """
    known = isinstance(inputs, dict) and inputs.keys() == {"user", "history"}
    if not known or inputs["user"].ndim != 1 or inputs["history"].ndim != 2:
        raise ValueError(
            f"{network} takes interactions, {{'user': [B], 'history': [B, T]}}, got {jax.tree.map(jnp.shape, inputs)}"
        )
    return inputs["user"]


class Items(nn.Module):
    """A vector and a bias for each item, and the scores that a user's vector gives them."""

    items: int
    width: int
    dtype: Any

    def setup(self):
        init = nn.initializers.normal(0.1)
        self.embedding = self.param("embedding", init, (self.items, self.width), jnp.float32)
        self.bias = self.param("bias", nn.initializers.zeros, (self.items,), jnp.float32)

    def scores(self, user):
        """[B, width] -> [B, I] float32."""
        table = self.embedding.astype(self.dtype)
        return (user.astype(self.dtype) @ table.T).astype(jnp.float32) + self.bias[None]

    def vectors(self, items):
        """[B, T] numbers, -1 for none -> [B, T, width], zeros where there is none."""
        found = jnp.take(self.embedding, jnp.maximum(items, 0), axis=0)
        return jnp.where((items >= 0)[..., None], found, 0.0).astype(self.dtype)


class MatrixFactorisation(nn.Module):
    """See `matrix_factorisation`."""

    num_classes: int
    users: int = 1
    width: int = 32
    dtype: Any = jnp.float32
    axis_name: str | None = None  # no BatchNorm here: nothing crosses devices

    @nn.compact
    def __call__(self, inputs, train: bool = False) -> Outputs:
        number = user_of(inputs, "matrix_factorisation")
        user = nn.Embed(self.users, self.width, embedding_init=nn.initializers.normal(0.1), name="users")(number)
        items = Items(self.num_classes, self.width, self.dtype, name="items")
        return Outputs(items.scores(user), embedding=user)


class NeuMF(nn.Module):
    """See `neumf`."""

    num_classes: int
    users: int = 1
    width: int = 8
    hidden: tuple[int, ...] = (16, 8)
    dtype: Any = jnp.float32
    axis_name: str | None = None  # no BatchNorm here: nothing crosses devices

    @nn.compact
    def __call__(self, inputs, train: bool = False) -> Outputs:
        number = user_of(inputs, "neumf")
        init = nn.initializers.normal(0.1)
        users = self.param("user_vectors", init, (self.users, 2 * self.width), jnp.float32)
        user = jnp.asarray(users)[number]  # weights that were read are of NumPy, which takes no traced numbers
        item = self.param("item_vectors", init, (self.num_classes, 2 * self.width), jnp.float32)
        bias = self.param("item_bias", nn.initializers.zeros, (self.num_classes,), jnp.float32)
        weight = self.param("product", nn.initializers.ones, (self.width,), jnp.float32)
        product = (user[:, : self.width] * weight[None]) @ item[:, : self.width].T
        first, *others = self.hidden
        dense = lambda size, name, **options: nn.Dense(size, dtype=self.dtype, name=name, **options)  # noqa: E731
        ours = dense(first, "hidden_user")(user[:, self.width :])
        theirs = dense(first, "hidden_item", use_bias=False)(item[:, self.width :])
        x = nn.relu(ours[:, None] + theirs[None])  # [B, I, hidden]: the layer of both, side by side
        for place, size in enumerate(others, 1):
            x = nn.relu(dense(size, f"hidden_{place}")(x))
        scores = product + dense(1, "last", use_bias=False)(x)[..., 0].astype(jnp.float32) + bias[None]
        return Outputs(scores, embedding=user)


class Popularity(nn.Module):
    """See `popularity`."""

    num_classes: int
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, inputs, train: bool = False) -> Outputs:
        number = user_of(inputs, "popularity")
        bias = self.param("bias", nn.initializers.zeros, (self.num_classes,), jnp.float32)
        return Outputs(jnp.broadcast_to(bias[None], (len(number), self.num_classes)))


class SASRec(nn.Module):
    """See `sasrec`."""

    num_classes: int
    width: int = 64
    layers: int = 2
    heads: int = 1
    dropout: float = 0.2
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, inputs, train: bool = False) -> Outputs:
        user_of(inputs, "sasrec")
        history, length = inputs["history"], inputs["history"].shape[1]
        kept = lambda x: nn.Dropout(self.dropout, deterministic=not train)(x)  # noqa: E731
        norm = lambda name: nn.LayerNorm(epsilon=1e-8, dtype=self.dtype, name=name)  # noqa: E731
        items = Items(self.num_classes, self.width, self.dtype, name="items")
        there = history >= 0
        place = self.param("positions", nn.initializers.normal(0.1), (length, self.width), jnp.float32)
        x = items.vectors(history) * jnp.asarray(self.width**0.5, self.dtype) + place.astype(self.dtype)[None]
        x = kept(jnp.where(there[..., None], x, jnp.zeros((), x.dtype)))
        causal, itself = jnp.tril(jnp.ones((length, length), bool)), jnp.eye(length, dtype=bool)
        mask = (causal[None] & there[:, None, :]) | itself[None]  # itself at least: a softmax of nothing is NaN
        features = [x]
        for number in range(self.layers):
            query = norm(f"norm_{number}_attention")(x)
            options = dict(dtype=self.dtype, dropout_rate=self.dropout, deterministic=not train)
            attention = nn.MultiHeadDotProductAttention(self.heads, **options, name=f"attention_{number}")
            x = query + kept(attention(query, x, x, mask=mask[:, None]))
            y = norm(f"norm_{number}")(x)
            hidden = kept(nn.relu(nn.Dense(self.width, dtype=self.dtype, name=f"dense_{number}_0")(y)))
            x = y + kept(nn.Dense(self.width, dtype=self.dtype, name=f"dense_{number}_1")(hidden))
            features.append(x)
        features[-1] = norm("norm")(x)
        user = features[-1][:, -1]
        return Outputs(items.scores(user), tuple(features), embedding=user.astype(jnp.float32), mask=there)


def matrix_factorisation(num_classes: int, **fields) -> MatrixFactorisation:
    """A vector for each user and each item, whose product and the item's bias are the score. Koren et al. 2009.

    It knows the users that it was trained with, and not their order of items.
    """
    return MatrixFactorisation(num_classes, **fields)


def neumf(num_classes: int, **fields) -> NeuMF:
    """Neural matrix factorisation: a weighted product, and layers over a second pair of vectors. He et al. 2017.

    arXiv:1708.05031. `width` numbers of a vector each, `hidden` those of the layers. All items go through the layers
    for each user, [B, I, hidden] numbers: for catalogues of thousands of items, not of tens of thousands. Its score is
    no product of two vectors, so that losses on these, `sampled_softmax` and `de`, do not take it.
    """
    return NeuMF(num_classes, **fields)


def popularity(num_classes: int, **fields) -> Popularity:
    """A score for each item, the same for all users: what has to be beaten. By `item_softmax` it learns how often."""
    return Popularity(num_classes, **fields)


def sasrec(num_classes: int, **fields) -> SASRec:
    """A causal transformer over the user's last items. Kang and McAuley 2018, arXiv:1808.09781.

    The item vectors are those of its input, and each has a bias besides; the last features are what each position is
    scored by. It is trained with config.data.augment.next_item, by `sequence_softmax` at every position of a history as
    in the paper, by losses on logits at the last one.
    """
    return SASRec(num_classes, **fields)
