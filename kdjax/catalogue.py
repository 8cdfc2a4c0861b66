"""kdjax list: the names that a config can use, read from the code itself."""

import inspect
import textwrap

import kdjax.losses
import kdjax.models
from kdjax import methods
from kdjax.data import augmentations, sources
from kdjax.find import names
from kdjax.method import RESERVED
from kdjax.objective import context_names, hyperparameters

KINDS = ("methods", "losses", "models", "datasets")
WIDTH = 118


def show(kind: str | None = None) -> None:
    """Prints one kind of names, or all."""
    lines = {"methods": _methods, "losses": _losses, "models": _models, "datasets": _datasets}
    for name in (kind,) if kind else KINDS:
        print(f"\n{name.upper()}")
        for line in lines[name]():
            print(line)


def summary(thing) -> str:
    """The first paragraph of a docstring as one line."""
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())


def _entry(head: str, *texts: str) -> str:
    wrapped = [textwrap.fill(text, WIDTH, initial_indent="    ", subsequent_indent="    ") for text in texts if text]
    return "\n".join([f"  {head}", *wrapped])


def _methods():
    yield "recipes: config.methods.kd = kdjax.methods.recipe('kd', teacher, student)"
    for name in methods.RECIPES:
        yield _entry(name, "; ".join(_term(n, t) for n, t in methods.recipe(name).items()))


def _term(name: str, spec) -> str:
    if name in RESERVED:
        return f"{name}={spec}"
    return f"{name}({', '.join(f'{key}={value}' for key, value in spec.items())})"


def _losses():
    yield "terms of a method: <loss>=dict(weight=1.0, hyperparameter=value)"
    for family, losses in kdjax.losses.FAMILIES.items():
        yield f" {family}"
        for loss in losses:
            defaults = ", ".join(f"{key}={value!r}" for key, value in hyperparameters(loss).items())
            needs = f"needs {', '.join(kdjax.losses.NEEDS[loss])}"
            asks = ", ".join(context_names(loss))
            needs += f"; asks the step for {asks}" if asks else ""
            yield _entry(f"{loss.__name__}({defaults})", summary(loss), needs)


def _models():
    yield "config.student.model, config.teacher.model; arguments go into .kwargs"
    for family, models in kdjax.models.FAMILIES.items():
        yield f" {family}"
        for model in models:
            yield _entry(model.__name__, summary(model))


def _datasets():
    for title, module in (("config.data.source", sources), ("config.data.augment", augmentations)):
        yield f" {title}"
        for name in names(module):
            yield _entry(_call(getattr(module, name)), summary(getattr(module, name)))


def _call(fn) -> str:
    defaults = ", ".join(f"{key}={value!r}" for key, value in hyperparameters(fn).items())
    return f"{fn.__name__}({defaults})"
