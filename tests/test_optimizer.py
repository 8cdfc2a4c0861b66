"""Optimizers and schedules against closed forms and torch's SGD."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kdjax.config import default, resolve
from kdjax.optimizer import learning_rate, make_optimizer


def optimizer_config(**changes):
    config = resolve(default()).optimizer
    config.update(changes)
    return config


def test_weight_decay_enters_the_gradient_as_in_torch():
    # torch.optim.SGD(lr=0.1, momentum=0.9, weight_decay=0.5) on p = 1 with gradient 1 gives 0.85 and then 0.5725.
    config = optimizer_config(weight_decay=0.5, learning_rate=0.1)
    optimizer = make_optimizer(config, optax.constant_schedule(0.1))
    params, seen = {"student": jnp.ones(())}, []
    state = optimizer.init(params)
    for _ in range(2):
        updates, state = optimizer.update({"student": jnp.ones(())}, state, params)
        params = optax.apply_updates(params, updates)
        seen.append(float(params["student"]))
    np.testing.assert_allclose(seen, [0.85, 0.5725], rtol=1e-6)


def test_step_schedule_drops_after_the_milestone_epochs():
    config = optimizer_config(schedule="step", learning_rate=0.05, milestones=(150, 180, 210))
    rate = learning_rate(config, steps_per_epoch=782, epochs=240)
    first_step = {epoch: float(rate((epoch - 1) * 782)) for epoch in (1, 150, 151, 180, 181, 210, 211, 240)}
    expected = {1: 0.05, 150: 0.05, 151: 5e-3, 180: 5e-3, 181: 5e-4, 210: 5e-4, 211: 5e-5, 240: 5e-5}
    assert first_step == pytest.approx(expected, rel=1e-5)
    assert float(rate(150 * 782 - 1)) == pytest.approx(0.05)


def test_cosine_with_warmup():
    config = optimizer_config(schedule="cosine", learning_rate=1.0, warmup_epochs=2.0)
    rate = learning_rate(config, steps_per_epoch=10, epochs=12)
    assert [float(rate(s)) for s in (0, 10, 20, 70, 120)] == pytest.approx([0.0, 0.5, 1.0, 0.5, 0.0], abs=1e-6)


def test_frozen_parameters_stay():
    optimizer = make_optimizer(optimizer_config(), optax.constant_schedule(0.1), freeze=("student/conv",))
    params = {"student": {"conv": jnp.ones(2), "conv2": jnp.ones(2)}, "hint": jnp.ones(2)}
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    moved = optax.apply_updates(params, updates)
    assert (moved["student"]["conv"] == 1).all()
    assert (moved["student"]["conv2"] != 1).all()
    assert (moved["hint"] != 1).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "sgdd"}, "did you mean 'sgd'"),
        ({"name": "chain"}, "no optimizer 'chain'"),
        ({"kwargs": {"momentun": 0.9}}, "takes no 'momentun'; did you mean 'momentum'"),
    ],
)
def test_unknown_optimizers_and_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        make_optimizer(optimizer_config(**changes), optax.constant_schedule(0.1))


def test_freezing_what_is_not_there():
    optimizer = make_optimizer(optimizer_config(), optax.constant_schedule(0.1), freeze=("teacher",))
    with pytest.raises(ValueError, match="no parameters at"):
        optimizer.init({"student": jnp.ones(1)})
