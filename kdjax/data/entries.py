"""Entries of config.data.augment, of whatever kind of input: the function that one names, and its hyperparameters."""

import inspect
from collections.abc import Callable, Mapping
from types import ModuleType

from kdjax.find import find
from kdjax.typed import check_dictionary, check_keywords, typed


def entry(name: str, hyper: Mapping, field: str, module: ModuleType, what: str, check: Callable):
    """(function, hyperparameters, names of its positional arguments) of an entry, checked.

    Args:
      name: of a function in `module`, unless an import path, fn="my_file.my_function", stands in `hyper`.
      field: in messages; what: what `module` has, "augmentation".
      check: fn(path, positional) raises a ValueError for arguments that such a function cannot have.

    Raises:
      ValueError: an unknown function or hyperparameter, or a value of another type than the default's.
    """
    values = check_dictionary(hyper, field)
    path = typed(values.pop("fn", name), "", f"{field}.fn")
    fn = find(path, module, what)
    parameters = inspect.signature(fn).parameters.values()
    positional = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    check(path, positional)
    return fn, check_keywords(fn, values, field), positional
