"""Values from a config against the keyword-only arguments of the function that they are for."""

import inspect
from collections.abc import Mapping

from ml_collections import ConfigDict

from kdjax.find import nearest


def check_keywords(fn, values: Mapping | ConfigDict, field: str) -> dict:
    """`values` with the types of fn's defaults: an int for a float, a list for a tuple. **kwargs take any.

    Raises:
      ValueError: fn has no such argument, an argument without a default is missing, or a value is of another type
        than the default; the message begins with `field`.
    """
    values = check_dictionary(values, field)
    parameters = inspect.signature(fn).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for name in values:
        if takes_any:
            defaults.setdefault(name, inspect.Parameter.empty)
        elif name not in defaults:
            raise ValueError(f"{field}: unknown hyperparameter {name!r}{nearest(name, defaults) or '; it has none'}")
    for name, default in defaults.items():
        if default is inspect.Parameter.empty and name not in values:
            raise ValueError(f"{field} needs a value for {name}")
    return {name: _typed(values[name], defaults[name], f"{field}.{name}") for name in values}


def check_dictionary(values: Mapping | ConfigDict, field: str) -> dict:
    """`values` as a dictionary of its own; a ValueError if it is none."""
    if not isinstance(values, Mapping | ConfigDict):
        raise ValueError(f"{field} must be a dictionary of hyperparameters, got {values!r}")
    return {name: values[name] for name in values}


def _typed(value, default, field: str):
    """`value` as the type of the default; of a tuple, with as many values of their types."""
    if default is inspect.Parameter.empty:
        return value
    value = typed(value, default, field)
    if isinstance(default, tuple):
        if len(value) != len(default):
            raise ValueError(f"{field} must have {len(default)} values (like {default!r}), got {value!r}")
        value = tuple(typed(v, like, field) for v, like in zip(value, default, strict=True))
    return value


def typed(value, like, field: str):
    """`value` if it can stand where `like` stands: an int for a float, a list for a tuple; else a ValueError."""
    if isinstance(like, bool) or like is None:
        fits = like is None or isinstance(value, bool)
    elif isinstance(like, float):
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        value = float(value) if fits else value
    elif isinstance(like, int):
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif isinstance(like, tuple | list):
        fits = isinstance(value, tuple | list)
        value = tuple(value) if fits else value
    else:
        fits = isinstance(value, type(like))
    if not fits:
        raise ValueError(f"{field} must be of type {type(like).__name__} (like {like!r}), got {value!r}")
    return value
