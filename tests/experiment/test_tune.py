"""kdjax tune: as many trials for every method, chosen on the validation split alone, frozen, run on other seeds."""

import itertools
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from kdjax.config import lookup, plain, resolve
from kdjax.data import load
from kdjax.experiment import checks, tune
from kdjax.experiment.plan import run_config, run_path
from kdjax.files import write_json
from kdjax.report import tuning
from kdjax.report.plots import best_of, searched
from kdjax.runs import gather
from kdjax.runs.directory import Run
from kdjax.runs.task import CLASSIFICATION
from tests import tiny

TINY = ("--config=tests/tiny_config.py", "--config.student.model=tests.tiny.LogitsOnly", "--config.epochs=1")
SPLITS = [{"split": name, "examples": 3, "sha256": name} for name in ("train", "validation", "test")]


def config(**fields):
    made = tiny.config(methods=("student", "stateless"), epochs=2)
    made.update(**fields)
    return resolve(made)


def fabricated(root, made, scores, seeds=(1000, 1001)):
    """Runs of trials: scores[method] are (validation, test) of each, None where it diverged with the last seed."""
    directory = root / "tiny-tuning"
    trials = tune.experiment(made, len(next(iter(scores.values()))), seeds)
    data = {"classes": 3, "names": "x", "splits": SPLITS}
    for name, told in scores.items():
        for number, seed in itertools.product(range(len(told)), seeds):
            run = Run(run_path(directory, tune.row(name, number), seed))
            method = next(m for m in tune.runner.rows_of(trials, directory) if m.name == tune.row(name, number))
            identity = {"data": data, "code": {}}
            write_json(run.path / "config.json", {**run_config(trials, method, seed), "identity": identity})
            diverged = told[number] is None and seed == seeds[-1]
            validation, test = told[number] or (0.99, 0.99)
            run.append({"epoch": 1, "validation_top1": 1.0, "test_top1": 1.0})  # not the last epoch
            run.append({"epoch": 2, "validation_top1": validation, "test_top1": test})
            run.finish({"status": "diverged" if diverged else "done"})
    return directory


def chosen(root, scores, **fields):
    made = config(**fields)
    directory = fabricated(root, made, scores)
    found = tune.choose(made, directory, len(scores["student"]), (1000, 1001))
    write_json(directory / "tuned.json", found)
    return made, found


SCORES = {"student": [(0.5, 0.9), (0.7, 0.1), (0.6, 0.8)], "stateless": [(0.4, 0.9), None, (0.4, 0.95)]}


def test_the_validation_split_chooses_whatever_the_test_split_says(tmp_path):
    _, found = chosen(tmp_path, SCORES)
    student, stateless = found["methods"]["student"], found["methods"]["stateless"]
    assert student["trial"] == 1  # the worst of all on test
    assert stateless["trial"] == 0  # of equal ones the first; the one that diverged with a seed is out
    assert student["chosen"] == student["trials"][1]["values"]
    assert [trial["mean"] for trial in stateless["trials"]] == [0.4, None, 0.4]
    assert stateless["trials"][1]["validation"] == [0.99, None]
    assert found["data"] == {"train": "train", "validation": "validation"}
    _, other = chosen(tmp_path / "other", {k: [t and (t[0], 0.123) for t in v] for k, v in SCORES.items()})
    assert other == found  # nothing of test is in it
    with pytest.raises(ValueError, match="every trial of student diverged"):
        chosen(tmp_path / "third", {"student": [None], "stateless": [(0.4, 0.9)]})


def test_what_was_chosen_is_applied_and_told(tmp_path):
    made, found = chosen(tmp_path, SCORES)
    applied = tune.applied(made, "", tmp_path)
    assert applied.experiment == "tiny-tuned"
    for name in ("student", "stateless"):
        for path, value in found["methods"][name]["chosen"].items():
            assert lookup(applied.methods[name], path) == value
    assert applied.methods.student.optimizer.learning_rate != made.optimizer.learning_rate
    row = next(row for row in tune.runner.rows_of(applied, tmp_path) if row.name == "student")
    ((title, text),) = tuning.paragraph(run_config(applied, row, 0), CLASSIFICATION)
    assert title == "Tuning"
    assert re.search(
        r"best of 3 trials of its own.*seeds 1000 and 1001, none.*highest mean top-1 on the validation", text
    )
    assert tuning.paragraph(run_config(made, row, 0), CLASSIFICATION) == []
    assert "tuned" not in run_config(made, row, 0)
    assert list(tune.applied(made, "", tmp_path, ("student",)).methods) == ["student"]
    lab = SimpleNamespace(config=applied, dataset=SimpleNamespace(fingerprint={"splits": SPLITS}), directory=tmp_path)
    checks.check_data(lab)
    lab.dataset.fingerprint = {"splits": [{**SPLITS[0], "sha256": "other"}, *SPLITS[1:]]}
    with pytest.raises(ValueError, match="--tuned: the choice was made on other data: train differ"):
        checks.check_data(lab)


def test_a_choice_for_another_config_is_refused_with_what_differs(tmp_path):
    made, _ = chosen(tmp_path, SCORES)
    other = config()
    other.data.shots, other.epochs = 5, 3
    other.methods.stateless.stateless.weight = 2.0
    other.methods.noisy = {"cross_entropy": {"weight": 1.0}}
    with pytest.raises(ValueError, match="was tuned for another config") as error:
        tune.applied(other, "", tmp_path)
    for line in (
        "config.epochs: 2 -> 3",
        "config.data.shots: 0 -> 5",
        "config.methods.stateless.stateless.weight: 1.0 -> 2.0",
        "config.methods.noisy: not tuned",
    ):
        assert line in str(error.value)
    with pytest.raises(ValueError, match=r"--seeds and the seeds of trials both have 1001"):
        tune.applied(made, "", tmp_path, seeds=(3, 1001))
    with pytest.raises(ValueError, match="kdjax tune, with the same --config"):
        tune.applied(made, tmp_path / "none.json")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ValueError, match=r"x\.json is no tuned\.json of kdjax tune: it lacks config"):
        tune.applied(made, tmp_path / "x.json")
    with pytest.raises(ValueError, match=r"did you mean 'student'"):
        tune.applied(made, "", tmp_path, ("studnet",))


@pytest.mark.parametrize(
    ("fields", "given", "told"),
    [
        ({"data": {"validation": 0.0}}, {}, r"set config\.data\.validation=0\.1"),
        ({}, {"seeds": (1, 2)}, r"config\.seeds and the seeds of trials both have 1"),
        ({}, {"trials": 0}, "--trials is at least 1"),
        ({}, {"only": ("studnet",)}, "did you mean 'student'"),
        ({"ablate": {"stateless.stateless.weight": (1.0,)}}, {}, r"config\.ablate sweeps stateless"),
        ({"pairs": {"a": {"epochs": 1}}}, {}, r"kdjax\.experiment\.tune\.experiments\(config\)"),
    ],
)
def test_what_cannot_be_tuned_is_refused_before_training(tmp_path, fields, given, told):
    made = config()
    for key, value in fields.items():
        for name, inner in value.items():
            made[key][name] = inner
    with pytest.raises(ValueError, match=told):
        tune.run(made, tmp_path, **{"trials": 2, **given})
    assert not list(tmp_path.iterdir())


def test_every_method_has_as_many_trials_of_which_more_begin_with_the_same():
    made = config()
    made.methods.again = {"cross_entropy": {"weight": 1.0}, "teacher": "student+stateless", "start": "student"}
    four, eight = (tune.experiment(made, trials, (1000,)) for trials in (4, 8))
    assert len(eight.methods) == 3 * 8
    assert plain(four.methods).items() <= plain(eight.methods).items()
    assert eight.methods["again,trial=5"].teacher == "student,trial=0+stateless,trial=0"
    assert eight.methods["again,trial=5"].start == "student,trial=0"
    assert (eight.experiment, eight.baseline) == ("tiny-tuning", "student,trial=0")
    assert len({eight.methods[f"student,trial={n}"].optimizer.learning_rate for n in range(8)}) == 8


def test_expected_best_is_the_mean_over_all_draws():
    values = [0.3, 0.9, 0.5, 0.5]
    for up, best in ((True, max), (False, min)):
        brute = [np.mean([best(draw) for draw in itertools.product(values, repeat=k)]) for k in range(1, 5)]
        np.testing.assert_allclose(tuning.expected_best(values, up), brute, rtol=1e-12)


def test_the_picture_shows_every_method(tmp_path):
    _, found = chosen(tmp_path, SCORES)
    figure = best_of.best_of(found)
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].get_lines()}
    np.testing.assert_allclose(lines["student"], 100 * tuning.expected_best([0.5, 0.7, 0.6]))
    np.testing.assert_allclose(lines["stateless"], [40.0] * 3)


def test_the_picture_of_a_search_has_every_trial_at_its_values(tmp_path):
    _, found = chosen(tmp_path, SCORES)
    figure = searched.searched(found)
    panels = [axes for axes in figure.axes if axes.axison]
    assert len(panels) == sum(len(method["space"]) for method in found["methods"].values())
    student = found["methods"]["student"]
    drawn = sorted((*line.get_xdata(), *line.get_ydata()) for line in panels[0].get_lines())
    path = student["space"][0]["path"]
    np.testing.assert_allclose(drawn, sorted((t["values"][path], 100 * t["mean"]) for t in student["trials"]))


def test_trials_see_no_test_split(tmp_path):
    """Validation stands in its place, in the data itself: another test split changes nothing of a trial."""
    made = tune.experiment(config(data={"validation": 0.25}), 1, (1000,))
    opened = load(config(data={"validation": 0.25}).data)
    closed = load(made.data)
    for own, other in ((closed.test, closed.validation), (closed.test, opened.validation)):
        np.testing.assert_array_equal(own.input, other.input)
        np.testing.assert_array_equal(own.target, other.target)
    assert "the test split is closed: what is called test is the validation split" in closed.warnings
    splits = {split["split"]: split["sha256"] for split in closed.fingerprint["splits"]}
    assert splits["test"] == splits["validation"]
    made.data.validation = 0.0
    with pytest.raises(ValueError, match=r"config\.data\.closed: there is no validation split"):
        load(made.data)


def test_tuned_from_the_command_line(kdjax, tmp_path):
    out = f"--out={tmp_path}"
    status, printed, err = kdjax("tune", *TINY, "--trials=2", "--seeds=7", out)
    assert status == 0, err
    assert "optimizer.learning_rate=" in printed
    written = {path.name for path in (tmp_path / "tiny-tuning").iterdir() if path.is_file()}
    assert {"config.json", "tuned.json", "best_of.png", "searched.png"} <= written
    rows = json.loads((tmp_path / "tiny-tuning/config.json").read_text())["rows"]
    assert [row["method"] for row in rows] == [f"{m},trial={n}" for m in ("student", "stateless") for n in (0, 1)]
    assert (tmp_path / "tiny/teacher/seed0/result.json").is_file()
    assert not (tmp_path / "tiny-tuning/teacher").exists()

    status, printed, err = kdjax("run", *TINY, "--tuned", "--only=student", out)
    assert status == 0, err
    assert "Tuning. " in printed
    (line,) = [line for line in gather.read(tmp_path / "tiny-tuned") if line["run"] == "student/seed0"]
    values = tune.read(tmp_path / "tiny-tuning/tuned.json")["methods"]["student"]["chosen"]
    assert line["config"]["spec"]["optimizer"] == {"learning_rate": values["optimizer.learning_rate"]}
    assert line["config"]["tuned"]["trials"] == 2
    status, _, err = kdjax("run", *TINY, "--tuned", "--launcher=local", out)
    assert status == 2
    assert "--tuned runs here" in err


PAIRS = """
from tests import tiny

def get_config():
    config = tiny.config(methods=("student", "stateless"), epochs=1)
    config.seeds, config.teacher.epochs = (0,), 1
    for name, width in (("wide", 4), ("narrow", 2)):
        config.pairs[name] = {"student": {"kwargs": {"width": width}}}
    return config
"""


def test_every_pair_has_a_choice_of_its_own(kdjax, tmp_path):
    file, out = tmp_path / "pairs.py", f"--out={tmp_path}"
    file.write_text(PAIRS)
    status, printed, err = kdjax("tune", file, "--trials=2", "--seeds=7", "--only=stateless", out)
    assert status == 0, err
    assert printed.count("optimizer.learning_rate=") == 2
    teachers = sorted(path.parent.name for path in tmp_path.glob("*/teacher"))
    assert teachers == ["tiny_wide"]  # trained once, for both and for all their trials

    choice = tmp_path / "tiny_narrow-tuning/tuned.json"
    told = tune.read(choice)
    rate = {**told["methods"]["stateless"]["chosen"], "optimizer.learning_rate": 0.0625}
    write_json(choice, {**told, "methods": {"stateless": {**told["methods"]["stateless"], "chosen": rate}}})
    status, printed, err = kdjax("run", file, "--tuned", "--only=stateless", out)
    assert status == 0, err
    rates = {}
    for name in ("wide", "narrow"):
        (line,) = (line for line in gather.read(tmp_path / f"tiny_{name}-tuned") if line["run"] == "stateless/seed0")
        rates[name] = line["config"]["spec"]["optimizer"]["learning_rate"]
    own = tune.read(tmp_path / "tiny_wide-tuning/tuned.json")["methods"]["stateless"]["chosen"]
    assert rates == {"wide": own["optimizer.learning_rate"], "narrow": 0.0625}
    assert sorted(path.parent.name for path in tmp_path.glob("*/teacher")) == ["tiny_wide"]
    status, printed, err = kdjax("run", file, "--tuned", "--only=stateless", "--dry-run", "--pairs=narrow", out)
    assert (status, printed.count("everything is finished")) == (0, 1), err

    status, _, err = kdjax("run", file, f"--tuned={choice}", out)
    assert (status, "of one experiment" in err) == (2, True)
    status, _, err = kdjax("tune", *TINY, "--pairs=wide", out)
    assert (status, "--pairs chooses among config.pairs" in err) == (2, True)
