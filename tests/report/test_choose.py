"""kdjax choose: intervals against SciPy, the front against its definition, what is chosen by hand, what is refused."""

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from kdjax.report import choose, statistics
from kdjax.report.choose import Wanted, candidates
from kdjax.report.choose.case import Candidate
from kdjax.report.plots import front
from tests.fabricated import LOWER, fabricate, regress, set_top1
from tests.report.test_table import MODEL, experiment, tiny_runs, write_runs

ROOT = Path(__file__).parents[2]
KEEP = Wanted(0.95, {})


def runs(folder, lines=None, name="tiny"):
    return write_runs(folder / name, tiny_runs() if lines is None else lines)


def sizes(path, *rows):
    """A sizes.csv of rows (student, file, n, top1, top1_std, bytes, flops, ms)."""
    lines = ["student,file,n,top1,top1_std,bytes,flops,ms", *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines))


def test_candidates_whose_bound_is_below_0_are_counted(tmp_path):
    lines = tiny_runs()
    for line, top1 in zip([one for one in lines if one["config"]["method"] == "kd"], (0.01, 0.3, 0.02), strict=True):
        line["result"]["last"]["top1"] = top1
    made = choose.choose([runs(tmp_path, lines)], KEEP)
    assert min(each.lowest for each in made.candidates) < 0
    assert "None qualifies: of 2 the best" in choose.verdict(made)
    bounds = [row[4] for row in choose.table(made)[1:]]
    assert any(bound.startswith("\N{MINUS SIGN}") for bound in bounds)
    assert not any("-" in bound for bound in bounds)


def test_the_bound_is_that_of_a_one_sided_interval(tmp_path):
    made = choose.choose([runs(tmp_path)], KEEP)
    kd = next(each for each in made.candidates if each.row == "kd")
    ratios = np.array([0.85, 0.88, 0.87]) / 0.98
    assert kd.kept == pytest.approx(ratios.mean())
    assert kd.lowest == pytest.approx(stats.ttest_1samp(ratios, 0, alternative="greater").confidence_interval(0.95).low)
    assert made.chosen is None
    assert "None qualifies: of 2 the best, tiny: kd, network, keeps at least 85.8 %" in choose.verdict(made)
    assert choose.choose([tmp_path / "tiny"], Wanted(0.85, {})).chosen == kd


def test_the_bound_keeps_its_error_rate_by_simulation():
    """Of students that keep exactly 95 %, one of twenty is said to keep more."""
    rng, trials = np.random.default_rng(4), 4000
    values = rng.normal(0.95, 0.01, (trials, 5))
    passed = sum(statistics.lower_bound(row.mean(), row.std(ddof=1), 5) >= 0.95 for row in values)
    low, high = stats.binom.ppf([0.001, 0.999], trials, 0.05)
    assert low <= passed <= high
    assert statistics.lower_bound(0.9, None, 1) is None


def test_less_is_better(tmp_path):
    """An error of 0.1 against a teacher's 0.098 keeps 98 %."""
    lines = regress({"student": 0.7, "kd": 0.9}, LOWER, teacher=0.902, spread=0.0001, experiment="tiny")
    for line in lines:
        line["result"]["student"] |= MODEL
    made = choose.choose([runs(tmp_path, lines)], KEEP)
    assert made.chosen.row == "kd"
    assert made.chosen.kept == pytest.approx(0.98, abs=0.003)
    (student,) = (each for each in made.candidates if each.row == "student")
    assert student.kept == pytest.approx(0.098 / 0.3, abs=0.003)


def test_the_front_is_what_nothing_beats():
    rng = np.random.default_rng(6)
    blank = Candidate("x", "a", "a", "int8", (), 3, 0, 0.1, 0, 0, 0, 0, "runs/x")
    made = [
        replace(blank, mean=float(m), bytes=float(b), ms=float(t), flops=float(f))
        for m, b, t, f in rng.integers(0, 4, (30, 4))
    ]
    cost = lambda each: (-each.mean, each.bytes, each.ms, each.flops)  # noqa: E731
    for each in candidates._front(made, True):
        beaten = any(
            all(a <= b for a, b in zip(cost(other), cost(each), strict=True)) and cost(other) != cost(each)
            for other in made
        )
        assert each.front != beaten
    unknown = candidates._front([replace(blank, ms=None, mean=1.0), replace(blank, ms=5.0, mean=1.0)], True)
    assert [each.front for each in unknown] == [False, True]


def test_the_smallest_form_within_the_limits_is_chosen(tmp_path):
    folder = runs(tmp_path)
    sizes(
        folder / "sizes.csv",
        ("student", "int8", 3, 0.94, 0.001, 1000, 20000, 2.0),
        ("student", "float32", 3, 0.96, 0.001, 4000, 20000, 1.0),
        ("kd", "int8", 3, 0.95, 0.001, 1005, 20000, 2.0),
        ("kd", "float32", 3, 0.97, 0.2, 4000, 20000, 1.0),
    )
    made = choose.choose([folder], KEEP)
    assert (made.chosen.row, made.chosen.form) == ("kd", "int8")  # half a percent larger, and surer
    assert choose.command(made.chosen).startswith(f"kdjax sizes {folder}/kd/seed0 ")
    faster = choose.choose([folder], Wanted(0.95, {"ms": 1.5}))
    assert (faster.chosen.row, faster.chosen.form) == ("student", "float32")
    assert choose.command(faster.chosen) == f"kdjax export {folder}/student/seed0 student.onnx"
    sizes(folder / "sizes.csv", ("kd", "LiteRT int8", 3, 0.97, 0.001, 900, 20000, 1.0))
    phone = choose.choose([folder], KEEP).chosen
    assert choose.command(phone) == (
        f"kdjax sizes {folder}/kd/seed0 --tflite    # writes {folder}/kd/seed0/student-int8.tflite"
    )
    plain = choose.command(replace(phone, form="LiteRT float32"))
    assert plain == f"kdjax export {folder}/kd/seed0 student.tflite"
    none = choose.choose([folder], Wanted(0.95, {"bytes": 10.0}))
    assert none.chosen is None
    assert "no candidate has a known cost of at most 0.01 KB" in choose.verdict(none)
    other = choose.choose([folder], KEEP, "f1")
    assert {each.form for each in other.candidates} == {"network"}
    assert any("top-1 alone" in note for note in other.notes)


def test_the_seed_that_ships_is_chosen_on_validation(tmp_path):
    lines = tiny_runs()
    for line in lines:
        best = line["run"] == "kd/seed2"
        line["history"][-1]["validation_top1"] = 0.9 if best else 0.3
    made = choose.choose([runs(tmp_path, lines)], Wanted(0.5, {}))
    assert {each.row: each.seed for each in made.candidates} == {"student": 0, "kd": 2}


def test_students_of_several_experiments_keep_of_the_best_teacher(tmp_path):
    paths = []
    for name, teacher in (("one", 0.98), ("two", 0.90)):
        lines = tiny_runs()
        for line in lines:
            line["config"]["experiment"] = name
            if line["config"]["method"] == "teacher":
                line["result"]["last"]["top1"] = teacher
            else:
                line["result"]["teacher"] = line["result"]["teacher"] | {"top1": teacher}
        paths.append(runs(tmp_path, lines, name))
    made = choose.choose(paths, KEEP)
    assert made.teacher == ("convnet of one", 0.98)
    assert len(made.candidates) == 4


def test_a_single_seed_has_no_interval(tmp_path):
    lines = [line for line in tiny_runs() if line["run"].endswith("seed0")]
    made = choose.choose([runs(tmp_path, lines)], KEEP)
    assert made.chosen is None
    assert "no candidate has two seeds or more" in choose.verdict(made)


def test_everything_is_written_and_printed(tmp_path, kdjax):
    folder = tmp_path / "digits_small"
    folder.mkdir()
    for name in ("runs.jsonl", "sizes.csv"):
        shutil.copy(ROOT / "results/digits_small" / name, folder)
    status, out, err = kdjax("choose", folder, "--max-kb=100", f"--out={tmp_path}/made")
    assert (status, err) == (0, "")
    assert out.splitlines()[-1].startswith("kdjax sizes runs/digits_small/kd_qat/seed")
    written = {path.name for path in (tmp_path / "made").iterdir()}
    assert written == {"choose.md", "choose.csv", "front.png", "front.svg", "front.pdf"}
    assert "kd_qat, int8: the smallest of 10" in (tmp_path / "made/choose.md").read_text()


def test_the_picture_has_a_panel_for_every_known_cost(tmp_path):
    made = choose.choose([runs(tmp_path)], Wanted(0.85, {"bytes": 5000.0}))
    assert [axes.get_xlabel() for axes in front.front(made).axes] == ["KB", "ms", "MFLOPs"]
    bare = replace(made, candidates=[replace(each, ms=None, flops=None) for each in made.candidates])
    assert [axes.get_xlabel() for axes in front.front(bare).axes if axes.get_visible()] == ["KB"]
    assert front.front(replace(made, candidates=[])) is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--keep=95"], "--keep is a share of the teacher's score, like 0.95"),
        (["--max-kb=0"], "--max-kb is a number above 0"),
        (["--metric=f2"], "--metric=f2: the results have no such score; valid are ece, f1"),
        (["--sizes", "README.md"], "README.md is no sizes.csv"),
    ],
)
def test_bad_options(options, told, tmp_path, kdjax, monkeypatch):
    monkeypatch.chdir(ROOT)
    status, _, err = kdjax("choose", runs(tmp_path), *options)
    assert status == 2
    assert told in err


def test_other_data_is_refused(tmp_path):
    paths = []
    for name, data in itertools.product(("a",), ("Digits", "Flowers")):
        lines = fabricate(experiment=f"{name}{data}", seeds=2)
        for line in lines:
            line["result"]["dataset"] = data
        paths.append(runs(tmp_path, set_top1(lines), f"{name}{data}"))
    with pytest.raises(ValueError, match="different data, and their students do not compare"):
        choose.choose(paths, KEEP)


def test_without_a_teacher_nothing_is_kept(tmp_path):
    lines = [line for line in tiny_runs() if line["run"].startswith("student")]
    for line in lines:
        line["result"]["teacher"] = None
        line["config"]["teacher"] = {**line["config"]["teacher"], "model": ""}
    config = experiment(methods=("student",))
    config["teacher"]["model"] = ""
    with pytest.raises(ValueError, match="no teacher's top-1 is known"):
        choose.choose([write_runs(tmp_path / "x", lines, config)], KEEP)
