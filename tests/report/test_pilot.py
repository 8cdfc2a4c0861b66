"""--seeds=until: seeds that are compared nowhere decide how many it takes, and the test keeps its error rate."""

import numpy as np
import pytest
from scipy import stats

from kdjax.cli import until
from kdjax.cli.until import Design
from kdjax.report import pilot, power, table
from kdjax.runs.task import CLASSIFICATION
from tests import tiny
from tests.report.test_table import line


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("until:0.5", Design(0.005, 20, 5)),
        ("until:0.5,max=12", Design(0.005, 12, 5)),
        ("until:2,pilot=3,max=40", Design(0.02, 40, 3)),
    ],
)
def test_what_is_asked_for(text, asked):
    assert until.design(text, "%") == asked
    assert asked.seeds == tuple(range(2000, 2000 + asked.pilot))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("until:", "percentage points from 0 to 100"),
        ("until:0", "sees a difference of 0"),
        ("until:0.5,most=3", "'most=3' is not understood; the form is until:"),
        ("until:0.5,max=1", "max is from 2 to 1000, got 1"),
        ("until:0.5,pilot=5000", "pilot is from 2 to 1000, got 5000"),
    ],
)
def test_what_cannot_be_is_refused(text, told):
    with pytest.raises(ValueError, match=told):
        until.design(text, "%")


def lines(differences, baseline=0.8):
    """Of an experiment in which kd differs from the student by these."""
    found = []
    for seed, difference in enumerate(differences):
        found += [line("student", seed, baseline), line("kd", seed, baseline + difference)]
    return found


def test_as_many_seeds_as_the_spread_takes():
    differences = [0.01, 0.03, -0.01, 0.02, 0.0]
    std = float(np.std(differences, ddof=1))
    for difference in (0.01, 0.02, 0.05):
        expected = power.seeds(difference, std)
        assert pilot.needed(lines(differences), difference, 1000) == expected
        assert pilot.needed(lines(differences), difference, 4) == min(expected, 4)
    for unknown in ([0.01], [0.25, 0.25]):
        with pytest.raises(ValueError, match="two seeds that differ"):
            pilot.needed(lines(unknown, 0.5), 0.01, 20)


def test_seeds_are_the_configs_own_then_those_that_follow():
    assert until.chosen((5, 6, 7), 2) == (5, 6)
    assert until.chosen((5, 6, 7), 5) == (5, 6, 7, 8, 9)


@pytest.mark.parametrize("seeds", [(2001,), (1998, 1999)])
def test_no_seed_of_the_pilot_is_compared(seeds, tmp_path):
    """Nor one that the config's own are continued with."""
    config = tiny.config(epochs=1)
    config.seeds = seeds
    with pytest.raises(ValueError, match=r"both have 200\d.*: a pilot compares nothing"):
        until.decided("until:1,max=4", config, tmp_path, (), lambda: 0)
    assert not list(tmp_path.iterdir())


def test_the_test_keeps_its_error_rate_and_its_power():
    """Twenty thousand experiments whose pilot of five decides; fresh seeds are tested."""
    rng, repetitions, most = np.random.default_rng(0), 20_000, 40
    spread = rng.standard_normal((repetitions, 5)).std(1, ddof=1)
    effects = np.array([power.effect(n) for n in range(2, most + 1)])
    number = 2 + (1.0 / spread[:, None] < effects).sum(1).clip(max=most - 2)  # as power.seeds(1.0, spread) has it
    assert [power.seeds(1.0, std) for std in spread[:50]] == list(number[:50])
    values = rng.standard_normal((repetitions, most))
    for shift, low, high in ((0.0, 0.047, 0.053), (1.0, 0.69, 1.0)):
        rejected = []
        for n in np.unique(number):
            rejected += list(stats.ttest_1samp(values[number == n, :n] + shift, 0, axis=1).pvalue < 0.05)
        assert low < np.mean(rejected) < high


def test_the_protocol_tells(tmp_path):
    told = {"difference": 0.005, "most": 20, "needed": 7, "seeds": 5}
    ((title, text),) = pilot.paragraph({"pilot": told}, CLASSIFICATION)
    assert title == "Seeds"
    assert "0.5 points in top-1" in text
    assert "at most 20: 7, by the median spread of paired differences over the 5 seeds of a pilot" in text
    assert pilot.paragraph({"pilot": {}}, CLASSIFICATION) == []
    assert pilot.paragraph({}, CLASSIFICATION) == []
    made = lines([0.01, 0.02])
    for each in made:
        each["config"]["pilot"] = told
    assert "Seeds. The number of seeds is what" in " ".join(table.markdown(made).replace("**", "").split())


def test_from_the_command_line(kdjax, tmp_path):
    given = ("--config=tests/tiny_config.py", "--config.student.model=tests.tiny.LogitsOnly", "--config.epochs=1")
    status, printed, err = kdjax("run", *given, "--seeds=until:90,max=3,pilot=3", f"--out={tmp_path}")
    assert status == 0, err
    assert "tiny-pilot, it takes 2 seeds (at most 3): 0, 1" in printed
    assert "over the 3 seeds of a pilot" in " ".join(printed.split())
    seeds = {path.name for path in (tmp_path / "tiny").glob("student/seed*")}
    assert seeds == {"seed0", "seed1"}
    assert {path.name for path in (tmp_path / "tiny-pilot").glob("student/seed*")} == {
        f"seed{2000 + n}" for n in range(3)
    }
    assert not (tmp_path / "tiny-pilot" / "teacher").exists()  # that of the experiment
    status, _, err = kdjax("run", *given, "--seeds=until:90", "--dry-run", f"--out={tmp_path}")
    assert status == 2
    assert "leave out --dry-run" in err
