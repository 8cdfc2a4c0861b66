"""config.execution.teach_once: a teacher's pass over the training split, made once and kept in the experiment's folder.

Files are named by all that determines what is in them: the teacher's weights and code, the examples, how it sees them,
which view of which seed, and which of its Outputs. Another seed, another process and a run that is continued find them.
"""

import dataclasses
import functools
import hashlib
import json
import math
import re
import threading
from collections.abc import Iterable
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np

from kdjax import config as configs
from kdjax.cores import memory
from kdjax.data import Arrays, fingerprint, subset
from kdjax.data.batches import Lengths
from kdjax.experiment.lab import Lab, keeps_last
from kdjax.experiment.provenance import version
from kdjax.models.given import Given
from kdjax.runs import identity
from kdjax.training import kept, processes
from kdjax.training.feed import Feed
from kdjax.training.kept import Kept
from kdjax.training.method import Method, Stage
from kdjax.training.reads import listed, make_lists, outputs_of, params_of, read
from kdjax.types import batch_of

FOLDER = "taught"
"""In an experiment's directory."""

SHARE = 0.5
"""Of the machine's memory, that what is kept may take: more would be read from disk again and again."""

_making = threading.Lock()
"""Cohorts that train at the same time make a file once."""


def fields(lab: Lab, config, row: Method, stages: list[Stage], arrays, teacher) -> frozenset:
    """The paths of what a method's losses read of its teacher's Outputs, in any stage, in every batch of an epoch.

    Args:
      teacher: (model, its variables or their shapes, the shapes of an example that it sees).
    """
    examples = len(arrays)
    two, stored = lab.target(config), lab.dataset.train.target
    model, variables, spec = teacher
    constants = variables, jax.ShapeDtypeStruct((examples, *stored.shape[1:]), stored.dtype)

    lists = keeps_lists(config, model)

    def of(stage, size):
        targets = jax.ShapeDtypeStruct((size, *two.shape[1:]), two.dtype)
        seen = batch_of(lab.sight.spec, size)
        student, own = outputs_of(row.model, seen, train=True), params_of(row.model, seen)
        said = outputs_of(model, batch_of(spec, size))
        return read(stage.objective.terms, student, said, targets, *constants, own, lists)

    def make():
        sizes = [config.batch_size, *([examples % config.batch_size] if keeps_last(config, arrays) else [])]
        return frozenset().union(*(of(stage, size) for stage in stages for size in sizes))

    return lab.once(make, "reads", row.name, model, examples)


def once(config, model: nn.Module) -> bool:
    """Whether what a teacher says is kept: if asked for, and of one that is no network of JAX."""
    return config.execution.teach_once or isinstance(model, Given)


def keeps_lists(config, model: nn.Module) -> bool:
    """Whether it is kept in place of what it says what losses make of that once (kdjax.losses.lift.lists_of)."""
    return config.execution.teach_once and not isinstance(model, Given)


def views(config, second: bool) -> int:
    """How many views of an example a teacher sees: 1 where nothing is drawn; 0: another one in every epoch."""
    return config.data.views if drawn(config, second) else 1


def drawn(config, second: bool) -> bool:
    """Whether what a teacher sees of an example is drawn at random."""
    return len(config.data.augment) > 0 or (second and len(config.data.second_augment) > 0)


def check_views(lab: Lab, config) -> None:
    """Raises a ValueError if examples cannot have views of their own."""
    if config.data.views and lab.target(config).ndim > lab.dataset.train.target.ndim:
        raise ValueError(
            f"config.data.views={config.data.views}: a view is of one example, and config.data.augment "
            f"({', '.join(config.data.augment)}) mixes those that meet in a batch; leave one of them out"
        )


def lists(config, terms, arrays, model: nn.Module, spec) -> dict:
    """The shapes of what terms make of what a teacher says once, {} where that is not kept; `spec`: what it sees."""
    if not keeps_lists(config, model):
        return {}
    targets, labels = (
        jax.ShapeDtypeStruct((n, *arrays.target.shape[1:]), arrays.target.dtype) for n in (2, len(arrays))
    )
    return listed(terms, outputs_of(model, batch_of(spec, 2)), targets, labels)


def check(
    lab: Lab, config, fields: frozenset, lists: dict, examples: int, model, spec, second: bool, where: str
) -> None:
    """Raises a ValueError if what losses read of what a teacher says of so many examples cannot be kept."""
    if not fields and not lists:
        return
    found = views(config, second)
    if isinstance(model, Given) and not model.moves and drawn(config, second):
        raise ValueError(
            f"{where}: config.teacher.outputs has what a teacher said of the examples as they are; config.data.augment "
            f"({', '.join(config.data.augment)}) shows others: augment nothing, or give what says it, teacher.function"
        )
    if not found:
        names = ", ".join([*config.data.augment, *(config.data.second_augment if second else ())])
        mixed = lab.target(config).ndim > lab.dataset.train.target.ndim
        fewer = "leave out what mixes labels" if mixed else "set config.data.views=4, of which epochs take one in turn"
        raise ValueError(
            f"{where}, with {_why(model)}: config.data.augment ({names}) makes each example anew in each epoch, and a "
            f"teacher has to look at it; {fewer}, or augment nothing{_otherwise(model)}"
        )
    dtype = kept.record(outputs_of(model, batch_of(spec, 2)), fields, second, lists)
    total, room = examples * found * dtype.itemsize, SHARE * (memory() or math.inf)
    if total > room:
        of_all = [each for name in ("first", "lists") if name in dtype.names for each in dtype[name].fields.items()]
        parts = ", ".join(f"{name} {list(of[0].shape)}" for name, of in of_all)
        times = f"{examples:,} examples x {found} view{'s' * (found > 1)} x {dtype.itemsize:,} bytes ({parts})"
        raise ValueError(
            f"{where}, with {_why(model)}: {times} are {total / 1e9:,.1f} GB, more than {SHARE:.0%} of this machine's "
            f"memory, {room / 1e9:,.1f} GB; run rows that read so much by themselves, or take fewer views"
        )


def _why(model: nn.Module) -> str:
    return "a teacher of elsewhere" if isinstance(model, Given) else "config.execution.teach_once"


def _otherwise(model: nn.Module) -> str:
    return "" if isinstance(model, Given) else ", or leave teach_once out"


def keep(
    lab: Lab, config, feed: Feed, arrays, teacher, teach, fields: frozenset, second: bool, spec, terms, made: dict
) -> Kept:
    """What looks up what a teacher says of the examples of a feed; what is missing of it is made when it is asked for.

    Args:
      teach: its pass over whole batches, which returns `fields` of its Outputs, or all of them.
      spec: the shapes of an example that it sees.
      terms: of the students, some of which may make lists of what it says; made: their shapes, see `lists`.
    """
    check(lab, config, fields, made, len(arrays), teacher.model, spec, second, f"seed {feed.seed}")
    dtype = kept.record(outputs_of(teacher.model, batch_of(spec, 2)), fields, second, made)
    described = _described(lab, config, feed.seed, arrays, teacher, second) | {"fields": sorted(fields)}
    if made:
        names = [f"{term.fn.__module__}.{term.fn.__name__}" for term in terms]
        told = {"names": sorted(made), "targets": fingerprint.of_split(arrays), "code": identity.of_modules(names)}
        described["lists"] = told
    number, variables, opened = views(config, second), feed.place.put(teacher.variables), []

    def answers(batches: Iterable) -> Iterable:
        if not teacher.elsewhere:
            return kept.answers(teach, variables, batches, _lister(terms, feed.targets) if made else kept.no_lists)
        target = lab.dataset.train.target
        positions = subset(Arrays(np.arange(len(target)), target), config.data, feed.seed).input
        return teacher.elsewhere.answers(batches, positions)

    def path(view: int) -> Path:
        return named_by(lab.directory / FOLDER, {**described, "view": view})

    def make(view: int) -> None:
        if kept.read(path(view), dtype, len(arrays)) is not None:
            return
        of = f", view {view + 1} of {number}" if number > 1 else ""
        lab.display.message(f"the teacher looks once at {len(arrays):,} training {lab.kind.noun}{of}: {path(view)}")
        batches = feed.whole(view, min(config.execution.eval_batch_size, len(arrays)))
        found = answers(_until_stopped(lab, batches))
        kept.write(path(view), dtype, len(arrays), found)

    def records(view: int) -> np.ndarray:
        with _making:
            for each in range(len(opened), number):  # all before the first step: a signal later finds none half made
                processes.from_first(functools.partial(make, each))
                opened.append(kept.read(path(each), dtype, len(arrays)))
        return opened[view]

    seen = None if isinstance(feed.inputs, Lengths) else spec
    return Kept(teacher.model, seen, fields, second, number, records, made)


def _lister(terms, labels):
    """fn(Outputs, targets), [1, B, ...] both -> {name: what terms make of them}, likewise; compiled."""

    @jax.jit
    def make(outputs, targets, labels):
        own, target = jax.tree.map(lambda leaf: leaf[0], (outputs, targets))
        return jax.tree.map(lambda leaf: leaf[None], make_lists(terms, own, target, labels))

    return lambda outputs, targets: make(outputs, targets, labels)


def _until_stopped(lab: Lab, batches: Iterable) -> Iterable:
    for batch in batches:
        if processes.alone():
            lab.stop_if_asked()
        yield batch


def _described(lab: Lab, config, seed: int, arrays, teacher, second: bool) -> dict:
    """All that determines what a teacher says of the training examples, but which view and which of its Outputs."""
    data, sees, random = configs.plain(config.data), teacher.sight.data, drawn(config, second)
    split = fingerprint.of_split if random else lambda arrays: fingerprint.of_inputs(arrays.input)
    own = {name: data[name] for name in ("augment", "second_augment")}
    of = json.dumps(data, sort_keys=True), seed, random, teacher.sha256  # which mines some of what stands in lists
    return {
        **network(teacher),
        "examples": lab.once(lambda: split(arrays), "examples", *of),
        "sees": {name: np.ravel(sees[name]).tolist() for name in ("image_size", "mean", "std")},
        "drawn": {"seed": seed, **own, "code": identity.of_code({"data": own})} if random else {},
    }


def named_by(folder: Path, described: dict) -> Path:
    """The file in a folder whose name is made of all that determines what is in it."""
    told = json.dumps(described, sort_keys=True)
    return folder / f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.npy"


def network(teacher) -> dict:
    """What a teacher is as a function of what it sees: weights, code, and what computes it."""
    return {
        "teacher": teacher.sha256,
        "model": re.sub(r" at 0x[0-9a-f]+", "", repr(teacher.model)),
        "code": identity.of_modules(_classes(teacher.model)),
        "versions": {name: version(name) for name in ("kdjax", "jaxlib")},
    }


def _classes(model: nn.Module) -> list[str]:
    """The import paths of a module's class and of those of the modules among its fields."""
    found = [f"{type(model).__module__}.{type(model).__name__}"]
    for field in dataclasses.fields(model):
        value = getattr(model, field.name, None) if field.name != "parent" else None
        for each in value if isinstance(value, tuple) else (value,):
            found += _classes(each) if isinstance(each, nn.Module) else []
    return list(dict.fromkeys(found))
