"""Search spaces: what `kdjax tune` varies of a method, and its points, which are the same however often they are asked.

Every recipe has one beside it, made from its own numbers: the learning rate, for the student alone too, the weight of
each term that distils, and the hyperparameters in FACTORS. Each range is even on a log scale, from the recipe's value
divided by its factor to the value times it; the source of the range is that of the value (kdjax/config/recipes.py).
The labels' weight stays, so that weights are told against it.
"""

import copy
import math
from collections.abc import Mapping
from typing import NamedTuple

from kdjax.losses.ranges import AT_LEAST_1, FRACTION, RANGES
from kdjax.training.method import RESERVED

LEARNING_RATE = "optimizer.learning_rate"
FACTORS = {
    **{LEARNING_RATE: 5.0, "weight": 10.0},
    **dict.fromkeys(("angle_weight", "correlation_weight", "distance_weight", "mutual_weight"), 10.0),
    **dict.fromkeys(("temperature", "confidence_temperature", "alpha", "beta", "gamma", "complementary"), 4.0),
    **dict.fromkeys(("initial_variance", "margin", "power", "span", "start"), 4.0),
}
"""What is varied -> the factor to both sides."""
LABELS = ("cross_entropy", "second_cross_entropy")
"""Terms that look at labels alone: their weight stays."""
FIXED = ("itrd.alpha",)
"""<loss>.<hyperparameter> that stays: an order of entropy, of which 1 is singular."""


class Axis(NamedTuple):
    """A dimension of a space, even on a log scale."""

    path: str  # "kd.temperature" in the method's spec
    low: float
    high: float
    value: int | float  # the recipe's; its type is that of all points


def space(spec: Mapping, learning_rate: float) -> list[Axis]:
    """The dimensions in which a method is tuned.

    Args:
      spec: the method as the config has it, plain dictionaries.
      learning_rate: config.optimizer's, where the method has none of its own.
    """
    own = (spec.get("optimizer") or {}).get("learning_rate", learning_rate)
    axes = [_axis(LEARNING_RATE, float(own), FACTORS[LEARNING_RATE])] if own > 0 else []
    stages = [("first_stage.terms.", (spec.get("first_stage") or {}).get("terms", {}))]
    stages.append(("", {name: term for name, term in spec.items() if name not in RESERVED}))
    for prefix, terms in stages:
        for name, term in terms.items():
            axes += _term(f"{prefix}{name}", term.get("fn", name), term)
    return axes


def _term(path: str, loss: str, term: Mapping) -> list[Axis]:
    axes = []
    for key, value in term.items():
        known = isinstance(value, int | float) and not isinstance(value, bool) and value > 0 and key in FACTORS
        if not known or loss in LABELS or f"{loss}.{key}" in FIXED:
            continue
        bounds = {AT_LEAST_1: (1.0, math.inf), FRACTION: (0.0, 1.0)}.get(RANGES.get(f"{loss}.{key}") or RANGES.get(key))
        axes.append(_axis(f"{path}.{key}", float(value) if key == "weight" else value, FACTORS[key], bounds))
    return axes


def _axis(path: str, value, factor: float, bounds: tuple[float, float] | None = None) -> Axis:
    least, most = bounds or (0.0, math.inf)
    return Axis(path, max(value / factor, least), min(value * factor, most), value)


def point(axes: list[Axis], number: int) -> dict[str, int | float]:
    """Path -> value of a trial: the recipe's own in trial 0, quasi-random ones after it.

    They are the Sobol points of the space's dimension (scipy.stats.qmc, not scrambled) from the second on, whose first
    is the middle of every range, which trial 0 stands for. A trial depends on its number and on nothing that was drawn
    before, so that tuning resumes, and more trials begin with those that there were.
    """
    if number == 0 or not axes:
        return {axis.path: axis.value for axis in axes}
    from scipy.stats import qmc  # slow to import

    sobol = qmc.Sobol(len(axes), scramble=False).fast_forward(number + 1)
    return {axis.path: _at(axis, u) for axis, u in zip(axes, sobol.random(1)[0], strict=True)}


def _at(axis: Axis, u: float) -> int | float:
    """The value at a fraction of the way, to four digits, which every machine computes alike."""
    value = axis.low * (axis.high / axis.low) ** u
    if isinstance(axis.value, int):
        return min(max(round(value), math.ceil(axis.low)), math.floor(axis.high))
    return float(f"{value:.4g}")


def changed(spec: Mapping, values: Mapping[str, int | float]) -> dict:
    """A copy of a method with the values at these paths."""
    made = copy.deepcopy(dict(spec))
    for path, value in values.items():
        *parents, leaf = path.split(".")
        node = made
        for key in parents:
            node = node.setdefault(key, {})
        node[leaf] = value
    return made
