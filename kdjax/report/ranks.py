"""Many methods at once: every pair on one data set, ranks over several, improvement relative to distillation's own.

Values are arrays of float64, higher is better; NaN is unknown. Nothing here is random.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

from kdjax.report.statistics import CONFIDENCE, holm

ALPHA = 1 - CONFIDENCE


class Pairs(NamedTuple):
    """Paired comparisons of all methods with each other, [k, k]; NaN where nothing can be said."""

    n: np.ndarray  # common seeds
    difference: np.ndarray  # mean of row minus column
    half: np.ndarray  # half of its 95 % confidence interval
    p: np.ndarray  # two-sided


def pairs(values: np.ndarray) -> Pairs:
    """Paired t tests of every two rows of `values`, [k, seeds], over the seeds that both have.

    The same numbers as `statistics.paired` gives one by one: no p below two common seeds, and none where all
    differences are equal, as then nothing is known of their spread.
    """
    values = np.asarray(values, np.float64)
    differences = values[:, None] - values[None]
    known = np.isfinite(differences)
    n = known.sum(-1)
    zeroed = np.where(known, differences, 0.0)
    mean = np.divide(zeroed.sum(-1), n, out=np.full(n.shape, np.nan), where=n > 0)
    square = np.where(known, (differences - mean[..., None]) ** 2, 0.0).sum(-1)
    width = np.ptp(np.where(known, differences, mean[..., None]), axis=-1) if values.size else np.zeros(n.shape)
    size = np.nanmax(np.abs(values), initial=0.0)
    testable = (n > 1) & (width > 1e-12 * size)
    error = np.sqrt(np.divide(square, n * (n - 1.0), out=np.full(n.shape, np.nan), where=testable))
    freedom = np.maximum(n - 1, 1)
    p = 2 * stats.t.sf(np.abs(mean) / error, freedom)
    return Pairs(n, mean, stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * error, p)


def against_best(p: np.ndarray, best: int) -> np.ndarray:
    """[k, k] p values -> [k] of each row against the row `best` of the highest mean, adjusted by Holm's method.

    With the best itself, the rows not below 5 % are a confidence set for the truly best row, as Hsu's comparisons with
    the best are: it is left out in less than 5 % of tables, although the best of the means is known only after looking,
    since it must lose by chance to one of at most k - 1 others (simulated in tests/report/test_ranks.py). Of rows that
    are equally good some one is left out more often.

    Hsu 1984, Constrained simultaneous confidence intervals for multiple comparisons with the best.
    """
    return holm(p[:, best])  # that of the best with itself is NaN


def ranks(values: np.ndarray) -> np.ndarray:
    """[columns, k] -> ranks of each column's methods, 1 the highest value; equal values share the mean of theirs."""
    return stats.rankdata(-np.asarray(values, np.float64), axis=-1)


class Friedman(NamedTuple):
    """Whether the average ranks of k methods over n columns differ by more than chance."""

    n: int
    k: int
    chi2: float
    f: float  # Iman and Davenport's
    p: float  # of f
    critical: float  # difference of average ranks, Nemenyi's at 5 %


def friedman(values: np.ndarray) -> Friedman | None:
    """Friedman's test in Iman and Davenport's form, and Nemenyi's critical difference.

    Demšar 2006, Statistical comparisons of classifiers over multiple data sets, sections 3.2.2 and 3.2.3; ties as in
    scipy.stats.friedmanchisquare.

    Args:
      values: [columns, k], all known.

    Returns:
      None below two columns or three methods, or where all methods tie in every column.
    """
    values = np.asarray(values, np.float64)
    n, k = values.shape
    if n < 2 or k < 3 or not np.ptp(values, axis=1).any():
        return None
    chi2 = float(stats.friedmanchisquare(*values.T).statistic)
    left = n * (k - 1) - chi2
    f = (n - 1) * chi2 / left if left > 1e-9 * n * k else np.inf  # the columns agree on every rank
    p = float(stats.f.sf(f, k - 1, (k - 1) * (n - 1)))
    return Friedman(n, k, chi2, float(f), p, critical_difference(n, k))


def critical_difference(n: int, k: int) -> float:
    """By how much the average ranks of two of k methods over n columns must differ (Nemenyi, 5 %; Demšar 2006)."""
    return float(stats.studentized_range.ppf(CONFIDENCE, k, np.inf) / np.sqrt(2) * np.sqrt(k * (k + 1) / (6 * n)))


class Wilcoxon(NamedTuple):
    """Every two methods over the columns, [k, k]; NaN on the diagonal, and where a pair ties in every column."""

    p: np.ndarray  # two-sided
    p_holm: np.ndarray  # over all k (k - 1) / 2 pairs


def wilcoxon(values: np.ndarray) -> Wilcoxon:
    """Wilcoxon's signed-rank tests of every two methods over columns, adjusted by Holm's method over all pairs.

    Benavoli, Corani and Mangili 2016, Should we really use post-hoc tests based on mean-ranks?: in Nemenyi's test two
    methods are told apart or not by what others are in the table; here a pair's own p value is of the two alone.
    Columns without a difference are left out (Wilcoxon 1945). Where no two differences are of one size p is exact, else
    of the normal distribution, corrected for ties, without a correction for continuity.

    Args:
      values: [columns, k], all known, at least two columns.
    """
    k = values.shape[1]
    p = np.full((k, k), np.nan)
    for i in range(k):
        for j in range(i):
            p[i, j] = p[j, i] = _signed_rank(values[:, i] - values[:, j])
    pairs_ = np.tril_indices(k, -1)
    adjusted = np.full((k, k), np.nan)
    adjusted[pairs_] = adjusted[pairs_[::-1]] = holm(p[pairs_])
    return Wilcoxon(p, adjusted)


def _signed_rank(differences: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's test that differences are symmetric about 0; NaN where all are 0."""
    left = differences[differences != 0]
    if not len(left):
        return np.nan
    untied = len(np.unique(np.abs(left))) == len(left)
    method = "exact" if untied and len(left) <= EXACT else "asymptotic"
    return float(stats.wilcoxon(left, zero_method="wilcox", correction=False, method=method).pvalue)


EXACT = 50
"""Up to so many columns the distribution of signed ranks is counted out."""


def cliques(average: np.ndarray, critical: float) -> list[tuple[int, int]]:
    """(first, last) positions, in rising order of average ranks, of the largest groups no further apart."""
    average = np.sort(average)
    found = []
    for first in range(len(average)):
        last = int(np.searchsorted(average, average[first] + critical, side="right")) - 1
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def relative_improvement(values: np.ndarray, kd: np.ndarray, student: np.ndarray) -> tuple[float | None, int]:
    """(ARI, columns it is over): the mean over columns of (value - kd) / (kd - student), a fraction.

    How much of what kd gains a method gains on top. The formula is that of the average relative improvement in CRD
    (Tian, Krishnan and Isola 2020, arXiv:1910.10699): the mean over pairs i of (CRD_i - KD_i) / (KD_i - vanilla_i), 57
    percent over the pairs of its tables 1 and 2, as tests/report/test_ranks.py computes from these. The ARI of SimKD
    (Chen et al. 2022, arXiv:2203.14001) is the same of SimKD over each other method in KD's place; here kd is there in
    all rows. A column where kd is no better than the student has no such ratio, and is left out; None without any.
    """
    values, kd, student = (np.asarray(each, np.float64) for each in (values, kd, student))
    gained = kd - student
    used = np.isfinite(values) & (gained > 0)
    return (float(np.mean((values[used] - kd[used]) / gained[used])), int(used.sum())) if used.any() else (None, 0)
