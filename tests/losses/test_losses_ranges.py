"""Hyperparameters that cannot be right are refused before training, by the name of their field; boundaries work."""

import jax
import jax.numpy as jnp
import pytest

from kdjax import losses
from kdjax.config.rows import make_term
from kdjax.config.trace import _check_term
from kdjax.losses.lift import context_names, hyperparameters, lift
from kdjax.losses.ranges import RANGES, check_range
from tests.losses.test_losses import Case, context, jit, labels, pair

LOSSES = [loss for family in losses.FAMILIES.values() for loss in family]
EVERY = [(loss, key, default) for loss in LOSSES for key, default in hyperparameters(loss).items()]
NUMBERS = [
    (fn, key) for fn, key, default in EVERY if isinstance(default, int | float) and not isinstance(default, bool)
]
AT_LEAST_0 = ("alpha", "beta", "gamma", "margin", "momentum", "span", "label_smoothing", "masked", "complementary")

NONE = ("item_softmax.negatives", "rd.samples", "unkd.even")
"""Of these 0 is all, or none."""


def named(parameters):
    return [pytest.param(*p, id=f"{p[0].__name__}.{p[1]}") for p in parameters]


def term(fn, **hyper):
    return make_term(fn.__name__, {"weight": 1.0, **hyper}, 10, f"config.methods.m.{fn.__name__}")


def test_every_hyperparameter_has_a_range_that_its_default_is_in():
    for fn, key, default in EVERY:
        check_range(fn.__name__, key, default, default, key)
    used = {key for _, key, _ in EVERY} | {f"{fn.__name__}.{key}" for fn, key, _ in EVERY}
    assert RANGES.keys() <= used


@pytest.mark.parametrize(("fn", "key"), named(NUMBERS))
def test_numbers_that_cannot_be_right_are_refused(fn, key):
    where = rf"config\.methods\.m\.{fn.__name__}\.{key} must be "
    if key != "layer":
        with pytest.raises(ValueError, match=where):
            term(fn, **{key: -1})
    with pytest.raises(ValueError, match=where):
        term(fn, **{key: float("nan")})
    none = {key, f"{fn.__name__}.{key}"} & {
        *AT_LEAST_0,
        "item_softmax.negatives",
        "rd.samples",
        "unkd.even",
    }  # 0: all, or none
    if not none and key != "layer" and not key.endswith("_weight"):
        with pytest.raises(ValueError, match=where):
            term(fn, **{key: 0})


@pytest.mark.parametrize(
    ("fn", "key", "value", "words"),
    [
        (losses.kd, "temperature", 0, "above 0, got 0"),
        (losses.kd, "temperature", None, "above 0, got None"),
        (losses.mlkd, "temperatures", (), "a tuple, not empty, of numbers above 0, got"),
        (losses.mlkd, "temperatures", (4.0, 0.0), "a tuple, not empty, of numbers above 0, got"),
        (losses.cross_entropy, "label_smoothing", 1.5, "from 0 to 1, got 1.5"),
        (losses.self_distillation, "alpha", 1.5, "from 0 to 1, got 1.5"),
        (losses.crd, "momentum", 1.5, "from 0 to 1, got 1.5"),
        (losses.crd, "dim", None, "at least 1, got None"),
        (losses.correlation, "dim", 0, "at least 1, or None, got 0"),
        (losses.vid, "initial_variance", 1e-6, "above 0.00001"),
        (losses.attention, "layers", "12", "a tuple, not empty, of indices of maps or pairs"),
        (losses.attention, "layers", (), "a tuple, not empty, of indices of maps or pairs"),
        (losses.attention, "layers", ((0, 1, 2),), "a tuple, not empty, of indices of maps or pairs"),
        (losses.attention, "power", 0, "at least 1, got 0"),
        (losses.fitnet, "layer", "last", "the index of a map or a pair"),
        (losses.overhaul, "norms", (1,), "a tuple of paths"),
        (losses.reviewkd, "levels", (4, 0), "a tuple of numbers of at least 1"),
        (losses.factor_transfer, "rate", 1.5, "above 0 and at most 1"),
        (losses.binary_kd, "targets", "sparse", "'softmax' or 'sigmoid'"),
    ],
)
def test_others_are_refused(fn, key, value, words):
    with pytest.raises(ValueError, match=rf"config\.methods\.m\.{fn.__name__}\.{key} must be {words}"):
        term(fn, **{key: value})


def test_what_is_none_by_itself_may_be_none():
    for fn, key, default in EVERY:
        if default is None:
            term(fn, **{key: None})
    term(losses.correlation, dim=None)


def test_a_warmup_before_the_start_is_refused():
    with pytest.raises(ValueError, match=r"config.methods.m.kd.warmup_epochs must be at least 0, got -1"):
        term(losses.kd, warmup_epochs=-1)


def picky(student, teacher, labels, *, temperature=1.0):
    if temperature < 0.5:
        raise ValueError("picky: temperature must be at least 0.5")
    return jnp.mean(student.logits) / temperature


def test_a_loss_of_ones_own_has_its_own_ranges():
    """None of the table's, which knows nothing of it; what it raises itself while it is traced is told."""
    where = "config.methods.m.kd"
    own = make_term("kd", {"weight": 1.0, "fn": f"{__name__}.picky", "temperature": -1.0}, 10, where)
    given = (*pair(Case(losses.kd)), labels(), None, labels())
    with pytest.raises(ValueError, match=r"config.methods.m.kd: picky: temperature must be at least 0.5"):
        _check_term(own, given, where)


BOUNDARIES = [
    (losses.cross_entropy, {"label_smoothing": 1.0}),
    (losses.dkd, {"alpha": 0.0, "beta": 0.0}),
    (losses.dist, {"beta": 0.0}),
    (losses.nkd, {"gamma": 0.0}),
    (losses.ctkd, {"span": 0.0, "ramp_steps": 1}),
    (losses.attention, {"power": 1}),
    (losses.factor_transfer, {"rate": 1e-3, "power": 1}),
    (losses.activation_boundary, {"margin": 0.0}),
    (losses.vid, {"initial_variance": 1.1e-5}),
    (losses.reviewkd, {"levels": ()}),
    (losses.rkd, {"distance_weight": 0.0}),
    (losses.correlation, {"dim": 1}),
    (losses.crd, {"dim": 1, "negatives": 1, "momentum": 1.0}),
    (losses.crd, {"dim": 2, "negatives": 1, "momentum": 0.0}),
]


@pytest.mark.parametrize(
    ("fn", "hyper"), [pytest.param(*b, id=f"{b[0].__name__}-{'-'.join(b[1])}") for b in BOUNDARIES]
)
def test_boundaries_are_finite(fn, hyper):
    term(fn, **hyper)
    module, (student, teacher) = lift(fn, **hyper), pair(Case(fn))
    held = {name: context()[name] for name in context_names(fn)}

    @jit
    @jax.value_and_grad
    def run(student):
        return module.init_with_output(jax.random.key(0), student, teacher, labels(), **held)[0]

    found, grads = run(student)
    assert jnp.isfinite(found)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(grads))
