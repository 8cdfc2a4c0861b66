"""The statistics of the tables against SciPy, closed forms and simulation."""

import numpy as np
import pytest
from scipy import stats

from kdjax.report.statistics import holm, known, paired, summary

OURS = {0: 0.93, 1: 0.95, 2: 0.91, 3: 0.96}
BASE = {0: 0.90, 1: 0.94, 2: 0.915, 3: 0.92}


def test_summary_of_known_values():
    assert summary([1, 2, 3, 4]) == {"n": 4, "mean": 2.5, "std": pytest.approx(np.sqrt(5 / 3))}


def test_paired_test_equals_the_textbook():
    d = np.array([OURS[s] - BASE[s] for s in OURS])
    error = d.std(ddof=1) / 2
    t = d.mean() / error
    half = stats.t.ppf(0.975, 3) * error
    found = paired(OURS, BASE)
    assert found == {
        "n": 4,
        "difference": pytest.approx(d.mean()),
        "difference_std": pytest.approx(d.std(ddof=1)),
        "low": pytest.approx(d.mean() - half),
        "high": pytest.approx(d.mean() + half),
        "p": pytest.approx(2 * stats.t.sf(abs(t), 3)),
    }


def test_only_common_seeds_are_paired():
    assert paired({**OURS, 9: 0.1}, {**BASE, 7: 0.2}) == paired(OURS, BASE)


@pytest.mark.parametrize(
    ("ours", "base", "n", "difference"),
    [
        ({}, BASE, 0, None),
        ({0: 0.9}, BASE, 1, 0.0),
        ({0: 0.95, 1: 0.99}, BASE, 2, 0.05),  # equal differences
        (BASE, BASE, 4, 0.0),
        ({0: 1e-300, 1: 2e-300}, {0: 0.0, 1: 0.0}, 2, 1.5e-300),  # their squares are 0
    ],
)
def test_what_cannot_be_known_is_none(ours, base, n, difference):
    found = paired(ours, base)
    assert found["n"] == n
    assert found["difference"] == (difference if difference is None else pytest.approx(difference))
    assert [found[name] for name in ("difference_std", "low", "high", "p")] == [None] * 4


def test_summary_of_none_and_one():
    assert summary([]) == {"n": 0, "mean": None, "std": None}
    assert summary([0.5]) == {"n": 1, "mean": 0.5, "std": None}


def test_nominal_rate_and_coverage_by_simulation():
    """No difference: rejected in 5 % of cases; a difference: 95 % of the intervals hold it."""
    rng, trials = np.random.default_rng(1), 2000
    rejected = covered = 0
    for _ in range(trials):
        seed_effect = rng.normal(0, 0.02, 5)
        base = dict(enumerate(0.9 + seed_effect + rng.normal(0, 0.003, 5)))
        null = dict(enumerate(0.9 + seed_effect + rng.normal(0, 0.003, 5)))
        better = {seed: value + 0.01 for seed, value in null.items()}
        rejected += paired(null, base)["p"] < 0.05
        found = paired(better, base)
        covered += found["low"] <= 0.01 <= found["high"]
    low, high = stats.binom.ppf([0.001, 0.999], trials, 0.05)
    assert low <= rejected <= high
    assert low <= trials - covered <= high


def test_holm_by_hand():
    adjusted = [known(p) for p in holm([0.01, None, 0.04, 0.03])]
    assert adjusted.pop(1) is None
    assert adjusted == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm([None, None]).shape == (2,)
    table = np.array([[np.nan, 0.01], [0.04, 0.03]])
    assert holm(table) == pytest.approx(holm(table.ravel()).reshape(2, 2), nan_ok=True)
