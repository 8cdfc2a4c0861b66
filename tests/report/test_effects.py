"""Cohen's d_z and its interval against statsmodels and simulation; probabilities against draws of the posterior."""

import math

import numpy as np
import pytest
from scipy import stats

from kdjax.report.effects import ROPE, cohen, posterior
from tests.report.test_table import by_row, line, tiny_runs

# statsmodels 0.15.0, statsmodels.stats.effect_size._noncentrality_t(d √n, n - 1, alpha=0.05).confint, over √n
INTERVALS = {
    (2, 1.3157894736842106): (-0.819580977498635, 3.3481030670542085),
    (5, 1.3157894736842106): (0.040308311037243104, 2.5215588169966474),
    (5, -0.4): (-1.2946770488601596, 0.5382067168368792),
    (10, 0.25): (-0.3867640946564803, 0.8735456186775638),
    (20, 3.0): (1.9499474523757345, 4.03521316433455),
}


@pytest.mark.parametrize(("n", "effect"), INTERVALS)
def test_the_interval_is_that_of_statsmodels(n, effect):
    low, high = INTERVALS[n, effect]
    found = cohen(n, 0.003 * effect, 0.003)
    assert found == {
        "d_z": pytest.approx(effect),
        "d_z_low": pytest.approx(low, rel=1e-5),
        "d_z_high": pytest.approx(high, rel=1e-5),
    }


def test_the_interval_holds_the_true_effect_by_simulation():
    rng, trials, n, effect = np.random.default_rng(4), 1000, 5, 1.2
    held = 0
    for differences in rng.normal(effect, 1, (trials, n)):
        found = cohen(n, differences.mean(), differences.std(ddof=1))
        held += found["d_z_low"] <= effect <= found["d_z_high"]
    low, high = stats.binom.ppf([0.001, 0.999], trials, 0.95)
    assert low <= held <= high


@pytest.mark.parametrize("n", [2, 5, 100])
def test_very_large_effects(n):
    """Where scipy's distribution ends the interval goes on without a step."""
    limit = 1e4 / math.sqrt(n)
    below, above = (cohen(n, effect, 1.0) for effect in (limit * (1 - 1e-9), limit * (1 + 1e-9)))
    assert [above[name] for name in above] == pytest.approx([below[name] for name in below], rel=1e-6)
    huge = cohen(n, -1e9, 1.0)
    assert huge["d_z_low"] < huge["d_z"] == -1e9 < huge["d_z_high"] < 0


def test_probabilities_are_those_of_draws_from_the_posterior():
    """Of the prior 1 / σ: σ² is inverse chi-square, then the mean is normal."""
    n, difference, std, rope, draws = 5, 0.008, 0.006, 0.01, 200_000
    rng = np.random.default_rng(5)
    sigma = std * np.sqrt((n - 1) / rng.chisquare(n - 1, draws))
    means = rng.normal(difference, sigma / math.sqrt(n))
    found = posterior(n, difference, std, rope)
    drawn = {"better": np.mean(means > rope), "equal": np.mean(abs(means) <= rope), "worse": np.mean(means < -rope)}
    for name, share in drawn.items():
        assert found[name] == pytest.approx(share, abs=4 * math.sqrt(0.25 / draws)), name
    assert found["better"] + found["equal"] + found["worse"] == pytest.approx(1)


def test_without_a_region_it_is_the_one_sided_p():
    runs = tiny_runs()
    record = by_row(runs)["kd"]
    found = posterior(record["pairs"], record["difference"], record["difference_std"], 0.0)
    assert found["worse"] == pytest.approx(record["p"] / 2)
    assert found["equal"] == pytest.approx(0, abs=1e-12)


def test_rows_have_them_or_none():
    record = by_row(tiny_runs())["kd"]
    of = (record["pairs"], record["difference"], record["difference_std"])
    assert {**cohen(*of), **posterior(*of, ROPE)}.items() <= record.items()
    single = by_row([line("student", 0, 0.8), line("kd", 0, 0.85)])
    names = ("difference_std", "detectable", "d_z", "d_z_low", "d_z_high", "rope", "better", "equal", "worse")
    for row in (single["kd"], single["student"], by_row(tiny_runs())["student"], by_row(tiny_runs())["teacher"]):
        assert [row[name] for name in names] == [None] * len(names)
