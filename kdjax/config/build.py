"""A network from what a config says of it, {"model": name or import path, "kwargs": {...}}; what is wrong in words."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType

import flax.linen as nn
import jax.numpy as jnp

import kdjax.models
from kdjax import config as configs
from kdjax.find import find, nearest
from kdjax.models.capture import Captured, parsed
from kdjax.typed import typed

KINDS = ((bool, int, float), (str,), (tuple,))
"""Numbers, texts and tuples may not stand for each other; all else is the model's own affair."""


def build_model(
    spec, classes: int, dtype: str, field: str, known: Mapping[str, int] = MappingProxyType({})
) -> nn.Module:
    """The Linen module of {"model": name or import path, "kwargs": {...}, "capture": paths} for so many classes.

    `dtype`, and what else is `known` from the data ({"vocabulary": tokens}), is passed to models that have a field of
    that name.

    Raises:
      ValueError: no such model, no Linen module, or arguments that it does not take, with those that it does.
    """
    name, factory = spec["model"], find(spec["model"], kdjax.models, f"{field}.model")
    if not callable(factory):
        raise ValueError(
            f"{field}.model: {name!r} is {factory!r}, not a flax.linen Module or a function that makes one"
        )
    kwargs = tuples(configs.plain(spec["kwargs"]))
    if twice := sorted(known.keys() & kwargs):
        raise ValueError(f"{field}.kwargs: {twice[0]} is not set here: the data says it, {known[twice[0]]}")
    kwargs |= {key: value for key, value in known.items() if _takes(factory, classes, key, value, kwargs)}
    _check_arguments(factory, name, classes, kwargs, field)
    if dtype != "float32":
        if not _takes(factory, classes, "dtype", jnp.dtype(dtype), kwargs):
            raise ValueError(f"config.dtype {dtype!r}: the model {name} of {field} has no field dtype")
        kwargs["dtype"] = jnp.dtype(dtype)
    try:
        model = factory(num_classes=classes, **kwargs)
    except TypeError as error:
        how = NNX if _is_nnx(factory) else ""
        raise ValueError(
            f"{field}: {name} cannot be made with {sorted(['num_classes', *kwargs])}: {error}{how}"
        ) from error
    if not isinstance(model, nn.Module):
        how = NNX if _is_nnx(type(model)) else ""
        raise ValueError(f"{field}.model: {name!r} gives {type(model).__name__}, not a flax.linen Module{how}")
    paths = tuple(typed(path, "layer", f"{field}.capture") for path in spec.get("capture", ()))
    for path in paths:
        parsed(path)
    return Captured(model, paths) if paths else model


NNX = (
    "; one of flax.nnx is given by a function of yours, "
    "`def net(num_classes): return flax.nnx.bridge.to_linen(Net, num_classes)`"
)


def _is_nnx(kind) -> bool:
    return any(f"{each.__module__}.".startswith("flax.nnx.") for each in getattr(kind, "__mro__", ()))


def tuples(value):
    """Lists as tuples: fields of Linen modules must be hashable."""
    if isinstance(value, dict):
        return {key: tuples(v) for key, v in value.items()}
    return tuple(tuples(v) for v in value) if isinstance(value, list) else value


def _check_arguments(factory: Callable, name: str, classes: int, kwargs: dict, field: str) -> None:
    """Raises a ValueError for an argument that the model does not take, lacks, or takes as another type."""
    parameters = inspect.signature(factory).parameters.values()
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
    if not open_ended and "num_classes" not in [p.name for p in parameters]:
        raise ValueError(f"{field}.model: {name} has no field num_classes, the number of classes that it is made for")
    for key, value in kwargs.items():
        others = {name: other for name, other in kwargs.items() if name != key}
        if key == "num_classes" or not _takes(factory, classes, key, value, others):
            raise ValueError(f"{field}.kwargs: {name} takes no {key!r}{nearest(key, _arguments(factory, classes))}")
    defaults = _defaults(factory, classes)
    needed = [p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    for key in needed:
        if key not in ("num_classes", *kwargs):
            raise ValueError(f"{field}.kwargs: {name} needs a value for {key!r}")
    for key, value in kwargs.items():
        kind = next((kind for kind in KINDS if isinstance(defaults.get(key), kind)), object)
        if not isinstance(value, kind):
            raise ValueError(f"{field}.kwargs.{key} is of another type than {name}'s, {defaults[key]!r}; got {value!r}")


def _takes(factory: Callable, classes: int, key: str, value, others: Mapping = MappingProxyType({})) -> bool:
    """Whether a model has an argument, asked of it: what a function passes on as **fields no signature shows.

    `others` are arguments that it may need before it passes any on.
    """
    try:
        factory(num_classes=classes, **{**others, key: value})
    except TypeError as error:
        return not any(said in str(error) for said in (f"argument '{key}'", f"argument: '{key}'"))
    except Exception:  # a value that is wrong is not an unknown name
        return True
    return True


def _defaults(factory: Callable, classes: int) -> dict:
    """Field -> value of the model made with nothing but the number of classes; {} if it cannot be."""
    try:
        model = factory(num_classes=classes)
    except Exception:  # it needs more than that
        return {}
    fields = dataclasses.fields(model) if dataclasses.is_dataclass(model) else ()
    return {f.name: getattr(model, f.name) for f in fields if f.name not in ("parent", "name", "num_classes")}


def _arguments(factory: Callable, classes: int) -> list[str]:
    """The names of the arguments that a model takes, for a message."""
    own = [p.name for p in inspect.signature(factory).parameters.values() if p.kind is not p.VAR_KEYWORD]
    passed_on = [key for key, value in _defaults(factory, classes).items() if _takes(factory, classes, key, value)]
    return [key for key in dict.fromkeys([*own, *passed_on]) if key not in ("num_classes", "parent", "name")]
