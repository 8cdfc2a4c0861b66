"""LightGCN: vectors of users and items, averaged over who took what."""

import hashlib
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from kdjax.models.interactions import user_of
from kdjax.types import Outputs


class Graph:
    """Who took what in training, an edge each; two with the same edges are equal, as fields of a module must be."""

    def __init__(self, users: np.ndarray, items: np.ndarray):
        """`users`, `items`: [E] numbers of both ends of each edge, none twice."""
        self.users, self.items = (np.ascontiguousarray(ends, np.int32) for ends in (users, items))
        self.digest = hashlib.sha256(self.users.tobytes() + self.items.tobytes()).hexdigest()

    @property
    def weights(self) -> np.ndarray:
        """[E] float32, 1 / sqrt(edges of the user times edges of the item)."""
        degrees = [np.bincount(ends)[ends].astype(np.float64) for ends in (self.users, self.items)]
        return (1 / np.sqrt(degrees[0] * degrees[1])).astype(np.float32)

    def __eq__(self, other) -> bool:
        return isinstance(other, Graph) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Graph({len(self.users)} edges, {self.digest[:12]})"


class LightGCN(nn.Module):
    """See `lightgcn`."""

    num_classes: int
    users: int = 1
    graph: Graph | None = None
    width: int = 64
    layers: int = 3
    dtype: Any = jnp.float32
    axis_name: str | None = None  # no BatchNorm here: nothing crosses devices

    @nn.compact
    def __call__(self, inputs, train: bool = False) -> Outputs:
        number = user_of(inputs, "lightgcn")
        if self.graph is None:
            raise ValueError("lightgcn needs its field graph, who took what in training; data of interactions gives it")
        init = nn.initializers.normal(0.1)
        own = {"user": self.users, "item": self.num_classes}
        tables = [self.param(f"{name}_vectors", init, (n, self.width), jnp.float32) for name, n in own.items()]
        user, item = self.averaged(*(table.astype(self.dtype) for table in tables))
        user = user[number]
        return Outputs((user @ item.T).astype(jnp.float32), embedding=user.astype(jnp.float32))

    @nn.nowrap
    def averaged(self, user, item) -> tuple:
        """The vectors that scores are products of, ([U, D], [I, D]), of those that are trained, likewise."""
        summed = [user, item]
        for _ in range(self.layers):
            user, item = _neighbours(self.graph, user, item)
            summed = [summed[0] + user, summed[1] + item]
        user, item = (x / (self.layers + 1) for x in summed)
        return user, item


def _neighbours(graph: Graph, user, item):
    """Each user's sum of its items' vectors [I, D], weighted, and each item's of its users' [U, D]: both as they were.

    By sums over edges, of which no matrix is made.
    """
    weight = jnp.asarray(graph.weights, user.dtype)[:, None]
    ends = ((graph.items, graph.users, item, user), (graph.users, graph.items, user, item))
    return [jax.ops.segment_sum(weight * x[start], end, len(other)) for start, end, x, other in ends]


def lightgcn(num_classes: int, **fields) -> LightGCN:
    """Vectors of users and items, each the mean over layers of weighted sums of its neighbours'. He et al. 2020.

    arXiv:2002.02126, eqs. 3 to 6: no weights but the first layer's vectors, no activation; a layer's sums are over the
    training interactions, each with weight 1 / sqrt(those of its user times those of its item). The whole graph is
    summed in every pass, also where it teaches or is evaluated, a batch at a time: `layers` 3 as in the paper. The
    vectors that scores are products of are no parameters, so that losses on these, `sampled_softmax`, do not take it.
    """
    return LightGCN(num_classes, **fields)
