"""config.pairs: several experiments in one config, each the config with some fields changed."""

from collections.abc import Mapping

from ml_collections import ConfigDict

from kdjax.config.fields import merge, resolve
from kdjax.find import nearest


def experiments(config: ConfigDict, only=()) -> list[ConfigDict]:
    """The experiments of config.pairs, in their order; the config itself where there are none.

    config.pairs.<name> holds the fields that differ, {"teacher": {"model": ..., "kwargs": {...}}, "student": {...}},
    or any others; its experiment is called <config.experiment>_<name>. A model, or kwargs, given there are all that
    this role has: the config's own kwargs were meant for another. Methods are set one by one, whole; a pair leaves out
    one that it gives as None.

    Args:
      only: names of pairs, () for all.

    Raises:
      ValueError: an unknown field (with the nearest spelling) or name, a wrong type, or a value out of range.
    """
    config = resolve(config)
    names = list(config.pairs)
    for name in only:
        if name not in names:
            raise ValueError(f"--pairs={name}: config.pairs has none of this name{nearest(name, names)}")
    return [_experiment(config, name) for name in names if not only or name in only] if names else [config]


def _experiment(config: ConfigDict, name: str) -> ConfigDict:
    fields, where = config.pairs[name], f"config.pairs.{name}"
    if not isinstance(fields, ConfigDict | Mapping):
        raise ValueError(f"{where} must be a dictionary of the fields that differ, got {fields!r}")
    for taken in ("pairs", "experiment"):
        if taken in fields:
            raise ValueError(f"{where}.{taken}: the experiment is called {config.experiment}_{name}, and has no pairs")
    made = resolve(config)  # a copy that keeps the order of methods
    made.pairs = ConfigDict(sort_keys=False)
    made.experiment = f"{config.experiment}_{name}"
    for role in ("teacher", "student"):
        given = fields.get(role)
        if isinstance(given, ConfigDict | Mapping) and ("model" in given or "kwargs" in given):
            made[role].kwargs = ConfigDict()
    merge(made, fields, where, where)
    for method in [method for method, spec in made.methods.items() if spec is None]:
        del made.methods[method]
    return resolve(made)
