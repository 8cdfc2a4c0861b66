"""A multilayer perceptron, for inputs that are numbers."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.types import Outputs


class Mlp(nn.Module):
    """Dense layers with ReLU on numbers [B, D]; what comes out of the last one is the embedding."""

    num_classes: int  # the number of logits: 1 for a regression
    widths: tuple[int, ...] = (64, 64)  # of the hidden layers
    dtype: Any = jnp.float32
    axis_name: str | None = None  # no BatchNorm here: nothing crosses devices

    @nn.compact
    def __call__(self, numbers, train: bool = False) -> Outputs:
        if getattr(numbers, "ndim", 0) != 2:
            told = jax.tree.map(jnp.shape, numbers)
            raise ValueError(f"mlp takes numbers [B, D], got {told}; images need a network for images")
        x = numbers.astype(self.dtype)
        for place, width in enumerate(self.widths):
            x = nn.relu(nn.Dense(width, dtype=self.dtype, name=f"hidden{place}")(x))
        return Outputs(nn.Dense(self.num_classes, dtype=self.dtype, name="classifier")(x), embedding=x)


def mlp(num_classes: int, **fields) -> Mlp:
    """Two hidden layers of 64 units, unless `widths` says otherwise."""
    return Mlp(num_classes, **fields)
