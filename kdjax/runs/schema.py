"""What stands in the files of a run, and what is wrong with one: types of the fields that tables read."""

import itertools
import json
import math

from kdjax.config.fields import ORIGINS
from kdjax.runs import task
from kdjax.runs.task import Score

TEACHER = "teacher"
"""The method name of the teacher's own run."""


def finite(value) -> bool:
    """Whether JSON can hold it: no NaN and no infinity in it."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def damage(result: dict) -> str:
    """What is wrong with a result; "" if every field that tables read is of its type."""
    needed = {"status", "seed", "epochs", "last"} | ({"classes"} if "task" not in result else set())
    missing = needed - result.keys()
    if missing:
        return f"lacks {', '.join(sorted(missing))}"
    wrong = _untold(result.get("task")) or misfit(result, _schema(task.of(result)))
    if wrong:
        return wrong
    if result["status"] not in ("done", "diverged"):
        return f"has status {result['status']!r}; valid: done, diverged"
    scores = [result["last"] or {}] if result["status"] == "done" else []
    scores += [result[name] for name in ("best", "peak") if result.get(name) is not None]
    primary = task.of(result).primary.key
    if not all(primary in score for score in scores):
        return f"lacks a {primary}"
    return _misclassified(result)


def _untold(told) -> str:
    """What is wrong with the task of a result; "" for None, which stands for classification."""
    if told is None:
        return ""
    if not isinstance(told, dict):
        return "has no object at task"
    missing = TASK.keys() - LATER.keys() - told.keys()
    if missing:
        return f"lacks {', '.join(f'task.{name}' for name in sorted(missing))}"
    wrong = misfit(told, TASK, "task")
    if not wrong and any(len(column) != len(Score._fields) for column in told["columns"]):
        wrong = f"has a column in task.columns that is not [{', '.join(Score._fields)}]"
    return wrong


def _schema(of: task.Task) -> dict:
    """RESULT with the scores of a task: a primary of unit % is a share."""
    primary = {of.primary.key: FRACTION if of.primary.unit == "%" else FINITE}
    others = dict.fromkeys(of.keys, (None, NUMBER))
    last = (None, {**primary, **others, "confusion": (None, [[int]]), "examples": (None, [float])})
    teacher = (None, {**primary, **others, "model": str, **_COST})
    return {**RESULT, "last": last, "best": (None, primary), "peak": (None, primary), "teacher": teacher}


def _misclassified(result: dict) -> str:
    """Where the classes of a result do not agree with each other; "" if nowhere."""
    classes = len(result.get("classes") or ())
    for cell in (result["last"] or {}).get("confusion") or []:
        if len(cell) != 3 or not (0 <= cell[0] < classes and 0 <= cell[1] < classes and cell[2] > 0):
            return f"has a cell {cell} in last.confusion; it is [true, predicted, count] of {classes} classes"
    counts = result.get("train_counts")
    if (
        counts is not None
        and (classes or "task" not in result)
        and (len(counts) != classes or min(counts, default=0) < 0)
    ):
        return f"has {len(counts)} train_counts for {classes} classes, or one below 0"
    return ""


def misfit(value, schema, path: str = "") -> str:
    """Where a value is not of its schema, "" if nowhere: a dictionary may lack keys and have others."""
    if isinstance(schema, tuple):  # (None, schema): may be null
        return "" if value is None else misfit(value, schema[1], path)
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            return f"has no object at {path or 'its top'}"
        keys = [key for key in schema if key in value]
        if OTHERS in schema:
            keys += [key for key in value if key not in schema and type(value[key]) not in _PLAIN]
        found = (misfit(value[key], schema.get(key, NUMBER), f"{path}.{key}".lstrip(".")) for key in keys)
        return next(filter(None, found), "")
    if isinstance(schema, list):
        if not isinstance(value, list):
            return f"has no list at {path}"
        if _all(value, schema[0]):
            return ""
        return next(filter(None, (misfit(each, schema[0], path) for each in value)), "")
    if schema is FRACTION:
        return "" if _is(value, NUMBER) and 0 <= value <= 1 else f"has no fraction at {path}"
    if schema is FINITE:
        return "" if _is(value, NUMBER) and math.isfinite(value) else f"has no finite number at {path}"
    return "" if _is(value, schema) else f"has a wrong value at {path}"


def _all(values, schema) -> bool:
    """Whether every one is of exactly the type, or of lists of it: seen at once, where there are thousands of cells."""
    if isinstance(schema, list):
        return set(map(type, values)) <= {list} and _all(itertools.chain.from_iterable(values), schema[0])
    return isinstance(schema, type) and set(map(type, values)) <= {schema}


def _is(value, kind) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


NUMBER = int | float


OTHERS = "every other key: a number or null"
_PLAIN = {int, float, type(None)}


HISTORY = {"epoch": int, OTHERS: NUMBER}
"""Types of the fields of a row of metrics.jsonl: losses, and scores of the splits, whatever the task."""


FRACTION = "a number between 0 and 1"
FINITE = "a finite number"


_COST = dict.fromkeys(("parameters", "flops", "bytes", "latency_1_ms", "latency_64_ms"), (None, NUMBER))


LATER = {"protocol": str, "less_is_better": [str]}
TASK = {"name": str, "primary": str, "higher_is_better": bool, "unit": str, "columns": [[str]], **LATER}
"""Types of what kdjax.runs.task reads of a result, all of them needed but those of LATER, which earlier ones lack."""


RESULT = {
    "status": str,
    "method": str,
    "seed": int,
    "epochs": int,
    "steps": (None, int),
    "image_shape": (None, [int]),
    "student": (None, {"model": str, "trained_parameters": (None, int), **_COST}),
    **dict.fromkeys(("gradients", "cosines"), (None, {OTHERS: NUMBER})),
    "dataset": str,
    "classes": [str],
    "train_counts": (None, [int]),
    "seconds": (None, NUMBER),
    "versions": (None, {}),
    "device": (None, str),
    "revision": (None, str),
    "diverged": (None, {"step": int, "term": str, "learning_rate": (None, NUMBER), "split": str, "example": int}),
    "warnings": (None, [str]),
    "references": (None, {}),
}
"""Types of the fields of a result that tables read, but for its scores, which are those of its task."""


_DIGEST = {"sha256": str}


IDENTITY = {
    "data": {"classes": int, "names": str, "splits": [{"split": str, "examples": int, **_DIGEST}], "tokenizer": str},
    **dict.fromkeys(("teacher", "start"), _DIGEST),
    "code": {},
}
"""The same of what kdjax.runs.identity notes of a run."""


CONFIG = {
    **dict.fromkeys(("experiment", "method", "row", "baseline", "dtype"), str),
    **dict.fromkeys(("seed", "epochs", "batch_size", "steps_per_epoch"), int),
    "ablation": {},
    "spec": {"teacher": str, "first_stage": {"epochs": int}, "optimizer": {}},
    "data": {
        **dict.fromkeys(("source", "name", "transfer"), str),
        **dict.fromkeys(("shots", "imbalance", "validation"), NUMBER),
        "augment": {},
    },
    "teacher": {
        **dict.fromkeys(("model", *ORIGINS), str),
        **dict.fromkeys(("seed", "epochs"), int),
        "capture": [str],
    },
    "student": {"model": str, "capture": [str]},
    "optimizer": {
        **dict.fromkeys(("name", "schedule"), str),
        **dict.fromkeys(("learning_rate", "weight_decay", "factor", "warmup_epochs", "clip_norm"), NUMBER),
        "milestones": [NUMBER],
        "kwargs": {},
    },
    "tuned": {"trials": int, "seeds": [int], "halve": [int], "kept": [int]},
    "pilot": {"difference": float, "most": int, "needed": int, "seeds": int},
    "published": dict.fromkeys(("benchmark", "teacher", "student"), str),
    "identity": IDENTITY,
}
"""The same of a run's config."""


EXPERIMENT = {**CONFIG, "rows": [{"method": str, "row": str, "ablation": {}}], "seeds": [int]}
"""The same of an experiment's config."""
