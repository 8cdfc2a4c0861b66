"""Mean, spread and significance over seeds. What cannot be computed is None and shown as a dash, never a number."""

import math

import numpy as np

CONFIDENCE = 0.95


def summary(values) -> dict:
    """{"n", "mean", "std"} of one value a seed; std is the sample standard deviation, None for fewer than two."""
    values = np.asarray(list(values), np.float64)
    return {
        "n": len(values),
        "mean": float(values.mean()) if len(values) else None,
        "std": float(values.std(ddof=1)) if len(values) > 1 else None,
    }


def lower_bound(mean: float, std: float | None, n: int) -> float | None:
    """The lower end of the one-sided 95 % t interval of a mean; None where the spread is not known."""
    if std is None or n < 2:
        return None
    from scipy import special  # slow to import

    return mean - float(special.stdtrit(n - 1, CONFIDENCE)) * std / math.sqrt(n)


def paired(values: dict, baseline: dict) -> dict:
    """The difference to the baseline over the seeds that both have, with a paired t-test.

    Args:
      values, baseline: seed -> value.

    Returns:
      n, the common seeds; difference, its mean; difference_std, the sample standard deviation of the differences;
      low and high, the 95 % confidence interval of their mean; p, two-sided, as of scipy.stats.ttest_rel. All but n
      are None without a common seed; all but n and difference also with a single one and where all differences are
      equal, as then nothing is known of their spread.
    """
    seeds = sorted(values.keys() & baseline.keys())
    result = {"n": len(seeds), **dict.fromkeys(("difference", "difference_std", "low", "high", "p"))}
    if not seeds:
        return result
    ours, theirs = (np.array([source[seed] for seed in seeds], np.float64) for source in (values, baseline))
    differences = ours - theirs
    result["difference"] = float(differences.mean())
    if len(seeds) < 2 or np.ptp(differences) <= 1e-12 * np.abs(np.concatenate([ours, theirs])).max():
        return result
    std = float(differences.std(ddof=1))
    if not 0 < std < np.inf:  # of numbers that double precision cannot square
        return result
    from scipy import special  # as slow to import as a table is to make, scipy.stats three times so

    mean, n = np.mean(differences), np.float64(len(seeds))
    error = np.sqrt(np.mean((differences - mean) ** 2) * (n / (n - 1)) / n)  # to the bit that of scipy.stats.ttest_rel
    quantile = special.stdtrit(n - 1, np.array([(1 - CONFIDENCE) / 2, 1 - (1 - CONFIDENCE) / 2]))
    low, high = quantile * error + mean
    found = {"difference_std": std, "low": low, "high": high, "p": 2 * special.stdtr(n - 1, -abs(mean / error))}
    return result | {name: float(value) for name, value in found.items()}


def holm(p) -> np.ndarray:
    """p values of one family, of any shape, adjusted by Holm's step-down method; None and NaN are no members of it.

    Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    p = np.asarray(p, np.float64)  # None is NaN there
    flat = np.ravel(p)
    order = np.argsort(flat, kind="stable")[: np.isfinite(flat).sum()]
    stepped = np.maximum.accumulate((len(order) - np.arange(len(order))) * flat[order])
    adjusted = np.full(flat.shape, np.nan)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted.reshape(p.shape)


def known(value) -> float | None:
    """A number, or None for NaN."""
    return float(value) if np.isfinite(value) else None
