"""Student + weighted losses = one Linen module: one params tree, one optimizer, one checkpoint."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.types import Outputs

CONTEXT = ("step", "key", "index", "teacher_params", "train_labels")
"""What a loss may ask of the step, as keyword-only arguments without a default:

step [] int32; key, a PRNG key of this step and term; index [B] positions in the training set; teacher_params, the
teacher's variables {"params": ..., "batch_stats": ...}; train_labels [N], every label of the training set.
"""


class Term(NamedTuple):
    """One weighted loss of a method."""

    name: str  # the key of its parameters in State.params, and of its value in the metrics
    fn: Callable  # fn(student, teacher, labels, *, hyperparameters) -> scalar
    weight: Callable  # step [] -> [] float32
    hyper: Mapping[str, Any] = {}


def hyperparameters(fn) -> dict[str, Any]:
    """Name -> default of every hyperparameter of a loss: its keyword-only arguments that have a default."""
    return {p.name: p.default for p in _keyword_only(fn) if p.default is not p.empty}


def context_names(fn) -> tuple[str, ...]:
    """What the loss asks of the step: its keyword-only arguments without a default."""
    return tuple(p.name for p in _keyword_only(fn) if p.default is p.empty)


def _keyword_only(fn):
    return [p for p in inspect.signature(fn).parameters.values() if p.kind is p.KEYWORD_ONLY]


class Lift(nn.Module):
    """Turns a loss function into an (init, apply) pair: layers that it calls become this module's parameters.

    Inputs are cast to float32, so a loss is computed in float32 whatever the models compute in, and no gradient
    reaches the teacher: its Outputs and teacher_params are constants here.
    """

    fn: Callable
    hyper: Mapping[str, Any]

    @nn.compact
    def __call__(self, student: Outputs, teacher: Outputs, labels, **context) -> jax.Array:
        asked = {name: context[name] for name in context_names(self.fn)}
        if "teacher_params" in asked:
            asked["teacher_params"] = jax.lax.stop_gradient(asked["teacher_params"])
        student, teacher = jax.tree.map(_float32, (student, jax.lax.stop_gradient(teacher)))
        return self.fn(student, teacher, labels, **self.hyper, **asked)


def lift(fn, **hyper) -> Lift:
    """A loss with layers or memory as a Linen module: `module.init(key, student, teacher, labels)`, `module.apply`."""
    return Lift(fn, hyper)


def _float32(x):
    return x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x


class Objective(nn.Module):
    """Calls the student, then every term on its Outputs and the teacher's, and adds them up, weighted."""

    student: nn.Module
    terms: tuple[Term, ...]
    gather: Callable = lambda tree: tree  # shard of a batch -> the whole batch; parallel.py sets it

    @nn.compact
    def __call__(self, image, teacher, labels, *, step, key, index, teacher_params=None, train_labels=None):
        """Returns (total [], {"<term>": [] unweighted, ...}, the student's Outputs on the examples given here)."""
        outputs = as_outputs(self.student(image, train=True))
        student, teacher, labels, index = self.gather((outputs, teacher, labels, index))
        context = dict(step=step, index=index, teacher_params=teacher_params, train_labels=train_labels)
        values = {}
        for number, term in enumerate(self.terms):
            loss = Lift(term.fn, term.hyper, name=term.name)
            values[term.name] = loss(student, teacher, labels, key=jax.random.fold_in(key, number), **context)
        total = sum(term.weight(step) * values[term.name] for term in self.terms)
        return total, values, outputs


def as_outputs(out) -> Outputs:
    """A model's result as Outputs; a bare array is taken for logits."""
    return out if isinstance(out, Outputs) else Outputs(logits=out)
