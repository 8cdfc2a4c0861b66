"""How large the gradients of a method's terms are against that of cross-entropy, measured once, at the first step.

A term whose gradient is thirty times cross-entropy's has the labels ignored; one of a thirtieth is as good as absent.
Both are usual when weights are taken from a paper with other networks or other images.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import kdjax.losses
from kdjax.losses.lift import Lift
from kdjax.models import convolve
from kdjax.training.method import Stage
from kdjax.types import State, as_outputs


def measures(stage: Stage) -> bool:
    """Whether there is something to compare: cross-entropy and other terms."""
    fns = [term.fn for term in stage.objective.terms]
    return kdjax.losses.cross_entropy in fns and len(fns) > 1


def compile_norm(model) -> Callable:
    """norm(params, stats, input [B, ...], cotangent Outputs) -> the norm of the gradient of the parameters.

    Of the network alone, so that all methods of one student share the one large compilation here.
    """

    @jax.jit
    @convolve.fast()
    def norm(params, stats, inputs, cotangent):
        def outputs(params):
            variables, rngs = {"params": params, **stats}, jax.random.key(0)
            return as_outputs(model.apply(variables, inputs, train=True, rngs=rngs, mutable=list(stats))[0])

        _, backward = jax.vjp(outputs, params)
        return jnp.linalg.norm(
            jnp.stack([jnp.linalg.norm(leaf.ravel()) for leaf in jax.tree.leaves(backward(cotangent)[0])])
        )

    return norm


def compile_cotangents(stage: Stage) -> Callable:
    """cotangents(state, batch, teacher Outputs, teacher_params, train_labels) -> {term: gradient of the Outputs}."""
    model, terms = stage.objective.student, stage.objective.terms

    @jax.jit
    def cotangents(state: State, batch, teacher, teacher_params, train_labels):
        key = jax.random.key(0)
        context = dict(step=jnp.zeros((), jnp.int32), key=key, index=batch["index"])
        context |= dict(teacher_params=teacher_params, train_labels=train_labels)
        variables = _of(state, "student")
        context["student_params"] = {"params": variables["params"]}
        mutable = [name for name in variables if name != "params"]
        seen = functools.partial(model.apply, variables, train=True, rngs=key, mutable=mutable)
        student, _ = seen(batch["input"])
        if "second" in batch:
            context["second"] = as_outputs(seen(batch["second"]["input"])[0]), batch["second"]["taught"]

        def value(outputs, term):
            own = _of(state, term.name)
            stats = [name for name in own if name != "params"]
            module = Lift(term.fn, term.hyper)
            return module.apply(own, outputs, teacher, batch["target"], **context, rngs=key, mutable=stats)[0]

        student = as_outputs(student)
        return {term.name: jax.grad(functools.partial(value, term=term))(student) for term in terms}

    return cotangents


def _of(state: State, name: str) -> dict:
    """The variables of the student, or of a term."""
    stats = {collection: tree[name] for collection, tree in state.stats.items() if name in tree}
    return {"params": state.params.get(name, {}), **stats}


def ratios(stage: Stage, steps: int, norm: Callable, cotangents: Callable, state: State, batch, *taught) -> dict:
    """{term: norm of its gradient over that of cross-entropy}, to three digits, each with the largest weight it has.

    A weight that grows or falls would otherwise be told of at its first step, where a warm-up has hardly begun.

    Args:
      steps: of the whole stage.
      norm, cotangents: compiled, see above; state: before the first step; taught: teacher Outputs, teacher_params,
        train_labels.
    """
    student = _of(state, "student")
    stats = {name: tree for name, tree in student.items() if name != "params"}
    moments = jnp.arange(steps, dtype=jnp.int32)[:: max(1, steps // 100)]
    sizes = {}
    found = cotangents(state, batch, *taught)
    for term in stage.objective.terms:
        weight = float(np.abs(jax.device_get(jax.vmap(term.weight)(moments))).max())
        sizes[term.name] = weight * float(norm(student["params"], stats, batch["input"], found[term.name]))
    labels = next(term.name for term in stage.objective.terms if term.fn is kdjax.losses.cross_entropy)
    if not all(map(np.isfinite, sizes.values())) or not sizes[labels]:
        return {}
    return {name: float(f"{size / sizes[labels]:.3g}") for name, size in sizes.items() if name != labels}
