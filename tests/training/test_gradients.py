"""How large the gradients of terms are, against jax.grad of the whole objective with one term at a time."""

import jax
import jax.numpy as jnp
import optax
import pytest
from ml_collections import ConfigDict

from kdjax import losses
from kdjax.config import resolve, rows
from kdjax.training import gradients
from tests import tiny

SHAPE = (8, 8, 1)


@pytest.fixture(scope="module")
def teacher():
    model = tiny.Net(10, width=8)
    variables = model.init(jax.random.key(1), jnp.zeros((1, *SHAPE)))
    return model, variables


def made(spec, teacher):
    """(stage, State, batch, what is taught) of a method."""
    config = tiny.config(methods=())
    config.methods = ConfigDict({"mine": spec})
    (row,) = rows.expand(resolve(config))
    (stage,) = rows.stages(rows.with_model(row, resolve(config), 10), resolve(config), steps_per_epoch=5)
    image = jax.random.normal(jax.random.key(2), (16, *SHAPE))
    batch = {"input": image, "target": jnp.arange(16, dtype=jnp.int32) % 10, "index": jnp.arange(16, dtype=jnp.int32)}
    taught = (teacher[0].apply(teacher[1], image), teacher[1], jnp.zeros(20, jnp.int32))
    return stage, stage.init(jax.random.key(0), batch, *taught), batch, taught


def measured(spec, teacher) -> dict:
    stage, state, batch, taught = made(spec, teacher)
    compiled = gradients.compile_gradient(stage.objective.student), gradients.compile_cotangents(stage)
    return gradients.measured(stage, 15, *compiled, state, batch, *taught)


def ratios(spec, teacher) -> dict:
    return measured(spec, teacher)["ratios"]


LABELS = {"cross_entropy": {"weight": 0.5}}
TERMS = {
    "stateless": {"fn": "tests.tiny.stateless", "weight": 3.0},
    "layered": {"fn": "tests.tiny.layered", "weight": 1.0},
    "remembered": {"fn": "tests.tiny.remembered", "weight": 100.0},
}


def test_ratios_are_those_of_the_whole_objective(teacher):
    stage, state, batch, taught = made({**LABELS, **TERMS}, teacher)

    def value(student, name):
        params = {**state.params, "student": student}
        context = dict(step=jnp.zeros((), jnp.int32), index=batch["index"], key=jax.random.key(0))
        context |= dict(teacher_params=taught[1], train_labels=taught[2])
        variables = {"params": params, **state.stats}
        given = (batch["input"], taught[0], batch["target"])
        (_, values, _), _ = stage.objective.apply(variables, *given, **context, mutable=list(state.stats))
        return values[name]

    names = ("cross_entropy", *TERMS)
    own = {name: jax.grad(value)(state.params["student"], name) for name in names}
    size = lambda name: float(optax.tree.norm(own[name]))  # noqa: E731
    both = measured({**LABELS, **TERMS}, teacher)
    found = both["ratios"]
    expected = {name: term["weight"] * size(name) / (0.5 * size("cross_entropy")) for name, term in TERMS.items()}
    assert found == {name: pytest.approx(ratio, rel=0.01) for name, ratio in expected.items()}
    products = {name: float(optax.tree.vdot(own[name], own["cross_entropy"])) for name in TERMS}
    cosines = {name: products[name] / (size(name) * size("cross_entropy")) for name in TERMS}
    assert both["cosines"] == {name: pytest.approx(cosine, abs=0.01) for name, cosine in cosines.items()}


def test_a_weight_that_grows_counts_whole(teacher):
    grown = {**LABELS, "stateless": {**TERMS["stateless"], "warmup_epochs": 3}}
    plainly = {**LABELS, "stateless": TERMS["stateless"]}
    assert ratios(grown, teacher) == ratios(plainly, teacher)


def test_only_what_can_be_compared_is_measured(teacher):
    for spec, compared in (({**LABELS, **TERMS}, True), (LABELS, False), (TERMS, False)):
        assert gradients.measures(made(spec, teacher)[0]) == compared


def test_a_term_without_a_gradient_is_found(teacher):
    found = measured({**LABELS, "still": {"fn": "tests.training.test_gradients.still", "weight": 1.0}}, teacher)
    assert found == {"ratios": {"still": 0.0}, "cosines": {}}


@pytest.mark.parametrize(("weight", "cosine"), [(2.0, 1.0), (-2.0, -1.0)])
def test_a_cosine_has_the_sign_of_the_weight(weight, cosine, teacher):
    found = measured({**LABELS, "again": {"fn": "tests.training.test_gradients.again", "weight": weight}}, teacher)
    assert found == {"ratios": {"again": 4.0}, "cosines": {"again": cosine}}


def still(student, teacher, labels):
    return jnp.mean(jax.lax.stop_gradient(student.logits))


def again(student, teacher, labels):
    return losses.cross_entropy(student, teacher, labels)
