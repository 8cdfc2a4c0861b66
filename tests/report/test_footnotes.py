"""What is said of single rows under a table, and of the whole."""

import pytest

from kdjax.report import table
from kdjax.runs import caution
from tests.report.test_table import TEACHER, line, markdown_rows, tiny_runs


def marked(runs, row) -> list[str]:
    """The footnotes of a row."""
    text = table.markdown(runs)
    name = next(name for name in markdown_rows(text) if name.rstrip("¹²³⁴⁵⁶⁷⁸⁹⁰˒") == row)
    numbers = [part for part in name.removeprefix(row).split("˒") if part]
    lines = [each.rstrip() for each in text.splitlines()]
    return [next(each for each in lines if each.startswith(f"{number} ")).partition(" ")[2] for number in numbers]


def test_warnings_once_and_learning_failures():
    runs = tiny_runs()
    for each in runs:
        each["result"]["warnings"] = ["class 3 has no training image"]
        if each["result"]["teacher"]:
            each["result"]["teacher"] = {**TEACHER, "top1": 0.05}
    runs[0]["result"]["last"]["top1"] = 0.05
    runs[4]["result"]["last"]["top1"] = 0.12
    assert table.markdown(runs).count("class 3 has no training image.") == 1
    assert "The teacher is worse than chance (10 %)." in marked(runs, "teacher")
    assert "Seed 0 never learned: at most 1.5 times chance (10 %)." in marked(runs, "kd")


@pytest.mark.parametrize(
    ("classes", "most", "words"),
    [(1000, 0.0015, "1.5 times"), (8, 0.1875, "1.5 times"), (3, 0.4, "hardly"), (2, 0.55, "hardly")],
)
def test_three_quarters_of_two_classes_are_learned(classes, most, words):
    found, said = caution.learned_nothing(classes)
    assert found == pytest.approx(most)
    assert words in said


@pytest.mark.parametrize("runs", [tiny_runs()[4:], [*tiny_runs()[4:], line("student", 9, 0.8)]])
def test_a_baseline_that_is_not_there_is_told(runs):
    assert table.records(runs)[-1]["difference"] is None
    assert "The baseline student has no finished run on the same seeds, so there are no differences." in table.markdown(
        runs
    )
    assert "so there are no differences" not in table.markdown(tiny_runs())


def test_a_teacher_worse_than_a_student_is_told_where_it_stands():
    runs = tiny_runs()
    assert not marked(runs, "kd")
    for each in runs[1:]:
        each["result"]["teacher"] = {**TEACHER, "top1": 0.85}
    assert marked(runs, "kd") == ["The teacher is worse than this student: top-1 85.00 against 86.67 %."]
    assert not marked(runs, "student")  # 82 %


def test_a_student_larger_than_its_teacher_is_told():
    runs = tiny_runs()
    for each in runs[4:]:
        each["result"]["student"]["parameters"] = 50001
    assert marked(runs, "kd") == ["The student is larger than its teacher: 50,001 parameters against 50,000."]
    assert not marked(runs, "student")


@pytest.mark.parametrize(
    ("ratios", "said"),
    [
        ([3.0, 29.0, 40.0], ""),  # the median
        ([31.0], "At the first step the gradient of its term kd is 31 times that of cross-entropy, weights included."),
        ([1 / 50], "At the first step the gradient of its term kd is 1/50 of that of cross-entropy, weights included."),
        ([0.0, 0.0], "Its term kd has no gradient at the first step."),
    ],
)
def test_gradients_that_are_far_apart_are_told(ratios, said):
    assert caution.gradients([{"kd": ratio} for ratio in ratios]) == [said] * bool(said)
    runs = tiny_runs()
    for each, ratio in zip(runs[4:], ratios, strict=False):
        each["result"]["gradients"] = {"kd": ratio}
    assert marked(runs, "kd") == [said] * bool(said)


def test_what_trains_beside_the_student_is_no_part_of_it():
    runs = tiny_runs()
    runs[4]["result"]["student"]["trained_parameters"] = 2000
    assert "Trains 2,000 parameters, of which the first network's ship" in marked(runs, "kd")[0]
    assert markdown_rows(table.markdown(runs))["student: convnet"][0] == "1,000"
