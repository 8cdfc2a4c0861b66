"""The pure functions that training is made of: not jitted, no config, no devices."""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.custom_derivatives import SymbolicZero

from kdjax.losses.layers import layer_map
from kdjax.streams import within
from kdjax.training.objective import Objective, is_frozen
from kdjax.types import Batch, Outputs, State, as_outputs, leaf_name


def make_teach(model: nn.Module) -> Callable:
    """teach(variables, input [B, ...]) -> Outputs of the teacher in evaluation mode."""

    def teach(variables, inputs) -> Outputs:
        return as_outputs(model.apply(variables, inputs, train=False))

    return teach


def make_init(
    objective: Objective, optimizer: optax.GradientTransformation, from_teacher: Mapping = MappingProxyType({})
) -> Callable:
    """init(key, batch, teacher Outputs, teacher_params, train_labels) -> State before the first step.

    `from_teacher` maps paths in the student's parameters to paths in the teacher's, {"classifier": "classifier"}:
    these begin as the teacher's; {"encoder_layer_*": "uniform"} does so for numbered layers (`every_layer`). All that
    is drawn, now and in later steps, comes from `key` (`kdjax.streams.within`).
    """

    def init(key, batch: Batch, teacher, teacher_params, train_labels) -> State:
        variables = objective.init(
            within(key, "init"),
            batch["input"],
            teacher,
            batch["target"],
            step=jnp.zeros((), jnp.int32),
            key=within(key, "memory"),
            index=batch["index"],
            teacher_params=teacher_params,
            train_labels=train_labels,
            second=batch.get("second"),
        )
        params = variables.pop("params")
        own = params["student"]
        taken = every_layer(from_teacher, own, teacher_params["params"]) if from_teacher else {}
        for path, source in taken.items():
            student = adopt(params["student"], path.split("/"), teacher_params["params"], source)
            params = {**params, "student": student}
        return State(jnp.zeros((), jnp.int32), params, variables, optimizer.init(params), key)

    return init


def every_layer(from_teacher: Mapping, student: dict, teacher: dict) -> dict:
    """The same with a path for each layer in place of "<layers>_*", whose value is a name of `kdjax.losses.layers`.

    {"encoder_layer_*": "uniform"} is {"encoder_layer_0": "encoder_layer_2", "encoder_layer_1": "encoder_layer_5"} for a
    student of two layers and a teacher of six.
    """
    paths = {}
    for path, source in from_teacher.items():
        if not path.endswith("*"):
            paths[path] = source
            continue
        prefix = path.removesuffix("*")
        counts = [sum(bool(re.fullmatch(re.escape(prefix) + r"\d+", n)) for n in tree) for tree in (student, teacher)]
        pairs = layer_map(f"from_teacher {path!r}", source, *counts)
        paths |= {f"{prefix}{ours - 1}": f"{prefix}{theirs - 1}" for ours, theirs in pairs}
    return paths


def adopt(params: dict, path: list[str], teacher: dict, source: str) -> dict:
    """`params` with the subtree at `path` taken from `source`, "layer/kernel", in the teacher's parameters.

    Raises:
      ValueError: there is nothing at one of the paths, or the shapes differ.
    """
    key, *rest = path
    if key not in params:
        raise ValueError(f"from_teacher: the student has no parameters {key!r}, only {', '.join(sorted(params))}")
    if rest:
        return {**params, key: adopt(params[key], rest, teacher, source)}
    taken = teacher
    for name in source.split("/"):
        if name not in taken:
            raise ValueError(f"from_teacher: the teacher has no parameters {source!r}, only {', '.join(sorted(taken))}")
        taken = taken[name]
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (params[key], taken)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"from_teacher: {key!r} of the student is {shapes[0]}, {source!r} of the teacher {shapes[1]}")
    return {**params, key: taken}


def make_train_step(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    average: Callable = lambda tree: tree,
    part: Callable | None = None,
) -> Callable:
    """train_step(state, batch, teacher Outputs, teacher_params, train_labels) -> (state, {"loss", "loss/<term>"}).

    The reported losses are those before the update. Where devices share a batch, `average` is the mean over them and
    `part()` the number of a device's part. A model may draw from any collection: "dropout" has its own key, Flax takes
    that of "params" for all others. The optimizer is told which parameters a gradient reaches (`only_reached`).
    """
    optimizer = optax.with_extra_args_support(optimizer)

    def train_step(state: State, batch: Batch, teacher, teacher_params, train_labels):
        number = part() if part else 0  # each part its own, or all drop the same units
        rngs = {
            "dropout": within(state.key, "dropout", state.step, number),
            "params": within(state.key, "rngs", state.step, number),
        }
        reached = set()

        def loss_fn(params):
            params = watched(params, reached)
            if objective.frozen_norms:
                params = norms_stopped(params, state.stats.get("batch_stats", {}))
            (total, values, _), stats = objective.apply(
                {"params": params, **state.stats},
                batch["input"],
                teacher,
                batch["target"],
                step=state.step,
                key=within(state.key, "terms", state.step),
                index=batch["index"],
                teacher_params=teacher_params,
                train_labels=train_labels,
                second=batch.get("second"),
                rngs=rngs,
                mutable=list(state.stats),
            )
            return total, (values, stats)

        (total, (values, stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(average(grads), state.opt_state, state.params, reached=frozenset(reached))
        stats = held(state.stats, stats, objective.frozen)
        params = optax.apply_updates(state.params, updates)
        losses = {"loss": total, **{f"loss/{name}": value for name, value in values.items()}}
        return state.replace(step=state.step + 1, params=params, stats=stats, opt_state=opt_state), losses

    return train_step


def watched(params, reached: set[str]):
    """The same parameters; the paths of those that a gradient reaches enter `reached` while the gradient is traced.

    What a loss does not depend on, or only through `stop_gradient`, has no gradient, which is not the same as one
    that is zero: torch's optimizers leave such a parameter as it is, and do not decay it either.
    """

    def watch(path, leaf):
        @jax.custom_vjp
        def same(x):
            return x

        def backward(_, cotangent):
            if isinstance(cotangent, SymbolicZero):
                return (None,)
            reached.add(leaf_name(path))
            return (cotangent,)

        same.defvjp(lambda x: (x.value, None), backward, symbolic_zeros=True)
        return same(leaf)

    return jax.tree_util.tree_map_with_path(watch, params)


def norms_stopped(params: dict, statistics: dict) -> dict:
    """The same; no gradient reaches the student's parameters that stand beside batch statistics: scale and shift."""
    norms = {leaf_name(path).rpartition("/")[0] for path, _ in jax.tree_util.tree_leaves_with_path(statistics)}

    def stop(path, leaf):
        name = leaf_name(path)
        own = name.startswith("student/") and name.rpartition("/")[0] in norms
        return jax.lax.stop_gradient(leaf) if own else leaf

    return jax.tree_util.tree_map_with_path(stop, params)


def held(before: dict, after: dict, frozen: tuple[str, ...]) -> dict:
    """The statistics `after` a step, those of frozen paths as they were before; a loss's memory is none."""

    def pick(path, old, new):
        collection, *names = (entry.key for entry in path)
        return old if collection != "memory" and is_frozen(names, frozen) else new

    return jax.tree_util.tree_map_with_path(pick, before, after) if frozen else after


def make_eval_step(model: nn.Module, scores: Callable, reads: str = "logits", keep: Callable | None = None) -> Callable:
    """eval_step(variables, input, target, mask) -> (logits [B, K] float32, scores, their sums).

    Args:
      scores, reads, keep: of a `kdjax.tasks.task.Task`; what it reads of the Outputs stands for their logits, and what
        it keeps is returned in place of them.

    The scores of examples are {name: [B]}, NaN where one does not count; their sums {name: (sum, count)} leave these,
    and padding (False in `mask` [B]), out.
    """

    def eval_step(variables, inputs, target, mask):
        logits = getattr(as_outputs(model.apply(variables, inputs, train=False)), reads).astype(jnp.float32)
        found = scores(logits, target)
        kept = logits if keep is None else keep(logits, target)
        return kept, found, {name: _sum(values, mask) for name, values in found.items()}

    return eval_step


def _sum(values, mask):
    counts = mask & ~jnp.isnan(values)
    return jnp.where(counts, values, 0.0).sum(), counts.sum(dtype=jnp.float32)


def student_variables(state: State) -> dict:
    """The variables of the model that ships, of a State: {"params": ..., "batch_stats": ...}."""
    stats = {name: tree["student"] for name, tree in state.stats.items() if "student" in tree}
    return {"params": state.params["student"], **stats}
