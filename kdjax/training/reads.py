"""Which arrays of the teacher's Outputs the losses read, found on shapes, so that its pass returns no others.

64 images of a ResNet-34 at 224 px are 604 MB of maps and 256 KB of logits, and `kd` reads the logits.
"""

import functools
from collections.abc import Iterable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from kdjax.losses.lift import Lift, listing, lists_of
from kdjax.training.objective import Term
from kdjax.types import Absent, Outputs, as_outputs

JIT = ("jit", "pjit")
"""How JAX calls a jitted function among the equations of another."""


def outputs_of(model: nn.Module, inputs, train: bool = False) -> Outputs:
    """The shapes of what a model returns for inputs of these shapes, a pytree of [B, ...]."""
    return _made(model, inputs, train)[0]


def params_of(model: nn.Module, inputs) -> dict:
    """The shapes of its parameters, {"params": ...}."""
    return {"params": _made(model, inputs, True)[1].get("params", {})}


def _made(model: nn.Module, inputs, train: bool) -> tuple[Outputs, dict]:
    leaves, tree = jax.tree.flatten(inputs)
    return _traced(model, tuple(leaves), tree, train)


@functools.lru_cache
def _traced(model: nn.Module, leaves: tuple, tree, train: bool) -> tuple[Outputs, dict]:
    inputs = jax.tree.unflatten(tree, leaves)
    made = jax.eval_shape(functools.partial(model.init_with_output, train=train), jax.random.key(0), inputs)
    return as_outputs(made[0]), made[1]


def read(
    terms: Iterable[Term],
    student: Outputs,
    teacher: Outputs,
    labels,
    teacher_params,
    train_labels,
    student_params=None,
    lists: bool = False,
) -> frozenset:
    """The paths of what the terms read of the teacher's Outputs, ".logits" or ".features[1]".

    What a loss reads is what its value, its parameters as they begin or its memory depends on, by any way; of an array
    of which it looks at the shape alone it reads nothing.

    Args:
      student, teacher, labels, teacher_params, train_labels, student_params: shapes, of a whole batch.
      lists: what losses make of the teacher's Outputs once is made, so that they do not read what it is made of.
    """
    whole = teacher
    found = set()
    for term in terms:
        teacher = whole.replace(listed=listed([term], whole, labels, train_labels) or None) if lists else whole
        given = teacher, student, labels, teacher_params, train_labels, student_params
        paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(teacher)]
        jaxpr = jax.make_jaxpr(functools.partial(_everything, term))(*given).jaxpr
        found |= {path for path, used in zip(paths, _used(jaxpr, [True] * len(jaxpr.outvars)), strict=False) if used}
    return frozenset(path for path in found if not path.startswith(".listed"))


def listed(terms: Iterable[Term], teacher: Outputs, labels, train_labels) -> dict:
    """The shapes of `lists` of the terms that have some, by the names that `Outputs.listed` has them under."""
    return jax.eval_shape(functools.partial(make_lists, tuple(terms)), teacher, labels, train_labels)


def make_lists(terms: Iterable[Term], teacher: Outputs, labels, train_labels) -> dict:
    """{name: what a loss makes of the teacher's Outputs and the labels alone} (kdjax.losses.lift.lists_of)."""
    having = {listing(term.fn, term.hyper): term for term in terms if hasattr(term.fn, "lists")}
    return {name: lists_of(t.fn, t.hyper, teacher, labels, train_labels) for name, t in having.items()}


def _everything(term: Term, teacher, student, labels, teacher_params, train_labels, student_params):
    """All that a term ever makes: its variables, its value, and its variables after a step."""
    key, index = jax.random.key(0), jnp.arange(len(labels), dtype=jnp.int32)
    context = dict(step=jnp.zeros((), jnp.int32), key=key, index=index)
    context |= dict(teacher_params=teacher_params, train_labels=train_labels, student_params=student_params)
    context["second"] = student, teacher  # what is read of the teacher's in either view is kept of both
    module, given = Lift(term.fn, term.hyper), (student, teacher, labels)
    variables = module.init(key, *given, **context)
    mutable = [name for name in variables if name != "params"]
    return variables, module.apply(variables, *given, **context, rngs=key, mutable=mutable)


def _used(jaxpr, live: list[bool]) -> list[bool]:
    """Which inputs of a jaxpr the outputs that are `live` depend on.

    Equations are gone through backwards, jitted functions too; of any other whose result counts, a loop or a custom
    gradient, every input does.
    """
    needed = {var for var, counts in zip(jaxpr.outvars, live, strict=True) if counts and not isinstance(var, Literal)}
    for equation in reversed(jaxpr.eqns):
        counts = [var in needed for var in equation.outvars]
        if not any(counts) and not equation.effects:
            continue
        used = [True] * len(equation.invars)
        if equation.primitive.name in JIT:
            used = _used(equation.params["jaxpr"].jaxpr, counts)
        needed |= {
            v for v, is_used in zip(equation.invars, used, strict=True) if is_used and not isinstance(v, Literal)
        }
    return [var in needed for var in jaxpr.invars]


def keep(outputs: Outputs, paths: frozenset) -> Outputs:
    """The same with an `Absent` for every array that is at none of the paths.

    Such a one keeps a number an example, behind a barrier: XLA has to compute the array as if it were returned. It
    would else compute the mean of a map together with the map, and add it up in another order: the teacher's logits,
    and with them a run's parameters, would depend on which methods are trained beside it. If nothing is kept there is
    nothing to compute.
    """

    def drop(path, x):
        if jax.tree_util.keystr(path) in paths:
            return x
        first = jax.lax.optimization_barrier(x).reshape(len(x), -1)[:, 0] if paths else jnp.zeros(len(x), x.dtype)
        return Absent(first, x.shape[1:])

    return jax.tree_util.tree_map_with_path(drop, outputs)
