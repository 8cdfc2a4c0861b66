"""The size of a paired difference beside its p value: Cohen's d_z, and how probably it matters."""

import math

import numpy as np

from kdjax.report.statistics import CONFIDENCE
from kdjax.runs.task import Task

ROPE = 0.01
"""The region of practical equivalence where none is given, to both sides: a point, as Benavoli et al. take."""


def rope(task: Task) -> float | None:
    """ROPE where numbers are shares; None for others, of which nobody can say what makes no difference."""
    return ROPE if task.primary.unit == "%" else None


def cohen(n: int, difference: float | None, std: float | None) -> dict:
    """Cohen's d_z, the mean of paired differences over their standard deviation, with its 95 % confidence interval.

    The interval is exact: √n d_z has a noncentral t distribution, whose noncentrality is found for which what was seen
    lies at the 97.5 and at the 2.5 % quantile (Steiger and Fouladi 1997).

    Args:
      n, difference, std: of `kdjax.report.statistics.paired`.

    Returns:
      d_z, d_z_low and d_z_high; None where the spread is not known.
    """
    if std is None:
        return dict.fromkeys(("d_z", "d_z_low", "d_z_high"))
    root = math.sqrt(n)
    t = root * difference / std
    bounds = [
        _noncentrality(abs(t), n - 1, quantile) / root for quantile in (0.5 + CONFIDENCE / 2, 0.5 - CONFIDENCE / 2)
    ]
    low, high = bounds if t >= 0 else (-bounds[1], -bounds[0])
    return {"d_z": difference / std, "d_z_low": low, "d_z_high": high}


def _noncentrality(t: float, freedom: int, quantile: float) -> float:
    """The noncentrality for which t >= 0 is this quantile, between 0.01 and 0.99, of the distribution."""
    from scipy import optimize, special  # slow to import, and only table.csv has intervals

    if t > 1e4:  # special.nctdtr ends at some 1e5; here the mean's own error has no part in the interval any more
        return t * math.sqrt(special.chdtri(freedom, quantile) / freedom)
    least, most = np.sqrt(2 * special.gammaincinv(freedom / 2, [0.001, 0.999]) / freedom) * t + [-5, 5]
    return float(optimize.brentq(lambda value: special.nctdtr(freedom, value, t) - quantile, least, most))


def posterior(n: int, difference: float | None, std: float | None, rope: float | None) -> dict:
    """How probably the true mean of the differences lies above, in and below a region of practical equivalence.

    With the prior 1 / σ the mean's posterior is Student's t with n - 1 degrees of freedom about `difference`, scaled by
    std / √n: the Bayesian correlated t-test (Corani and Benavoli 2015) with correlation 0, as seeds share no training
    run. Regions of practical equivalence: Benavoli, Corani, Demšar and Zaffalon 2017, Time for a change.

    Args:
      n, difference, std: of `kdjax.report.statistics.paired`, the difference signed so that more is better.
      rope: half the region's width, in the unit of `difference`; 0 leaves nothing to be equal; None: it is not known.

    Returns:
      rope, and the probabilities better, equal and worse, whose sum is 1; None where the spread or rope is not known.
    """
    if std is None or rope is None:
        return dict.fromkeys(("rope", "better", "equal", "worse"))
    from scipy import special  # slow to import

    scale = std / math.sqrt(n)
    above, below = (difference - rope) / scale, (-rope - difference) / scale
    better, worse = (float(special.stdtr(n - 1, value)) for value in (above, below))
    return {"rope": rope, "better": better, "equal": max(0.0, 1 - better - worse), "worse": worse}
