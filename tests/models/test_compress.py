"""Smaller students: pruning, int8 in the forward pass, and beginning from another method's student."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import kdjax.models
from kdjax import experiment
from kdjax.config.rows import expand
from kdjax.experiment.lab import Lab
from kdjax.models.compress import Int8, cubic_sparsity, fake_int8, prunable, prune
from kdjax.models.vision.vit import VisionTransformer
from kdjax.runs.directory import Run
from kdjax.training import checkpoint
from tests import tiny
from tests.training.test_cohort import assert_same, results

LABELS = {"cross_entropy": {"weight": 1.0}}
PRUNE = {"sparsity": 0.75, "begin_epochs": 0.5, "end_epochs": 1.5, "every_steps": 2}


def config(epochs=3, **methods):
    made = tiny.config(methods=("student",), epochs=epochs)
    made.seeds = (0,)
    made.student.kwargs = {"width": 8}
    for name, spec in methods.items():
        made.methods[name] = spec
    return made


class Bias(nn.Module):
    """Nothing but a bias for each class."""

    num_classes: int

    @nn.compact
    def __call__(self, image, train: bool = False):
        return self.param("bias", nn.initializers.zeros, (1, self.num_classes)) + image.sum(axis=(1, 2))


def student(directory, name):
    return checkpoint.student(directory / name / "seed0" / "checkpoints")


def test_the_schedule_is_that_of_the_paper():
    """Equation 1 with s_i = 0, and zero before it begins."""
    steps = np.arange(60)
    expected = np.where(steps < 10, 0.0, 0.8 + (0.0 - 0.8) * (1 - np.clip((steps - 10) / 40, 0, 1)) ** 3)
    found = [cubic_sparsity(step, 0.8, 10, 50) for step in steps]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert [float(cubic_sparsity(step, 0.5, 7, 7)) for step in (6, 7, 8)] == [0.0, 0.5, 0.5]  # all at once


@pytest.mark.parametrize("optimizer", [optax.sgd(0.1, momentum=0.9), optax.rmsprop(0.1, momentum=0.9)])
def test_pruned_weights_are_exactly_zero_for_ever(optimizer):
    shapes = {"conv": {"kernel": (3, 3, 5, 7), "bias": (7,)}, "depthwise": {"kernel": (3, 3, 1, 5)}}
    params = {
        "student": jax.tree.map(
            lambda s: jax.random.normal(jax.random.key(0), s), shapes, is_leaf=lambda x: isinstance(x, tuple)
        ),
        "regressor": {"kernel": jnp.ones((4, 4))},
    }
    chain = optax.chain(optimizer, prune(0.7, 2, 8, 3))

    @jax.jit
    def step(params, state, key):
        grads = jax.tree.map(lambda p: jax.random.normal(key, p.shape), params)
        updates, state = chain.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    state, zeros, size = chain.init(params), [], 3 * 3 * 5 * 7
    before = np.zeros(shapes["conv"]["kernel"], bool)
    for number in range(14):
        params, state = step(params, state, jax.random.key(number))
        now = np.asarray(params["student"]["conv"]["kernel"]) == 0
        assert now[before].all()
        before = now
        zeros.append(int(now.sum()))
    due = {2: 2, 3: 2, 4: 2, 5: 5, 6: 5, 7: 5}  # step -> when the mask that holds was made
    expected = [0, 0] + [round(float(cubic_sparsity(due.get(n, 8), 0.7, 2, 8)) * size) for n in range(2, 14)]
    assert zeros == expected
    assert zeros[-1] == round(0.7 * size)
    rest = [params["regressor"]["kernel"], params["student"]["conv"]["bias"], params["student"]["depthwise"]["kernel"]]
    assert all((leaf != 0).all() for leaf in rest)


def test_the_smallest_weights_go_first():
    weights = jnp.asarray([[0.5, -0.1], [3.0, 0.2]])
    transformation = prune(0.5, 0, 0, 1)
    params = {"student": {"kernel": weights}}
    updates, _ = transformation.update(jax.tree.map(jnp.zeros_like, params), transformation.init(params), params)
    np.testing.assert_array_equal(weights + updates["student"]["kernel"], [[0.5, 0.0], [3.0, 0.0]])


def test_what_can_be_pruned():
    assert prunable("student/conv/kernel", (3, 3, 2, 4))
    assert prunable("student/fc/kernel", (2, 4))
    assert not prunable("student/conv/bias", (4,))
    assert not prunable("student/depthwise/kernel", (3, 3, 1, 4))
    assert not prunable("fitnet/regressor/kernel", (3, 3, 2, 4))


def test_int8_rounds_to_256_levels_and_lets_gradients_through():
    x = jax.random.normal(jax.random.key(0), (4, 50, 3))
    for axis, calibration, most in ((2, "absmax", 255), (0, "minmax", 256)):
        rounded = fake_int8(x, axis, calibration)
        for part, original in zip(np.moveaxis(rounded, axis, 0), np.moveaxis(np.asarray(x), axis, 0), strict=True):
            levels = np.unique(np.round(part, 5))
            assert len(levels) <= most
            width = (2 * np.abs(original).max() if calibration == "absmax" else np.ptp(original)) / (most - 1)
            assert 0 < np.abs(part - original).max() <= 0.51 * width
    weights = jax.random.normal(jax.random.key(1), x.shape)
    grads = jax.grad(lambda x: jnp.sum(weights * fake_int8(x, 0, "minmax")))(x)
    np.testing.assert_array_equal(grads, weights)


@pytest.mark.parametrize("model", [kdjax.models.resnet8(num_classes=5), VisionTransformer(5, width=8, heads=2)])
def test_a_model_in_int8_has_the_same_variables_and_other_outputs(model):
    quantized = Int8(model)
    image = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
    variables = jax.jit(model.init)(jax.random.key(1), image)
    jax.tree.map(np.testing.assert_array_equal, variables, jax.jit(quantized.init)(jax.random.key(1), image))
    plain, rounded = jax.jit(model.apply)(variables, image), jax.jit(quantized.apply)(variables, image)
    assert jax.tree.map(jnp.shape, plain) == jax.tree.map(jnp.shape, rounded)
    difference = np.abs(plain.logits - rounded.logits).max()
    assert 0 < difference < 0.1 * np.abs(plain.logits).max()
    alone = jax.jit(quantized.apply)(variables, image[:1])
    np.testing.assert_allclose(alone.logits, rounded.logits[:1], atol=1e-5)  # a range for each example
    grads = jax.jit(jax.grad(lambda p: jnp.sum(quantized.apply({**variables, "params": p}, image).logits ** 2)))(
        variables["params"]
    )
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
    kernels = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(grads) if path[-1].key == "kernel"]
    assert all((leaf != 0).any() for leaf in kernels)


COMPRESSED = {
    "pruned": {**LABELS, "start": "student", "prune": PRUNE},
    "both": {
        **LABELS,
        "start": "pruned",
        "prune": {**PRUNE, "begin_epochs": 0.0, "end_epochs": 0.3},
        "quantize": "int8",
    },
    "still": {**LABELS, "start": "student", "freeze": ("student",)},
}


@pytest.fixture(scope="module")
def compressed(tmp_path_factory):
    return experiment.run(config(**COMPRESSED), tmp_path_factory.mktemp("compressed"))


def test_a_student_begins_as_another_ended(compressed):
    """One whose parameters are frozen ends with them, and with its source's accuracy but for BatchNorm's statistics."""
    jax.tree.map(
        np.testing.assert_array_equal, student(compressed, "still")["params"], student(compressed, "student")["params"]
    )


@pytest.mark.parametrize("name", ["pruned", "both"])
def test_the_student_that_ships_has_its_zeros(compressed, name):
    params = student(compressed, name)["params"]
    for kernel in (params["conv1"]["kernel"], params["fc"]["kernel"]):
        assert (kernel == 0).sum() == round(0.75 * kernel.size)
    assert (params["conv0"]["kernel"] != 0).all()  # one input channel
    assert (params["fc"]["bias"] != 0).all()


def test_a_diverged_source_leaves_out_what_would_begin_from_it(tmp_path):
    made = config(epochs=2, after={**LABELS, "start": "explodes"})
    made.methods.explodes = {"explodes": {"fn": "tests.tiny.explodes", "weight": 1.0}}
    directory = experiment.run(made, tmp_path)
    assert Run(directory / "explodes/seed0").result()["status"] == "diverged"
    assert Run(directory / "student/seed0").result()["status"] == "done"
    assert not (directory / "after").exists()


def test_zeros_stay_through_a_second_pruning(compressed):
    first, second = (student(compressed, name)["params"]["conv1"]["kernel"] for name in ("pruned", "both"))
    np.testing.assert_array_equal(first == 0, second == 0)
    assert not np.array_equal(first, second)


def test_compression_continues_to_the_same_bits(compressed, tmp_path):
    directory, stops = tiny.in_pieces(config(**COMPRESSED), tmp_path, calls=7)
    assert stops > 3
    assert_same(results(compressed), results(directory))


def test_what_a_row_begins_from_is_trained_for_it(compressed, tmp_path):
    directory = experiment.run(config(**COMPRESSED), tmp_path, only=("both",))
    assert sorted(path.parent.name for path in directory.glob("*/seed0")) == ["both", "pruned", "student", "teacher"]
    assert_same(results(compressed), results(directory), only=["both/seed0", "pruned/seed0"])


def test_accuracy_is_that_of_the_int8_forward_pass_and_costs_are_the_models(compressed):
    both, plain = (Run(compressed / name / "seed0").result() for name in ("both", "student"))
    assert both["student"]["flops"] == plain["student"]["flops"]
    assert both["last"]["nll"] != plain["last"]["nll"]


def test_what_was_trained_for_int8_teaches_in_int8(compressed, tmp_path):
    made = config(student=LABELS)
    made.teacher.model, made.teacher.run = "", str(compressed / "both/seed0")
    taught = Run(experiment.run(made, tmp_path) / "student/seed0").result()["teacher"]
    own = Run(compressed / "both/seed0").result()
    assert (taught["top1"], taught["flops"]) == (own["last"]["top1"], own["student"]["flops"])
    lab = Lab(made, tmp_path, None, lambda: 0)
    assert isinstance(lab.stored_model(Run(compressed / "both/seed0").config(), ""), Int8)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"start": "studnet"}, "start 'studnet'; did you mean 'student'"),
        ({"start": "student", "student": {"kwargs": {"width": 6}}}, "they must be the same"),
        ({"start": "bad"}, "need each other in a circle"),
        ({"start": "student", "from_teacher": {"fc": "fc"}}, "give one of the two"),
        ({"quantize": "int4"}, "quantize 'int4'; did you mean 'int8'"),
        ({"quantize": 8}, "quantize"),
        ({"prune": 0.8}, "prune"),
        ({"prune": {"sparsiti": 0.8}}, "prune.sparsiti; did you mean 'sparsity'"),
        ({"prune": {"sparsity": 1.0}}, "above 0 and below 1; got 1.0"),
        ({"prune": {"sparsity": 0.0}}, "above 0 and below 1; got 0.0"),
        ({"prune": {"every_steps": 0}}, "every_steps is at least 1"),
        ({"prune": {"begin_epochs": 2.0, "end_epochs": 1.0}}, "must end after it begins"),
        ({"prune": {"end_epochs": 3.0}}, "before the 3 epochs are over"),
    ],
)
def test_what_cannot_work_fails_before_training(tmp_path, spec, message):
    with pytest.raises(ValueError, match=message):
        experiment.run(config(bad={**LABELS, **spec}), tmp_path)
    assert not list(tmp_path.glob("*/*/seed*"))


def test_a_student_without_kernels_cannot_be_pruned(tmp_path):
    made = config(bad={**LABELS, "prune": PRUNE, "student": {"model": "tests.models.test_compress.Bias", "kwargs": {}}})
    with pytest.raises(ValueError, match="no kernel that could be pruned"):
        experiment.run(made, tmp_path)


def test_ablating_the_sparsity():
    made = config(pruned=COMPRESSED["pruned"])
    made.ablate["pruned.prune.sparsity"] = (0.5, 0.9)
    rows = {row.name: row for row in expand(made)}
    assert rows["pruned,prune.sparsity=0.9"].spec["prune"]["sparsity"] == 0.9
    assert rows["pruned,prune.sparsity=0.9"].start == "student"
