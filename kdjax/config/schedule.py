"""A loss's weight over the steps of a stage: any schedule of optax, its times in epochs or in steps."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax

from kdjax.find import nearest


def make_schedule(spec: Mapping, steps_per_epoch: int, where: str) -> optax.Schedule:
    """Step [] float32 -> value, from {"schedule": a name in optax.schedules, its arguments}.

    An argument `x_steps` may be given as `x_epochs`, `boundaries_and_scales` as `boundaries_and_scales_epochs`, whose
    keys are epochs. Keys are integers, as numbers or as text, which JSON and ConfigDict make of them.

    Raises:
      ValueError: no such schedule, or arguments with which it cannot be made or does not give a number.
    """
    arguments = dict(spec)
    name = arguments.pop("schedule", None)
    valid = [key for key in vars(optax.schedules) if key.endswith("_schedule") and key[0] != "_"]
    if name not in valid:
        raise ValueError(f"{where}.schedule {name!r} is not in optax.schedules{nearest(str(name), valid)}")
    try:
        schedule = _in_float32(getattr(optax.schedules, name)(**_in_steps(arguments, steps_per_epoch)))
        value = jax.eval_shape(schedule, jax.ShapeDtypeStruct((), jnp.float32))
    except Exception as error:  # optax checks little: what is wrong may show as anything
        raise ValueError(f"{where}: optax.schedules.{name} cannot be made of {arguments}: {error}") from error
    if value.shape != ():
        raise ValueError(f"{where}: optax.schedules.{name} of {arguments} gives {value.shape}, not a number")
    return schedule


def _in_steps(value, steps_per_epoch: int):
    """Arguments of a schedule, or of those that it is made of, as optax takes them."""
    if isinstance(value, list | tuple):
        return [_in_steps(entry, steps_per_epoch) for entry in value]
    if not isinstance(value, Mapping):
        return value
    steps = {}
    for name, given in value.items():
        if name == "boundaries_and_scales":
            steps[name] = {int(str(step)): scale for step, scale in given.items()}
        elif name == "boundaries_and_scales_epochs":
            steps["boundaries_and_scales"] = {int(str(e)) * steps_per_epoch: scale for e, scale in given.items()}
        elif name.endswith("_epochs"):
            steps[name.removesuffix("_epochs") + "_steps"] = round(given * steps_per_epoch)
        else:
            steps[name] = _in_steps(given, steps_per_epoch)
    return steps


def _in_float32(schedule: Callable) -> optax.Schedule:
    """The schedule as a function of a step in float32 that gives float32."""

    def value(step):
        with jax.numpy_dtype_promotion("standard"):  # optax compares steps with integers
            return jnp.asarray(schedule(jnp.asarray(step, jnp.float32)), jnp.float32)

    return value
