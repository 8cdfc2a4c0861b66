"""The pure functions that training is made of: not jitted, no config, no devices."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from kdjax import metrics
from kdjax.objective import Objective, as_outputs
from kdjax.types import Batch, Outputs, State


def make_teach(model: nn.Module) -> Callable:
    """teach(variables, image [B, H, W, C]) -> Outputs of the teacher in evaluation mode."""

    def teach(variables, image) -> Outputs:
        return as_outputs(model.apply(variables, image, train=False))

    return teach


def make_init(objective: Objective, optimizer: optax.GradientTransformation) -> Callable:
    """init(key, batch, teacher Outputs, teacher_params, train_labels) -> State before the first step."""

    def init(key, batch: Batch, teacher, teacher_params, train_labels) -> State:
        variables = objective.init(
            key,
            batch["image"],
            teacher,
            batch["label"],
            step=jnp.zeros((), jnp.int32),
            key=key,
            index=batch["index"],
            teacher_params=teacher_params,
            train_labels=train_labels,
        )
        params = variables.pop("params")
        return State(jnp.zeros((), jnp.int32), params, variables, optimizer.init(params), key)

    return init


def make_train_step(
    objective: Objective, optimizer: optax.GradientTransformation, average=lambda tree: tree
) -> Callable:
    """train_step(state, batch, teacher Outputs, teacher_params, train_labels) -> (state, {"loss", "loss/<term>"}).

    The reported losses are those before the update. `average` is the mean over devices that share a batch.
    """

    def train_step(state: State, batch: Batch, teacher, teacher_params, train_labels):
        key = jax.random.fold_in(state.key, state.step)

        def loss_fn(params):
            (total, values, _), stats = objective.apply(
                {"params": params, **state.stats},
                batch["image"],
                teacher,
                batch["label"],
                step=state.step,
                key=key,
                index=batch["index"],
                teacher_params=teacher_params,
                train_labels=train_labels,
                rngs={"dropout": key},
                mutable=list(state.stats),
            )
            return total, (values, stats)

        (total, (values, stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(average(grads), state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        losses = {"loss": total, **{f"loss/{name}": value for name, value in values.items()}}
        return state.replace(step=state.step + 1, params=params, stats=stats, opt_state=opt_state), losses

    return train_step


def make_eval_step(model: nn.Module) -> Callable:
    """eval_step(variables, image, label, mask) -> (logits [B, K] float32, {"top1", "nll"}: (sum, count))."""

    def eval_step(variables, image, label, mask):
        logits = as_outputs(model.apply(variables, image, train=False)).logits.astype(jnp.float32)
        return logits, metrics.counts(logits, label, mask)

    return eval_step


def student_variables(state: State) -> dict:
    """The variables of the model that ships, of a State: {"params": ..., "batch_stats": ...}."""
    stats = {name: tree["student"] for name, tree in state.stats.items() if "student" in tree}
    return {"params": state.params["student"], **stats}
