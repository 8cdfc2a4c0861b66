"""kdjax tune --halve: the same rule for every method, the schedule of all epochs, resumable, told where it is used."""

import io
import json
import shutil

import pytest
from rich.console import Console

from kdjax.config import resolve
from kdjax.experiment import halving, tune
from kdjax.experiment.progress import Display
from kdjax.report import table, tuning
from kdjax.report.plots import best_of, searched
from kdjax.runs import gather
from kdjax.tasks.classification import TASK as CLASSIFICATION
from kdjax.training.cohort import Stopped
from tests import tiny

TINY = ("--config=tests/tiny_config.py", "--config.student.model=tests.tiny.LogitsOnly", "--config.epochs=2")


class Told:
    """A run of which its scores on the validation split are known, from epoch 1 on."""

    def __init__(self, *scores):
        self.scores = scores

    def history(self):
        return [{"epoch": n, "validation_top1": score} for n, score in enumerate(self.scores, 1)]


def config(**fields):
    made = tiny.config(methods=("student", "stateless"), epochs=3)
    made.student.model = "tests.tiny.LogitsOnly"
    made.update(**fields)
    return resolve(made)


@pytest.mark.parametrize(
    ("trials", "rungs", "kept"),
    [(16, (5, 10, 15), [8, 4, 2]), (7, (1, 2), [4, 2]), (3, (1,), [2]), (2, (1,), [2]), (1, (1,), [1]), (9, (), [])],
)
def test_how_many_go_on(trials, rungs, kept):
    assert halving.kept(trials, rungs) == kept


def test_the_better_half_goes_on_and_the_config_s_own_values():
    means = {0: 0.1, 1: 0.5, 2: None, 3: 0.9, 4: 0.5, 5: 0.2}
    assert halving.going_on(means, 3, higher_is_better=True) == [0, 1, 3]  # of 1 and 4, which are equal, the first
    assert halving.going_on(means, 3, higher_is_better=False) == [0, 1, 5]
    assert halving.going_on({0: None, 1: None, 2: 0.3}, 2, higher_is_better=True) == [0, 2]
    assert halving.going_on({0: None, 1: None}, 2, higher_is_better=True) == [0]  # what diverged leaves its place empty


def test_whom_a_rung_stops_depends_on_what_was_known_there():
    """The scores of later epochs, and how many trials another rung has left by diverging, say nothing."""
    runs = [(0.1, 0.1, 0.1), (0.2, 0.9, 0.9), (0.3, 0.4, 1.0), (0.4, 0.5, 0.2), (0.5, None), (0.6, 0.6)]
    of_trial = [[Told(*scores), Told(*scores)] for scores in runs]
    assert halving.stopped(of_trial, CLASSIFICATION, ()) == {}
    assert halving.stopped(of_trial, CLASSIFICATION, (1,)) == {1: 1, 2: 1, 3: 1}
    assert halving.stopped(of_trial, CLASSIFICATION, (1, 2)) == {1: 1, 2: 1, 3: 1, 4: 2}
    one_seed_diverged = [
        [Told(*scores), Told(*scores[:0]) if number == 5 else Told(*scores)] for number, scores in enumerate(runs)
    ]
    assert halving.stopped(one_seed_diverged, CLASSIFICATION, (1,)) == {1: 1, 2: 1, 5: 1}


@pytest.mark.parametrize(
    ("rungs", "trials", "fields", "told"),
    [
        ((3,), 4, {}, r"below config\.epochs, 3: the last is for those that go on; got 3"),
        ((2, 1), 4, {}, "in rising order"),
        ((0,), 4, {}, "above 0"),
        ((1,), 4, {"eval_every_epochs": 2}, "give a multiple of 2"),
        ((1,), 2, {}, "--halve=1 stops none of the 2 trials"),
        ((1, 2), 8, {}, None),
        ((1, 2), 3, {}, "--halve=2 stops none of the 2 trials"),
    ],
)
def test_rungs_that_stop_nothing_are_refused_before_training(tmp_path, rungs, trials, fields, told):
    made = config(**fields)
    if told is None:
        return halving.check(rungs, trials, made)
    with pytest.raises(ValueError, match=told):
        tune.run(made, tmp_path, trials, halve=rungs)
    assert not list(tmp_path.iterdir())


def tuned(root, trials, halve=(), calls=1000):
    """tuned.json of one method and seed; stopped after so many calls of the step."""
    taken, display = [], Display(Console(file=io.StringIO()))
    display.advance = taken.append
    stop = lambda: 15 * (len(taken) >= calls)  # noqa: E731
    return json.loads(tune.run(config(), root, trials, (7,), ("stateless",), halve, stop, display).read_text())


def test_halved_trials_are_those_of_all_epochs_cut_short(tmp_path):
    """What goes on is to the bit what it is without rungs; more trials, and interruptions, end as if made at once."""
    whole = tuned(tmp_path / "whole", 4)
    assert "halve" not in whole
    shutil.copytree(tmp_path / "whole/tiny", tmp_path / "halved/tiny")  # the same teacher
    for calls in (2, 6):  # on the way to the rung, and after it
        with pytest.raises(Stopped):
            tuned(tmp_path / "halved", 3, (1,), calls)
    three = tuned(tmp_path / "halved", 3, (1,))
    assert (three["halve"], three["kept"]) == ([1], [2])
    four = tuned(tmp_path / "halved", 4, (1,))
    rows = [tune.row("stateless", number) for number in range(4)]
    full, cut = (
        [of.history() for (of,) in halving.runs(tmp_path / name / "tiny-tuning", rows, (7,))]
        for name in ("whole", "halved")
    )
    expected = halving.stopped(halving.runs(tmp_path / "whole/tiny-tuning", rows, (7,)), CLASSIFICATION, (1,))
    trials = four["methods"]["stateless"]["trials"]
    assert {number: trial["stopped"] for number, trial in enumerate(trials) if "stopped" in trial} == expected
    assert len(expected) == 2
    assert [len(rows) for rows in cut].count(
        1
    ) >= 1  # of three trials one was stopped, of four two: one may have gone on
    for number, trial in enumerate(trials):
        assert cut[number] == full[number][: len(cut[number])]
        assert number in expected or trial == whole["methods"]["stateless"]["trials"][number]
        assert number not in expected or trial["mean"] == full[number][0]["validation_top1"]
    assert four["methods"]["stateless"]["trial"] not in expected


def test_halved_from_the_command_line(kdjax, tmp_path):
    out = f"--out={tmp_path}"
    status, printed, err = kdjax("tune", *TINY, "--trials=3", "--only=student", "--seeds=7", "--halve=1", out)
    assert status == 0, err
    assert "epoch 1: 2 of 3 trials of each method go on" in printed
    assert "trials went on 2 after epoch 1, the best by that score there" in printed
    found = tune.read(tmp_path / "tiny-tuning/tuned.json")
    assert best_of.best_of(found).axes[0].get_xlabel().endswith("stopped ones by their score at epoch 1")
    panel = next(axes for axes in searched.searched(found).axes if axes.axison)
    assert sorted(line.get_markersize() for line in panel.get_lines()) == [3, 5, 5]
    panel.figure.canvas.draw()
    assert [float(tick.get_text()) for tick in panel.get_xticklabels()]  # numbers, and no formula
    status, printed, err = kdjax("run", *TINY, "--tuned", "--only=student", out)
    assert status == 0, err
    lines = gather.read(tmp_path / "tiny-tuned")
    (student,) = [line for line in lines if line["run"] == "student/seed0"]
    assert student["config"]["tuned"]["kept"] == [2]
    assert tuning.halved(student["config"]["tuned"]) in table.markdown(lines)
    (own,) = [row for row in table.rows(lines) if row["row"] == "student"]
    assert own["trials"] == 3
    methods = table.parts(lines).grids[0]
    assert [row[methods.header.index("trials")] for row in methods.rows] == ["–", "3"]
    for line in lines:
        line["config"].pop("tuned", None)
    assert "trials" not in table.parts(lines).grids[0].header
    assert "trials" not in table.csv(lines).splitlines()[0].split(",")
    status, _, err = kdjax("tune", *TINY, "--trials=4", "--seeds=7", "--halve=2", out)
    assert status == 2
    assert "below config.epochs" in err
