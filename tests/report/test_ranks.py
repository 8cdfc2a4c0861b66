"""Ranks and comparisons of many methods against SciPy, published tables, closed forms and simulation."""

import itertools

import numpy as np
import pytest
from scipy import stats

from kdjax.report import published, ranks, statistics

VALUES = np.array(
    [
        [0.91, 0.93, 0.94, 0.90, 0.93],
        [0.70, 0.74, 0.73, 0.71, 0.72],
        [0.55, 0.55, 0.60, 0.52, 0.58],
        [0.81, 0.85, 0.88, 0.84, 0.80],
        [0.62, 0.66, 0.65, 0.61, 0.67],
        [0.33, 0.39, 0.41, 0.30, 0.38],
    ]
)
"""[6 columns, 5 methods]"""


def test_pairs_equal_the_tests_one_by_one():
    rng = np.random.default_rng(0)
    values = 0.9 + 0.01 * rng.standard_normal((5, 6))
    values[1, 2:4] = values[2, :5] = np.nan  # row 2 has one seed
    values[4] = values[0] + 0.01  # differs by the same everywhere
    found = ranks.pairs(values)
    seeds = [{s: v for s, v in enumerate(row) if np.isfinite(v)} for row in values]
    for i in range(5):
        for j in range(5):
            one = statistics.paired(seeds[i], seeds[j])
            expected = [one[name] if one[name] is not None else np.nan for name in ("n", "difference", "p")]
            assert [x[i, j] for x in (found.n, found.difference, found.p)] == pytest.approx(expected, nan_ok=True)
            low = np.nan if one["low"] is None else one["low"]
            assert found.difference[i, j] - found.half[i, j] == pytest.approx(low, nan_ok=True)


def test_pairs_without_a_seed_in_common():
    found = ranks.pairs([[1.0, np.nan], [np.nan, 2.0]])
    assert found.n[0, 1] == 0
    assert np.isnan([found.difference[0, 1], found.p[0, 1]]).all()
    assert ranks.pairs(np.zeros((2, 0))).n.tolist() == [[0, 0], [0, 0]]


def test_friedman_equals_scipy():
    found = ranks.friedman(VALUES)
    assert found.chi2 == pytest.approx(stats.friedmanchisquare(*VALUES.T).statistic)
    assert ranks.ranks(VALUES)[:3].tolist() == [[4, 2.5, 1, 5, 2.5], [5, 1, 2, 4, 3], [3.5, 3.5, 1, 5, 2]]  # by hand


def test_friedman_is_the_analysis_of_variance_of_ranks():
    """Iman and Davenport's F is the two-way ANOVA's, columns as blocks, of the ranks."""
    r = ranks.ranks(VALUES)
    n, k = r.shape
    between = n * ((r.mean(0) - r.mean()) ** 2).sum() / (k - 1)
    rest = ((r - r.mean(0) - r.mean(1, keepdims=True) + r.mean()) ** 2).sum() / ((k - 1) * (n - 1))
    found = ranks.friedman(VALUES)
    assert found.f == pytest.approx(between / rest)
    assert found.p == pytest.approx(stats.f.sf(between / rest, k - 1, (k - 1) * (n - 1)))


def test_demsars_example():
    """Demšar 2006, section 3.2.4 and table 6: four variants of C4.5 on 14 data sets."""
    average = np.array([3.143, 2.000, 2.893, 1.964])
    assert ranks.critical_difference(14, 4) == pytest.approx(1.25, abs=0.005)
    assert ranks.cliques(average, 1.25) == [(0, 3)]
    assert ranks.cliques(average, 1.0) == [(0, 2), (2, 3)]


def test_nemenyi_is_that_of_scikit_posthocs():
    """posthoc_nemenyi_friedman of scikit-posthocs 0.17.1 on VALUES."""
    golden = np.array(
        [
            [1.000000, 0.220121, 0.037537, 0.991071, 0.588230],
            [0.220121, 1.000000, 0.949510, 0.078719, 0.968689],
            [0.037537, 0.949510, 1.000000, 0.008987, 0.647427],
            [0.991071, 0.078719, 0.008987, 1.000000, 0.308117],
            [0.588230, 0.968689, 0.647427, 0.308117, 1.000000],
        ]
    )
    average = ranks.ranks(VALUES).mean(0)
    apart = np.abs(average[:, None] - average) > ranks.critical_difference(*VALUES.shape)
    assert (apart == (golden < 0.05)).all()


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (8, 3.031), (10, 3.164)])
def test_critical_values_are_those_of_demsars_table_5(k, q):
    assert ranks.critical_difference(12, k) == pytest.approx(q * np.sqrt(k * (k + 1) / 72), rel=5e-4)


@pytest.mark.parametrize("values", [VALUES[:1], VALUES[:, :2], np.ones((5, 4))])
def test_too_little_for_a_test(values):
    assert ranks.friedman(values) is None


def test_columns_that_agree_on_every_rank():
    found = ranks.friedman(np.tile([0.1, 0.2, 0.3], (5, 1)))
    assert (found.chi2, found.f, found.p) == (pytest.approx(10.0), np.inf, 0.0)


def by_counting(differences) -> float:
    """Two-sided p of the signed-rank test: the share of all signs that are at least as one-sided."""
    signed = stats.rankdata(np.abs(differences)) * np.sign(differences)
    signs = np.array(list(itertools.product([-1, 1], repeat=len(signed))))
    return float(np.mean(np.abs(signs @ np.abs(signed)) >= abs(signed.sum()) - 1e-9))


def test_wilcoxon_counts_all_signs_and_holm_steps_down():
    values = np.random.default_rng(5).normal([0, 0.3, 2, 2.5], 1, (8, 4))
    values[0, :2] = 0.7  # a column in which two methods tie
    found = ranks.wilcoxon(values)
    one_by_one = {}
    for i, j in itertools.combinations(range(4), 2):
        differences = values[:, i] - values[:, j]
        one_by_one[i, j] = by_counting(differences[differences != 0])
        assert found.p[i, j] == found.p[j, i] == pytest.approx(one_by_one[i, j])
    largest = 0.0
    for left, (pair, p) in zip(range(6, 0, -1), sorted(one_by_one.items(), key=lambda item: item[1]), strict=True):
        largest = max(largest, min(1.0, left * p))
        assert found.p_holm[pair] == found.p_holm[pair[::-1]] == pytest.approx(largest)
    assert np.isnan(np.diag(found.p)).all()
    assert (found.p_holm < 0.05).any()


def test_wilcoxon_with_ties_is_normal():
    differences = np.array([0.01, 0.02, 0.02, -0.01, 0.03, 0.02, 0.04, 0.0])
    left = differences[differences != 0]
    r = stats.rankdata(np.abs(left).round(9))
    n, up = len(left), r[left > 0].sum()
    ties = np.unique(r, return_counts=True)[1]
    deviation = np.sqrt(n * (n + 1) * (2 * n + 1) / 24 - (ties**3 - ties).sum() / 48)  # Hollander and Wolfe
    expected = 2 * stats.norm.sf(abs(up - n * (n + 1) / 4) / deviation)
    found = ranks.wilcoxon(np.stack([differences, np.zeros(8), np.zeros(8)], axis=1))
    assert found.p[0, 1] == pytest.approx(expected)
    assert np.isnan(found.p[1, 2])  # they tie in every column
    assert found.p_holm[0, 1] == pytest.approx(2 * expected)


@pytest.mark.parametrize(("average", "critical", "groups"), [
    ([1.0, 2.0, 3.0], 0.5, []),
    ([1.0, 2.0, 3.0], 1.0, [(0, 1), (1, 2)]),
    ([3.0, 1.0, 2.0, 2.1], 1.05, [(0, 1), (1, 3)]),
    ([1.0, 1.5, 2.0], 5.0, [(0, 2)]),
])  # fmt: skip
def test_cliques(average, critical, groups):
    assert ranks.cliques(np.array(average), critical) == groups


def test_error_rate_of_friedman_and_nemenyi_by_simulation():
    """No difference between six methods over eight columns: F rejects in 5 % of cases, and Nemenyi in no more."""
    rng, trials = np.random.default_rng(2), 1000
    tests = [(ranks.friedman(v), np.ptp(ranks.ranks(v).mean(0))) for v in rng.standard_normal((trials, 8, 6))]
    rejected = sum(test.p < 0.05 for test, _ in tests)
    low, high = stats.binom.ppf([0.001, 0.999], trials, 0.05)
    assert low <= rejected <= high
    assert sum(width > test.critical for test, width in tests) <= high


@pytest.mark.parametrize(
    "means", [[0.0] * 3, [0.1] + [0.0] * 11, [0.5] + [0.0] * 5 + [-9.0] * 6, [0.0, 0.0] + [-9.0] * 6]
)
def test_the_truly_best_is_told_from_the_best_of_a_table_in_less_than_5_percent(means):
    rng, trials, wrong, left_out = np.random.default_rng(3), 400, 0, 0
    for _ in range(trials):
        values = np.array(means)[:, None] + rng.standard_normal((len(means), 5)) + rng.standard_normal(5)
        adjusted = ranks.against_best(ranks.pairs(values).p, int(values.mean(1).argmax()))
        wrong += adjusted[0] < 0.05
        left_out += (adjusted[np.array(means) < -1] < 0.05).sum()
    assert wrong <= stats.binom.ppf(0.999, trials, 0.05)
    assert left_out >= 0.95 * trials * sum(mean < -1 for mean in means)  # and what is far worse is told from it


def test_relative_improvement_is_what_crd_states():
    """Tian et al. 2020: CRD has "an average relative improvement of 57 %" over KD, of their tables 1 and 2."""
    pairs = (
        "wrn_40_2 wrn_16_2, wrn_40_2 wrn_40_1, resnet56 resnet20, resnet110 resnet20, resnet110 resnet32, "
        "resnet32x4 resnet8x4, vgg13 vgg8, vgg13 mobilenetv2, resnet50_cifar mobilenetv2, resnet50_cifar vgg8, "
        "resnet32x4 shufflenetv1, resnet32x4 shufflenetv2, wrn_40_2 shufflenetv1"
    )
    cells = [
        [published.lookup("cifar100", *pair.split(), method)["value"] for pair in pairs.split(", ")]
        for method in ("crd", "kd", "student")
    ]
    ari, over = ranks.relative_improvement(*cells)
    assert round(100 * ari) == 57
    assert over == 13


def test_relative_improvement_where_kd_gains_nothing():
    assert ranks.relative_improvement([0.9, 0.8], [0.8, 0.7], [0.7, 0.7]) == (pytest.approx(1.0), 1)
    assert ranks.relative_improvement([0.9], [0.7], [0.8]) == (None, 0)
    assert ranks.relative_improvement([np.nan], [0.8], [0.7]) == (None, 0)
