"""kdjax explain: every number against SciPy or scikit-learn or a case by hand, and the page of a run."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import recall_score

from kdjax.files import write_json
from kdjax.report import explain
from kdjax.report.explain import findings, numbers
from kdjax.report.plots import explain as pictures
from kdjax.runs import predictions
from kdjax.tasks.classification import calibration_error
from tests.report.test_table import experiment, line, tiny_runs, write_runs


@pytest.fixture(scope="module")
def logits():
    """(student, teacher) [60, 6], with ties, and labels."""
    rng = np.random.default_rng(8)
    return rng.normal(0, 2, (60, 6)).round(1), rng.normal(0, 2, (60, 6)).round(1), rng.integers(0, 5, 60)


def test_recall_is_scikit_learns(logits):
    student, _, labels = logits
    found = numbers.recall(student, labels)
    expected = recall_score(labels, student.argmax(1), labels=range(5), average=None, zero_division=0)
    assert found[:5] == pytest.approx(expected)
    assert np.isnan(found[5])  # no example is of the last class


def test_changes_agreement_and_copied_errors_by_hand():
    labels = np.array([0, 0, 1, 1])
    named = lambda *classes: np.eye(3)[list(classes)]  # noqa: E731
    teacher, before, after = named(0, 2, 1, 0), named(1, 2, 1, 1), named(0, 2, 0, 1)
    assert numbers.changes(before, after, labels).tolist() == [1, 0, -1, 0]
    assert numbers.agreement(after, teacher) == 0.5
    assert numbers.copied(after, teacher, labels) == 0.5  # of the second and the last example the second
    assert np.isnan(numbers.copied(after, named(0, 0, 1, 1), labels))


def test_reliability_is_the_calibration_error_of_tables(logits):
    student, _, labels = logits
    counts, confidence, accuracy, error = numbers.reliability(student, labels)
    p = np.exp(student) / np.exp(student).sum(1, keepdims=True)
    assert error == pytest.approx(calibration_error(p.max(1), student.argmax(1) == labels))
    assert counts.sum() == 60
    inside = (p.max(1) > 8 / 15) & (p.max(1) <= 9 / 15)
    assert (counts[8], confidence[8]) == (inside.sum(), pytest.approx(p.max(1)[inside].mean()))
    assert accuracy[8] == pytest.approx((student.argmax(1) == labels)[inside].mean())


def test_order_is_scipys(logits, monkeypatch):
    student, teacher, labels = logits
    monkeypatch.setattr(numbers, "CELLS", 200)  # several parts
    ours, theirs = numbers.others(student, labels), numbers.others(teacher, labels)
    assert ours[3].tolist() == [value for k, value in enumerate(student[3]) if k != labels[3]]
    for own, of_scipy in ((numbers.spearman, stats.spearmanr), (numbers.kendall, stats.kendalltau)):
        expected = [of_scipy(a, b).statistic for a, b in zip(ours, theirs, strict=True)]
        assert own(ours, theirs) == pytest.approx(expected)
        assert np.isnan(own(np.ones((1, 4)), theirs[:1, :4])).all()
    assert numbers.order(teacher, teacher, labels) == {"spearman": pytest.approx(1), "kendall": pytest.approx(1)}
    assert numbers.order(-teacher, teacher, labels)["spearman"] == pytest.approx(-1)
    blank = numbers.order(np.ones((60, 6)), teacher, labels)
    assert np.isnan([*blank.values()]).all()
    few = numbers.order(student[:, :3], teacher[:, :3], labels % 3)
    assert np.isnan([*few.values()]).all()


# ---- a run


def kept(folder, run, logits, labels):
    path = folder / run
    np.savez(path / predictions.NAME, logits=logits.astype(np.float16), target=labels)


def directory(folder):
    """An experiment of three seeds: kd's logits lie half way to the teacher's."""
    write_runs(folder / "tiny", tiny_runs())
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 80)
    teacher = 6 * np.eye(10)[labels] + rng.normal(0, 1.5, (80, 10))
    kept(folder / "tiny", "teacher/seed0", teacher, labels)
    for seed in range(3):
        alone = 2 * np.eye(10)[labels] + rng.normal(0, 2, (80, 10))
        kept(folder / "tiny", f"student/seed{seed}", alone, labels)
        kept(folder / "tiny", f"kd/seed{seed}", (alone + teacher) / 2, labels)
    return folder / "tiny", labels


def test_a_student_half_way_to_its_teacher(tmp_path):
    folder, labels = directory(tmp_path)
    found = explain.compare(explain.read(folder, "kd"))
    for title in ("top-1", "agrees with teacher", "order, Spearman", "order, Kendall"):
        before, after = found.measures[title]
        assert before.keys() == after.keys() == {0, 1, 2}
        assert all(after[seed] > before[seed] for seed in before), title
    test = findings.differences(found)["top-1"]
    values = [[own[seed] for seed in range(3)] for own in found.measures["top-1"][::-1]]
    assert test["p"] == pytest.approx(stats.ttest_rel(*values).pvalue)
    assert sum(row["fixed"] for row in found.examples) > sum(row["broken"] for row in found.examples)
    first = found.examples[0]
    assert first["class"] == str(labels[first["example"]])
    assert first["fixed"] == max(row["fixed"] for row in found.examples)
    assert found.gain == pytest.approx(found.after - found.before)


def test_the_page_and_its_pictures(tmp_path, kdjax):
    folder, _ = directory(tmp_path)
    status, out, err = kdjax("explain", folder, "kd")
    assert (status, err) == (0, "")
    assert "agrees with teacher" in out
    made = folder / "explain-kd"
    written = {path.name for path in made.iterdir()}
    assert written >= {"explain.md", "classes.csv", "examples.csv", "transfer.png", "reliability.png"}
    assert "cka.png" not in written
    page = (made / "explain.md").read_text()
    assert "Stages were not compared" in page
    assert "## Most often fixed" in page
    assert "Examples stand by their number in the test split alone: they could not be read again" in page


def test_examples_are_shown_where_they_can_be_read(tmp_path):
    folder, _ = directory(tmp_path)
    found = explain.compare(explain.read(folder, "kd"))
    told = {what: [row["example"] for row in findings.listed(found, what)] for what in ("fixed", "broken")}
    numbers_ = dict.fromkeys((*told["fixed"], *told["broken"]))
    images = {number: np.full((8, 8, 1), number / 100) for number in numbers_}
    explain.write(replace(found, seen=images), tmp_path / "images")
    assert "![examples](examples.png)" in (tmp_path / "images/explain.md").read_text()
    drawn = [axes for axes in pictures.examples(replace(found, seen=images)).axes if axes.images]
    assert [axes.images[0].get_array()[0, 0] for axes in drawn] == [n / 100 for n in (*told["fixed"], *told["broken"])]
    texts = {number: f"text {number} " + "x" * 300 for number in numbers_}
    explain.write(replace(found, seen=texts), tmp_path / "texts")
    page = (tmp_path / "texts/explain.md").read_text()
    assert f"- {told['fixed'][0]}: text {told['fixed'][0]} xxx" in page
    assert "x" * 201 not in page
    assert texts[told["fixed"][0]] in (tmp_path / "texts/examples.csv").read_text()
    assert not (tmp_path / "texts/examples.png").exists()


def test_stages_are_drawn_where_they_are_known(tmp_path):
    folder, _ = directory(tmp_path)
    stages = {"teacher": ["stage 1", "logits"], "before": ["stage 1"], "after": ["stage 1"]}
    similar = {"stages": stages, "before": [[0.1], [0.2]], "after": [[0.8], [float("nan")]]}
    found = explain.compare(explain.read(folder, "kd"), similar)
    explain.write(found, tmp_path / "out")
    assert (tmp_path / "out/cka.png").is_file()
    assert "![cka](cka.png)" in (tmp_path / "out/explain.md").read_text()


def change(path, **fields):
    write_json(path, json.loads(path.read_text()) | fields)


def ensemble(folder):
    for path in folder.glob("*/seed*/config.json"):
        teacher = json.loads(path.read_text())["teacher"]
        change(path, teacher=teacher | {"run": "a+b"})


@pytest.mark.parametrize(
    ("damage", "arguments", "told"),
    [
        (lambda folder: None, ("kdd",), "has no row 'kdd'; did you mean 'kd'"),
        (lambda folder: None, ("student",), "student is what others are compared with"),
        (lambda folder: (folder / "kd/seed1/predictions.npz").unlink(), ("kd",), "nothing is known of single examples"),
        (lambda folder: (folder / "teacher/seed0/predictions.npz").unlink(), ("kd",), "teacher/seed0/predictions.npz"),
        (lambda folder: kept(folder, "kd/seed2", np.ones((3, 10)), np.ones(3, int)), ("kd",), "another test split"),
        (
            ensemble,
            ("kd",),
            "the teacher is a+b; the predictions of weights of elsewhere and of ensembles are not kept",
        ),
    ],
)
def test_bad_input(damage, arguments, told, tmp_path, kdjax):
    folder, _ = directory(tmp_path)
    damage(folder)
    status, _, err = kdjax("explain", folder, *arguments)
    assert status == 2
    assert told in err


def test_what_is_no_experiment_or_not_finished(tmp_path, kdjax):
    status, _, err = kdjax("explain", tmp_path / "none", "kd")
    assert (status, "give an experiment's directory" in err) == (2, True)
    lines = [line("student", 0), {**line("kd", 1), "result": None}]
    write_runs(tmp_path / "x", lines, experiment(seeds=(0, 1)))
    status, _, err = kdjax("explain", tmp_path / "x", "kd")
    assert (status, "no seed of both kd and student is finished" in err) == (2, True)
