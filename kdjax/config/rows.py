"""A row of the table: what the config says of one method, as stages that can be trained."""

import json
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import flax.linen as nn
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

import kdjax.losses
from kdjax import config as configs
from kdjax.config.build import build_model, tuples
from kdjax.config.fields import NEGATIVES
from kdjax.config.optimizer import learning_rate, make_optimizer
from kdjax.config.recipes import PRUNE, QUANTIZE
from kdjax.config.schedule import make_schedule
from kdjax.files import safe_name
from kdjax.find import find, nearest
from kdjax.losses.lift import CONTEXT, context_names, hyperparameters
from kdjax.losses.ranges import check_range
from kdjax.models import compress
from kdjax.training.method import Method, Stage
from kdjax.training.objective import Objective, Term
from kdjax.training.step import make_init
from kdjax.typed import typed

STAGE_FIELDS = {"epochs": 1, "freeze": (), "optimizer": {}, "terms": {}}
VIEW = ("unlabelled", "augment", "negatives")
"""Fields of config.data that a method may have for itself: they change what its student sees, and nothing else."""


def expand(config: ConfigDict) -> list[Method]:
    """Every row of the experiment: its methods, then a row for each value of `config.ablate`.

    Raises:
      ValueError: a method, term or ablated field that does not exist or has the wrong form.
    """
    methods = [_method(config, name, configs.plain(config.methods[name])) for name in config.methods]
    for path in config.ablate:
        methods += _ablation(config, path, config.ablate[path])
    if not methods:
        raise ValueError("config.methods is empty; kdjax.config.recipes.recipe(name) holds the papers' recipes")
    known = [method.name for method in methods]
    if twice := next((name for name in known if known.count(name) > 1), None):
        raise ValueError(f"config.methods and config.ablate both make a row {twice!r}; give the method another name")
    for method in methods:
        for teacher in method.teachers:
            if teacher not in known:
                raise ValueError(f"config.methods.{method.name}.teacher {teacher!r}{nearest(teacher, known)}")
        _check_start(method, {other.name: other for other in methods})
    return _by_dependence(methods)


def _check_start(method: Method, methods: dict[str, Method]) -> None:
    """Raises a ValueError if there is no such method to begin from, or its student is another network."""
    where = f"config.methods.{method.name}.start {method.start!r}"
    if not method.start:
        return
    if method.start not in methods:
        raise ValueError(f"{where}{nearest(method.start, methods)}")
    if "from_teacher" in method.spec:
        raise ValueError(
            f"{where}: its parameters would be overwritten by from_teacher, or the teacher's by it; give one of the two"
        )
    networks = (method.model_config, methods[method.start].model_config)
    own, other = ({key: value for key, value in each.items() if key != "capture"} for each in networks)
    if own != other:
        shown = [f"{spec['model']} {spec['kwargs']}" for spec in (own, other)]
        raise ValueError(f"{where}: the student here is {shown[0]}, that one is {shown[1]}; they must be the same")


def _method(config, name: str, spec, ablation=None) -> Method:
    where = f"config.methods.{name}"
    if not isinstance(spec, dict):
        raise ValueError(f"{where} must be a dictionary of terms, got {spec!r}")
    if name in ("teacher", "", ".", "..") or any(c in name for c in "/\\\0\n"):
        raise ValueError(f"{where}: a method's name is its directory; 'teacher' and names with a slash are taken")
    student = {"model": config.student.model, "kwargs": configs.plain(config.student.kwargs)}
    student |= {"start": config.student.start, "capture": configs.plain(config.student.capture)}
    own = _known(spec.get("student", {}), student, f"{where}.student")
    if own.get("model", student["model"]) != student["model"]:
        student |= {"kwargs": {}, "start": "", "capture": []}  # were meant for the other model
    student |= own
    if not typed(student["start"], "", f"{where}.student.start"):
        del student["start"]
    if not typed(student["capture"], (), f"{where}.student.capture"):
        del student["capture"]
    _check_reserved(spec, where)
    for key, value in _known(spec.get("data", {}), VIEW, f"{where}.data").items():
        typed(value, configs.plain(config.data[key]), f"{where}.data.{key}")
    _check_negatives(config, spec.get("data", {}).get("negatives", {}), f"{where}.data.negatives")
    if "first_stage" in spec:
        stage = configs.plain({**STAGE_FIELDS, **_known(spec["first_stage"], STAGE_FIELDS, f"{where}.first_stage")})
        spec = {**spec, "first_stage": stage}
        if typed(stage["epochs"], 1, f"{where}.first_stage.epochs") < 1:
            raise ValueError(f"{where}.first_stage.epochs must be at least 1, got {stage['epochs']}")
        _check_reserved(stage, f"{where}.first_stage")
    if "start" in student and (twice := [path for path in spec.get("from_teacher", {}) if path != "classifier"]):
        raise ValueError(f"{where}.from_teacher: {twice} would begin as student.start has them; give one of the two")
    method = Method(name, name, spec, None, student, ablation or {}, spec.get("teacher", ""))
    if not method.terms:
        raise ValueError(f"{where} has no loss; give at least one term, as cross_entropy=dict(weight=1.0)")
    return method


def _check_negatives(config, given: dict, where: str) -> None:
    for key, value in _known(given, config.data.negatives, where).items():
        if typed(value, 0, f"{where}.{key}") < NEGATIVES[key]:
            raise ValueError(f"{where}.{key} must be at least {NEGATIVES[key]}, got {value}")


def _check_reserved(spec: dict, where: str) -> None:
    """The types of what is no loss term, in a method or in its first stage."""
    kinds = {"data": {}, "from_teacher": {}, "optimizer": {}, "prune": {}, "student": {}, "terms": {}, "freeze": ()}
    for key, like in {**kinds, "quantize": "", "start": "", "teacher": ""}.items():
        typed(spec.get(key, like), like, f"{where}.{key}")
    if spec.get("quantize") and spec["quantize"] not in QUANTIZE:
        raise ValueError(f"{where}.quantize {spec['quantize']!r}{nearest(spec['quantize'], QUANTIZE)}")
    _check_prune(spec.get("prune", {}), f"{where}.prune")
    typed(spec.get("student", {}).get("kwargs", {}), {}, f"{where}.student.kwargs")
    for path in spec.get("freeze", ()):
        typed(path, "student/fc", f"{where}.freeze")


def _check_prune(given: dict, where: str) -> None:
    for key, value in _known(given, PRUNE, where).items():
        typed(value, PRUNE[key], f"{where}.{key}")
    spec = {**PRUNE, **given}
    if not 0 < spec["sparsity"] < 1:
        raise ValueError(f"{where}.sparsity is the fraction of zeros, above 0 and below 1; got {spec['sparsity']}")
    if spec["every_steps"] < 1 or min(spec["begin_epochs"], spec["end_epochs"]) < 0:
        raise ValueError(f"{where}: every_steps is at least 1, begin_epochs and end_epochs at least 0; got {given}")


def _known(given, valid, where):
    if not isinstance(given, dict):
        raise ValueError(f"{where} must be a dictionary, got {given!r}")
    for key in given:
        if key not in valid:
            raise ValueError(f"unknown field {where}.{key}{nearest(key, valid)}")
    return given


def _ablation(config, path: str, values) -> list[Method]:
    base, _, inner = path.partition(".")
    where = f"config.ablate[{path!r}]"
    if base not in config.methods:
        raise ValueError(f"{where}: there is no method {base!r}{nearest(base, config.methods.keys())}")
    if not inner or not isinstance(values, tuple | list) or not values:
        raise ValueError(f"{where} has the form {{'method.term.hyperparameter': (value, ...)}}, got {values!r}")
    rows, values = [], configs.plain(values)
    for value in [v for i, v in enumerate(values) if not any(_same(v, other) for other in values[:i])]:
        spec = json.loads(json.dumps(configs.plain(config.methods[base])))
        *parents, leaf = inner.split(".")
        node = spec
        for key in parents:
            node = node.get(key) if isinstance(node, dict) else None
        if not isinstance(node, dict):
            raise ValueError(f"{where}: {base} has no {'.'.join(parents)!r}{nearest(parents[0], spec)}")
        node[leaf] = value
        row = f"{inner}={value}"
        method = _method(config, f"{base},{safe_name(row)}", spec, {inner: value})
        rows.append(replace(method, row=f"{base},{row}"))
    return rows


def _same(value, other) -> bool:
    """Whether two swept values are one: 2 and 2.0 are, 1 and True are not."""
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(_same, value, other))
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and all(_same(value[key], other[key]) for key in value)
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _by_dependence(methods: list[Method]) -> list[Method]:
    """The same rows, each after those that teach it and the one that it begins from."""
    done, rest = [], list(methods)
    while rest:
        ready = [m for m in rest if m.sources <= {d.name for d in done}]
        if not ready:
            raise ValueError(f"methods need each other in a circle: {', '.join(m.name for m in rest)}")
        done += ready
        rest = [m for m in rest if m not in ready]
    return done


def with_model(method: Method, config, classes: int, known: Mapping = MappingProxyType({})) -> Method:
    """The row with its student's network; `known` as in `kdjax.config.build.build_model`."""
    field = f"config.methods.{method.name}.student" if "student" in method.spec else "config.student"
    if not method.model_config["model"]:
        raise ValueError(f"{field}.model names no model; a name in kdjax.models or an import path")
    model = build_model(method.model_config, classes, config.dtype, field, known)
    return replace(method, model=as_trained(model, method.spec))


def as_trained(model: nn.Module, spec: Mapping) -> nn.Module:
    """A student's network as its method computes it: in int8 with `quantize`."""
    return compress.Int8(model) if spec.get("quantize") else model


def stored_model(config: Mapping, outputs: int, path, known: Mapping = MappingProxyType({})) -> nn.Module:
    """The student of a run as it was trained, by its config.json; `path` is named in messages."""
    model = build_model(config["student"], outputs, config.get("dtype", "float32"), f"{path}/config.json", known)
    return as_trained(model, config["spec"])


def with_view(config: ConfigDict, method: Method) -> ConfigDict:
    """The experiment's config as a method has it: with its own view of the training images.

    Its augmentations come after the experiment's, or take the place of those that they share a name with.
    """
    if not method.data:
        return config
    own = configs.resolve(config)  # a copy that keeps the order of augmentations
    own.data.unlabelled = method.data.get("unlabelled", own.data.unlabelled)
    own.data.negatives.update(method.data.get("negatives", {}))
    for name, hyper in method.data.get("augment", {}).items():
        own.data.augment[name] = hyper
    return own


def stages(method: Method, config: ConfigDict, steps_per_epoch: int) -> list[Stage]:
    """The stages of a method, in order: at most a first stage, then the main one."""
    where = f"config.methods.{method.name}"
    main = {
        "epochs": config.epochs,
        "freeze": method.spec.get("freeze", ()),
        "optimizer": method.spec.get("optimizer", {}),
        "terms": method.terms,
        "prune": method.spec.get("prune"),
    }
    result = [_stage(method, config, main, steps_per_epoch, where)]
    if "first_stage" in method.spec:
        result.insert(0, _stage(method, config, method.spec["first_stage"], steps_per_epoch, f"{where}.first_stage"))
    return result


def _stage(method, config, spec, steps_per_epoch: int, where: str) -> Stage:
    optimizer = override(config.optimizer, spec["optimizer"], f"{where}.optimizer")
    rate = learning_rate(optimizer, steps_per_epoch, spec["epochs"])
    terms = tuple(make_term(n, t, steps_per_epoch, f"{where}.{n}") for n, t in spec["terms"].items())
    freeze = tuple(spec["freeze"])
    last = _prune(spec.get("prune"), steps_per_epoch, spec["epochs"], f"{where}.prune")
    objective = Objective(method.model, terms, frozen=freeze, frozen_norms=optimizer.frozen_batch_norm)
    update = make_optimizer(optimizer, rate, freeze, last)
    init = make_init(objective, update, method.spec.get("from_teacher", {}))
    return Stage(spec["epochs"], objective, update, rate, init)


def _prune(spec, steps_per_epoch: int, epochs: int, where: str) -> tuple[optax.GradientTransformation, ...]:
    """The pruning of a stage; () if there is none."""
    if spec is None:
        return ()
    spec = {**PRUNE, **spec}
    begin = round(spec["begin_epochs"] * steps_per_epoch)
    end = round((spec["end_epochs"] or epochs / 2) * steps_per_epoch)
    if not begin <= end < epochs * steps_per_epoch:
        raise ValueError(
            f"{where}: pruning begins at epoch {spec['begin_epochs']:g} and ends at {end / steps_per_epoch:g}; it must "
            f"end after it begins and before the {epochs} epochs are over, so that what is left is fine-tuned"
        )
    return (compress.prune(spec["sparsity"], begin, end, spec["every_steps"]),)


def override(optimizer: ConfigDict, changes: Mapping, where: str) -> ConfigDict:
    """config.optimizer with some fields changed, each checked; others of a name begin without its arguments."""
    changed = optimizer.copy_and_resolve_references()
    if changes.get("name", changed.name) != changed.name:
        changed.kwargs = ConfigDict()
    if changes.get("schedule", changed.schedule) != changed.schedule:
        changed.schedule_kwargs = ConfigDict(sort_keys=False)
    for key, value in changes.items():
        if key not in changed:
            raise ValueError(f"unknown field {where}.{key}{nearest(key, changed.keys())}")
        free = key in ("kwargs", "rates", "schedule_kwargs")
        value = typed(configs.plain(value) if free else value, {} if free else changed[key], f"{where}.{key}")
        changed[key] = ConfigDict(value) if free else value
    configs.sgd_has_momentum(changed)
    return changed


def make_term(name: str, spec, steps_per_epoch: int, where: str) -> Term:
    """A weighted loss from {"weight": ..., "fn": ..., "warmup_epochs": ..., hyperparameters}.

    Raises:
      ValueError: unknown loss, misspelt or mistyped hyperparameter or one that cannot be right, unknown context, or
        no weight.
    """
    if not isinstance(spec, dict):
        raise ValueError(f"{where} must be a dictionary like dict(weight=1.0), got {spec!r}")
    if name == "student":
        raise ValueError(f"{where}: 'student' is the name of the student's own parameters; give the term another name")
    spec = dict(spec)
    fn = find(spec.pop("fn", name), kdjax.losses, f"loss of {where}")
    if not callable(fn):
        raise ValueError(f"{where}: the loss must be a function, got {fn!r}")
    if "weight" not in spec:
        raise ValueError(f"{where} has no weight, as in dict(weight=1.0)")
    weight = _weight(spec.pop("weight"), spec.pop("warmup_epochs", 0), steps_per_epoch, where)
    valid = hyperparameters(fn)
    for key, value in spec.items():
        if key not in valid:
            raise ValueError(f"{where}.{key}: the loss has no such hyperparameter{nearest(key, valid)}")
        spec[key] = _hyperparameter(value, valid[key], f"{where}.{key}")
        if getattr(kdjax.losses, getattr(fn, "__name__", ""), None) is fn:
            check_range(fn.__name__, key, spec[key], valid[key], f"{where}.{key}")
    for asked in context_names(fn):
        if asked not in CONTEXT:
            raise ValueError(
                f"{where}: the loss asks for {asked!r} (keyword-only without a default)"
                f"{nearest(asked, CONTEXT)}; a hyperparameter needs a default"
            )
    return Term(name, fn, weight, spec)


def _hyperparameter(value, default, where):
    """The value of a hyperparameter: of its default's type, or None where the default is."""
    value = tuples(value)
    return value if value is None or default is None else typed(value, default, where)


def _weight(spec, warmup_epochs, steps_per_epoch: int, where: str):
    """Step -> weight. The warm-up is that of mdistiller's DKD and ReviewKD: min(epoch / n, 1), epoch from 1."""
    if isinstance(spec, dict):
        schedule = make_schedule(spec, steps_per_epoch, f"{where}.weight")
    else:
        schedule = optax.constant_schedule(typed(spec, 1.0, f"{where}.weight"))
    warmup = typed(warmup_epochs, 1.0, f"{where}.warmup_epochs")
    if warmup < 0:
        raise ValueError(f"{where}.warmup_epochs must be at least 0, got {warmup_epochs!r}")

    def plain_weight(step):
        return jnp.asarray(schedule(step), jnp.float32)

    if warmup == 0:
        return plain_weight

    def weight(step):
        epoch = 1 + step // steps_per_epoch
        return plain_weight(step) * jnp.minimum(epoch.astype(jnp.float32) / warmup, 1.0)

    return weight
