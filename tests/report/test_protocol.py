"""The protocol under a table is true: its claims against the resolved rows of configs of every kind."""

import json
import re

import pytest

from kdjax import cli
from kdjax.config import default, plain, resolve
from kdjax.config.recipes import recipe
from kdjax.config.rows import expand
from kdjax.experiment.lab import teacher_config
from kdjax.experiment.plan import run_config
from kdjax.report import table, wording
from kdjax.training.method import Method
from tests.config.test_configs import CASES, CONFIGS
from tests.report.test_table import markdown_rows, result, tiny_runs

LABELS = {"cross_entropy": {"weight": 1.0}}


def configured(methods=("student", "kd"), ablate=(), **changes):
    """A config, resolved; `changes` by dotted path with __ for a dot."""
    config = default()
    config.experiment, config.seeds = "made", (0, 1)
    config.teacher.model, config.student.model = "resnet20", "resnet8"
    for name in methods:
        config.methods[name] = methods[name] if isinstance(methods, dict) else recipe(name, "resnet20", "resnet8")
    for path, values in dict(ablate).items():
        config.ablate[path] = values
    config.update_from_flattened_dict({key.replace("__", "."): value for key, value in changes.items()})
    return resolve(config)


def lines_of(config) -> list[dict]:
    """The lines of a finished experiment: real configs of real rows, made-up results."""
    config, lines = resolve(config), []
    trained = config.teacher.model and not config.teacher.weights and not config.teacher.run
    if trained:
        own = teacher_config(config)
        made = {"model": config.teacher.model, "kwargs": {}}
        lines.append(_line(own, Method("teacher", "teacher", LABELS, None, made), config.teacher.seed))
    for row in expand(config):
        lines += [_line(config, row, seed) for seed in config.seeds]
    taught = bool(config.teacher.model or config.teacher.run)
    for line in lines:
        if not config.data.validation:
            line["result"]["best"] = None
        if not taught or line["config"]["method"] == "teacher":
            line["result"]["teacher"] = None
            line["result"]["last"]["agreement"] = None
        else:
            line["result"]["teacher"] = {**line["result"]["teacher"], "model": config.teacher.model or "one"}
    return lines


def _line(config, row, seed):
    made = json.loads(json.dumps(plain(run_config(config, row, seed))))
    epochs = {"epochs": config.epochs, "steps": 10 * config.epochs}
    top1 = 0.8 + (sum(map(ord, row.name)) * (seed + 1) % 13) / 100
    return {
        "run": f"{row.name}/seed{seed}",
        "config": made,
        "result": result(row.name, seed, top1, **epochs),
        "history": [],
    }


def protocol(config) -> str:
    return table.markdown(lines_of(config)).replace("\\", "")


# ---- claims that must hold whatever the config

NOTES = {  # a key of a row -> what a note says of it
    "data": "Its view of the data",
    "first_stage": "Has a first stage of",
    "freeze": "Frozen",
    "from_teacher": "begin as the teacher's",
    "optimizer": "Has an optimizer of its own",
    "prune": "Pruned",
    "quantize": "rounded to",
    "start": "Begins as the student of",
    "student": "Its network is",
    "teacher": "Taught by the student",
}

EXPLAINED = {  # a column -> what explains it
    "best epoch": "Best epoch:",
    "agreement": "greement is the share",
    "p": "two-sided paired t-test",
    "precision": "macro average",
}


def assert_true(runs: list[dict]) -> None:
    text = table.markdown(runs).replace("\\", "")
    singular = r"(?<![.,\d])1 (\w+ )?(epochs|images|seeds|steps|classes|comparisons|students|parameters|passes)\b"
    assert not re.search(singular, text), re.search(singular, text)
    assert not re.search(r"\b([02-9]|\d\d+) (epoch|seed|step|class|comparison)\b(?! of)", text)
    cells = markdown_rows(text)
    header = cells["method"]
    for column, words in EXPLAINED.items():
        assert (column in header) == (words in text), column
    assert any(name.startswith("Δ") for name in header) == ("Δ: difference" in text)
    students = [line for line in runs if line["config"]["method"] != "teacher"]
    for line in students:
        marks = next(name for name in cells if name.startswith(line["config"]["row"].strip()))
        for key, words in NOTES.items():
            if line["config"]["spec"].get(key):
                assert words in text, key
                assert marks != line["config"]["row"], key
    networks = {str(line["config"]["student"]) for line in students}
    if "initial weights" in text:
        assert ("where the network is the same" in text) == (len(networks) > 1)
    otherwise = ("data", "first_stage", "from_teacher", "optimizer", "start")
    differs = any(line["config"]["spec"].get(key) for line in students for key in otherwise)
    assert ("Every method:" in text) + ("Every method, but for what notes say" in text) + ("Trained for" in text) == 1
    assert ("but for what notes say of single ones" in text) == (differs and "Trained for" not in text)


@pytest.mark.parametrize("name", CASES)
def test_every_config_of_the_house(name):
    assert_true(lines_of(cli.load_config(str(CONFIGS / name), [])))


KINDS = {
    "one epoch, one seed": configured(epochs=1, seeds=(0,)),
    "one method": configured(("student",)),
    "no teacher": configured(("student", "self_distillation"), teacher__model=""),
    "stages": configured(("student", "fsp", "factor_transfer", "activation_boundary")),
    "networks of their own": configured(("student", "simkd", "mutual")),
    "born again": configured({"student": LABELS, "again": {**recipe("kd"), "teacher": "student"}}),
    "ensemble of rows": configured(
        {"student": LABELS, "kd": recipe("kd"), "both": {**recipe("kd"), "teacher": "student+kd"}}
    ),
    "continued": configured(
        {
            "student": LABELS,
            "pruned": {**LABELS, "start": "student", "prune": {"sparsity": 0.5}, "optimizer": {"learning_rate": 0.01}},
            "int8": {**LABELS, "quantize": "int8"},
        }
    ),
    "views": configured(
        {"student": LABELS, "kd": recipe("kd"), "seen": {**recipe("kd"), "data": {"unlabelled": True}}},
        data__shots=1,
    ),
    "mixed views": configured({"student": LABELS, "mixed": {**LABELS, "data": {"augment": {"mixup": {}}}}}),
    "only views": configured({"student": {**LABELS, "data": {"augment": {"flip": {}}}}}),
    "ablated": configured(ablate={"kd.kd.temperature": (1.0, 2.0)}),
    "bfloat16": configured(dtype="bfloat16"),
    "streamed": configured(execution__stream=True, data__image_size=32),
    "one step": configured(steps_per_epoch=1, keep_last_batch=True, eval_every_epochs=5, data__validation=0.1),
    "weights": configured(teacher__weights="/home/x/w.safetensors"),
    "ensemble": configured(teacher__run="/home/x/runs/a/teacher/seed0 + runs/b/kd/seed1"),
    "own optimizer of the teacher": configured(
        teacher__optimizer={"name": "adamw", "learning_rate": 0.002}, teacher__batch_size=16, teacher__epochs=1
    ),
    "own loss": configured({"student": LABELS, "mine": {**LABELS, "mine": {"fn": "a.b", "weight": 2.0}}}),
    "warm-up and milestone": configured(
        optimizer__warmup_epochs=1.0, optimizer__schedule="step", optimizer__milestones=(5,)
    ),
    "published": configured(published__benchmark="cifar100", published__teacher="a", published__student="b"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_config(kind):
    assert_true(lines_of(KINDS[kind]))


# ---- what single kinds must say, and must not


def test_networks_of_their_own_are_no_deviation_from_the_paper():
    text = protocol(KINDS["networks of their own"])
    assert "except" not in text
    assert "Its network is simkd (channels 64, student resnet8)." in text
    assert "Its network is peers (members (resnet8, resnet8))." in text
    assert "Some of its parameters begin as the teacher's: classifier as classifier there." in text


def test_another_hyperparameter_is_a_deviation():
    changed = {"student": recipe("student"), "kd": {"cross_entropy": {"weight": 0.1}, "kd": {"weight": 2.0}}}
    text = protocol(configured(changed))
    assert "except, paper -> here, kd (kd.weight: 0.9 -> 2.0, kd.temperature: 4.0 -> default)." in text
    other = {"student": {**LABELS, "kd": {"weight": 1.0}}, "kd": {"kd": {"weight": 0.9, "temperature": 4.0}}}
    text = protocol(configured(other))
    assert "student (plus kd (weight 1.0))" in text
    assert "kd (without cross_entropy)" in text


def test_a_pair_has_its_own_numbers_however_its_teacher_came():
    """The recipe of dkd for this pair is no deviation where the teacher comes from a run, too."""
    config = configured({"student": LABELS, "dkd": recipe("dkd", "resnet56", "resnet20")})
    config.student.model, config.teacher.run = "resnet20", "runs/a/teacher/seed0"
    runs = lines_of(config)
    for line in runs:
        line["result"]["teacher"]["model"] = "resnet56"
    assert "except" not in table.markdown(runs)


def test_a_method_of_ones_own_is_written_out():
    assert "mine: as in the config, cross_entropy (weight 1.0) + mine (fn a.b, weight 2.0)" in protocol(
        KINDS["own loss"]
    )


def test_the_teacher_was_trained_as_is_said():
    text = protocol(KINDS["own optimizer of the teacher"])
    said = re.search(r"Teacher: resnet20, (.*?); its accuracy", text)[1]
    assert "1 epoch, batch size 16, adamw, learning rate 0.002" in said
    assert "weight decay 0.0005 (decoupled)" in said
    runs = [line for line in lines_of(KINDS["own optimizer of the teacher"]) if line["config"]["method"] != "teacher"]
    assert said.split("by cross-entropy")[1] in table.markdown(runs)  # without its run: from config.teacher
    plainly = protocol(configured())
    assert re.search(r"by cross-entropy, 30 epochs, seed 0, for all seeds", plainly)
    stepwise = protocol(configured(steps_per_epoch=1))
    assert "30 passes over them, seed 0" in stepwise  # a student's epoch is one step


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("weights", "Teacher: resnet20, with weights of w.safetensors;"),
        ("ensemble", "the students of a/teacher/seed0 and b/kd/seed1;"),
        ("no teacher", "No teacher."),
        ("born again", "Teacher, of all rows whose notes name no other: resnet20"),
        ("bfloat16", "computed in bfloat16"),
        ("one step", "of 1 step"),
        ("one epoch, one seed", "at the last epoch (1), of one seed (0)."),
        ("one method", "Trained for 30 epochs"),
        ("warm-up and milestone", "times 0.1 after epoch 5, 1 epoch of warm-up"),
        ("stages", "Has a first stage of 30 epochs more than the others, on fsp (weight 1.0)."),
        ("stages", "Frozen after its first stage: factor_transfer/paraphraser."),
        ("ensemble of rows", "Taught by the student of student and kd with the same seed."),
        ("views", "Students see 1 labelled image a class."),
        ("views", "it sees the training images without labels"),
        ("mixed views", "it has mixup besides the others' augmentation"),
        ("continued", "Pruned: 50 % of the weights of its kernels are 0"),
    ],
)
def test_what_is_said(kind, said):
    assert said in protocol(KINDS[kind])


@pytest.mark.parametrize("kind", ["weights", "ensemble"])
def test_no_path_of_this_machine(kind):
    assert "/home" not in protocol(KINDS[kind])


def test_what_has_no_column_is_not_explained():
    text = protocol(KINDS["no teacher"])
    assert "agreement" not in text
    assert "compression" not in text.split("**Protocol.**")[1]
    assert "No validation split, so no best epoch; no epoch is chosen on the test split." in text


def test_a_narrow_terminal_explains_what_it_shows():
    from tests.report.test_table import shown

    wide, narrow = (" ".join(shown(tiny_runs(), width).split()) for width in (200, 60))
    for words in ("precision", "macro averages", "Agreement is", "FLOPs"):
        assert (words.lower() in wide.lower(), words.lower() in narrow.lower()) == (True, False), words
    assert "Best epoch" in wide
    assert ("Best epoch" in narrow) == ("best epoch" in narrow.split("Protocol.")[0])


def test_only_seeds_that_ran_are_counted():
    runs = lines_of(configured(seeds=(0, 1, 2, 3, 4)))
    for line in runs:
        if line["config"]["seed"] > 1:
            line.update(result=None, problem="missing")
    assert "over 2 seeds (0, 1)" in table.markdown(runs)
    runs[2]["result"] = None
    assert "over n seeds of (0, 1)" in table.markdown(runs)


def test_rows_of_another_budget_are_told_and_views_are_not():
    runs = lines_of(KINDS["views"])
    assert "another config" not in table.markdown(runs)
    runs[-1]["config"]["epochs"] = 60
    assert "Trained with another config than the first row: epochs: 30 -> 60." in table.markdown(runs)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, "sgd (momentum 0.9), learning rate 0.05, cosine schedule, weight decay 0.0005 (L2)"),
        ({"weight_decay": 0.0}, "cosine schedule, no weight decay"),
        ({"name": "adamw", "kwargs": {"b1": 0.8}}, "adamw (b1 0.8), learning rate 0.05, cosine schedule, weight"),
        ({"name": "adamw"}, "weight decay 0.0005 (decoupled)"),
        ({"schedule": "step", "milestones": [1, 3, 5], "factor": 0.2}, "times 0.2 after epochs 1, 3 and 5"),
        ({"warmup_epochs": 1}, "1 epoch of warm-up"),
        ({"warmup_epochs": 0.5, "clip_norm": 5.0}, "0.5 epochs of warm-up, weight decay 0.0005 (L2), gradients"),
    ],
)
def test_an_optimizer_in_words(spec, said):
    assert said in wording.optimizer({**plain(resolve(default()).optimizer), **spec})


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"shots": 5}, "Students see 5 labelled images a class."),
        ({"imbalance": 2.5}, "Students see a long tail, 2.5 to 1 among classes of one size."),
        (
            {"shots": 5, "imbalance": 10.0, "unlabelled": True},
            "Students see a long tail from 5 labelled images of the largest class on, 10 to 1 among classes of one "
            "size. The other training images are used without labels.",
        ),
        ({"train_examples": 1000}, "Of the training split a stratified part of 1,000 images is used."),
    ],
)
def test_which_labels_are_seen(spec, said):
    runs = tiny_runs()
    assert said not in table.markdown(runs)
    for line in runs:
        line["config"]["data"] = {**line["config"]["data"], **spec}
    assert said in table.markdown(runs)


def test_sizes_and_machine():
    text = table.markdown(tiny_runs())
    for said in (
        "Tiny: 10 classes, 100 labelled training images, a validation split (the data's own, or else 20 % of the "
        "training split), 100 test images.",
        "Every method: 3 epochs of 10 steps, batch size 64",
        "cpu x 2 with jax 0.10.2. Revision abc.",
    ):
        assert said in text


def test_rows_taught_by_rows_begin_with_other_weights():
    runs = lines_of(KINDS["born again"])
    assert "from initial weights of its own" not in table.markdown(runs)  # runs of earlier versions
    for line in runs:
        line["result"]["generation"] = int(line["config"]["method"] == "again")
    text = table.markdown(runs)
    assert "Taught by the student of student with the same seed, from initial weights of its own." in text
    assert "Every method, but for what notes say of single ones:" in text


def test_views_and_what_a_teacher_said_once():
    once = configured(execution__teach_once=True, data__augment={"flip": {}}, data__views=4)
    said = protocol(once)
    assert "augmentation (flip, 4 views of each image, which epochs take in turn)" in said
    assert "accuracy is measured here. What it says of each view of a training image was computed once" in said
    assert "What it says of each image was computed once" in protocol(configured(execution__teach_once=True))
    assert "computed once" not in protocol(configured(data__views=4))
