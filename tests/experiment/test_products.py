"""The shop's case on a small folder of images: few labels, a method's own view of them, fine-tuned teachers."""

import jax
import numpy as np
import pytest
from PIL import Image

from kdjax import cli, experiment, models
from kdjax.models import pytorch, weights
from kdjax.report import table
from kdjax.runs.directory import Run
from kdjax.training import checkpoint
from kdjax.types import image_spec
from tests import tiny

KD = {"cross_entropy": {"weight": 0.5}, "kd": {"weight": 0.5}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three classes of 8 images, two of 4, of 20 x 16 pixels; one class has no image in val."""
    root, rng = tmp_path_factory.mktemp("shop"), np.random.default_rng(0)
    for split, images in (("train", (8, 8, 8, 4, 4)), ("val", (2, 2, 2, 2, 0)), ("test", (3, 3, 3, 3, 3))):
        for c, count in enumerate(images):
            (root / split / f"class{c}").mkdir(parents=True)
            for i in range(count):
                pixels = np.clip(rng.normal(50 * c, 20, (16, 20, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / split / f"class{c}" / f"{i}.png")
    return root


def load(name):
    config = cli.load_config(f"configs/{name}", [])
    config.seeds, config.batch_size = (0,), 8
    config.data.image_size = 16
    config.teacher.model = config.student.model = "tests.tiny.Net"
    return config


def test_products_and_few_shots(folder, tmp_path):
    """Both configs from images to one table and picture, a few steps each."""
    products = load(f"products.py:path={folder},teacher=resnet14,student=lenet,epochs=1")
    directory = experiment.run(products, tmp_path, only=("student", "kd"))
    assert "validation has no image of 1 of 5 classes: 'class4'" in Run(directory / "kd/seed0").result()["warnings"]
    few = load(f"products_fewshot.py:path={folder},teacher=resnet14,student=lenet,steps=20,shots=2")
    few.steps_per_epoch, few.teacher.run = 2, str(directory / "teacher/seed0")
    augment = ["random_resized_crop", "flip", "color_jitter"]
    seen = {"student": augment, "kd_unlabelled": augment, "function_matching": [*augment, "mixup"]}
    made = experiment.run(few, tmp_path, only=tuple(seen))
    for method, view in seen.items():
        run = Run(made / method / "seed0")
        assert sum(run.result()["train_counts"]) == 10
        assert run.result()["steps"] == 2
        assert run.config()["data"]["unlabelled"] == (method != "student")
        assert list(run.config()["data"]["augment"]) == view
    table.write([*table.gather(directory), *table.gather(made)], tmp_path / "out")
    assert (tmp_path / "out/shots.png").is_file()


def test_more_shots_than_images(folder, tmp_path):
    config = load(f"products_fewshot.py:path={folder},shots=5")
    with pytest.raises(ValueError, match="shots=5, but class 'class3' has 4 labelled training examples; the most"):
        experiment.run(config, tmp_path)
    assert not list(tmp_path.rglob("seed*"))


def few(**methods):
    """Three labelled digits a class; two steps an epoch."""
    config = tiny.config(methods=("student",), epochs=2)
    config.seeds, config.data.shots, config.steps_per_epoch = (0,), 3, 2
    for name, spec in methods.items():
        config.methods[name] = spec
    return config


def rows(directory, method):
    return Run(directory / method / "seed0").history()


def test_a_view_of_its_own_equals_an_experiment_of_its_own(tmp_path):
    """A method with `data` trains to the same bits as where all methods see the images so; the others as without it."""
    mixed = {"unlabelled": True, "augment": {"mixup": {}}}
    directory = experiment.run(few(kd=KD, own={**KD, "data": mixed}), tmp_path / "one")
    whole = few(own=KD)
    whole.teacher.run = str(directory / "teacher/seed0")  # one that is trained here would see mixtures too
    whole.data.unlabelled = True
    whole.data.augment.mixup = {}
    assert rows(directory, "own") == rows(experiment.run(whole, tmp_path / "two"), "own")
    alone = experiment.run(few(kd=KD), tmp_path / "three")
    assert rows(directory, "kd") == rows(alone, "kd") != rows(directory, "own")


def test_a_view_continues_to_the_same_bits(tmp_path):
    config = few(own={**KD, "data": {"unlabelled": True}})
    whole = experiment.run(config, tmp_path / "whole")
    directory, stops = tiny.in_pieces(config, tmp_path / "pieces", calls=2)
    assert stops > 1
    assert rows(whole, "own") == rows(directory, "own")


@pytest.mark.parametrize(
    ("spec", "steps", "message"),
    [
        ({"shots": 5}, 2, "unknown field config.methods.own.data.shots"),
        ({"unlabelled": 1}, 2, "config.methods.own.data.unlabelled must be of type bool"),
        ({"augment": {"mixupp": {}}}, 2, "mixupp"),
        ({"augment": {"bad": {"fn": "tests.tiny.shapeless"}}}, 2, "^config.data.augment: "),
        ({"unlabelled": True}, 0, "images make .* steps an epoch, the other methods take"),
    ],
)
def test_views_that_cannot_be(tmp_path, spec, steps, message):
    config = few(own={**KD, "data": spec})
    config.steps_per_epoch, config.batch_size = steps, 16
    with pytest.raises(ValueError, match=message):
        experiment.run(config, tmp_path)
    assert not list(tmp_path.rglob("metrics.jsonl"))


@pytest.mark.parametrize("own", [False, True])
def test_a_loss_that_cannot_take_mixed_labels_is_refused_before_training(tmp_path, own):
    config = few(own={**KD, "dkd": {"weight": 1.0}, "data": {"augment": {"mixup": {}}} if own else {}})
    if not own:
        config.data.augment.mixup = {}
    with pytest.raises(ValueError, match=r"^config.methods.own.dkd: dkd: needs one class for each example"):
        experiment.run(config, tmp_path)
    assert not list(tmp_path.rglob("metrics.jsonl"))


def network(classes):
    return models.convnet(num_classes=classes, widths=(4, 8))


def exported(path, classes):
    """A network that tells so many classes apart, as a file of weights: (path, variables)."""
    variables = network(classes).init(jax.random.key(1), np.zeros((1, 8, 8, 1), np.float32))
    shifted = jax.tree.map(lambda x: np.asarray(x) + 0.5, variables)
    weights.save(path, shifted, {})
    return path, shifted


def test_a_teacher_begins_where_weights_of_other_classes_are(tmp_path):
    path, variables = exported(tmp_path / "start.safetensors", classes=7)
    body = pytorch.load_body(path, network(10), image_spec(8, 8, 1))
    assert "classifier" not in body["params"]
    np.testing.assert_array_equal(
        body["params"]["stage1_0_conv"]["kernel"], variables["params"]["stage1_0_conv"]["kernel"]
    )
    config = few(kd=KD)
    config.teacher.model, config.teacher.kwargs, config.teacher.start = "convnet", {"widths": (4, 8)}, str(path)
    config.teacher.epochs = 1
    config.teacher.optimizer = {"learning_rate": 0.0, "weight_decay": 0.0}
    directory = experiment.run(config, tmp_path)
    trained = checkpoint.student(directory / "teacher/seed0/checkpoints")
    for name in ("stage1_0_conv", "stage2_0_bn"):
        for leaf, value in variables["params"][name].items():
            np.testing.assert_array_equal(trained["params"][name][leaf], value)
    assert trained["params"]["classifier"]["kernel"].shape[-1] == 10
    run = Run(directory / "teacher/seed0")
    assert run.config()["teacher"]["start"] == str(path)
    assert "from start.safetensors, its classifier afresh," in table.markdown(table.gather(directory))


def test_a_teacher_begins_in_one_way(tmp_path):
    config = few(kd=KD)
    config.teacher.start, config.teacher.run = "a.safetensors", "runs/b/kd/seed0"
    with pytest.raises(ValueError, match=r"config.teacher.start and config.teacher.run are both set"):
        experiment.run(config, tmp_path)
