"""A value over the steps of a stage: any schedule of optax or of one's own, its times in epochs or in steps."""

import inspect
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax

from kdjax.config.fields import OPTAX_SCHEDULES
from kdjax.find import find, nearest


def make_schedule(spec: Mapping, steps_per_epoch: int, where: str) -> optax.Schedule:
    """Step [] float32 -> value, from {"schedule": a name in optax.schedules or an import path, its arguments}.

    An argument in steps, `x_steps` or `x`, may be given as `x_epochs`, `boundaries_and_scales` as
    `boundaries_and_scales_epochs`, whose keys are epochs. Keys are integers, as numbers or as text, which JSON and
    ConfigDict make of them. The `schedules` of join_schedules are such dictionaries themselves.

    Raises:
      ValueError: no such schedule, or arguments with which it cannot be made or does not give a number.
    """
    arguments = dict(spec)
    name = arguments.pop("schedule", None)
    own = isinstance(name, str) and "." in name
    if not own and name not in OPTAX_SCHEDULES:
        raise ValueError(f"{where}.schedule {name!r} is not in optax.schedules{nearest(str(name), OPTAX_SCHEDULES)}")
    factory = find(name, optax.schedules, f"{where}.schedule") if own else getattr(optax.schedules, name)
    told = name if own else f"optax.schedules.{name}"
    try:
        given = _in_steps(arguments, steps_per_epoch, inspect.signature(factory).parameters)
        if name == "join_schedules":
            given["schedules"] = [make_schedule(one, steps_per_epoch, where) for one in arguments["schedules"]]
        schedule = _in_float32(factory(**given))
        value = jax.eval_shape(schedule, jax.ShapeDtypeStruct((), jnp.float32))
    except Exception as error:  # optax checks little: what is wrong may show as anything
        raise ValueError(f"{where}: {told} cannot be made of {arguments}: {error}") from error
    if value.shape != ():
        raise ValueError(f"{where}: {told} of {arguments} gives {value.shape}, not a number")
    return schedule


def _in_steps(value, steps_per_epoch: int, taken=()):
    """Arguments of a schedule, or of those that it is made of, as optax takes them; `taken` are names that it has."""
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
            bare = name.removesuffix("_epochs")
            several = isinstance(given, list | tuple)
            counted = [round(epochs * steps_per_epoch) for epochs in (given if several else [given])]
            steps[bare if bare in taken else f"{bare}_steps"] = counted if several else counted[0]
        else:
            steps[name] = _in_steps(given, steps_per_epoch)
    return steps


def _in_float32(schedule: Callable) -> optax.Schedule:
    """The schedule as a function of a step in float32 that gives float32."""

    def value(step):
        with jax.numpy_dtype_promotion("standard"):  # optax compares steps with integers
            return jnp.asarray(schedule(jnp.asarray(step, jnp.float32)), jnp.float32)

    return value
