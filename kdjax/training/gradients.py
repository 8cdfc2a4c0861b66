"""How the gradients of a method's terms stand to that of cross-entropy, measured once, at the first step.

A term whose gradient is thirty times cross-entropy's has the labels ignored; one of a thirtieth is as good as absent.
Both are usual when weights are taken from a paper with other networks or other images. A term whose gradient points the
other way undoes what labels teach.
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


def compile_gradient(model) -> Callable:
    """gradient(params, stats, input [B, ...], cotangents) -> the gradient of the parameters.

    Of the network alone, so that all methods of one student share the one large compilation here.
    """

    @jax.jit
    @convolve.fast()
    def gradient(params, stats, inputs, cotangent):
        def outputs(params):
            variables, rngs = {"params": params, **stats}, jax.random.key(0)
            return _numbers(as_outputs(model.apply(variables, inputs, train=True, rngs=rngs, mutable=list(stats))[0]))

        _, backward = jax.vjp(outputs, params)
        return backward(cotangent)[0]

    return gradient


@jax.jit
def _norm(gradient) -> jax.Array:
    return jnp.linalg.norm(jnp.stack([jnp.linalg.norm(leaf.ravel()) for leaf in jax.tree.leaves(gradient)]))


@jax.jit
def _product(one, other) -> jax.Array:
    """The inner product of two gradients, each divided by its norm first: squares of small numbers would vanish."""
    sizes = _norm(one), _norm(other)
    units = [[leaf.ravel() / size for leaf in jax.tree.leaves(g)] for g, size in zip((one, other), sizes, strict=True)]
    return sum(jnp.vdot(a, b) for a, b in zip(*units, strict=True))


def compile_cotangents(stage: Stage) -> Callable:
    """cotangents(state, batch, teacher Outputs, teacher_params, train_labels) -> {term: gradients of Outputs}."""
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

        student = as_outputs(student)

        def value(numbers, term):
            own = _of(state, term.name)
            stats = [name for name in own if name != "params"]
            module = Lift(term.fn, term.hyper)
            outputs = _with_numbers(student, numbers)
            return module.apply(own, outputs, teacher, batch["target"], **context, rngs=key, mutable=stats)[0]

        return {term.name: jax.grad(functools.partial(value, term=term))(_numbers(student)) for term in terms}

    return cotangents


def _is_number(x) -> bool:
    return jnp.issubdtype(x.dtype, jnp.floating)


def _numbers(outputs) -> list[jax.Array]:
    """What has a gradient of Outputs: all but masks."""
    return [x for x in jax.tree.leaves(outputs) if _is_number(x)]


def _with_numbers(outputs, numbers: list[jax.Array]):
    rest = iter(numbers)
    return jax.tree.map(lambda x: next(rest) if _is_number(x) else x, outputs)


def _of(state: State, name: str) -> dict:
    """The variables of the student, or of a term."""
    stats = {collection: tree[name] for collection, tree in state.stats.items() if name in tree}
    return {"params": state.params.get(name, {}), **stats}


def measured(stage: Stage, steps: int, gradient: Callable, cotangents: Callable, state: State, batch, *taught) -> dict:
    """How the gradients of terms stand to that of cross-entropy, to three digits; {} where one is not finite.

    Args:
      steps: of the whole stage.
      gradient, cotangents: compiled, see above; state: before the first step; taught: teacher Outputs,
        teacher_params, train_labels.

    Returns:
      ratios: {term: norm over that of cross-entropy's}, each with the largest weight it has (a weight that grows or
      falls would otherwise be told of at its first step, where a warm-up has hardly begun). cosines: {term: of the
      angle to cross-entropy's}, without terms that have no gradient.
    """
    student = _of(state, "student")
    stats = {name: tree for name, tree in student.items() if name != "params"}
    moments = jnp.arange(steps, dtype=jnp.int32)[:: max(1, steps // 100)]
    found = cotangents(state, batch, *taught)
    of = lambda name: gradient(student["params"], stats, batch["input"], found[name])  # noqa: E731
    labels = next(term.name for term in stage.objective.terms if term.fn is kdjax.losses.cross_entropy)
    of_labels, sizes, cosines = of(labels), {}, {}
    for term in stage.objective.terms:
        weights = jax.device_get(jax.vmap(term.weight)(moments))
        largest = float(weights[np.abs(weights).argmax()])
        own = of_labels if term.name == labels else of(term.name)
        sizes[term.name] = abs(largest) * float(_norm(own))
        if term.name != labels and sizes[term.name]:
            cosines[term.name] = float(f"{np.sign(largest) * float(_product(own, of_labels)):.3g}")
    if not all(map(np.isfinite, sizes.values())) or not sizes[labels]:
        return {}
    ratios = {name: float(f"{size / sizes[labels]:.3g}") for name, size in sizes.items() if name != labels}
    return {"ratios": ratios, "cosines": cosines}
