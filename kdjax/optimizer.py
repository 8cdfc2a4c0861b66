"""Config -> optax chain, and epochs -> steps, in one place."""

import inspect

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from kdjax.config import typed
from kdjax.find import nearest


def learning_rate(config: ConfigDict, steps_per_epoch: int, epochs: int) -> optax.Schedule:
    """Step -> learning rate. Milestones are epochs counted from 1: the factor holds from the epoch after each."""
    peak, warmup = config.learning_rate, round(config.warmup_epochs * steps_per_epoch)
    rest = epochs * steps_per_epoch - warmup
    if rest <= 0:
        raise ValueError(f"config.optimizer.warmup_epochs {config.warmup_epochs} must be below the {epochs} epochs")
    if config.schedule == "constant":
        schedule = optax.constant_schedule(peak)
    elif config.schedule == "cosine":
        schedule = optax.cosine_decay_schedule(peak, rest)
    else:
        drops = {epoch * steps_per_epoch - warmup: config.factor for epoch in config.milestones}
        schedule = optax.piecewise_constant_schedule(peak, drops)
    if warmup:
        schedule = optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), schedule], [warmup])
    return lambda step: schedule(jnp.asarray(step, jnp.float32))


def make_optimizer(config: ConfigDict, rate: optax.Schedule, freeze: tuple[str, ...] = (), last: tuple = ()):
    """The optax transformation of `config` (config.optimizer's fields); `freeze` lists paths that stay as they are.

    `last` are transformations of the updates themselves, after the learning rate.

    Weight decay enters the gradient before momentum, as in torch.optim.SGD. A path is "student" or
    "fitnet/regressor": every parameter at or below it.

    Raises:
      ValueError: no such optimizer in optax, or an argument that it does not take.
    """
    parts = [optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else []
    if config.weight_decay:
        parts.append(optax.add_decayed_weights(config.weight_decay))
    try:
        optimizer = optax.chain(*parts, _named(config)(rate, **config.kwargs))
        jax.eval_shape(lambda x: optimizer.update(x, optimizer.init(x), x), jax.ShapeDtypeStruct((2, 2), jnp.float32))
    except (TypeError, AttributeError) as error:
        given = dict(config.kwargs)
        raise ValueError(
            f"config.optimizer.kwargs {given}: optax.{config.name} cannot work with them: {error}"
        ) from error
    optimizer = optax.chain(optimizer, only_reached(), *last)
    if not freeze:
        return optimizer
    return optax.multi_transform(
        {"train": optimizer, "freeze": optax.set_to_zero()}, lambda params: _labels(params, tuple(freeze))
    )


def only_reached() -> optax.GradientTransformationExtraArgs:
    """No update for parameters that are not in `reached`, paths of those that a gradient reaches; None: all of them.

    Weight decay would shrink them, as the classifier in a stage that compares feature maps. torch's optimizers skip
    them, and RepDistiller's first stages do not give the classifier to the optimizer.
    """

    def update(updates, state, params=None, *, reached: frozenset[str] | None = None, **extra):
        if reached is None:
            return updates, state

        def kept(path, change):
            return change if named(path) in reached else jnp.zeros_like(change)

        return jax.tree_util.tree_map_with_path(kept, updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def named(path) -> str:
    """The path of a leaf as `freeze` writes it, "student/conv/kernel"."""
    return "/".join(str(entry.key) for entry in path)


def _named(config: ConfigDict):
    factory = getattr(optax, config.name, None)
    if (
        factory is None
        or not inspect.isfunction(factory)
        or "learning_rate" not in inspect.signature(factory).parameters
    ):
        known = [n for n, f in vars(optax).items() if inspect.isfunction(f)]
        known = [n for n in known if "learning_rate" in inspect.signature(getattr(optax, n)).parameters]
        raise ValueError(f"config.optimizer.name: optax has no optimizer {config.name!r}{nearest(config.name, known)}")
    arguments = inspect.signature(factory).parameters
    for name, value in config.kwargs.items():
        if name not in arguments:
            raise ValueError(
                f"config.optimizer.kwargs.{name}: optax.{config.name} takes no {name!r}{nearest(name, arguments)}"
            )
        standard = arguments[name].default
        if isinstance(standard, bool | int | float):
            typed(value, standard, f"config.optimizer.kwargs.{name}")
    return factory


def _labels(params, freeze):
    frozen = set()

    def label(path, _):
        name = named(path)
        hits = [prefix for prefix in freeze if f"{name}/".startswith(f"{prefix}/")]
        frozen.update(hits)
        return "freeze" if hits else "train"

    labels = jax.tree_util.tree_map_with_path(label, params)
    if missing := set(freeze) - frozen:
        raise ValueError(f"freeze: no parameters at {sorted(missing)}; the groups are {sorted(params)}")
    return labels
