"""What the hyperparameters of the losses can be: a value outside is refused before anything is trained."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from kdjax.losses.layers import NAMES


class Range(NamedTuple):
    """The values of a hyperparameter that can be right."""

    words: str  # as in "must be ..."
    holds: Callable[[Any], bool]


def _number(words: str, holds: Callable[[float], bool]) -> Range:
    return Range(words, lambda x: isinstance(x, int | float) and math.isfinite(x) and holds(x))


def _each(of: Range, least: int = 0) -> Range:
    """Tuples of what `of` holds, with so many entries at least."""
    words = f"a tuple{', not empty,' if least else ''} of {of.words}"
    return Range(words, lambda xs: isinstance(xs, tuple | list) and len(xs) >= least and all(map(of.holds, xs)))


def _is_index(x) -> bool:
    return isinstance(x, int) and not isinstance(x, bool)


def _is_layer(x) -> bool:
    pair = isinstance(x, tuple | list) and len(x) == 2 and all(map(_is_index, x))
    return _is_index(x) or pair


POSITIVE = _number("above 0", lambda x: x > 0)
AT_LEAST_0 = _number("at least 0", lambda x: x >= 0)
AT_LEAST_1 = _number("at least 1", lambda x: x >= 1)
FRACTION = _number("from 0 to 1", lambda x: 0 <= x <= 1)
LAYER = Range("the index of a map or a pair of them (student's, teacher's)", _is_layer)
MAPPING = Range(
    "'uniform', 'first', 'last', 'skip', or a tuple, not empty, of layers or pairs (student's, teacher's), from 1",
    lambda x: x in NAMES if isinstance(x, str) else _each(LAYER, least=1).holds(x),
)
BOOLEAN = Range("true or false", lambda x: isinstance(x, bool))
TEXT = Range("a string", lambda x: isinstance(x, str))

RANGES = {
    "alpha": AT_LEAST_0,
    "attention_kl.layers": MAPPING,
    "attention_mse.layers": MAPPING,
    "attention_weight": AT_LEAST_0,
    "angle_weight": AT_LEAST_0,
    "batch_weight": AT_LEAST_0,
    "beta": AT_LEAST_0,
    "class_weight": AT_LEAST_0,
    "classifier": TEXT,
    "complementary": AT_LEAST_0,
    "decay": POSITIVE,
    "experts": AT_LEAST_1,
    "first": BOOLEAN,
    "groups": AT_LEAST_1,
    "htd.gamma": FRACTION,
    "item_softmax.negatives": AT_LEAST_0,
    "others": AT_LEAST_1,
    "pool": AT_LEAST_1,
    "rd.samples": AT_LEAST_0,
    "unkd.even": AT_LEAST_0,
    "unkd.pairs": AT_LEAST_1,
    "sample": BOOLEAN,
    "sharpness": POSITIVE,
    "spread": POSITIVE,
    "top": AT_LEAST_1,
    "confidence_temperature": POSITIVE,
    "confidence": _number("above 0 and below 1, a probability", lambda x: 0 < x < 1),
    "correlation.dim": Range("at least 1, or None", lambda x: x is None or x >= 1),
    "correlation_weight": AT_LEAST_0,
    "dim": AT_LEAST_1,
    "distance_weight": AT_LEAST_0,
    "embedding_weight": AT_LEAST_0,
    "example_weight": AT_LEAST_0,
    "gamma": AT_LEAST_0,
    "hidden_weight": AT_LEAST_0,
    "initial_variance": _number("above 0.00001, the least variance", lambda x: x > 1e-5),
    "itrd.alpha": POSITIVE,
    "kernel": AT_LEAST_1,
    "label_smoothing": FRACTION,
    "layer": LAYER,
    "layers": _each(Range("indices of maps or pairs of them (student's, teacher's)", _is_layer), least=1),
    "levels": _each(_number("numbers of at least 1", lambda x: x >= 1)),
    "margin": AT_LEAST_0,
    "masked": _number("at least 0 and below 1, a fraction of the channels", lambda x: 0 <= x < 1),
    "momentum": FRACTION,
    "mutual_weight": AT_LEAST_0,
    "negatives": AT_LEAST_1,
    "normalise": BOOLEAN,
    "norms": _each(Range("paths", TEXT.holds)),
    "order": Range("'grades' or 'teacher'", lambda x: x in ("grades", "teacher")),
    "pkd.layers": MAPPING,
    "power": AT_LEAST_1,
    "ramp_steps": AT_LEAST_1,
    "rank": AT_LEAST_1,
    "relation_heads": AT_LEAST_1,
    "rate": _number("above 0 and at most 1, a fraction of the channels", lambda x: 0 < x <= 1),
    "samples": _number("a whole number of at least 1", lambda x: x >= 1 and x == int(x)),
    "scales": _each(_number("numbers of at least 1", lambda x: x >= 1), least=1),
    "self_distillation.alpha": FRACTION,
    "side": AT_LEAST_1,
    "span": AT_LEAST_0,
    "start": POSITIVE,
    "strong_weight": AT_LEAST_0,
    "student_preacts": BOOLEAN,
    "targets": Range("'softmax' or 'sigmoid'", lambda x: x in ("softmax", "sigmoid")),
    "temperature": POSITIVE,
    "temperatures": _each(_number("numbers above 0", lambda x: x > 0), least=1),
    "tinybert.layers": MAPPING,
    "ttm.power": POSITIVE,
    "weak_weight": AT_LEAST_0,
    "wttm.power": POSITIVE,
}
"""Hyperparameter, or <loss>.<hyperparameter> where one loss means another thing by it -> what it can be."""


def check_range(loss: str, name: str, value, default, where: str) -> None:
    """Raises a ValueError if a hyperparameter of a loss of kdjax.losses cannot be right.

    Args:
      loss: the loss's name.
      name: the hyperparameter's.
      value: None is right where it is the default.
      default: the loss's own value.
      where: the field of the config, "config.methods.kd.kd.temperature".
    """
    known = RANGES.get(f"{loss}.{name}") or RANGES[name]
    if not (value is None and default is None) and not known.holds(value):
        raise ValueError(f"{where} must be {known.words}, got {value!r}")
