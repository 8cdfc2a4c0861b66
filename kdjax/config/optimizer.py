"""Config -> optax chain, and epochs -> steps, in one place."""

import difflib
import fnmatch
import functools
import inspect
import warnings
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from kdjax.config.fields import SCHEDULES, plain
from kdjax.config.schedule import make_schedule
from kdjax.find import find, nearest
from kdjax.typed import typed
from kdjax.types import leaf_name


def learning_rate(config: ConfigDict, steps_per_epoch: int, epochs: int) -> optax.Schedule:
    """Step -> learning rate. Milestones are epochs counted from 1: the factor holds from the epoch after each.

    Schedules of optax, and of one's own, begin after the warm-up, and their values multiply config.learning_rate.
    """
    peak, warmup = config.learning_rate, round(config.warmup_epochs * steps_per_epoch)
    rest = epochs * steps_per_epoch - warmup
    if rest <= 0:
        raise ValueError(f"config.optimizer.warmup_epochs {config.warmup_epochs} must be below the {epochs} epochs")
    kwargs, where = plain(config.schedule_kwargs), "config.optimizer"
    if kwargs and config.schedule in SCHEDULES:
        raise ValueError(f"{where}.schedule_kwargs {kwargs}: the schedule {config.schedule!r} takes none of them")
    if config.schedule not in SCHEDULES:
        shape = make_schedule({"schedule": config.schedule, **kwargs}, steps_per_epoch, where)
        schedule = lambda step: peak * shape(step)  # noqa: E731
    elif config.schedule == "constant":
        schedule = optax.constant_schedule(peak)
    elif config.schedule == "cosine":
        schedule = optax.cosine_decay_schedule(peak, rest)
    else:
        _check_steps(config)
        drops = {epoch * steps_per_epoch - warmup: config.factor for epoch in config.milestones}
        schedule = optax.piecewise_constant_schedule(peak, drops)
    if warmup:
        schedule = optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), schedule], [warmup])
    return lambda step: schedule(jnp.asarray(step, jnp.float32))


def _check_steps(config: ConfigDict) -> None:
    whole = all(isinstance(epoch, int) and epoch > 0 for epoch in config.milestones)
    if not whole or list(config.milestones) != sorted(set(config.milestones)):
        raise ValueError(f"config.optimizer.milestones must be rising whole epochs, got {config.milestones!r}")
    if config.factor <= 0:
        raise ValueError(f"config.optimizer.factor must be above 0, got {config.factor!r}")


def make_optimizer(config: ConfigDict, rate: optax.Schedule, freeze: tuple[str, ...] = (), last: tuple = ()):
    """The optax transformation of `config` (config.optimizer's fields); `freeze` lists paths that stay as they are.

    `last` are transformations of the updates themselves, after the learning rate.

    Weights decay once: by the optimizer itself where its factory takes `weight_decay` (`decay_kind`), otherwise by L2,
    which enters the gradient before momentum, as in torch.optim.SGD. A path is "student" or "fitnet/regressor": every
    parameter at or below it.

    Raises:
      ValueError: no such optimizer, an argument that it does not take, or two different weight decays.
    """
    factory, told = _named(config.name)
    kwargs = _arguments(config, inspect.signature(factory).parameters)
    parts = [optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else []
    if config.weight_decay and "weight_decay" not in kwargs:
        parts.append(optax.add_decayed_weights(config.weight_decay))
    try:
        made = factory(rate, **kwargs)
        if not isinstance(made, optax.GradientTransformation):
            raise ValueError(f"config.optimizer.name: {told} gives {type(made).__name__}, no optax transformation")
        optimizer = optax.chain(*parts, made)
        if "." not in config.name:  # one's own may want parameters with their paths: config.trace tries all in the end
            _trace(optimizer)
    except (TypeError, AttributeError) as error:
        given = dict(config.kwargs)
        raise ValueError(f"config.optimizer.kwargs {given}: {told} cannot work with them: {error}") from error
    rates = (rated(config.rates),) if len(config.rates) else ()
    optimizer = optax.chain(optimizer, *rates, only_reached(), *last)
    if not freeze:
        return optimizer
    return optax.multi_transform(
        {"train": optimizer, "freeze": optax.set_to_zero()}, lambda params: _labels(params, tuple(freeze))
    )


def rated(rates: Mapping[str, float]) -> optax.GradientTransformation:
    """Multiplies the updates, and so the learning rate and a decoupled weight decay, of parameters at certain paths.

    Args:
      rates: path -> factor. A path is "student", "student/classifier" or, with what * stands for, "student/blocks_*":
        every parameter at or below it. Of several that name a parameter the longest counts, a * as nothing.

    Raises:
      ValueError: a factor that is no number from 0 on; at `init`, a path at which there are no parameters.
    """
    where = "config.optimizer.rates"
    rates = {path: typed(rates[path], 1.0, f"{where}.{path}") for path in rates}
    if wrong := {path: rate for path, rate in rates.items() if not rate >= 0}:
        raise ValueError(f"{where} multiply the learning rate, so they are at least 0; got {wrong}")

    def found(path) -> str:
        fits = [rate for rate in rates if fnmatch.fnmatchcase(f"{leaf_name(path)}/", f"{rate}/*")]
        return max(fits, key=lambda fit: len(fit.replace("*", "")), default="")

    def init(params):
        paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        names = [f"{leaf_name(path)}/" for path in paths]
        if missing := [r for r in rates if not fnmatch.filter(names, f"{r}/*")]:
            raise ValueError(f"{where}: no parameters at {missing[0]!r}{_nearest_path(missing[0], names)}")
        return optax.EmptyState()

    def update(updates, state, params=None):
        scaled = lambda path, change: change * rates.get(found(path), 1.0)  # noqa: E731
        return jax.tree_util.tree_map_with_path(scaled, updates), state

    return optax.GradientTransformation(init, update)


def _nearest_path(wanted: str, names: list[str]) -> str:
    """The end of a message: the nearest path that `names`, "student/conv/kernel/", lead through, or all short ones."""
    parts = [name.rstrip("/").split("/") for name in names]
    paths = list(dict.fromkeys("/".join(part[:end]) for part in parts for end in range(1, len(part) + 1)))
    close = difflib.get_close_matches(wanted, paths, n=1)
    return nearest(wanted, close or [path for path in paths if path.count("/") <= 1])


def only_reached() -> optax.GradientTransformationExtraArgs:
    """No update for parameters that are not in `reached`, paths of those that a gradient reaches; None: all of them.

    Weight decay would shrink them, as the classifier in a stage that compares feature maps. torch's optimizers skip
    them, and RepDistiller's first stages do not give the classifier to the optimizer.
    """

    def update(updates, state, params=None, *, reached: frozenset[str] | None = None, **extra):
        if reached is None:
            return updates, state

        def kept(path, change):
            return change if leaf_name(path) in reached else jnp.zeros_like(change)

        return jax.tree_util.tree_map_with_path(kept, updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def optimizers() -> tuple[str, ...]:
    """The names that config.optimizer.name can have: optax's optimizers that need a schedule and gradients alone."""
    return tuple(name for name in vars(optax) if _is_optimizer(name))


@functools.cache
def _is_optimizer(name: str) -> bool:
    """Whether optax.<name> makes an optimizer of a schedule; lbfgs wants values of the loss, sm3 a number."""
    factory = getattr(optax, name, None)
    if name.startswith(("_", "scale_by_")) or not inspect.isfunction(factory):
        return False
    if "learning_rate" not in inspect.signature(factory).parameters:
        return False
    try:
        with warnings.catch_warnings(), jax.numpy_dtype_promotion("standard"):  # optax's adam counts steps in int32
            warnings.simplefilter("ignore")  # noisy_sgd asks for a key
            _trace(factory(optax.constant_schedule(0.1)))
    except (TypeError, ValueError):
        return False
    return True


def _trace(optimizer: optax.GradientTransformation) -> None:
    jax.eval_shape(lambda x: optimizer.update(x, optimizer.init(x), x), jax.ShapeDtypeStruct((2, 2), jnp.float32))


def _named(name: str) -> tuple:
    """(the function that makes an optimizer, what messages call it)."""
    if "." in name:
        factory = find(name, optax, "config.optimizer.name")
        if not callable(factory):
            raise ValueError(f"config.optimizer.name: {name!r} is {factory!r}, no function of a learning rate")
        return factory, name
    if not _is_optimizer(name):
        raise ValueError(
            f"config.optimizer.name: optax has no optimizer {name!r} that works with a schedule and gradients alone"
            f"{nearest(name, optimizers())}"
        )
    return getattr(optax, name), f"optax.{name}"


def _arguments(config: ConfigDict, valid) -> dict:
    """What the factory is called with besides the learning rate, its own weight decay among it."""
    told = config.name if "." in config.name else f"optax.{config.name}"
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in valid.values())
    for name, value in config.kwargs.items():
        if name not in valid and takes_any:
            continue
        if name not in valid:
            raise ValueError(f"config.optimizer.kwargs.{name}: {told} takes no {name!r}{nearest(name, valid)}")
        standard = valid[name].default
        if isinstance(standard, bool | int | float):
            typed(value, standard, f"config.optimizer.kwargs.{name}")
    given, decay = dict(config.kwargs), config.weight_decay
    for name, agrees, remedy in (
        ("weight_decay", given.get("weight_decay", decay) == decay, "leave it out"),
        (
            "weight_decay_rate",
            not (given.get("weight_decay_rate") and decay),
            "set config.optimizer.weight_decay=0",
        ),
    ):
        if not agrees:
            raise ValueError(
                f"config.optimizer.kwargs.{name} {given[name]!r} and config.optimizer.weight_decay {decay!r} both say "
                f"how the weights of {told} decay; {remedy}"
            )
    return {**given, "weight_decay": decay} if "weight_decay" in valid else given


def _labels(params, freeze):
    frozen = set()

    def label(path, _):
        name = leaf_name(path)
        hits = [prefix for prefix in freeze if f"{name}/".startswith(f"{prefix}/")]
        frozen.update(hits)
        return "freeze" if hits else "train"

    labels = jax.tree_util.tree_map_with_path(label, params)
    if missing := set(freeze) - frozen:
        raise ValueError(f"freeze: no parameters at {sorted(missing)}; the groups are {sorted(params)}")
    return labels
