"""What fails only when it trains is refused before any training, with the field that it comes from."""

import inspect

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kdjax import experiment
from kdjax.config import plain, resolve
from kdjax.config.fields import OPTAX_SCHEDULES
from kdjax.config.rows import make_term
from kdjax.config.schedule import make_schedule
from kdjax.training.objective import Objective, Term
from kdjax.training.step import make_init, make_train_step
from kdjax.types import Memory, Outputs
from tests import tiny

ONE = optax.constant_schedule(1.0)


class FailsInTraining(nn.Module):
    """Right in evaluation, wrong when it trains."""

    num_classes: int
    width: int = 4

    @nn.compact
    def __call__(self, image, train: bool = False):
        x = image.reshape(len(image), -1)
        return nn.Dense(self.num_classes)(x @ jnp.ones((7, 3)) if train else x)


class TwoNoises(nn.Module):
    """Draws from two collections beside dropout's, in training only."""

    num_classes: int = 3
    width: int = 4

    @nn.compact
    def __call__(self, image, train: bool = False):
        logits = nn.Dense(self.num_classes)(image.reshape(len(image), -1))
        if not train:
            return Outputs(logits)
        names = ("dropout", "drop_path", "noise")
        return Outputs(jnp.stack([jax.random.uniform(self.make_rng(name)) + 0 * logits.mean() for name in names]))


class Trains(nn.Module):
    """A stochastic layer of a collection of its own."""

    num_classes: int
    width: int = 4

    @nn.compact
    def __call__(self, image, train: bool = False):
        x = nn.Dense(4)(image.reshape(len(image), -1))
        return nn.Dense(self.num_classes)(nn.Dropout(0.2, rng_collection="drop_path", deterministic=not train)(x))


def no_gradient(student, teacher, labels):
    """Has a value and no gradient: a loop of unknown length."""
    return jax.lax.while_loop(lambda x: x > 1, lambda x: x / 2, jnp.sum(jnp.square(student.logits)))


def grows(student, teacher, labels):
    """A memory that becomes another array than it was."""
    memory = Memory(name="bank")(jnp.zeros, (3,))
    memory.value = jnp.zeros((4,))
    return jnp.mean(student.logits)


def forgets_a_key(student, teacher, labels):
    return {"loss": jnp.mean(student.logits)}["los"]


def config(**changes):
    made = tiny.config(methods=("student",), epochs=1)
    made.seeds = (0,)
    made.methods.kd = {"cross_entropy": {"weight": 1.0}, **changes}
    return made


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ("no_gradient", "config.methods.kd, a step of its training: Reverse-mode differentiation does not work"),
        ("grows", r"config.methods.kd: .* turns memory/grows/bank/value from float32\[3\] into float32\[4\]"),
        ("forgets_a_key", r"config.methods.kd.forgets_a_key: KeyError: 'los' \(test_trace.py, line \d+\)"),
    ],
)
def test_a_loss_that_cannot_be_trained(tmp_path, term, message):
    with pytest.raises(ValueError, match=message):
        experiment.run(config(**{term: {"fn": f"tests.config.test_trace.{term}", "weight": 1.0}}), tmp_path)
    assert not list(tmp_path.rglob("checkpoints"))


@pytest.mark.parametrize("who", ["teacher", "student"])
def test_a_model_that_fails_in_training_mode_alone(tmp_path, who):
    made = config()
    made[who].model = "tests.config.test_trace.FailsInTraining"
    field = "config.teacher" if who == "teacher" else "config.methods.student"
    message = rf"{field}: tests.config.test_trace.FailsInTraining, trained on images .*\(test_trace.py, line \d+\)"
    with pytest.raises(ValueError, match=message):
        experiment.run(made, tmp_path)
    assert not list(tmp_path.rglob("checkpoints"))


def test_what_must_be_trained_before_a_chosen_row_is_checked_too(tmp_path):
    labels = {"cross_entropy": {"weight": 1.0}}
    made = config(teacher="assistant")
    made.methods.assistant = {**labels, "student": {"model": "tests.config.test_trace.FailsInTraining"}}
    with pytest.raises(ValueError, match=r"config\.methods\.assistant: "):
        experiment.run(made, tmp_path, only=("kd",))
    assert not list(tmp_path.rglob("checkpoints"))


def test_a_model_may_draw_from_any_collection():
    """Each has random numbers of its own, others at every step, the same in one compiled loop."""
    shown = [Term(f"draw{i}", (lambda s, t, labels, i=i: s.logits[i]), ONE) for i in range(3)]
    objective = Objective(TwoNoises(), tuple(shown))
    batch = {"input": jnp.ones((2, 4, 4, 1)), "target": jnp.zeros(2, jnp.int32), "index": jnp.arange(2)}
    given = batch, None, None, None
    state = make_init(objective, optax.sgd(0.1))(jax.random.key(0), *given)
    step = make_train_step(objective, optax.sgd(0.1))
    _, scanned = jax.lax.scan(lambda state, _: step(state, *given), state, length=3)
    draws = np.stack([scanned[f"loss/draw{i}"] for i in range(3)])
    assert len(np.unique(draws)) == 9
    for number in range(3):
        state, losses = jax.jit(step)(state, *given)
        np.testing.assert_array_equal([losses[f"loss/draw{i}"] for i in range(3)], draws[:, number])


def test_a_student_with_a_collection_of_its_own_is_trained(tmp_path):
    made = config()
    made.student.model, made.teacher.epochs = "tests.config.test_trace.Trains", 1
    directory = experiment.run(made, tmp_path, only=("student",))
    assert (directory / "student/seed0/result.json").exists()


# ---- schedules of weights

AT = {"boundaries_and_scales": {20: 0.1, 40: 0.5}}
COSINE = {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 5, "decay_steps": 30}
SCHEDULES = {
    "constant_schedule": {"value": 0.5},
    "exponential_decay": {"init_value": 1.0, "transition_steps": 10, "decay_rate": 0.5, "transition_begin": 5},
    "cosine_decay_schedule": {"init_value": 1.0, "decay_steps": 30},
    "cosine_onecycle_schedule": {"transition_steps": 40, "peak_value": 2.0},
    "linear_onecycle_schedule": {"transition_steps": 40, "peak_value": 2.0},
    "linear_schedule": {"init_value": 0.0, "end_value": 1.0, "transition_steps": 20},
    "piecewise_constant_schedule": {"init_value": 1.0, **AT},
    "piecewise_interpolate_schedule": {"interpolate_type": "cosine", "init_value": 1.0, **AT},
    "polynomial_schedule": {"init_value": 0.0, "end_value": 1.0, "power": 2, "transition_steps": 20},
    "sgdr_schedule": {"cosine_kwargs": [COSINE, COSINE]},
    "warmup_constant_schedule": {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 20},
    "warmup_cosine_decay_schedule": COSINE,
    "warmup_exponential_decay_schedule": {
        "init_value": 0.0, "peak_value": 1.0, "warmup_steps": 10, "transition_steps": 10, "decay_rate": 0.5
    },
}  # fmt: skip


def test_every_schedule_of_optax_is_tried():
    makes = {name for name, value in vars(optax.schedules).items() if inspect.isfunction(value) and name[0] != "_"}
    assert {*OPTAX_SCHEDULES} == makes - {"inject_hyperparams", "inject_stateful_hyperparams"}
    assert SCHEDULES.keys() | {"join_schedules"} == {*OPTAX_SCHEDULES}


def test_schedules_joined_and_those_of_ones_own():
    parts = [optax.linear_schedule(0.0, 1.0, 10), optax.exponential_decay(1.0, 5, 0.5, transition_begin=5)]
    joined = optax.join_schedules(parts, [10])
    described = [
        {"schedule": "linear_schedule", "init_value": 0.0, "end_value": 1.0, "transition_epochs": 2},
        {"schedule": "exponential_decay", "init_value": 1.0, "transition_epochs": 1, "decay_rate": 0.5}
        | {"transition_begin_epochs": 1},
    ]
    spec = {"schedule": "join_schedules", "schedules": described, "boundaries_epochs": [2]}
    made = make_schedule(plain(spec), steps_per_epoch=5, where="x")
    with jax.numpy_dtype_promotion("standard"):
        assert [float(made(s)) for s in range(40)] == pytest.approx([float(joined(s)) for s in range(40)])
    own = make_schedule({"schedule": "tests.config.test_trace.triangle", "period_epochs": 2}, 5, "x")
    assert [float(own(s)) for s in (0, 5, 10, 15)] == [0.0, 0.5, 0.0, 0.5]
    with pytest.raises(ValueError, match=r"tests.config.test_trace.triangle cannot be made .*period"):
        make_schedule({"schedule": "tests.config.test_trace.triangle"}, 5, "x")
    with pytest.raises(ValueError, match="did you mean 'triangle'"):
        make_schedule({"schedule": "tests.config.test_trace.trinagle"}, 5, "x")


def triangle(period):
    """A saw, to be found by its import path."""
    return lambda step: (step % period) / period


def in_epochs(value):
    """Arguments in epochs of 5 steps."""
    if isinstance(value, list):
        return [in_epochs(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    changed = {}
    for name, given in value.items():
        if name == "boundaries_and_scales":
            changed["boundaries_and_scales_epochs"] = {str(step // 5): scale for step, scale in given.items()}
        elif name == "transition_begin":
            changed["transition_begin_epochs"] = given / 5
        elif name.endswith("_steps"):
            changed[name.replace("_steps", "_epochs")] = given / 5
        else:
            changed[name] = in_epochs(given)
    return changed


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_in_steps_and_epochs_are_those_of_optax(name):
    arguments, steps = SCHEDULES[name], np.arange(0, 70)
    with jax.numpy_dtype_promotion("standard"):
        expected = [float(getattr(optax.schedules, name)(**arguments)(int(step))) for step in steps]
    made = tiny.config(methods=("student",))
    for given in (arguments, in_epochs(arguments)):
        made.methods.kd = {"kd": {"weight": {"schedule": name, **given}}}
        spec = plain(resolve(made).methods.kd)["kd"]  # as an experiment reads its config
        weight = make_term("kd", spec, steps_per_epoch=5, where="x").weight
        values = jax.jit(jax.vmap(weight))(jnp.asarray(steps, jnp.int32))
        assert values.dtype == jnp.float32
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"schedule": "piecewise_constant_schedule", "init_value": 1.0, "boundaries_and_scales": {"a": 0.1}}, "'a'"),
        ({"schedule": "cosine_decay_schedule", "init_value": 1.0, "decay_steps": -1}, "positive"),
        (
            {"schedule": "linear_schedule", "init_value": 0.0, "end_value": 1.0, "transition_epochs": "x"},
            "transition_epochs",
        ),
        ({"schedule": "linear_schedule", "init_value": 0.0}, "missing 2 required"),
    ],
)
def test_schedules_that_cannot_be_made(spec, message):
    with pytest.raises(ValueError, match=rf"x\.weight: optax.schedules.* cannot be made .*{message}"):
        make_term("kd", {"weight": spec}, steps_per_epoch=5, where="x")
