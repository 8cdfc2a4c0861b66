"""Runs the experiments of config.pairs one after another, each teacher once, whoever of them it teaches."""

import json
from collections.abc import Callable
from pathlib import Path

from ml_collections import ConfigDict

from kdjax import config as configs
from kdjax import tasks
from kdjax.config import pairs, rows
from kdjax.config.build import build_model
from kdjax.experiment import runner
from kdjax.experiment.lab import NO_CALLBACKS, named, teacher_config
from kdjax.experiment.plan import run_config, run_path
from kdjax.files import read_json
from kdjax.runs.directory import Run
from kdjax.runs.schema import TEACHER
from kdjax.training.method import Method
from kdjax.training.searching import loss_of

ELSEWHERE = ("experiment", "baseline", "published", "metrics", "execution", "flags", "identity", "tuned", "pilot")
"""Fields of a teacher's config.json that do not determine what it is. Its data, as bytes, are compared when it teaches:
students note the digest of its weights, and the experiments that it taught have one."""


def run(
    config: ConfigDict,
    root="runs",
    only=(),
    seeds=(),
    pair_names=(),
    stop_signal: Callable = lambda: 0,
    display=None,
    callbacks=NO_CALLBACKS,
) -> list[Path]:
    """Runs what is missing of every experiment of config.pairs; returns their directories, in the order of the pairs.

    The rows of all are looked at before the first is trained; what needs data and shapes is, before each.

    Args:
      pair_names: names of pairs, () for all. The rest is as in `kdjax.experiment.run`.

    Raises:
      ValueError, OSError, kdjax.training.cohort.Stopped, kdjax.experiment.Held: as `kdjax.experiment.run`.
    """
    found = pairs.experiments(config, pair_names)
    for each in in_order(found, root):
        with named(each.experiment):
            runner.run(each, root, only, seeds, display, stop_signal, callbacks=callbacks)
    return [Path(root) / each.experiment for each in found]


def in_order(experiments: list[ConfigDict], root) -> list[ConfigDict]:
    """The experiments with the teachers that they share, those that have one of their own first; all rows looked at."""
    for each in experiments:
        with named(each.experiment):
            rows.expand(each)
    return sorted(shared(experiments, root), key=lambda one: bool(one.teacher.run))


def shared(experiments: list[ConfigDict], root) -> list[ConfigDict]:
    """The experiments, where one has the same teacher as another with config.teacher.run at the other's.

    The first of those that have the same trains it, or one that has done so already; what an experiment said before of
    its teacher, it says again, so that an experiment may be added to those of a config or change its place.
    """
    owners = {}
    for config in sorted(experiments, key=lambda one: not _own(one, root).is_dir()):
        key = identity(config)
        if key and not _stored(config, root, key):
            owners.setdefault(key, _own(config, root))
    return [_with_teacher(config, root, owners) for config in experiments]


def _with_teacher(config: ConfigDict, root, owners: dict) -> ConfigDict:
    key = identity(config)
    if not key or _own(config, root).is_dir():
        return config
    path = _stored(config, root, key) or owners[key]
    if path == _own(config, root):
        return config
    config = configs.resolve(config)
    config.teacher.run = str(path)
    return config


def _own(config: ConfigDict, root) -> Path:
    """The run of an experiment's teacher that is trained there."""
    return run_path(Path(root) / config.experiment, TEACHER, config.teacher.seed)


def _stored(config: ConfigDict, root, key: str) -> Path | None:
    """The run that an experiment, by its directory, has had as its teacher, if that is the same still."""
    described = read_json(Path(root) / config.experiment / "config.json") or {}
    path = (described.get("teacher") or {}).get("run", "")
    stored = Run(Path(path)).config() if path else None
    return Path(path) if stored and _key(configs.completed(stored)) == key else None


def identity(config: ConfigDict) -> str:
    """All that determines the teacher that an experiment trains; "" where it trains none."""
    spec = config.teacher
    if not spec.model or configs.origin(spec):
        return ""
    made = {"model": spec.model, "kwargs": configs.plain(spec.kwargs)}
    task = tasks.named(config.task)
    known = {"vocabulary": 1, "front": 1}  # as little of the data as a network of texts can be made with
    model = build_model(spec, 1, config.dtype, "config.teacher", known) if task.catalogue else None
    row = Method(TEACHER, TEACHER, {loss_of(task, model): {"weight": 1.0}}, None, made)
    return _key(run_config(teacher_config(config), row, spec.seed))


def _key(described: dict) -> str:
    own = {key: value for key, value in described.items() if key not in ELSEWHERE}
    own["data"] = {key: value for key, value in own["data"].items() if key != "closed"}  # a teacher trains on neither
    return json.dumps(own, sort_keys=True)
