"""Losses on two views of a batch: their values, what the step gives them, and that nobody else notices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kdjax import experiment, losses
from kdjax.config import default, recipes
from kdjax.data.images import augment
from kdjax.runs.directory import Run
from kdjax.training.kept import taught
from kdjax.training.objective import Objective, Term
from kdjax.training.step import make_init, make_teach, make_train_step
from kdjax.types import Outputs
from tests import tiny
from tests.losses.test_losses import labels, outputs

ONE = optax.constant_schedule(1.0)
PAIR = outputs("student"), outputs("teacher")
SECOND = outputs("student", 1), outputs("teacher", 1)
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1)).astype(np.uint8)


def test_two_equal_views_are_one():
    found = losses.mlkd_views(*PAIR, labels(), second=PAIR)
    np.testing.assert_allclose(found, losses.mlkd(*PAIR, labels()), rtol=1e-6)


def test_the_second_view_is_taught_by_kd_alone():
    found = losses.mlkd_views(*PAIR, labels(), second=SECOND, temperatures=(2.0, 3.0), strong_weight=4.0)
    first = losses.mlkd(*PAIR, labels(), temperatures=(2.0, 3.0), example_weight=0.5)
    strong = sum(losses.kd(*SECOND, labels(), temperature=t) for t in (2.0, 3.0))
    np.testing.assert_allclose(found, first + 4 * strong, rtol=1e-6)
    expected = losses.cross_entropy(SECOND[0], None, labels())
    np.testing.assert_array_equal(losses.second_cross_entropy(*PAIR, labels(), second=SECOND), expected)


@pytest.mark.parametrize("scale", [0.0, 1e-4, 1e4])
def test_finite_at_extremes(scale):
    def value(student, other):
        scaled = jax.tree.map(lambda x: scale * x, (PAIR[1], SECOND[1]))
        return losses.mlkd_views(student, scaled[0], labels(), second=(other, scaled[1]))

    found = jax.value_and_grad(value, (0, 1))(*(jax.tree.map(lambda x: scale * x, x) for x in (PAIR[0], SECOND[0])))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


# ---- where the views come from


def test_the_views_are_drawn_apart_and_the_first_is_as_without():
    seen = {"input": default().data}
    key, classes = jax.random.key(3), np.arange(6, dtype=np.int32)
    alone, _ = augment.compose({"shift": {"pixels": 2}}, seen)(key, IMAGES, classes)
    both, target = augment.compose({"shift": {"pixels": 2}}, seen, second={"flip": {}})(key, IMAGES, classes)
    np.testing.assert_array_equal(alone["input"], both["input"])
    np.testing.assert_array_equal(target, classes)
    assert sorted(both["second"]) == ["input"]
    assert np.any(both["second"]["input"] != both["input"])
    with pytest.raises(ValueError, match="whose labels cannot be mixed"):
        augment.compose({"mixup": {}}, seen, 6, second={})


def test_the_teacher_sees_both_views_in_its_own_way():
    batch = {"input": 1.0, "teacher": 2.0, "second": {"input": 3.0, "teacher": 4.0}}
    given, out = taught(lambda variables, x: 10 * x + variables, 0.5, batch)
    assert (given, out) == ({"input": 1.0, "second": {"input": 3.0, "taught": 40.5}}, 20.5)
    given, out = taught(lambda variables, x: 10 * x, None, {"input": 1.0, "second": {"input": 3.0}})
    assert (given, out) == ({"input": 1.0, "second": {"input": 3.0, "taught": 30.0}}, 10.0)


def between(student, teacher, labels, *, second):
    return jnp.mean(jnp.square(student.logits - second[0].logits)) + jnp.mean(second[1].logits * second[0].logits)


def test_a_step_on_two_views_is_that_of_the_formula():
    """One set of parameters, gradients of both views; BatchNorm sees the first view, then the second."""
    student, teacher = tiny.Net(3), tiny.Net(3, width=8)
    first, other = jax.random.normal(jax.random.key(1), (2, 6, 8, 8, 1))
    variables = teacher.init(jax.random.key(2), first)
    teach = make_teach(teacher)
    batch = {"input": first, "target": jnp.arange(6) % 3, "index": jnp.arange(6)}
    batch["second"] = {"input": other, "taught": teach(variables, other)}
    given = batch, teach(variables, first), variables, None
    objective = Objective(student, (Term("between", between, ONE),))
    state = make_init(objective, optax.sgd(0.1))(jax.random.key(0), *given)
    after, found = jax.jit(make_train_step(objective, optax.sgd(0.1)))(state, *given)

    def loss(params):
        stats, out = {"batch_stats": state.stats["batch_stats"]["student"]}, []
        for image in (first, other):
            made, stats = student.apply({"params": params, **stats}, image, train=True, mutable=["batch_stats"])
            out.append(made)
        return between(out[0], None, None, second=(out[1], batch["second"]["taught"])), stats

    (value, stats), grads = jax.value_and_grad(loss, has_aux=True)(state.params["student"])
    np.testing.assert_allclose(found["loss"], value, rtol=1e-5)
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, state.params["student"], grads), stats["batch_stats"]
    ours = after.params["student"], after.stats["batch_stats"]["student"]
    for one, two in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)


def test_they_train_and_others_beside_them_do_not_notice(tmp_path):
    config = tiny.config(epochs=1, methods=("stateless",))
    config.seeds, config.teacher.epochs = (0,), 1
    config.data.image_size, config.teacher.image_size = 8, 16
    made = functools.partial(experiment.run, config, tmp_path)
    alone = Run(made() / "stateless/seed0").history()
    config.experiment = "both"
    config.data.second_augment.flip = {}
    config.methods.mlkd_views = recipes.recipe("mlkd_views")
    directory = made()
    assert Run(directory / "stateless/seed0").history() == alone
    (row,) = Run(directory / "mlkd_views/seed0").history()
    assert np.isfinite([row["loss/mlkd_views"], row["loss/second_cross_entropy"]]).all()
    assert row["loss/second_cross_entropy"] != row["loss/cross_entropy"]
    config.experiment, config.data.augment = "mixed", {"mixup": {}}
    with pytest.raises(ValueError, match=r"^config.methods.mlkd_views: config.data: a loss asks for a second view"):
        made(only=("mlkd_views",))


def test_a_second_view_that_no_loss_asks_for_is_refused(tmp_path):
    config = tiny.config(epochs=1, methods=("stateless",))
    config.data.second_augment.flip = {}
    with pytest.raises(ValueError, match=r"^config.data.second_augment .*no method has one; .* mlkd_views"):
        experiment.run(config, tmp_path)


def test_logits_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match="mlkd_views: logits of student and teacher must have one shape"):
        losses.mlkd_views(*PAIR, labels(), second=(Outputs(jnp.ones((6, 3))), SECOND[1]))
