"""Whatever will be trained, traced on shapes alone: what cannot work fails before hours of training, not after.

A stage is traced as it is trained, model, losses, gradients and optimizer, with all random numbers and `train=True`.
Arrays are never made, so a second or less is enough for a large network.
"""

import os
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp

from kdjax.losses.lift import Lift
from kdjax.training.method import Method, Stage
from kdjax.training.objective import asks
from kdjax.training.reads import outputs_of, params_of
from kdjax.training.step import make_train_step
from kdjax.types import batch_of, leaf_name


def check(where: str, method: Method, stage: Stage, spec, teacher, logits: int, targets, target) -> None:
    """Traces a stage of a method on two examples.

    Args:
      where: the field that describes the method, "config.methods.kd".
      spec: the shapes of one example, see `kdjax.types.batch_of`.
      teacher: (model, shapes of its variables, spec of what it sees) or None.
      logits: K, or L of lists, the number that an example has.
      targets: the shape of those of the training set as they are stored.
      target: the shape of two targets as their examples are augmented: [2], or [2, K] mixed.

    Raises:
      ValueError: the method needs a teacher and has none, a layer is missing, numbers of logits differ, no scalar, ...
    """
    name = method.model_config["model"]
    for train, mode in ((False, "evaluated"), (True, "trained")):
        what = f"{where}: {name}, {mode} on {shown(spec)}"
        student = trace(what, outputs_of, method.model, batch_of(spec, 2), train)
        if student.logits.shape != (2, logits):
            found = student.logits.shape[1:]
            raise ValueError(f"{what}: logits have shape {found} an example, the task asks for {logits}")
    taught = trace(f"{where}: the teacher", outputs_of, teacher[0], batch_of(teacher[2], 2)) if teacher else None
    if teacher and taught.logits.shape != (2, logits):
        told = taught.logits.shape[-1]
        raise ValueError(f"{where}: the teacher has {told} logits, the student {logits}")
    constants = teacher[1] if teacher else None, targets
    own = params_of(method.model, batch_of(spec, 2))
    for term in stage.objective.terms:
        _check_term(term, (student, taught, target, *constants, own), f"{where}.{term.name}")
    index = jax.ShapeDtypeStruct((2,), jnp.int32)
    batch = {"input": batch_of(spec, 2), "target": target, "index": index}
    if asks(stage.objective.terms, "second"):
        batch["second"] = {"input": batch["input"], "taught": taught}
    _check_step(where, stage, (batch, taught, *constants))


def _check_step(where: str, stage: Stage, given: tuple) -> None:
    """Traces how training begins, and its step, which must leave the State's shapes as they are."""
    before = trace(where, jax.eval_shape, stage.init, jax.random.key(0), *given)
    step = make_train_step(stage.objective, stage.optimizer)
    after, _ = trace(f"{where}, a step of its training", jax.eval_shape, step, before, *given)
    old, new = (_written(tree.stats) for tree in (before, after))
    changed = sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))
    if changed:
        shown = [tree.get(changed[0], "nothing") for tree in (old, new)]
        raise ValueError(f"{where}: a step of its training turns {changed[0]} from {shown[0]} into {shown[1]}")


def _written(tree) -> dict[str, str]:
    """Path -> "float32[3]" of every leaf."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {leaf_name(path): f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in leaves}


def shown(spec) -> str:
    """The shapes of an example in words."""
    leaves = jax.tree.leaves(spec)
    if len(leaves) == 1 and len(leaves[0].shape) == 3:
        return f"images {leaves[0].shape}"
    return f"inputs {jax.tree.map(lambda leaf: leaf.shape, spec)}"


def _check_term(term, given, where):
    def value(student, teacher, labels, teacher_params, train_labels, student_params=None):
        key = jax.random.key(0)
        context = dict(step=jnp.zeros((), jnp.int32), key=key, index=jnp.zeros(2, jnp.int32))
        context |= dict(teacher_params=teacher_params, train_labels=train_labels, student_params=student_params)
        context["second"] = student, teacher
        return Lift(term.fn, term.hyper).init_with_output(key, student, teacher, labels, **context)[0]

    try:
        result = trace(where, jax.eval_shape, value, *given)
    except ValueError as error:
        if given[1] is None and "NoneType" in str(error):
            raise ValueError(f"{where}: this loss needs a teacher; set config.teacher.model") from error
        raise
    if getattr(result, "shape", None) != ():
        raise ValueError(
            f"{where}: a loss returns a scalar, this one {getattr(result, 'shape', type(result).__name__)}"
        )
    weight = trace(f"{where}.weight", jax.eval_shape, term.weight, jax.ShapeDtypeStruct((), jnp.int32))
    if weight.shape != ():
        raise ValueError(f"{where}.weight: a weight is a number at each step, this one has shape {weight.shape}")


def trace(where: str, fn: Callable, *arguments):
    """fn(*arguments); whatever a model or loss raises while it is traced is a ValueError that begins with `where`."""
    try:
        return fn(*arguments)
    except Exception as error:
        raise ValueError(f"{where}: {_kind(error)}{error}{_line(error)}") from error


def _kind(error: Exception) -> str:
    """The kind of an error that means little without, "KeyError: "."""
    return f"{type(error).__name__}: " if isinstance(error, KeyError | RuntimeError) or not str(error) else ""


def _line(error: Exception) -> str:
    """The innermost line outside kdjax, Python and installed packages, as " (my_models.py, line 12)", or nothing."""
    inside = (f"{Path(__file__).parent}{os.sep}", sysconfig.get_path("stdlib"), "site-packages", "<")
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not any(part in frame.filename for part in inside)]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
