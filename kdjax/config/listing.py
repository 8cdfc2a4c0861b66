"""kdjax list: the names that a config can use, read from the code itself."""

import inspect
import textwrap

import kdjax.losses
import kdjax.models
from kdjax.config import recipes
from kdjax.data import sources
from kdjax.data.images import augmentations
from kdjax.data.text import augmentations as texts
from kdjax.find import names, nearest
from kdjax.losses.lift import context_names, hyperparameters
from kdjax.training.method import RESERVED

KINDS = ("methods", "losses", "models", "datasets")
WIDTH = 118


def show(what: str | None = None) -> None:
    """Prints one kind of names, all of them, or what is known of a single name.

    Raises:
      ValueError: there is nothing of that name; the message has the nearest.
    """
    lines = {"methods": _methods, "losses": _losses, "models": _models, "datasets": _datasets}
    if what and what not in KINDS:
        return print("\n\n".join(_about(what)))
    for name in (what,) if what else KINDS:
        print(f"\n{name.upper()}")
        for line in lines[name]():
            print(line)


def _about(name: str) -> list[str]:
    """All that is known of a name, a paragraph each: it may be a method's, a loss's and a model's at once."""
    paper = recipes.RECIPES | recipes.VARIANTS | recipes.TEXT
    found = []
    if name in paper:
        recipe = recipes.recipe(name)
        terms = [spec.get("fn", term) for term, spec in _terms(recipe) if term != "cross_entropy"]
        found.append("\n".join([f"METHOD {name}", *(f"  {_term(term, spec)}" for term, spec in recipe.items())]))
        found += [f"  {summary(getattr(kdjax.losses, term))}" for term in dict.fromkeys(terms) if term != name]
        pairs = [_pair(name, pair, changes) for pair, changes in recipes.PAIRS.get(name, {}).items()]
        found += ["\n".join(pairs)] if pairs else []
    places = {"LOSS": kdjax.losses, "MODEL": kdjax.models, "SOURCE": sources, "AUGMENTATION": augmentations}
    places["AUGMENTATION OF TEXTS"] = texts
    for kind, module in places.items():
        if name in names(module):
            thing = getattr(module, name)
            found.append(f"{kind} {_call(thing)}\n{textwrap.indent(inspect.getdoc(thing) or '', '  ')}")
    if not found:
        known = [*KINDS, *paper, *(name for module in places.values() for name in names(module))]
        raise ValueError(f"there is nothing named {name!r}{nearest(name, known)}")
    return found


def _terms(recipe: dict):
    """(name, spec) of the terms of a recipe and of its first stage."""
    for name, spec in recipe.items():
        if name == "first_stage":
            yield from spec["terms"].items()
        elif name not in RESERVED:
            yield name, spec


def _pair(name: str, pair: tuple[str, str], changes: dict) -> str:
    return f"  recipe({name!r}, {pair[0]!r}, {pair[1]!r}): {'; '.join(_term(*change) for change in changes.items())}"


def summary(thing) -> str:
    """The first paragraph of a docstring as one line."""
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())


def _entry(head: str, *texts: str) -> str:
    wrapped = [textwrap.fill(text, WIDTH, initial_indent="    ", subsequent_indent="    ") for text in texts if text]
    return "\n".join([f"  {head}", *wrapped])


def _methods():
    yield "recipes: config.methods.kd = kdjax.methods.recipe('kd', teacher, student)"
    for name in recipes.RECIPES | recipes.TEXT:
        yield _entry(name, "; ".join(_term(n, t) for n, t in recipes.recipe(name).items()))


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
    augment = {"config.data.augment, of images": augmentations, "config.data.augment, of texts": texts}
    for title, module in {"config.data.source": sources, **augment}.items():
        yield f" {title}"
        for name in names(module):
            yield _entry(_call(getattr(module, name)), summary(getattr(module, name)))


def _call(fn) -> str:
    defaults = ", ".join(f"{key}={value!r}" for key, value in hyperparameters(fn).items())
    return f"{fn.__name__}({defaults})"
