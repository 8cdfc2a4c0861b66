"""What kdjax tune varies: a space beside every recipe, points that depend on their number alone."""

import math

import pytest

from kdjax import config as configs
from kdjax.config import recipes, rows, spaces

EVERY = {**recipes.RECIPES, **recipes.VARIANTS, **recipes.TEXT}


@pytest.mark.parametrize("name", EVERY)
def test_every_recipe_has_a_space_of_which_every_point_is_a_method(name):
    spec = configs.plain(EVERY[name])
    axes = spaces.space(spec, 0.05)
    paths = [axis.path for axis in axes]
    terms = {**spec, **spec.get("first_stage", {}).get("terms", {})}
    losses = [term for term in terms if term not in (*spaces.RESERVED, *spaces.LABELS)]
    assert {f"{term}.weight" for term in losses} <= {path.removeprefix("first_stage.terms.") for path in paths}
    assert paths[0] == "optimizer.learning_rate"
    for number in range(9):
        values = spaces.point(axes, number)
        for axis in axes:
            assert axis.low <= axis.value <= axis.high
            assert axis.low * 0.999 <= values[axis.path] <= axis.high * 1.001
            assert type(values[axis.path]) is type(axis.value)
        made = spaces.changed(spec, values)
        assert set(made) == {*spec, "optimizer"}
        for stage in (made, made.get("first_stage", {}).get("terms", {})):
            for term in set(stage) - set(spaces.RESERVED):
                rows.make_term(term, stage[term], 3, name)  # refuses what a loss cannot have


def test_the_first_point_is_the_recipe_and_the_others_differ():
    spec = recipes.recipe("dkd")
    axes = spaces.space(spec, 0.05)
    assert [axis.path for axis in axes] == [
        *("optimizer.learning_rate", "dkd.weight", "dkd.alpha", "dkd.beta", "dkd.temperature")
    ]
    assert spaces.changed(spec, spaces.point(axes, 0)) == {**spec, "optimizer": {"learning_rate": 0.05}}
    points = [tuple(spaces.point(axes, number).values()) for number in range(32)]
    assert len(set(points)) == 32
    for values, axis in zip(zip(*points, strict=True), axes, strict=True):  # as many in each half of a range
        assert sum(value > math.sqrt(axis.low * axis.high) * 1.01 for value in values) in (15, 16)


def test_a_point_is_its_number_s():
    axes = spaces.space(recipes.recipe("kd"), 0.05)
    again = [spaces.point(axes, number) for number in (7, 3, 7)]
    assert again[0] == again[2] != again[1]
    other = spaces.space(recipes.recipe("wsld"), 0.1)  # as many dimensions: the same places in other ranges
    for one, two in zip(axes, other, strict=True):
        places = [math.log(spaces.point(of, 5)[axis.path] / axis.low, axis.high / axis.low)
                  for of, axis in ((axes, one), (other, two))]  # fmt: skip
        assert places[0] == pytest.approx(places[1], abs=1e-3)


def test_types_and_ends_of_ranges_stay():
    spec = {"attention": {"weight": 1, "power": 2}, "self_distillation": {"weight": 1.0, "alpha": 0.3}}
    axes = {axis.path: axis for axis in spaces.space(spec, 0.0)}
    assert "optimizer.learning_rate" not in axes  # there is none to vary
    assert axes["attention.power"][1:] == (1.0, 8.0, 2)
    assert {type(spaces.point(list(axes.values()), n)["attention.power"]) for n in range(8)} == {int}
    assert axes["attention.weight"].value == 1.0
    assert type(axes["attention.weight"].value) is float
    assert axes["self_distillation.alpha"].high == 1.0
    assert spaces.space({"itrd": {"weight": 1.0, "alpha": 1.01}}, 0.0)[0].path == "itrd.weight"


def test_a_method_s_own_learning_rate_is_the_middle():
    own = spaces.space({"cross_entropy": {"weight": 1.0}, "optimizer": {"learning_rate": 0.2}}, 0.05)
    assert own == [spaces.Axis("optimizer.learning_rate", 0.04, 1.0, 0.2)]
