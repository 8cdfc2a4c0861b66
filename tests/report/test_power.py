"""What a test could have seen: power, differences and seeds against statsmodels, closed forms, simulation."""

import math
import re

import numpy as np
import pytest
from scipy import stats

from kdjax import cli
from kdjax.report import power, table
from kdjax.report.power import Spread
from kdjax.report.statistics import paired
from tests.report.test_table import STUDENT, by_row, experiment, line, markdown_rows, tiny_runs

# statsmodels 0.15.0, statsmodels.stats.power.TTestPower:
# solve_power(nobs=n, alpha=0.05, power=0.8), power(0.5, n, 0.05)
DETECTABLE = {
    2: (11.549889754978167, 0.06194860668713362),
    3: (3.264043552819638, 0.0841070558963894),
    5: (1.6819970833232674, 0.140516689990298),
    10: (0.9960019107624178, 0.2931756065140767),
    20: (0.6604416544380312, 0.5645044184390203),
    50: (0.4041829997377859, 0.9338975812613689),
}
# the same, solve_power(effect_size=d, alpha=0.05, power=0.8): seeds as a real number
SEEDS = {
    0.1: 786.808940181792,
    0.2: 198.150820955562,
    0.5: 33.36713118431779,
    0.8: 14.30276455812943,
    1.3157894736842106: 6.696022293994655,
}


@pytest.mark.parametrize("n", DETECTABLE)
def test_power_is_that_of_statsmodels(n):
    effect, of_half = DETECTABLE[n]
    assert power.detectable(n, 0.3) == pytest.approx(0.3 * effect, rel=1e-6)
    assert power.power(n, 0.5) == pytest.approx(of_half, rel=1e-9)


@pytest.mark.parametrize("effect", SEEDS)
def test_seeds_are_those_of_statsmodels(effect):
    assert power.seeds(0.02 * effect, 0.02) == math.ceil(SEEDS[effect])


def test_seeds_are_the_fewest():
    for effect in (0.05, 0.3, 1.0, 2.0, 3.0, 11.0):
        n = power.seeds(effect, 1.0)
        assert power.power(n, effect) >= power.POWER > power.power(n - 1, effect)
    assert power.seeds(1.0, 1e-9) == 2
    # of many seeds the test is the normal one: n = (z_0.975 + z_0.8)^2 / effect^2
    normal = (stats.norm.isf(0.025) + stats.norm.isf(0.2)) ** 2
    assert power.seeds(1e-6, 1.0) == pytest.approx(normal * 1e12, rel=1e-5)


def test_a_detectable_difference_is_detected_by_simulation():
    rng, trials, n = np.random.default_rng(2), 2000, 5
    true = power.detectable(n, 0.004)
    seen = 0
    for _ in range(trials):
        base = 0.9 + rng.normal(0, 0.02, n)
        values = base + rng.normal(true, 0.004, n)
        seen += paired(dict(enumerate(values)), dict(enumerate(base)))["p"] < 0.05
    low, high = stats.binom.ppf([0.001, 0.999], trials, power.POWER)
    assert low <= seen <= high


def test_the_interval_of_a_spread_by_simulation():
    """It holds the true one in 95 % of cases; that of the median over methods with one baseline in no fewer."""
    rng, trials, n = np.random.default_rng(3), 2000, 5
    rows = rng.normal(0, 1, (trials, 11, n)) - rng.normal(0, 1, (trials, 1, n))
    stds = rows.std(-1, ddof=1)
    held = {"one": 0, "median": 0}
    for of_trial in stds:
        records = [{"pairs": n, "difference_std": std} for std in of_trial]
        for name, spread in (("one", power.typical(records[:1])), ("median", power.typical(records))):
            low, high = power.interval(n, spread.std)
            held[name] += low <= math.sqrt(2) <= high
    least, most = stats.binom.ppf([0.001, 0.999], trials, 0.95)
    assert least <= held["one"] <= most
    assert held["median"] >= least


def test_the_spread_of_a_table_is_of_those_with_the_most_seeds():
    known = [{"pairs": pairs, "difference_std": std} for pairs, std in ((5, 0.3), (5, 0.1), (2, 9.0), (5, 0.2))]
    nothing = [{"pairs": 1, "difference_std": None}, {"pairs": None, "difference_std": None}]
    assert power.typical(known + nothing) == Spread(5, 0.2, 3)
    assert power.typical(nothing) is None


@pytest.mark.parametrize(("n", "std"), [(0, None), (1, None), (5, None), (1, 0.1)])
def test_nothing_is_detectable_without_a_spread(n, std):
    assert power.detectable(n, std) is None


# ---- under a table


def test_a_table_says_what_it_could_have_seen():
    runs, std = tiny_runs(), np.std([0.05, 0.06, 0.03], ddof=1)
    record, points = by_row(runs)["kd"], 100 * std * DETECTABLE[3][0]
    assert record["detectable"] == pytest.approx(points / 100, rel=1e-6)
    said = (
        f"Smallest difference that a paired t-test detects with 80 % power, two-sided at 5 %: {points:.2f} percentage "
        f"points, at 3 seeds and a standard deviation of the paired differences of {100 * std:.2f}, that of the only "
        "method with so many"
    )
    assert said in table.markdown(runs)


def test_what_is_shown_does_not_change_what_could_have_been_seen():
    config = experiment(("student", "kd", "fsp"))
    runs = tiny_runs() + [line("fsp", seed, top1, config) for seed, top1 in enumerate((0.81, 0.85, 0.84))]
    shown = [each for each in runs if each["config"]["method"] != "fsp"]
    assert "the median over 2 methods" in table.markdown(runs, shown)


def test_without_a_spread_there_is_a_dash():
    """A single seed, and differences that are all equal."""
    for seeds in ((0,), (0, 1, 2)):
        runs = [line("student", seed, STUDENT[seed]) for seed in seeds]
        runs += [line("kd", seed, STUDENT[seed] + 0.01) for seed in seeds]
        assert "at 5 %: –, as no method has several seeds whose differences vary." in table.markdown(runs)
        assert by_row(runs)["kd"]["detectable"] is None
    assert "Smallest" not in table.markdown(runs[:3])  # no method to compare


# ---- kdjax plan


@pytest.fixture
def plan(tmp_path, kdjax):
    """Rows of the printed plan of lines of runs.jsonl: first cell -> the others."""

    def rows(runs, *arguments):
        table.write_texts(runs, tmp_path)
        status, out, err = kdjax("plan", tmp_path, *arguments)
        assert (status, err) == (0, "")
        cells = [re.split(r" {2,}", line.strip()) for line in out.splitlines()]
        return {name: of_row for name, *of_row in cells if len(of_row) == 4}

    return rows


def test_plan_tells_seeds_and_their_uncertainty(plan):
    d = np.array([0.05, 0.06, 0.03])
    bounds = d.std(ddof=1) * np.sqrt(2 / stats.chi2.ppf([0.975, 0.025], 2))
    needed, least, most = (power.seeds(0.02, std) for std in (d.std(ddof=1), *bounds))
    expected = [
        "3",
        f"{100 * d.std(ddof=1):.2f} [{100 * bounds[0]:.2f}, {100 * bounds[1]:.2f}]",
        f"{100 * d.std(ddof=1) * DETECTABLE[3][0]:.2f}",
        f"{needed} [{least}, {most}]",
    ]
    assert plan(tiny_runs(), "--detect=2") == {
        "method": ["n", "std [95 %]", "detects", "seeds [95 %]"],
        "kd": expected,
        "median of 1 method": expected,
    }


def test_plan_has_dashes_for_what_is_not_known(plan):
    runs = [line("student", 0, 0.8), line("kd", 0, 0.85)]
    rows = plan(runs, "--detect=0.5")
    assert (rows["kd"], rows["median"]) == (["1", "–", "–", "–"], ["–"] * 4)


@pytest.mark.parametrize("given", ["0", "-1", "nan", "inf", "101", "much", ""])
@pytest.mark.parametrize("command", ["plan --detect", "table --rope"])
def test_points_that_are_none_are_refused(kdjax, tmp_path, command, given):
    if (command, given) == ("table --rope", "0"):
        return  # equal is then nothing
    table.write_texts(tiny_runs(), tmp_path)
    name, option = command.split()
    status, _, err = kdjax(name, tmp_path, f"{option}={given}")
    assert status == 2
    assert f"{option} takes" in err
    assert "Traceback" not in err


def test_plan_needs_a_difference(capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["plan", "runs/digits"])
    assert exit_.value.code == 2
    assert "--detect" in capsys.readouterr().err


def test_probabilities_are_shown_on_request(kdjax, tmp_path):
    runs = tiny_runs()
    assert "better" not in table.markdown(runs)
    mean = stats.t(2, 14 / 3, 100 * np.std([0.05, 0.06, 0.03], ddof=1) / np.sqrt(3))
    for rope in (1.0, 4.0):
        better, worse = mean.sf(rope), mean.cdf(-rope)
        cells = [f"{100 * share:.1f}" for share in (better, 1 - better - worse, worse)]
        text = table.markdown(runs, rope=rope / 100)
        assert markdown_rows(text)["kd"] == cells
        assert f"more than {rope:g} percentage point{'s' * (rope > 1)} above that of student (better)" in text
    table.write_texts(runs, tmp_path)
    for option, said in (("--bayes", "1 percentage point "), ("--rope=4", "4 percentage points ")):
        status, out, _ = kdjax("table", tmp_path, option)
        assert status == 0
        assert f"more than {said}above that of student" in " ".join(out.split())


@pytest.mark.parametrize("n", [2, 3, 10, 30])
def test_the_effects_that_are_written_down_are_those_that_are_computed(n):
    assert power.EFFECTS[n - 2] == pytest.approx(power.solved(n), rel=1e-9)
    assert len(power.EFFECTS) == 29
    assert sorted(power.EFFECTS, reverse=True) == list(power.EFFECTS)


def test_more_seeds_than_are_written_down():
    assert power.effect(31) == power.solved(31) < power.effect(30)
