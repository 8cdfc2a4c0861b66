"""What a paired t-test over n seeds can see: its power, the smallest detectable difference, the seeds that one takes.

Exact, by the noncentral t distribution: where paired differences are normal with mean δ and standard deviation σ, the
test's statistic has n - 1 degrees of freedom and noncentrality √n δ / σ (Cohen 1988, Statistical power analysis for
the behavioral sciences, chapter 2). Two-sided, at 5 %, not corrected for several comparisons.
"""

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from kdjax.report.statistics import CONFIDENCE

POWER = 0.8
"""The probability with which a difference that is there is to be seen (Cohen 1988)."""
EFFECTS = (
    *(11.549888435882309, 3.2640435496995712, 2.1279493432578005, 1.6819969659556444, 1.4345447820404011),
    *(1.2725666554541972, 1.156034677994735, 1.0669732162169654, 0.996001371455452, 0.937690663900638),
    *(0.888654265293509, 0.8466548479916893, 0.8101466719190082, 0.7780225697857167, 0.7494656445136202),
    *(0.7238580380077128, 0.7007225007955566, 0.6796836712190819, 0.6604416546229157, 0.6427535327558022),
    *(0.6264201330574067, 0.6112763746033256, 0.5971841002911646, 0.5840266715500507, 0.5717048347133206),
    *(0.5601335195833113, 0.5492393312469358, 0.538958564250096, 0.5292356151129529),
)
"""`solved` for 2 to 30 seeds: it is slow, and every table tells what it could have seen."""


def power(n: int, effect: float) -> float:
    """The probability that a paired t-test over n >= 2 seeds rejects, if the differences' δ / σ is `effect`."""
    return _rejects(n - 1, math.sqrt(n) * effect)


def _rejects(freedom: int, noncentrality: float) -> float:
    from scipy import stats  # slow to import

    critical = stats.t.isf((1 - CONFIDENCE) / 2, freedom)
    above, below = stats.nct.sf(critical, freedom, [noncentrality, -noncentrality])  # the lower tail is its mirror's
    return float(above + below)


@functools.cache
def effect(n: int) -> float:
    """The δ / σ that a test over n seeds sees with POWER."""
    return EFFECTS[n - 2] if n < 2 + len(EFFECTS) else solved(n)


def solved(n: int) -> float:
    """`effect`, computed."""
    from scipy import optimize, stats  # slow to import

    most = 2 * stats.t.isf((1 - CONFIDENCE) / 2, n - 1) + 5  # rejected with 0.98 at n = 2, with more at any other
    return optimize.brentq(lambda value: _rejects(n - 1, value) - POWER, 0, most) / math.sqrt(n)


def detectable(n: int, std: float | None) -> float | None:
    """The smallest true difference that a test over n seeds sees with POWER, in the unit of `std`.

    Args:
      std: of paired differences, as seen; None, and below two seeds: nothing is known.
    """
    return None if std is None or n < 2 else effect(n) * std


def seeds(difference: float, std: float) -> int:
    """The smallest number of seeds, at least 2, over which a test sees a true `difference` > 0 with POWER."""
    wanted = difference / std
    if wanted >= effect(2):
        return 2
    few, enough = 2, 4
    while power(enough, wanted) < POWER:
        few, enough = enough, 2 * enough
    while enough - few > 1:  # power grows with n
        middle = (few + enough) // 2
        few, enough = (few, middle) if power(middle, wanted) >= POWER else (middle, enough)
    return enough


def interval(n: int, std: float) -> tuple[float, float]:
    """The 95 % confidence interval of a standard deviation seen over n >= 2 normal values, by chi-square."""
    from scipy import special  # slow to import

    freedom = n - 1
    high, low = 2 * special.gammaincinv(freedom / 2, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return std * math.sqrt(freedom / low), std * math.sqrt(freedom / high)


@dataclass(frozen=True)
class Spread:
    """How much paired differences vary over seeds in a table as a whole."""

    n: int  # seeds over which each was seen
    std: float  # the median over methods
    methods: int


def typical(rows: Iterable[dict]) -> Spread | None:
    """The spread of a table: the median of the standard deviations of those methods that have the most pairs of seeds.

    All rows share the baseline's runs, so they are no independent estimates: the median is taken to be known no better
    than that of one row, from n seeds.

    Args:
      rows: records (kdjax.report.records) of one experiment.

    Returns:
      None where no row has a standard deviation.
    """
    known = [(row["pairs"], row["difference_std"]) for row in rows if row["difference_std"] is not None]
    if not known:
        return None
    most = max(pairs for pairs, _ in known)
    stds = [std for pairs, std in known if pairs == most]
    return Spread(most, float(np.median(stds)), len(stds))
