"""What a stage does not train stays as it is, bit for bit: frozen networks with their statistics, unreached layers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kdjax.config import default, recipes, resolve, rows
from kdjax.config.optimizer import make_optimizer
from kdjax.losses.lift import Lift
from kdjax.training.objective import Objective, Term
from kdjax.training.step import make_init, make_teach, make_train_step
from kdjax.types import Outputs
from tests import tiny

ONE = optax.constant_schedule(1.0)


class Noisy(nn.Module):
    """Batch statistics, dropout and noise, switched on in all the ways that there are."""

    num_classes: int = 3

    @nn.compact
    def __call__(self, image, train: bool = False):
        x = nn.Dense(8)(image.reshape(len(image), -1))
        x = nn.BatchNorm(name="by_argument", momentum=0.5)(x, use_running_average=not train)
        x = nn.BatchNorm(not train, momentum=0.5, name="by_field")(x)
        x = nn.Dropout(0.5, deterministic=not train)(x)
        x = nn.Dropout(0.5)(x, deterministic=not train)
        if train:
            x = x + jax.random.normal(self.make_rng("noise"), x.shape)
        return Outputs(nn.Dense(self.num_classes)(x))


def distance(student, teacher, labels):
    """Draws the student away from 0."""
    return -jnp.mean(jnp.square(student.logits))


def trained(model, terms, frozen=(), optimizer="sgd", steps=2, frozen_norms=False, rates=()):
    """(State before, State after, losses of the first step, the batch) of some steps with much weight decay."""
    config = resolve(default()).optimizer
    config.name, config.weight_decay, config.learning_rate = optimizer, 0.1, 0.1
    if optimizer != "sgd":
        config.kwargs = {}
    config.rates = dict(rates)
    objective = Objective(model, terms, frozen=frozen, frozen_norms=frozen_norms)
    with jax.numpy_dtype_promotion("standard"):  # optax's adam counts steps in int32
        update = make_optimizer(config, optax.constant_schedule(0.1), frozen)
        image = jax.random.normal(jax.random.key(1), (8, 8, 8, 1))
        batch = {"input": image, "target": jnp.arange(8) % 3, "index": jnp.arange(8)}
        teacher = tiny.Net(3, width=8)
        taught = make_teach(teacher)(teacher.init(jax.random.key(2), image), image)
        given = batch, taught, None, None
        before = make_init(objective, update)(jax.random.key(0), *given)
        step, state, reported = jax.jit(make_train_step(objective, update)), before, []
        for _ in range(steps):
            state, losses = step(state, *given)
            reported.append(losses)
    return before, state, reported[0], batch


def same(one, other) -> bool:
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in leaves)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_no_gradient_reaches_is_not_decayed(optimizer):
    hint = Term("hint", tiny.layered, ONE, {"layer": 0})  # the first map: neither conv1 nor the classifier
    before, after, *_ = trained(tiny.Net(3), (hint,), optimizer=optimizer)
    changed = {name for name, tree in before.params["student"].items() if not same(tree, after.params["student"][name])}
    assert changed == {"conv0", "bn0"}
    assert not same(before.params["hint"], after.params["hint"])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_frozen_batch_norm_stays_and_all_else_moves(optimizer):
    hint = Term("hint", tiny.layered, ONE, {"layer": 1})
    model = tiny.Net(3)
    before, after, losses, batch = trained(model, (hint,), optimizer=optimizer, frozen_norms=True)
    changed = {name for name, tree in before.params["student"].items() if not same(tree, after.params["student"][name])}
    assert changed == {"conv0", "conv1"}
    assert same(before.stats, after.stats)
    taught = make_teach(tiny.Net(3, width=8))(
        tiny.Net(3, width=8).init(jax.random.key(2), batch["input"]), batch["input"]
    )
    own = {"params": before.params["student"], "batch_stats": before.stats["batch_stats"]["student"]}
    evaluated = model.apply(own, batch["input"], train=False)
    expected = Lift(tiny.layered, {"layer": 1}).apply({"params": before.params["hint"]}, evaluated, taught, None)
    np.testing.assert_allclose(losses["loss"], expected, rtol=1e-5)


def test_only_the_batch_norms_are_in_evaluation_mode():
    """Dropout and noise of the same network go on."""
    before, after, losses, batch = trained(Noisy(), (Term("d", distance, ONE),), steps=1, frozen_norms=True)
    own = {"params": before.params["student"], "batch_stats": before.stats["batch_stats"]["student"]}
    still = distance(Noisy().apply(own, batch["input"], train=False), None, None)
    assert abs(float(losses["loss"]) - float(still)) > 1e-3
    assert same(before.stats, after.stats)
    assert not same(before.params["student"]["Dense_0"], after.params["student"]["Dense_0"])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_rates_multiply_the_first_step_of_what_they_name(optimizer):
    hint = Term("hint", tiny.layered, ONE, {"layer": 1})
    rates = {"student": 0.5, "student/conv*": 0.25, "student/conv1": 0.0}
    steps = []
    for given in ({}, rates):
        before, after, *_ = trained(tiny.Net(3), (hint,), optimizer=optimizer, steps=1, rates=given)
        steps.append(jax.tree.map(lambda new, old: np.asarray(new - old), after.params, before.params))
    plain, rated = steps
    for path, factor in (("conv0", 0.25), ("conv1", 0.0), ("bn0", 0.5)):
        for leaf, change in plain["student"][path].items():
            assert np.abs(change).max() > 0
            np.testing.assert_allclose(rated["student"][path][leaf], factor * change, atol=1e-7)
    for one, other in zip(jax.tree.leaves(plain["hint"]), jax.tree.leaves(rated["hint"]), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        (
            {"student/conv9": 0.1},
            r"config.optimizer.rates: no parameters at 'student/conv9'; did you mean 'student/conv1'",
        ),
        ({"head": 0.1}, r"no parameters at 'head'; valid are student, student/"),
        ({"student": -1.0}, r"they are at least 0; got \{'student': -1.0\}"),
        ({"student": "slow"}, r"config.optimizer.rates.student must be of type float"),
    ],
)
def test_rates_that_cannot_be(rates, message):
    with pytest.raises(ValueError, match=message):
        trained(tiny.Net(3), (Term("d", distance, ONE),), rates=rates)


@pytest.mark.parametrize("name", ["fsp", "activation_boundary", "factor_transfer"])
def test_first_stages_of_the_recipes_train_what_the_reference_gives_to_the_optimizer(name):
    """RepDistiller, train_student.py: get_feat_modules(), which lack the classifier; the paraphraser alone."""
    config = default()
    config.student.model, config.methods[name] = "resnet8", recipes.recipe(name)
    config = resolve(config)
    row = rows.with_model(rows.expand(config)[0], config, 5)
    first, main = rows.stages(row, config, steps_per_epoch=3)
    shared, own = reached(first), reached(main)
    assert not any("classifier" in path for path in shared)
    groups = {path.partition("/")[0] for path in shared}
    assert groups == ({"factor_transfer"} if name == "factor_transfer" else groups | {"student"})
    assert any("classifier" in path for path in own)
    assert "student" in first.objective.frozen or {p for p in own if p.startswith("student/")} - shared == {
        path for path in own if path.startswith("student/classifier/")
    }


def reached(stage) -> frozenset:
    """What the step tells its optimizer that a gradient reaches."""
    told = []

    def update(updates, state, params=None, *, reached, **extra):
        told.append(reached)
        return updates, state

    optimizer = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
    image = jax.ShapeDtypeStruct((2, 16, 16, 3), jnp.float32)
    labels = jax.ShapeDtypeStruct((2,), jnp.int32)
    model = rows.build_model({"model": "resnet8", "kwargs": {}}, 5, "float32", "config.teacher")
    variables = jax.eval_shape(model.init, jax.random.key(0), image)
    given = {"input": image, "target": labels, "index": labels}, jax.eval_shape(make_teach(model), variables, image)
    state = jax.eval_shape(make_init(stage.objective, optimizer), jax.random.key(0), *given, variables, labels)
    jax.eval_shape(make_train_step(stage.objective, optimizer), state, *given, variables, labels)
    return told[0]


@pytest.mark.parametrize("model", [tiny.Net(3), Noisy()], ids=["Net", "Noisy"])
def test_a_frozen_student_stays_with_its_statistics_and_is_evaluated(model):
    before, after, losses, batch = trained(model, (Term("away", distance, ONE),), frozen=("student",))
    assert same((before.params, before.stats), (after.params, after.stats))
    variables = {"params": before.params["student"], "batch_stats": before.stats["batch_stats"]["student"]}
    expected = distance(model.apply(variables, batch["input"], train=False), None, None)
    np.testing.assert_allclose(losses["loss/away"], expected, rtol=1e-5)
    before, after, *_ = trained(model, (Term("away", distance, ONE),))
    assert not same(before.stats, after.stats)


def test_a_frozen_layer_stays_with_its_statistics():
    before, after, *_ = trained(tiny.Net(3), (Term("away", distance, ONE),), frozen=("student/conv0", "student/bn0"))
    for tree, old in ((after.params["student"], before.params["student"]), *stats(after, before)):
        changed = {name for name in tree if not same(tree[name], old[name])}
        assert changed == tree.keys() - {"conv0", "bn0"}


def stats(after, before):
    return [(after.stats["batch_stats"]["student"], before.stats["batch_stats"]["student"])]


def test_a_frozen_loss_keeps_its_statistics_and_a_memory_still_remembers():
    def normed(student, teacher, labels):
        return jnp.mean(nn.BatchNorm(use_running_average=False, momentum=0.5, name="norm")(student.logits) ** 3)

    def remembers(student, teacher, labels, *, index, train_labels=None):
        return tiny.remembered(student, teacher, labels, index=index, train_labels=jnp.arange(8))

    terms = Term("normed", normed, ONE), Term("remembers", remembers, ONE)
    before, after, *_ = trained(tiny.Net(3), terms, frozen=("normed",))
    assert same(before.params["normed"], after.params["normed"])
    assert same(before.stats["batch_stats"]["normed"], after.stats["batch_stats"]["normed"])
    assert not same(before.stats["batch_stats"]["student"], after.stats["batch_stats"]["student"])
    assert not same(before.stats["memory"], after.stats["memory"])
