"""Recipes: complete, theirs for the pair, and ready to train."""

import jax
import jax.numpy as jnp
import pytest

from kdjax import config as configs
from kdjax import models
from kdjax.config import recipes, trace
from kdjax.config import rows as rows
from kdjax.types import batch_of, image_spec, text_spec

EVERY = {**recipes.RECIPES, **recipes.VARIANTS}
PAIRS = sorted({pair for pairs in recipes.PAIRS.values() for pair in pairs})


@pytest.fixture(scope="module")
def teacher():
    """A teacher, its variables and what it sees, as shapes."""
    model = models.resnet14(num_classes=5)
    image = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
    return model, jax.eval_shape(model.init, jax.random.key(0), image), image_spec(16, 16, 3)


@pytest.mark.parametrize("name", EVERY)
def test_every_recipe_can_train_a_resnet(name, teacher):
    config = configs.default()
    config.student.model = "resnet8"
    config.methods[name] = recipes.recipe(name, "resnet14", "resnet8")
    (row,) = rows.expand(configs.resolve(config))
    row = rows.with_model(row, config, 5)
    stages = rows.stages(row, config, steps_per_epoch=3)
    assert len(stages) == 1 + ("first_stage" in EVERY[name])
    target = jax.ShapeDtypeStruct((2,), jnp.int32)
    for stage in stages:
        trace.check(
            f"config.methods.{name}",
            row,
            stage,
            image_spec(16, 16, 3),
            teacher,
            5,
            jax.ShapeDtypeStruct((40,), jnp.int32),
            target,
        )


@pytest.mark.parametrize("name", recipes.TEXT)
def test_every_recipe_for_texts_can_train_a_bert(name):
    sizes = {"vocabulary": 20, "width": 16, "heads": 2}
    model = models.bert(num_classes=5, layers=4, **sizes)
    teacher = model, jax.eval_shape(model.init, jax.random.key(0), batch_of(text_spec(6), 1)), text_spec(6)
    config = configs.default()
    config.student.model = "bert"
    config.student.kwargs = {"layers": 2, **sizes}
    config.methods[name] = recipes.recipe(name)
    (row,) = rows.expand(configs.resolve(config))
    row = rows.with_model(row, config, 5)
    target = jax.ShapeDtypeStruct((2,), jnp.int32)
    for stage in rows.stages(row, config, steps_per_epoch=3):
        trace.check(
            f"config.methods.{name}",
            row,
            stage,
            text_spec(6),
            teacher,
            5,
            jax.ShapeDtypeStruct((40,), jnp.int32),
            target,
        )


def test_a_recipe_is_a_copy():
    recipes.recipe("kd")["kd"]["temperature"] = 1.0
    assert recipes.recipe("kd")["kd"]["temperature"] == 4.0


@pytest.mark.parametrize(
    ("name", "teacher", "student", "term", "expected"),
    [
        ("dkd", "", "", "dkd", {"beta": 8.0, "temperature": 4.0, "warmup_epochs": 20}),
        ("dkd", "resnet56", "resnet20", "dkd", {"beta": 2.0, "temperature": 4.0, "warmup_epochs": 20}),
        ("dkd", "vgg13", "mobilenetv2", "dkd", {"beta": 6.0}),
        ("dkd", "resnet34", "resnet18", "dkd", {"beta": 0.5, "temperature": 1.0, "warmup_epochs": 1}),
        ("reviewkd", "resnet32x4", "resnet8x4", "reviewkd", {"weight": 5.0}),
        ("reviewkd", "resnet56", "resnet20", "reviewkd", {"weight": 0.6}),
        ("kd", "resnet34", "resnet18", "cross_entropy", {"weight": 0.5}),
    ],
)
def test_a_pair_has_its_numbers(name, teacher, student, term, expected):
    assert recipes.recipe(name, teacher, student)[term].items() >= expected.items()


@pytest.mark.parametrize("pair", PAIRS, ids="->".join)
def test_pairs_are_of_known_networks(pair):
    known = {model.__name__ for family in models.FAMILIES.values() for model in family}
    assert set(pair) <= known


def test_pairs_change_only_what_a_recipe_has():
    for name, pairs in recipes.PAIRS.items():
        for changes in pairs.values():
            assert changes.keys() <= recipes.RECIPES[name].keys()


def test_the_student_of_simkd_projects_to_the_channels_of_its_teacher():
    assert recipes.recipe("simkd", "resnet32x4", "resnet8x4")["student"] == {
        "model": "simkd",
        "kwargs": {"student": "resnet8x4", "channels": 256},
    }


@pytest.mark.parametrize(
    ("student", "expected"),
    [("resnet20", {"learning_rate": 0.01}), ("wrn_16_2", {"learning_rate": 0.01}), ("vgg8", {}), ("mobilenetv2", {})],
)
@pytest.mark.parametrize("name", ["factor_transfer", "factor_transfer_paper"])
def test_the_paraphrasers_rate_is_that_of_the_students_family(name, student, expected):
    """RepDistiller's helper/pretrain.py: 0.01 for ResNets and WRN, the method's own for others."""
    assert recipes.recipe(name, "vgg13", student)["first_stage"].get("optimizer", {}) == expected


@pytest.mark.parametrize(
    ("teacher", "student", "rate"),
    [("", "", 0.025), ("resnet32x4", "resnet8x4", 0.025), ("vgg13", "vgg8", 0.01), ("wrn_40_2", "mobilenetv2", 0.005)],
)
def test_rates_of_mlkd(teacher, student, rate):
    assert recipes.recipe("mlkd", teacher, student)["optimizer"] == {"learning_rate": rate}


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(ValueError, match="there is no recipe 'fitnets'; did you mean 'fitnet'"):
        recipes.recipe("fitnets")


def test_learning_rates_of_the_benchmark():
    assert [recipes.learning_rate(s) for s in ("resnet8x4", "mobilenetv2", "shufflenetv1")] == [0.05, 0.01, 0.01]
