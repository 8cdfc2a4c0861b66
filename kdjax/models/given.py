"""A network that is elsewhere: it has the shapes of what it says, by which losses are traced, and no parameters."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.types import Outputs

VARIABLES = {"params": {}}
"""Its variables."""


class Given(nn.Module):
    """Stands for a teacher that JAX does not run, whose answers are looked up (`training.kept`); its own are NaN."""

    shapes: tuple  # ((field of Outputs, the shape of an example's, or a tuple of such), ...)
    moves: bool = True  # whether it can be asked about augmented examples, too; a file knows them as they are

    def __call__(self, inputs, train: bool = False) -> Outputs:
        size = len(jax.tree.leaves(inputs)[0])

        def nothing(shape):
            if shape and isinstance(shape[0], tuple):
                return tuple(map(nothing, shape))
            return jnp.full((size, *shape), jnp.nan, jnp.float32)

        return Outputs(**{name: nothing(shape) for name, shape in self.shapes})


def given(outputs: Outputs, moves: bool = True) -> Given:
    """The stand-in for whatever has said these Outputs [B, ...]."""
    shapes = []
    for name in FIELDS:
        value = getattr(outputs, name)
        if isinstance(value, tuple):
            shapes += [(name, tuple(tuple(leaf.shape[1:]) for leaf in value))] if value else []
        elif value is not None:
            shapes.append((name, tuple(value.shape[1:])))
    return Given(tuple(shapes), moves)


FIELDS = ("logits", "features", "preacts", "embedding", "attentions", "qkv")
"""Of Outputs, those that a teacher of elsewhere may have."""
