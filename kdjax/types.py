"""The pytrees that travel between models, losses and steps, each field with its shape.

Sizes: B examples of a batch, K classes, H x W pixels or positions, T tokens, C channels, D embedding width.
"""

from types import SimpleNamespace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

Batch = dict[str, Any]
"""{"input": a pytree of [B, ...], "target": [B] int32 (-1 is unlabelled), or what else the task predicts, "index": [B]
int32 position in the training set}, "teacher" where a teacher sees "input" at another size or normalised otherwise,
and "second", where a loss asks for it: {"input", "teacher"} of a second view and, for the step, "taught", the teacher's
Outputs on it;
what prepares batches makes S of them at once, [S, B, ...] each."""


class Outputs(struct.PyTreeNode):
    """What a model returns, teacher or student. A model that fills only `logits` works with losses on logits."""

    logits: jax.Array  # [B, K] before softmax
    features: tuple[jax.Array, ...] = ()  # end of each stage, shallow to deep, activated: [B, H, W, C] or [B, T, C]
    preacts: tuple[jax.Array, ...] = ()  # the same before the activation
    embedding: jax.Array | None = None  # [B, D] input of the classifier
    peers: tuple["Outputs", ...] = ()  # of networks that train together with this one (kdjax.models.peers)
    attentions: tuple[jax.Array, ...] = ()  # of each layer [B, heads, T, T]: scores before softmax, padding left in
    qkv: tuple[jax.Array, ...] = ()  # queries, keys and values of the last attention, [B, T, heads, C / heads] each
    mask: jax.Array | None = None  # [B, T] bool, true where a token is no padding
    listed: Any = None  # of a teacher, where it is kept: what losses made of its Outputs once (kdjax.losses.lift)


class State(struct.PyTreeNode):
    """Everything that changes during training; checkpointed whole."""

    step: jax.Array  # [] int32, optimizer steps taken
    params: Any  # {"student": ..., "<term>": ...}: what the optimizer updates
    stats: Any  # {"batch_stats": ..., "memory": ...}: what forward passes update
    opt_state: optax.OptState
    key: jax.Array  # [] typed PRNG key, never advanced: steps draw from streams.within(key, ...)


class Memory(nn.Module):
    """A value that a loss keeps between steps, in the collection "memory" of the State.

    Call it inside a loss as one calls a layer and assign to `.value`:

        bank = Memory(name="bank")(jnp.zeros, (len(train_labels), 128))
        bank.value = bank.value.at[index].set(student.embedding)

    What is assigned while parameters are initialized is discarded, so that training starts from `init(*args)`.
    """

    @nn.compact
    def __call__(self, init, *args):
        """Returns a handle whose `.value` is init(*args) at first and what was last assigned later."""
        variable = self.variable("memory", "value", init, *args)
        return SimpleNamespace(value=variable.value) if self.is_initializing() else variable


class Absent(struct.PyTreeNode):
    """Stands in Outputs for an array [B, *shape] that no loss reads (kdjax.training.reads)."""

    first: jax.Array  # [B], or with axes before, as the array would have
    shape: tuple[int, ...] = struct.field(pytree_node=False)  # of one example


def restored(tree):
    """With an array for every `Absent`, of its shape: NaN, for should something read it after all it shall be seen.

    Of bool, which has no NaN, all false.
    """

    def fill(x):
        if not isinstance(x, Absent):
            return x
        empty = jnp.nan if jnp.issubdtype(x.first.dtype, jnp.floating) else 0
        return jnp.full((*x.first.shape, *x.shape), empty, x.first.dtype)

    return jax.tree.map(fill, tree, is_leaf=lambda x: isinstance(x, Absent))


def as_outputs(out) -> Outputs:
    """A model's result as Outputs; a bare array is taken for logits."""
    return out if isinstance(out, Outputs) else Outputs(logits=out)


def leaf_name(path) -> str:
    """The path of a leaf among parameters as `freeze` writes it, "student/conv/kernel"."""
    return "/".join(str(entry.key) for entry in path)


def image_spec(height: int, width: int, channels: int) -> jax.ShapeDtypeStruct:
    """The shapes of one example, where it is an image as networks take it."""
    return jax.ShapeDtypeStruct((height, width, channels), jnp.float32)


def text_spec(length: int, pairs: bool = False) -> dict:
    """The shapes of one example, where it is a text, or a pair of texts, of so many tokens as networks take it."""
    numbers = jax.ShapeDtypeStruct((length,), jnp.int32)
    made = {"tokens": numbers, "mask": jax.ShapeDtypeStruct((length,), jnp.bool_)}
    return made | ({"segments": numbers} if pairs else {})


def batch_of(spec, size: int):
    """The shapes of so many examples, of those of one: a pytree of jax.ShapeDtypeStruct without a batch axis."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((size, *leaf.shape), leaf.dtype), spec)
