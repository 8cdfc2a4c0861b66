"""Optimizers and schedules against closed forms and torch's SGD."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kdjax.config import default, plain, resolve
from kdjax.config.decay import DECOUPLED, decay_kind
from kdjax.config.optimizer import learning_rate, make_optimizer, optimizers
from kdjax.config.rows import override
from kdjax.report.wording import optimizer as describe_optimizer


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"milestones": (0, 5)}, "config.optimizer.milestones must be rising whole epochs"),
        ({"milestones": (5, 5)}, "config.optimizer.milestones must be rising whole epochs"),
        ({"milestones": ("5",)}, "config.optimizer.milestones must be rising whole epochs"),
        ({"factor": 0.0}, "config.optimizer.factor must be above 0"),
    ],
)
def test_steps_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        learning_rate(optimizer_config(schedule="step", **changes), steps_per_epoch=10, epochs=12)


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


# ---- weight decay, of every optimizer that a config can name

RATE, DECAY = 0.1, 0.01
PARAMS = {"kernel": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "bias": jnp.array([0.3, -0.7])}
GRADS = {"kernel": jnp.array([[0.3, 0.1], [-0.2, 0.4]]), "bias": jnp.array([0.05, -0.6])}
KWARGS = {"noisy_sgd": {"key": 0}}  # optax warns without
every_optimizer = pytest.mark.parametrize("name", optimizers())


@pytest.fixture(autouse=True)
def optax_promotes():
    """optax's adam counts steps in int32."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def three_steps(optimizer, grads=GRADS, l2=0.0):
    """The parameters after three steps; `l2` times the parameters is added to each gradient."""

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiles in half the time
    def step(params, state):
        given = jax.tree.map(lambda g, p: g + l2 * p, grads, params)
        updates, state = optimizer.update(given, state, params)
        return optax.apply_updates(params, updates), state

    params, state = PARAMS, optimizer.init(PARAMS)
    for _ in range(3):
        params, state = step(params, state)
    return params


def raw(name, **kwargs):
    return getattr(optax, name)(optax.constant_schedule(RATE), **KWARGS.get(name, {}), **kwargs)


def ours(name, decay, freeze=()):
    config = optimizer_config(name=name, weight_decay=decay, learning_rate=RATE)
    config.kwargs = KWARGS.get(name, {})
    return make_optimizer(config, optax.constant_schedule(RATE), freeze)


def takes_decay(name):
    return "weight_decay" in inspect.signature(getattr(optax, name)).parameters


def assert_same(found, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-7), found, expected)


@every_optimizer
def test_no_weight_decay_is_none(name):
    own = {"weight_decay": 0.0} if takes_decay(name) else {}
    assert_same(three_steps(ours(name, 0.0)), three_steps(raw(name, **own)))


@every_optimizer
def test_weights_decay_exactly_once(name):
    once = raw(name, weight_decay=DECAY) if takes_decay(name) else raw(name)
    assert_same(three_steps(ours(name, DECAY)), three_steps(once, l2=0.0 if takes_decay(name) else DECAY))


@every_optimizer
def test_the_kind_of_decay_is_what_happens(name):
    """L2 is a part of the gradient and nothing else. Decoupled, it takes rate x decay off, whatever the gradient is."""
    own = {"weight_decay": 0.0} if takes_decay(name) else {}
    kind = decay_kind({"name": name, "weight_decay": DECAY})
    if kind == "L2":
        assert_same(three_steps(ours(name, DECAY)), three_steps(raw(name, **own), l2=DECAY))
    elif name != "lamb":  # which then scales all of the step to the size of the weights
        updates = [(o := ours(name, decay)).update(GRADS, o.init(PARAMS), PARAMS)[0] for decay in (DECAY, 0.0)]
        taken = jax.tree.map(lambda a, b: a - b, *updates)
        jax.tree.map(lambda t, p: np.testing.assert_allclose(t, -RATE * DECAY * p, rtol=1e-4), taken, PARAMS)


def test_the_protocol_knows_which_optimizers_decay_by_themselves():
    in_the_gradient = {"adadelta", "lars"}
    assert {name for name in optimizers() if takes_decay(name)} == {*DECOUPLED, *in_the_gradient}


def test_names_that_are_no_optimizers_are_not_offered():
    assert {"sgd", "adam", "adamw", "lion", "lars", "adafactor"} <= set(optimizers())
    assert not {n for n in optimizers() if n.startswith(("_", "scale_by_"))}
    assert not {"lbfgs", "sm3", "rprop", "optimistic_adam"} & set(optimizers())  # no schedule, or more than gradients
    for name in ("lbfgs", "scale_by_rprop", "_deprecated_dpsgd", "sm3"):
        with pytest.raises(ValueError, match=f"optax has no optimizer '{name}' that works with a schedule"):
            ours(name, 0.0)


@pytest.mark.parametrize("name", ["sgd", "adamw", "lion", "lars"])
def test_what_is_frozen_does_not_decay(name):
    moved = three_steps(ours(name, DECAY, freeze=("bias",)))
    np.testing.assert_array_equal(moved["bias"], PARAMS["bias"])
    assert (moved["kernel"] != PARAMS["kernel"]).all()


@pytest.mark.parametrize(
    ("name", "key", "given"),
    [("adamw", "weight_decay", 0.05), ("adamw", "weight_decay", 0.0), ("adafactor", "weight_decay_rate", 0.05)],
)
def test_two_weight_decays_are_refused(name, key, given):
    config = optimizer_config(name=name, weight_decay=5e-4)
    config.kwargs = {key: given}
    message = (
        rf"config.optimizer.kwargs.{key} {given} and config.optimizer.weight_decay 0.0005 both say .* optax.{name}"
    )
    with pytest.raises(ValueError, match=message):
        make_optimizer(config, optax.constant_schedule(0.1))
    config.kwargs = {key: 0.05}
    config.weight_decay = 0.05 if key == "weight_decay" else 0.0
    make_optimizer(config, optax.constant_schedule(0.1))
    assert decay_kind(config) == "decoupled"
    assert describe_optimizer(config).endswith("weight decay 0.05 (decoupled)")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"name": "sgd", "weight_decay": 5e-4}, "weight decay 0.0005 (L2)"),
        ({"name": "adamw", "weight_decay": 0.05}, "weight decay 0.05 (decoupled)"),
        ({"name": "adamw", "weight_decay": 0.0}, "no weight decay"),
        ({"name": "adam", "weight_decay": 0.0, "clip_norm": 1.0}, "no weight decay, gradients clipped to norm 1"),
    ],
)
def test_the_protocol_says_which_kind(spec, words):
    assert describe_optimizer(spec).endswith(words)


# ---- optimizers and schedules of one's own


def signed(learning_rate, *, decay=0.5, weight_decay=0.0):
    """Signs of an average of gradients, for which optax has no name."""
    parts = optax.trace(decay), optax.stateless(lambda updates, _: jax.tree.map(jnp.sign, updates))
    return optax.chain(*parts, optax.add_decayed_weights(weight_decay), optax.scale_by_learning_rate(learning_rate))


def halved(learning_rate, **kwargs):
    return optax.sgd(lambda step: 0.5 * learning_rate(step), **kwargs)


def nothing(learning_rate):
    return learning_rate


@pytest.mark.parametrize("decay", [0.0, DECAY])
def test_an_optimizer_by_its_import_path(decay):
    config = optimizer_config(name="tests.config.test_optimizer.signed", weight_decay=decay)
    config.kwargs = {"decay": 0.9}
    made = make_optimizer(config, optax.constant_schedule(RATE))
    assert_same(three_steps(made), three_steps(signed(RATE, decay=0.9, weight_decay=decay)))
    config = optimizer_config(name="tests.config.test_optimizer.halved", weight_decay=decay)
    config.kwargs = {"momentum": 0.9}  # taken by **kwargs
    made = make_optimizer(config, optax.constant_schedule(RATE))
    assert_same(three_steps(made), three_steps(optax.sgd(RATE / 2, momentum=0.9), l2=decay))
    words = describe_optimizer({"name": "my.signed", "weight_decay": decay})
    assert words.endswith("weight decay 0.01 (its own, or else L2)" if decay else "no weight decay")


def test_optimizers_of_optax_contrib_are_found_by_their_path():
    config = optimizer_config(name="optax.contrib.muon", weight_decay=0.0)
    config.kwargs = {}
    optimizer, params = make_optimizer(config, optax.constant_schedule(RATE)), {"student": PARAMS}
    updates, _ = optimizer.update(jax.tree.map(jnp.ones_like, params), optimizer.init(params), params)
    assert all(bool(jnp.all(leaf < 0)) for leaf in jax.tree.leaves(updates))  # against the gradient


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("tests.config.test_optimizer.singed", {}, "config.optimizer.name .*did you mean 'signed'"),
        ("tests.config.test_optimizer.RATE", {}, "no function of a learning rate"),
        ("tests.config.test_optimizer.nothing", {}, "gives function, no optax transformation"),
        ("tests.config.test_optimizer.signed", {"decoy": 1}, "test_optimizer.signed takes no 'decoy'; did you mean"),
        ("tests.config.test_optimizer.signed", {"decay": "x"}, "config.optimizer.kwargs.decay must be of type float"),
        ("tests.config.test_optimizer.halved", {"decoy": 1}, "test_optimizer.halved cannot work with them: .*decoy"),
    ],
)
def test_ones_own_optimizer_that_cannot_be(name, kwargs, message):
    config = optimizer_config(name=name)
    config.kwargs = kwargs
    with pytest.raises(ValueError, match=message):
        make_optimizer(config, optax.constant_schedule(RATE))


def test_a_schedule_of_optax_multiplies_the_learning_rate():
    config = optimizer_config(schedule="warmup_cosine_decay_schedule", learning_rate=0.2)
    config.schedule_kwargs = {"init_value": 0.0, "peak_value": 1.0, "warmup_epochs": 2, "decay_epochs": 10}
    rate = learning_rate(config, steps_per_epoch=5, epochs=10)
    expected = optax.warmup_cosine_decay_schedule(0.0, 0.2, 10, 50)
    assert [float(rate(s)) for s in range(50)] == pytest.approx([float(expected(s)) for s in range(50)], abs=1e-7)
    words = "times warmup_cosine_decay_schedule (decay_epochs 10, init_value 0.0, peak_value 1.0, warmup_epochs 2)"
    assert words in describe_optimizer(plain(config))


def test_arguments_of_a_schedule_that_takes_none():
    config = optimizer_config(schedule="cosine")
    config.schedule_kwargs = {"alpha": 0.1}
    with pytest.raises(ValueError, match="the schedule 'cosine' takes none of them"):
        learning_rate(config, steps_per_epoch=5, epochs=10)
    with pytest.raises(ValueError, match=r"config.optimizer.schedule 'cosin' is unknown; did you mean 'cosine'"):
        resolve({"optimizer": {"schedule": "cosin"}})


def test_another_schedule_begins_without_the_arguments_of_the_first():
    config = optimizer_config(schedule="exponential_decay")
    config.schedule_kwargs = {"init_value": 1.0, "transition_epochs": 1, "decay_rate": 0.5}
    assert not override(config, {"schedule": "cosine"}, "x").schedule_kwargs
    assert override(config, {"learning_rate": 1.0}, "x").schedule_kwargs == config.schedule_kwargs
