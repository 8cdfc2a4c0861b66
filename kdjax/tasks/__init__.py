"""What is predicted and how it is scored: `named(config.task)`."""

import sys
from collections.abc import Callable, Mapping

from kdjax.find import find, nearest
from kdjax.tasks import classification, drawn, ranking, recommendation, regression, retrieval, search
from kdjax.tasks.task import Task

_MODULES = (classification, regression, ranking, search, retrieval, recommendation, drawn)
TASKS = {module.TASK.name: module.TASK for module in _MODULES}


def named(name: str) -> Task:
    """A task of kdjax by its name, or one's own, a value of kdjax.tasks.task.Task, by its import path.

    Raises:
      ValueError: there is none, with the nearest; or what is there is no Task.
    """
    if name in TASKS:
        return TASKS[name]
    if "." not in name:
        raise ValueError(f"config.task {name!r}{nearest(name, TASKS)}; or an import path, my_file.my_task")
    found = find(name, sys.modules[__name__], "config.task")
    if not isinstance(found, Task):
        raise ValueError(f"config.task {name!r} is a {type(found).__name__}, not a kdjax.tasks.task.Task")
    return found


def own_metrics(config: Mapping) -> dict[str, Callable]:
    """config.metrics: name -> fn(logits [N, K], target [N, ...]) -> number, of the whole test split, on the host.

    More is better, unless the function has an attribute `less_is_better` that is true.

    Raises:
      ValueError: there is no such function, or its name is that of a number which the results have already.
    """
    taken = {key for task in TASKS.values() for key in (*(key for key, *_ in task.columns), *task.less_is_better)}
    found = {}
    for name in config:
        fn = find(config[name], sys.modules[__name__], f"config.metrics.{name}")
        if not callable(fn):
            raise ValueError(f"config.metrics.{name}: {config[name]!r} is {fn!r}, no function of logits and target")
        if name in taken or name == "confusion":
            raise ValueError(f"config.metrics.{name}: the results have a number of that name; give it another")
        found[name] = fn
    return found
