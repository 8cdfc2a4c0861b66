"""What a loss is: a plain function, what it may ask of the step, and how it becomes a Linen module."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.types import Outputs, restored

CONTEXT = ("step", "key", "index", "second", "student_params", "teacher_params", "train_labels")
"""What a loss may ask of the step, as keyword-only arguments without a default:

step [] int32; key, a PRNG key of this step and term; index [B] positions in the training set; second, the
Outputs (student's, teacher's) of another augmented view of the batch (config.data.second_augment); student_params, the
student's parameters {"params": ...}, which the loss may train; teacher_params, the teacher's variables {"params": ...,
"batch_stats": ...}; train_labels [N], every label of the training set.
"""


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
    reaches the teacher: its Outputs and teacher_params are constants here. What its pass has left out of its Outputs
    comes back as an array of the same shape, which the loss does not read.
    """

    fn: Callable
    hyper: Mapping[str, Any]

    @nn.compact
    def __call__(self, student: Outputs, teacher: Outputs, labels, **context) -> jax.Array:
        asked = {name: context[name] for name in context_names(self.fn)}
        if "teacher_params" in asked:
            asked["teacher_params"] = jax.lax.stop_gradient(asked["teacher_params"])
        if "second" in asked:
            own, taught = asked["second"]
            asked["second"] = jax.tree.map(_float32, (own, jax.lax.stop_gradient(restored(taught))))
        student, teacher = jax.tree.map(_float32, (student, jax.lax.stop_gradient(restored(teacher))))
        if teacher is not None and teacher.listed is not None:
            teacher = teacher.replace(listed=teacher.listed.get(listing(self.fn, self.hyper)))
        return self.fn(student, teacher, labels, **self.hyper, **asked)


def listing(fn, hyper: Mapping) -> str:
    """What `Outputs.listed` has a loss's lists under: its name and hyperparameters."""
    return f"{fn.__module__}.{fn.__name__}({', '.join(f'{key}={hyper[key]!r}' for key in sorted(hyper))})"


def lists_of(fn, hyper: Mapping, teacher: Outputs, labels, train_labels):
    """What a loss makes of a teacher's Outputs and the labels alone, by its attribute `lists`; a pytree of [B, ...].

    Where config.execution.teach_once keeps what a teacher says, it keeps these in place of the arrays that they are
    made of, and hands them to the loss as `teacher.listed`; else that is None, and the loss makes them in every step.
    """
    teacher = jax.tree.map(_float32, jax.lax.stop_gradient(teacher))
    return fn.lists(teacher, labels, train_labels, **{**hyperparameters(fn), **hyper})


def lift(fn, **hyper) -> Lift:
    """A loss with layers or memory as a Linen module: `module.init(key, student, teacher, labels)`, `module.apply`."""
    return Lift(fn, hyper)


def _float32(x):
    return x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x
