"""kdjax doctor: each check on runs made so that it must speak, and on others where it must not."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from kdjax.report import doctor, records, statistics
from kdjax.report.doctor import learning, teaching
from kdjax.report.doctor.case import FINE, FOUND, UNKNOWN, Case, cases
from kdjax.runs import predictions
from tests.fabricated import LOWER, diverge, fabricate, regress, set_top1
from tests.report.test_table import line, tiny_runs, write_runs

ROOT = Path(__file__).parents[2]


def verdict(lines, check, soft=None):
    (experiment,) = records.selected(lines)
    return check(Case(experiment, soft))


def taught(lines, top1=0.99, **model):
    """The lines with another teacher."""
    for each in lines:
        each["result"]["teacher"] = {"model": "resnet20", "top1": top1, **model}
    return lines


def states(lines) -> dict:
    return {name: said.state for name, said in doctor.examine(cases(lines)[0]).items()}


@pytest.mark.parametrize(
    ("top1", "state", "told"),
    [
        (0.89, FOUND, "no better than student: 89.00 % against 89.85 %"),
        (0.902, FOUND, "no difference below"),
        (0.99, FINE, "ahead of student"),
    ],
)
def test_a_teacher_no_better_than_the_student(top1, state, told):
    said = verdict(taught(fabricate(), top1), teaching.ahead)
    assert said.state == state
    assert told in said.said
    assert bool(said.advice) == (state == FOUND)


def test_a_teacher_weaker_than_a_student_where_less_is_better():
    lines = regress({"student": 0.7, "kd": 0.9}, LOWER, teacher=0.8)  # errors of 0.3, 0.1 and 0.2
    said = verdict(lines, teaching.beaten)
    assert said.state == FOUND
    assert "at 0.2000, is weaker than kd (0.0998)" in said.said
    assert verdict(lines, teaching.ahead).state == FINE
    assert verdict(regress({"student": 0.7}, LOWER, teacher=0.6), teaching.ahead).state == FOUND


def test_a_student_larger_than_its_teacher():
    lines = tiny_runs()
    assert verdict(lines, teaching.larger).said == "No student has more than 1,000 parameters, the teacher has 50,000."
    for each in lines[1:]:
        each["result"]["student"]["parameters"] = 60000
    said = verdict(lines, teaching.larger)
    assert said.state == FOUND
    assert "50,000 parameters: student (60,000) and kd (60,000)" in said.said
    assert verdict(fabricate(), teaching.larger).state == UNKNOWN


def test_entropy_is_scipys():
    logits = np.random.default_rng(0).normal(0, 5, (50, 7))
    for temperature in (1.0, 4.0):
        p = np.exp(logits / temperature) / np.exp(logits / temperature).sum(1, keepdims=True)
        expected = stats.entropy(p, axis=1).mean() / math.log(7)
        assert teaching.entropy(logits, temperature) == pytest.approx(expected, rel=1e-12)
    assert teaching.entropy(np.full((3, 7), 800.0), 2.0) == pytest.approx(1)
    assert teaching.entropy(1e4 * np.eye(7), 1.0) == pytest.approx(0)


def test_targets_that_say_nothing():
    sure = 60.0 * np.eye(10)[[0, 3, 5]]
    said = verdict(fabricate(), teaching.soft, sure)  # kd has T = 4: exp(-15) is left for each other class
    assert said.state == FOUND
    assert "0.0 % at T = 4; below 2 % they say as little as labels: kd." in said.said
    assert verdict(fabricate(), teaching.soft, sure / 10).state == FINE
    assert verdict(fabricate(), teaching.soft).state == UNKNOWN
    assert verdict(fabricate({"student": 0.9}), teaching.soft).said == "No row has a term with a temperature."


def test_predictions_of_the_teacher_are_found(tmp_path):
    """In the experiment's directory, and behind config.teacher.run."""
    write_runs(tmp_path / "x", tiny_runs())
    assert doctor.read(tmp_path / "x")[0].soft is None
    for folder in (tmp_path / "x/teacher/seed0", tmp_path / "other/kd/seed1"):
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / predictions.NAME, logits=np.float16(np.eye(3)))
    np.testing.assert_array_equal(doctor.read(tmp_path / "x")[0].soft, np.eye(3))
    lines = tiny_runs()
    for each in lines:
        each["config"]["teacher"] = {**each["config"]["teacher"], "run": str(tmp_path / "other/kd/seed1")}
    assert cases(lines, tmp_path)[0].soft is not None
    for each in lines:
        each["config"]["teacher"]["run"] += "+more"
    assert cases(lines, tmp_path)[0].soft is None


def test_gradients():
    lines = fabricate()
    assert verdict(lines, teaching.sizes).state == verdict(lines, teaching.directions).state == UNKNOWN
    for each in lines[5:10]:
        each["result"] |= {"gradients": {"kd": 3.0, "hint": 90.0}, "cosines": {"kd": 0.5, "hint": -0.3}}
    said = verdict(lines, teaching.sizes)
    assert (said.state, said.said) == (
        FOUND,
        "At the first step, of cross-entropy's, weights included: kd (hint) 90 times.",
    )
    said = verdict(lines, teaching.directions)
    assert (said.state, said.said) == (
        FOUND,
        "At the first step, cosine with cross-entropy's gradient: kd (hint) -0.30.",
    )
    for each in lines[5:10]:
        each["result"] |= {"gradients": {"kd": 3.0}, "cosines": {"kd": 0.5}}
    assert verdict(lines, teaching.sizes).state == verdict(lines, teaching.directions).state == FINE


def test_a_gain_is_that_of_a_least_squares_line():
    rng = np.random.default_rng(1)
    curve = [(epoch, float(value)) for epoch, value in zip(range(1, 21), rng.random(20), strict=True)]
    last = np.array(curve[-5:])
    assert learning.gained(curve) == (pytest.approx(4 * stats.linregress(*last.T).slope), 4)
    assert learning.gained([(1, 0.5), (2, 0.75)]) == (0.25, 1)
    assert learning.gained(curve[:1]) is None


def test_a_lower_bound_is_that_of_a_one_sided_interval():
    values = [0.3, 0.5, 0.1, 0.45]
    expected = stats.t.ppf(0.05, 3, np.mean(values), stats.sem(values))
    assert statistics.lower_bound(np.mean(values), np.std(values, ddof=1), 4) == pytest.approx(expected)
    assert statistics.lower_bound(1.0, None, 1) is None


def test_rows_that_still_rise():
    flat = fabricate(epochs=8)
    for each in flat:
        for row in each["history"]:
            row["test_top1"] = 0.5
    assert verdict(flat, learning.converged).state == FINE
    for each in flat[:5]:
        for row in each["history"]:
            row["test_top1"] = 0.5 + 0.03 * row["epoch"]
    said = verdict(flat, learning.converged)
    assert said.state == FOUND
    assert "over the last 1 epoch, " in said.said
    assert said.said.endswith("in percentage points: student +3.00.")
    for each in flat:
        each["history"] = each["history"][:1]
    assert verdict(flat, learning.converged).state == UNKNOWN


def test_what_diverged_and_what_never_learned():
    lines = fabricate()
    assert verdict(lines, learning.diverged).state == verdict(lines, learning.learned).state == FINE
    diverge(lines[5])
    assert "Diverged: kd (1 seed)." in verdict(lines, learning.diverged).said
    set_top1(lines, dkd=[0.94, 0.15, 0.94, 0.94, 0.94])
    assert verdict(lines, learning.learned).said == "Ended at most 1.5 times chance: dkd seed 1 (15.00 %)."
    other = regress({"student": 0.7}, seeds=2)
    assert verdict(other, learning.learned).state == FINE
    for row in other[1]["history"]:
        row["test_spearman"] = 0.1
    assert "student seed 1" in verdict(other, learning.learned).said
    for each in other:
        for row in each["history"]:
            row["epoch"] += 100  # nobody looked when they began
    assert verdict(other, learning.learned).state == UNKNOWN


@pytest.mark.parametrize(("train", "test", "state"), [(1.0, 1.1, FOUND), (1.0, 2.0, FINE), (0.01, 0.01, FINE)])
def test_capacity(train, test, state):
    lines = fabricate()
    for each in lines:
        each["history"][-1]["loss/cross_entropy"] = train
        each["result"]["last"]["nll"] = test
    said = verdict(lines, learning.capacity)
    assert said.state == state
    assert f"{train:.3g} nats in training (the right class gets {100 * math.exp(-train):.0f} %" in said.said


def test_splits_that_disagree():
    methods = {f"m{i}": 0.9 for i in range(5)} | {"student": 0.9}
    lines = fabricate(methods, seeds=2)
    assert verdict(lines, learning.splits).state == UNKNOWN

    def both(validation, test):
        for i, each in enumerate(lines):
            last = each["history"][-1]
            last["validation_top1"], last["test_top1"] = validation[i // 2], test[i // 2]
        return verdict(lines, learning.splits)

    rising = np.linspace(0.9, 0.91, 6)
    said = both(rising, rising)
    assert said.state == FINE
    assert "rank correlation of 6 rows is 1.00 (both have student first)" in said.said
    assert both(rising, rising[::-1]).state == FOUND
    said = both(rising + 0.05, rising)
    assert said.state == FOUND
    assert "Validation is +5.00 percentage points from test" in said.said
    data = {
        "classes": 10,
        "names": "",
        "splits": [{"split": s, "examples": 40, "sha256": ""} for s in ("validation", "test")],
    }
    for each in lines:
        each["config"]["identity"] = {"data": data}
    assert both(rising + 0.05, rising).state == FINE  # of 40 examples that is chance


def test_rank_correlation_is_scipys():
    values = np.random.default_rng(3).integers(0, 5, (12, 2)).astype(float)  # with ties
    assert learning.correlation(values) == pytest.approx(stats.spearmanr(*values.T).statistic)
    assert learning.correlation(np.ones((4, 2))) is None


def test_what_could_be_seen():
    same = set_top1(fabricate(), kd=[0.9, 0.91, 0.92, 0.9, 0.91], student=[0.91, 0.9, 0.91, 0.91, 0.9])
    said = verdict([each for each in same if each["config"]["method"] != "dkd"], learning.seen)
    assert said.state == FOUND
    assert "the largest gain, kd's, is +0.20" in said.said
    assert "seeds would see it" in said.advice
    assert "better than the baseline after Holm's correction: kd and dkd" in verdict(fabricate(), learning.seen).said
    assert verdict(fabricate(seeds=1), learning.seen).state == UNKNOWN


def test_a_page_of_any_task(tmp_path, kdjax):
    """All checks speak of an experiment of another task, of a directory and of a runs.jsonl, the found ones first."""
    lines = regress({"student": 0.7, "kd": 0.8})
    assert list(states(lines).values()) == sorted(states(lines).values(), key=[FOUND, FINE, UNKNOWN].index)
    write_runs(tmp_path / "x", tiny_runs())
    status, out, err = kdjax("doctor", tmp_path / "x", f"--out={tmp_path}/made")
    assert (status, err) == (0, "")
    assert "tiny: 2 methods, 3 seeds" in out
    page = (tmp_path / "made/doctor.md").read_text()
    for name in doctor.CHECKS:
        assert name in page


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda folder: None, "there is no such directory or file"),
        (lambda folder: write_runs(folder / "x" / "y", tiny_runs()), "the doctor looks at single ones"),
        (lambda folder: write_runs(folder / "x", [{**line("kd", 0), "result": None}]), "is finished"),
    ],
)
def test_bad_input(made, told, tmp_path, kdjax):
    made(tmp_path)
    status, _, err = kdjax("doctor", tmp_path / "x")
    assert status == 2
    assert told in err


def test_committed_pages_are_what_their_runs_say():
    pages = sorted(ROOT.glob("results/*/doctor.md"))
    assert pages
    for page in pages:
        assert page.read_text() == doctor.HEAD + doctor.markdown(doctor.read(page.with_name("runs.jsonl"))), page
