"""Tables, grids and pictures of what is no classification: by the task that results tell, in its unit and direction."""

import copy
import csv
import io

import numpy as np
import pytest
from rich.console import Console

from kdjax import cli
from kdjax.report import detect, effects, grid, paired, records, statistics, table
from kdjax.report.grid import columns, comparison, texts
from kdjax.report.plots import canvas, pictures, subject
from kdjax.report.plots.accuracy import accuracy
from kdjax.report.plots.curves import curves
from kdjax.report.plots.forest import forest
from kdjax.runs import caution, schema, task
from tests.fabricated import LOWER, REGRESSION, by_method, fabricate, regress

METHODS = {"student": 0.70, "kd": 0.80, "bad": 0.60}
TASKS = pytest.mark.parametrize("told", [REGRESSION, LOWER], ids=["spearman", "mae"])


def by_row(lines) -> dict[str, dict]:
    return {record["row"]: record for record in table.records(lines)}


def cells(text: str) -> dict[str, list[str]]:
    """{first cell: the others} of the first markdown table in a text."""
    lines = [line for line in text.split("\n\n")[0].splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in rows}


# ---- reading it


def test_a_result_without_a_task_is_of_classification():
    assert task.of({}) == task.CLASSIFICATION
    told = {"name": "classification", "primary": "top1", "higher_is_better": True, "unit": "%"}
    told["columns"] = [["top1", "top-1", "%"], *(list(score) for score in task.CLASSIFICATION.columns)]
    assert task.of({"task": told}) == task.CLASSIFICATION


def test_results_that_tell_classification_have_the_same_tables():
    lines = fabricate()
    told = copy.deepcopy(lines)
    for line in told:
        scores = [["top1", "top-1", "%"], *(list(score) for score in task.CLASSIFICATION.columns)]
        line["result"]["task"] = REGRESSION | {"name": "classification", "primary": "top1", "unit": "%"}
        line["result"]["task"]["columns"] = scores
        line["result"]["image_shape"] = [8, 8, 1]
    for line in lines:
        line["result"]["image_shape"] = [8, 8, 1]
    assert table.markdown(told) == table.markdown(lines)
    assert table.csv(told) == table.csv(lines)


@TASKS
def test_sound_results_of_other_tasks_are_no_damage(told):
    for line in regress(METHODS, told):
        assert schema.damage(line["result"]) == ""
        assert schema.misfit(line["history"], [schema.HISTORY]) == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r["last"].pop("spearman"), "lacks a spearman"),
        (lambda r: r["best"].pop("spearman"), "lacks a spearman"),
        (lambda r: r["last"].update(spearman="high"), "no finite number at last.spearman"),
        (lambda r: r["last"].update(spearman=float("nan")), "no finite number at last.spearman"),
        (lambda r: r["last"].update(mae="low"), "wrong value at last.mae"),
        (lambda r: r["teacher"].update(spearman=None), "no finite number at teacher.spearman"),
        (lambda r: r.update(task="regression"), "no object at task"),
        (lambda r: r.update(task={"name": "regression"}), "lacks task.columns, task.higher_is_better, task.primary"),
        (lambda r: r["task"].update(higher_is_better=1), "wrong value at task.higher_is_better"),
        (lambda r: r["task"].update(columns=[["mae", "MAE"]]), r"not \[key, title, unit\]"),
        (lambda r: r["task"].update(unit="%") or r["last"].update(spearman=1.5), "no fraction at last.spearman"),
        (lambda r: r.pop("task"), "lacks classes"),
    ],
)
def test_damage_is_told(change, message):
    result = copy.deepcopy(regress({"kd": 0.8})[0]["result"])
    change(result)
    with pytest.raises(AssertionError, match=message):
        assert not (problem := schema.damage(result)), problem


def test_a_row_of_metrics_with_text_for_a_score_is_damaged():
    row = regress({"kd": 0.8})[0]["history"][0]
    assert schema.misfit({**row, "test_mae": None}, schema.HISTORY) == ""
    assert "test_mae" in schema.misfit({**row, "test_mae": "low"}, schema.HISTORY)


def test_runs_of_two_tasks_are_no_experiment():
    lines = regress({"student": 0.7}) + regress({"kd": 0.8}, LOWER)
    with pytest.raises(ValueError, match=r"student/seed0 is scored by Spearman.*kd/seed0 by MAE"):
        table.records(lines)


def test_a_score_with_the_name_of_a_column_is_refused():
    lines = regress({"student": 0.7})
    for line in lines:
        line["result"]["task"] = REGRESSION | {"columns": [["p", "P", ""]]}
    with pytest.raises(ValueError, match="'p', as is another column"):
        table.records(lines)


# ---- the table


@TASKS
def test_records_are_named_by_the_primary(told):
    lines, key = regress(METHODS, told), told["primary"]
    found = by_row(lines)
    values = {
        name: {line["result"]["seed"]: line["result"]["last"][key] for line in of_row}
        for name, of_row in by_method(lines).items()
    }
    test = statistics.paired(values["kd"], values["student"])
    assert found["kd"][key] == pytest.approx(np.mean(list(values["kd"].values())))
    assert found["kd"]["difference"] == test["difference"]
    assert found["kd"]["p"] == test["p"]
    assert (found["kd"]["difference"] > 0) == told["higher_is_better"]
    assert found["teacher"][key] == pytest.approx(0.95 if key == "spearman" else 0.05)
    header = next(csv.reader(io.StringIO(table.csv(lines))))
    assert {key, f"{key}_std", "spearman", "mae"} <= set(header)
    assert not {"top1", "precision", "nll", "agreement"} & set(header)


@TASKS
def test_better_and_worse_follow_the_direction(told):
    found = {r["row"]: r for part in table.selected(regress(METHODS, told), rope=0.01) for r in part.records}
    assert found["kd"]["better"] > 0.99
    assert found["bad"]["worse"] > 0.99


def test_two_directions_of_the_same_numbers_say_the_same():
    up, down = (by_row(regress(METHODS, told)) for told in (REGRESSION, LOWER))
    for row in ("kd", "bad"):
        assert up[row]["difference"] == pytest.approx(-down[row]["difference"])
        for name in ("p", "p_holm", "detectable", "difference_std"):
            assert up[row][name] == pytest.approx(down[row][name])


def test_numbers_without_a_unit_have_four_digits_and_no_percent():
    lines = regress(METHODS)
    text = table.markdown(lines)
    rows, record = cells(text), by_row(lines)["kd"]
    assert rows["method"] == ["n", "Spearman", "Δ student [95 %]", "p", "best epoch", "MAE"]
    assert rows["kd"][1] == f"{record['spearman']:.4f} ± {record['spearman_std']:.4f}"
    assert rows["kd"][2].startswith(f"+{record['difference']:.4f} [+")
    assert rows["kd"][-1] == f"{record['mae']:.4f}"
    assert "**Numbers.** Spearman at the last epoch" in text
    assert "Best epoch: test Spearman at the first epoch with the highest Spearman" in text
    assert "MAE: means over seeds at the last epoch." in text
    for word in ("top-1", "percentage points", "in percent", "class", "image", "accuracy of"):
        assert word not in text
    assert f"two-sided at 5 %: {by_row(lines)['kd']['detectable']:.4f}"[:20] in text


def test_less_is_better_is_told():
    text = table.markdown(regress(METHODS, LOWER))
    assert "Δ: difference to student over the seeds that both have, below 0 where the row is better" in text
    assert "with the lowest MAE on the validation split" in text
    assert cells(text)["kd"][2].startswith("−0.")


def test_a_unit_stands_in_the_header_and_the_words():
    lines = regress(METHODS, LOWER | {"unit": "eV", "columns": [["mae", "MAE", "eV"]]})
    text = table.markdown(lines, rope=0.01)
    assert cells(text)["method"][1] == "MAE (eV)"
    assert "MAE in eV at the last epoch" in text
    assert "difference to student in eV over" in text
    assert "lies more than 0.01 eV below that of student (better)" in text


@TASKS
def test_a_teacher_worse_than_its_student_is_told(told):
    poor, good = (table.markdown(regress(METHODS, told, teacher=t)) for t in (0.75, 0.95))
    title = {"spearman": "Spearman 0.7500 against 0.79", "mae": "MAE 0.2500 against 0.20"}[told["primary"]]
    assert f"The teacher is worse than this student: {title}" in poor
    assert "is worse" not in good


def test_the_message_for_classification_is_in_percent():
    assert caution.better(0.9, 0.8).endswith("this student: top-1 80.00 against 90.00 %.")
    assert caution.better(0.8, 0.9) == ""


def test_a_metric_of_ones_own_stands_beside_those_of_classification():
    lines = fabricate({"student": 0.9, "kd": 0.95})
    scores = [["top1", "top-1", "%"], ["f1", "F1", "%"], ["cost", "cost", ""]]
    for line in lines:
        line["result"]["task"] = REGRESSION | {"name": "classification", "primary": "top1", "unit": "%"}
        line["result"]["task"]["columns"] = scores
        line["result"]["last"] |= {"f1": 0.5, "cost": 2.0}
    text = table.markdown(lines)
    assert cells(text)["method"][-2:] == ["F1", "cost"]
    assert cells(text)["kd"][-2:] == ["50.00", "2.0000"]
    assert "F1 is the macro average; means over seeds, in percent, at the last epoch. Cost: means over seeds" in text
    assert "kd" in by_row(lines)
    assert by_row(lines)["kd"]["cost"] == 2.0


def test_what_only_some_runs_have_is_a_column():
    lines = regress(METHODS)
    for line in by_method(lines)["kd"]:
        line["result"]["task"] = REGRESSION | {"columns": [*REGRESSION["columns"], ["r2", "R²", ""]]}
        line["result"]["last"]["r2"] = 0.5
    rows = cells(table.markdown(lines))
    assert rows["method"][-1] == "R²"
    assert (rows["kd"][-1], rows["student"][-1]) == ("0.5000", "–")


def test_what_is_published_of_another_score_stands_against_that_score():
    """Of citeULike among drawn items: beside the primary score of all items, and never below it in a grid."""
    score = "ndcg@10/499"
    lines = regress({"student": 0.1, "rrd": 0.2}, REGRESSION | {"columns": [[score, "nDCG@10 of 499", ""]]})
    for line in lines:
        line["result"]["last"][score] = 0.37
        line["config"]["published"] = {"benchmark": "citeulike", "teacher": "bpr200", "student": "bpr20"}
    record = by_row(lines)["rrd"]
    assert record["published"] == pytest.approx(0.3879)
    assert record["published_difference"] == pytest.approx(0.37 - 0.3879)
    assert "citeulike, bpr200 → bpr20, ndcg@10/499 ±" in table.markdown(lines)
    assert not comparison._cell(record, task.of(lines[0]["result"])).published


def test_experiments_of_two_tasks_have_two_tables_and_one_csv(tmp_path):
    lines = [*regress(METHODS, experiment="fit"), *fabricate(experiment="digits")]
    headers = [line for line in table.markdown(lines).splitlines() if line.startswith("| method")]
    assert ["Spearman" in header for header in headers] == [True, False]
    assert ["top-1" in header for header in headers] == [False, True]
    rows = list(csv.DictReader(io.StringIO(table.csv(lines))))
    assert {row["experiment"]: bool(row["top1"]) for row in rows} == {"fit": False, "digits": True}
    assert {row["experiment"]: bool(row["spearman"]) for row in rows} == {"fit": True, "digits": False}


def test_the_number_of_examples_is_of_the_datas_identity():
    lines = regress(METHODS)
    splits = [{"split": name, "examples": n, "sha256": "a"} for name, n in (("train", 1150), ("test", 359))]
    for line in lines:
        line["config"]["identity"] = {"data": {"classes": 0, "names": "b", "splits": splits}}
    assert "Digits 8x8: 1,150 labelled training examples, a validation split" in table.markdown(lines)
    assert "359 test examples." in table.markdown(lines)


def test_a_narrow_terminal_does_without_other_columns():
    console = Console(file=io.StringIO(), width=70)
    console.print(table.terminal(regress(METHODS)))
    first = console.file.getvalue().split("\n\n")[0]
    assert "Spearman" in first
    assert "MAE" not in first


# ---- options


@pytest.fixture
def written(tmp_path):
    table.write_texts(regress(METHODS), tmp_path)
    return str(tmp_path / "runs.jsonl")


def test_differences_are_typed_in_the_unit_of_the_score(written, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["plan", written, "--detect=0.02"])
    assert exit_.value.code == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "seeds to see a difference of 0.02 to student" in out
    assert "in units of Spearman" in out
    with pytest.raises(SystemExit) as exit_:
        cli.main(["table", written, "--rope=0.02"])
    assert exit_.value.code == 0
    assert "more than 0.02 above that of student" in " ".join(capsys.readouterr().out.split())


def test_a_region_of_equivalence_must_be_given(written, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["table", written, "--bayes"])
    assert exit_.value.code == 2
    assert "--bayes needs --rope" in capsys.readouterr().err
    assert by_row(regress(METHODS))["kd"]["better"] is None
    assert effects.rope(task.CLASSIFICATION) == effects.ROPE


def test_one_number_is_no_difference_of_two_units(written, tmp_path, capsys):
    table.write_texts(fabricate(experiment="other"), tmp_path / "other")
    with pytest.raises(SystemExit) as exit_:
        cli.main(["plan", written, str(tmp_path / "other"), "--detect=0.5"])
    assert exit_.value.code == 2
    assert "in a plain number, %: give them one by one" in capsys.readouterr().err


@TASKS
def test_seeds_to_see_a_difference(told, capsys):
    lines = regress(METHODS, told)
    detect.show(lines, 0.01)
    assert f"{by_row(lines)['kd']['detectable']:.4f}" in capsys.readouterr().out


# ---- the grid


def compared(told):
    values = [{"student": 0.5 + i / 100, "kd": 0.7, "mid": 0.6, "bad": 0.4 - i / 100} for i in range(5)]
    lines = [regress(each, told, experiment=f"e{i}") for i, each in enumerate(values)]
    found = [columns.column(f"e{i}", f"runs/e{i}", of_one) for i, of_one in enumerate(lines)]
    columns.check(found)
    return grid.compare(found)


def test_ranks_best_and_relative_improvement_follow_the_direction():
    up, down = compared(REGRESSION), compared(LOWER)
    assert up.ranked == down.ranked == ["kd", "mid", "student", "bad"]
    for key, cell in up.cells.items():
        other = down.cells[key]
        assert (cell.best, cell.tied, cell.rank) == (other.best, other.tied, other.rank)
        assert cell.p_best == pytest.approx(other.p_best)
    assert up.averages["mid"].ari == pytest.approx(down.averages["mid"].ari)
    assert up.friedman.chi2 == pytest.approx(down.friedman.chi2)


def test_a_grid_is_in_the_unit_of_its_score():
    made = compared(LOWER)
    text = texts.markdown(made)
    assert "MAE on the test split, last epoch, mean ± standard deviation over seeds; less is better." in text
    assert "top-1" not in text.lower()
    assert "in points" not in text
    cell = made.cells["kd", 0]
    assert f"**{cell.mean:.4f} ± {cell.std:.4f}**<br>−{-cell.difference:.4f}" in text
    rows = list(csv.DictReader(io.StringIO(texts.csv(made))))
    assert float(rows[1]["mae"]) == cell.mean or any(float(row["mae"] or 0) == cell.mean for row in rows)
    assert "% of kdjax grid: MAE" in grid.tex.macros(made)


def test_one_score_in_two_directions_is_no_grid():
    found = [
        columns.column("a", "runs/a", regress(METHODS, experiment="a")),
        columns.column("b", "runs/b", regress(METHODS, LOWER, experiment="b")),
    ]
    with pytest.raises(ValueError, match=r"regression by Spearman; .*regression by MAE"):
        columns.check(found)


# ---- pictures


def drawn(lines) -> subject.Experiment:
    return subject.experiments(lines, lines)[0]


@TASKS
def test_the_best_stands_on_top_of_the_forest(told):
    figure = forest(drawn(regress(METHODS, told)))
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["kd", "bad"]
    title = {"spearman": "Spearman", "mae": "MAE"}[told["primary"]]
    assert axes.get_xlabel().startswith(f"{title} minus that of student;")
    assert ("below 0 is better" in axes.get_xlabel()) != told["higher_is_better"]
    [first, *_] = [line for line in axes.lines if line.get_marker() == "o"]
    assert (first.get_xdata()[0] > 0) == told["higher_is_better"]


@TASKS
def test_what_fails_is_cut_off_at_the_worse_end(told):
    lines = regress({"student": 0.9, "kd": 0.92, "dkd": 0.91, "failed": 0.1}, told)
    axes = accuracy(drawn(lines)).axes[0]
    low, high = axes.get_xlim()
    assert high - low < 0.3
    value = by_row(lines)["failed"][told["primary"]]
    assert (value < low) if told["higher_is_better"] else (value > high)
    [arrow] = [text for text in axes.texts if text.get_text().startswith(f"{value:.3f}")][:1]
    assert arrow.xy[0] == (0 if told["higher_is_better"] else 1)


def test_limits_mirror():
    values = np.array([0.1, 0.9, 0.91, 0.92])
    up, down = (task.of({"task": told}) for told in (REGRESSION, LOWER))
    low, high = canvas.limits(up, values, [0.95], [0.89])
    assert canvas.limits(down, -values, [-0.95], [-0.89]) == pytest.approx((-high, -low))
    assert canvas.cut(up, (low, high), 0.1)
    assert not canvas.cut(down, (low, high), 0.1)


@TASKS
def test_curves_are_of_the_primary(told):
    figure = curves(drawn(regress(METHODS, told)))
    left = figure.axes[0]
    title = {"spearman": "Spearman", "mae": "MAE"}[told["primary"]]
    assert left.get_ylabel() == f"{title} on the test split"
    assert left.get_yscale() == "linear"
    assert len([line for line in left.lines if len(line.get_xdata()) == 6]) == len(METHODS)


@TASKS
def test_every_picture_that_applies_is_drawn(told, tmp_path):
    ablated = {**METHODS, "kd,kd.temperature=2.0": 0.75, "kd,kd.temperature=8.0": 0.72}
    told_of = []
    written = pictures.write(regress(ablated, told, seeds=3), tmp_path, complain=told_of.append)
    assert told_of == []
    stems = {path.stem for path in written}
    assert stems == {"forest", "accuracy", "curves", "terms", "ablation"}  # nothing of classes
    svg = "".join(path.read_text() for path in written if path.suffix == ".svg")
    assert "top-1" not in svg


def test_a_grid_is_drawn_in_the_direction(tmp_path):
    from kdjax.report.plots import grid as drawing

    up, down = (drawing.grid(compared(told)).axes[0].images[0] for told in (REGRESSION, LOWER))
    colour = lambda image: image.to_rgba(image.get_array())  # noqa: E731
    np.testing.assert_allclose(colour(up), colour(down), atol=0.02)


def test_records_check_every_name_of_a_table():
    line = next(iter(table.records(fabricate())))
    own = {name for name in line if not name.endswith("_std") and not name.startswith("published")}
    assert own - {task.TOP1.key, *task.CLASSIFICATION.keys} <= set(task.RESERVED)
    assert {*records.COMPARISON, *records.COSTS, *paired.KEYS, *paired.SEEDS} <= set(task.RESERVED)
