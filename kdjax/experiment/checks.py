"""Everything that can be wrong with an experiment, found on shapes before a teacher is trained for hours."""

from pathlib import Path

import flax.linen as nn
import jax
import numpy as np

import kdjax.losses
from kdjax import config as configs
from kdjax.config import rows, trace
from kdjax.experiment import mined, references, taught
from kdjax.experiment.elsewhere import load
from kdjax.experiment.lab import Lab, keeps_last, named, teacher_config
from kdjax.losses.tokens import layers_of
from kdjax.models.given import VARIABLES
from kdjax.runs import identity
from kdjax.runs.directory import Run
from kdjax.runs.schema import TEACHER
from kdjax.runs.task import refuse
from kdjax.training import parallel, searching
from kdjax.training.method import Method
from kdjax.training.objective import asks
from kdjax.training.parallel import Place
from kdjax.training.reads import outputs_of
from kdjax.types import as_outputs, batch_of


def check_data(lab: Lab) -> None:
    """Raises a ValueError if a run of this experiment, or what was tuned for it, has seen other data."""
    tuned = lab.config.tuned.get("data", {})
    now = {split["split"]: split["sha256"] for split in lab.dataset.fingerprint["splits"]}
    if other := [name for name, seen in tuned.items() if seen != now.get(name)]:
        raise ValueError(
            f"--tuned: the choice was made on other data: {', '.join(other)} differ; put that data back, or tune again"
        )
    for path in sorted(lab.directory.glob("*/seed*")):
        identity.check_data(path, Run(path).config(), lab.dataset.fingerprint)
    references.check(lab)


def check_rows(lab: Lab, missing: dict[str, Method], arrays) -> None:
    """Traces every method on shapes, those that must be trained before it, and a teacher that is trained here.

    Args:
      arrays: the training examples that students see.

    Raises:
      ValueError: a method, a model, a size or a batch that cannot work.
    """
    _check_second(lab.config)
    for name in lab.metrics:
        refuse(name, "a score of config.metrics")
    for name, *_ in lab.task.columns:
        refuse(name, f"a score of config.task, {lab.task.name},")
    taught = _teacher_shapes(lab)
    place = lab.layout[0][0]
    _check_divides(lab.config, arrays, place, "config.batch_size")
    if lab.config.teacher.model and not configs.origin(lab.config.teacher):
        _check_teacher(lab, taught[0], place)
    for row in _with_sources(lab, missing):
        lab.stop_if_asked()
        _check_view(lab, row, arrays, place)
        if place.parts > 1:
            parallel.check_synchronises(row.model, lab.sight.spec, f"config.methods.{row.name}.student")
        lab.start(row)
        models = [lab.row(name).model for name in row.teachers]
        teacher = lab.shapes(lab.sight, *models) if models else taught
        _check(lab, row, lab.config, teacher, arrays, f"config.methods.{row.name}")


def _check_second(config) -> None:
    """A second view that no loss of any row looks at, also of those that are not run now, would change nothing."""
    if not len(config.data.second_augment):
        return
    for row in rows.expand(config):
        terms = {**row.terms, **row.spec.get("first_stage", {}).get("terms", {})}
        where = f"config.methods.{row.name}"
        if asks(tuple(rows.make_term(name, term, 1, f"{where}.{name}") for name, term in terms.items()), "second"):
            return
    raise ValueError(
        f"config.data.second_augment {configs.plain(config.data.second_augment)} is of losses that ask for a second "
        "view, and no method has one; leave it out, or add a method like mlkd_views or a loss with the argument second"
    )


def _check_teacher(lab: Lab, model: nn.Module, place: Place) -> None:
    """What a teacher that is trained here needs."""
    config, arrays = teacher_config(lab.config), lab.taught_examples()
    _check_divides(config, arrays, place, "the teacher's batch_size")
    if place.parts > 1:
        parallel.check_synchronises(model, lab.taught.spec, "config.teacher")
    row = lab.teacher_row(model)
    lab.start(row)
    _check(lab, row, config, None, arrays, "config.teacher")


def _with_sources(lab: Lab, missing: dict[str, Method]) -> list[Method]:
    """The rows and all that must be trained before them."""
    found = dict(missing)
    waiting = list(missing.values())
    while waiting:
        new = {name: lab.row(name) for name in waiting.pop().sources if name not in found}
        found |= new
        waiting += new.values()
    return list(found.values())


def _check_divides(config, arrays, place: Place, field: str) -> None:
    parallel.check_divides(config.batch_size, place.parts, field)
    if keeps_last(config, arrays):
        last = len(arrays) % config.batch_size
        parallel.check_divides(last, place.parts, f"config.keep_last_batch: the last batch of {field}")


def _check_view(lab: Lab, row: Method, arrays, place: Place) -> None:
    """A method's own view of the data must exist, and leave its number of steps as it is."""
    config, own = lab.view(row, lab.config.seeds[0])
    lab.make_batch(config, place, lab.sight)
    taught.check_views(lab, config)
    steps, others = lab.steps_per_epoch(config, own), lab.steps_per_epoch(lab.config, arrays)
    if steps != others:
        raise ValueError(
            f"config.methods.{row.name}.data: {len(own):,} {lab.kind.noun} make {steps} steps an epoch, the other "
            f"methods take {others}; set config.steps_per_epoch, so that all take as many"
        )


def _check(lab: Lab, row: Method, config, teacher, arrays, where: str) -> None:
    target = lab.target(rows.with_view(config, row))
    own = lab.dataset.train.target
    targets = jax.ShapeDtypeStruct((len(arrays), *own.shape[1:]), own.dtype)
    given = lab.seen_by(row).spec, teacher, lab.logits, targets, target
    _check_reads(lab, where, row, lab.seen_by(row).spec)
    own = rows.with_view(config, row)
    mined.check(lab, own, teacher and teacher[0], where)
    stages = rows.stages(row, config, lab.steps_per_epoch(config, arrays))
    second = any(asks(stage.objective.terms, "second") for stage in stages)
    if second:
        with named(where):
            lab.augmentation(rows.with_view(config, row), {}, second=True)
    for stage in stages:
        trace.check(where, row, stage, *given)
        for term, pairs in _layers(lab, row, stage, teacher):
            listed = ", ".join(f"{ours} from {theirs}" for ours, theirs in pairs)
            lab.display.message(f"{where}.{term}: the student's layers learn from the teacher's, {listed}")
    if teacher and taught.once(config, teacher[0]):
        fields, spec = taught.fields(lab, own, row, stages, arrays, teacher), mined.wider(own, teacher[2])
        terms = [term for stage in stages for term in stage.objective.terms]
        lists = taught.lists(own, terms, arrays, teacher[0], spec)
        taught.check(lab, own, fields, lists, len(arrays), teacher[0], spec, second, where)
    _check_classified(lab, row, stages, teacher)


def _check_reads(lab: Lab, where: str, row: Method, spec) -> None:
    """Raises a ValueError if a network does not give, as one vector an example, what the task scores."""
    if lab.task.catalogue and row.name == TEACHER and not searching.towers(row.model):
        _check_orders(lab, where)
    elif lab.task.catalogue:
        with named(where):
            searching.check(row.model)
    if lab.task.reads == "logits":
        return
    found = getattr(trace.trace(where, outputs_of, row.model, batch_of(spec, 2)), lab.task.reads)
    if getattr(found, "ndim", 0) != 2:
        told = "gives none" if found is None else f"gives one of shape {found.shape[1:]}"
        raise ValueError(
            f"{where}: config.task {lab.config.task!r} scores the {lab.task.reads} of a network, one vector [D] an "
            f"example; this network {told}"
        )


def _check_orders(lab: Lab, where: str) -> None:
    """Raises a ValueError if a teacher that learns from the order of lists has none with an order."""
    grades = lab.dataset.train.target
    if not ((grades == 0).any(1) & (grades > 0).any(1)).any():
        raise ValueError(
            f"{where}: a network that reads a query and a document together learns which of a list come first, and no "
            "training list has an irrelevant document; set config.data.kwargs.negatives=4 or more"
        )


def _check_classified(lab: Lab, row: Method, stages, teacher) -> None:
    """Raises a ValueError if a loss asks what a classifier makes of positions of a map of which it sees no mean."""
    asking = [term.name for stage in stages for term in stage.objective.terms if term.fn in kdjax.losses.CLASSIFIED]
    pairs = (("student", row.model, lab.seen_by(row).spec), ("teacher", teacher and teacher[0], teacher and teacher[2]))
    for who, model, spec in pairs if asking else ():
        if model is not None and not lab.once(lambda m=model, s=spec: sees_the_mean(m, s), "sees the mean", model):
            raise ValueError(
                f"config.methods.{row.name}.{asking[0]}: the classifier of the {who} does not see the mean of its last "
                "map, so that it says nothing about positions of that map; networks that end so are ResNets and convnet"
            )


def sees_the_mean(model: nn.Module, spec) -> bool:
    """Whether the embedding of a network is the mean of its last map, tried on two images of noise."""
    if not isinstance(spec, jax.ShapeDtypeStruct):  # of a text
        return False
    noise = jax.random.normal(jax.random.key(0), (2, *spec.shape))
    out = as_outputs(jax.jit(model.init_with_output)(jax.random.key(1), noise)[0])
    if not out.features or out.embedding is None or out.features[-1].ndim != 4:
        return False
    mean = np.asarray(out.features[-1].mean((1, 2)), np.float32)
    embedding = np.asarray(out.embedding, np.float32)
    return mean.shape == embedding.shape and np.allclose(mean, embedding, rtol=1e-2, atol=1e-2 * np.abs(mean).max())


def _layers(lab: Lab, row: Method, stage, teacher):
    """(term, pairs of layers) of the losses that choose layers by name."""
    for term in stage.objective.terms if teacher else ():
        networks = (row.model, lab.seen_by(row).spec), (teacher[0], teacher[2])
        given = (outputs_of(model, batch_of(spec, 2)) for model, spec in networks)
        if pairs := layers_of(term.fn, *given, term.hyper.get("layers")):
            yield term.name, pairs


def _teacher_shapes(lab: Lab):
    """(model, shapes of its variables), or None without a teacher."""
    spec, models = lab.config.teacher, []
    if elsewhere := load.of(lab):
        return elsewhere.model, VARIABLES, lab.taught.spec
    for path in filter(None, (path.strip() for path in spec.run.split("+"))):
        stored = Run(Path(path)).config()
        if stored is None:
            raise ValueError(f"config.teacher.run: {path} holds no run (no config.json)")
        models.append(lab.stored_model(stored, path))
    if not spec.run and spec.model:
        models = [lab.model(spec, "config.teacher")]
    return lab.shapes(lab.taught, *models) if models else None
