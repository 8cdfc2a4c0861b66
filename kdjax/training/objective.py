"""Student + weighted losses = one Linen module: one params tree, one optimizer, one checkpoint."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from kdjax.losses.lift import Lift, context_names
from kdjax.types import as_outputs


class Term(NamedTuple):
    """One weighted loss of a method."""

    name: str  # the key of its parameters in State.params, and of its value in the metrics
    fn: Callable  # fn(student, teacher, labels, *, hyperparameters) -> scalar
    weight: Callable  # step [] -> [] float32
    hyper: Mapping[str, Any] = {}


class Objective(nn.Module):
    """Calls the student, then every term on its Outputs and the teacher's, and adds them up, weighted."""

    student: nn.Module
    terms: tuple[Term, ...]
    gather: Callable = lambda tree: tree  # shard of a batch -> the whole batch; parallel.py sets it
    frozen: tuple[str, ...] = ()  # paths of parameters; modules at or below them are in evaluation mode
    frozen_norms: bool = False  # so are the student's BatchNorms, whose scale and shift no gradient reaches (step.py)

    @nn.compact
    def __call__(
        self, inputs, teacher, labels, *, step, key, index, teacher_params=None, train_labels=None, second=None
    ):
        """Returns (total [], {"<term>": [] unweighted, ...}, the student's Outputs on the examples given here).

        The student sees a second view, {"input", "taught"}, if a term asks for it: after the first one, as another
        batch.
        """
        context = dict(step=step, teacher_params=teacher_params, train_labels=train_labels)
        values = {}
        with nn.intercept_methods(functools.partial(_evaluating, self.frozen, self.frozen_norms)):
            outputs = as_outputs(self.student(inputs, train=True))
            student, teacher, labels, index = self.gather((outputs, teacher, labels, index))
            if asks(self.terms, "second"):
                again = as_outputs(self.student(second["input"], train=True))
                context["second"] = self.gather((again, second["taught"]))
            context["student_params"] = {"params": self.variables.get("params", {}).get("student", {})}
            for number, term in enumerate(self.terms):
                loss, own = Lift(term.fn, term.hyper, name=term.name), jax.random.fold_in(key, number)
                values[term.name] = loss(student, teacher, labels, key=own, index=index, **context)
        total = sum(term.weight(step) * values[term.name] for term in self.terms)
        return total, values, outputs


def asks(terms: tuple[Term, ...], name: str) -> bool:
    """Whether one of the terms asks the step for what is called so."""
    return any(name in context_names(term.fn) for term in terms)


EVALUATION = {"train": False, "use_running_average": True, "deterministic": True}
"""Fields or arguments of a module -> what they are in evaluation mode: of models here, nn.BatchNorm, nn.Dropout."""


def is_frozen(names, frozen: tuple[str, ...]) -> bool:
    """Whether what has this path, ("student", "conv"), is at or below one of those in `frozen`, "student/conv"."""
    return any(tuple(names[: path.count("/") + 1]) == tuple(path.split("/")) for path in frozen)


def _is_norm(module: nn.Module) -> bool:
    """Whether a module of the student has batch statistics of its own, and not only in modules inside it."""
    own = module.variables.get("batch_stats", {}) if module.path[:1] == ("student",) else {}
    return not all(isinstance(value, Mapping) for value in own.values())


def _evaluating(frozen, norms, call, args, kwargs, context):
    """Calls a method of a module; if the module is frozen, in evaluation mode, as the reference implementations do."""
    module = context.module
    if module.scope is None or not (is_frozen(module.path, frozen) or (norms and _is_norm(module))):
        return call(*args, **kwargs)
    given = {name: getattr(module, name) for name in EVALUATION if getattr(module, name, None) is not None}
    signature = inspect.signature(context.orig_method)
    bound = signature.bind(*args, **kwargs)
    bound.arguments |= {n: v for n, v in EVALUATION.items() if n in signature.parameters and n not in given}
    try:
        for name in given:
            object.__setattr__(module, name, EVALUATION[name])  # a Linen module's fields are frozen
        return call(*bound.args, **bound.kwargs)
    finally:
        for name, value in given.items():
            object.__setattr__(module, name, value)
