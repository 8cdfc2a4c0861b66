"""A batch split over devices gives what one device gives: for every loss, with BatchNorm, augmentation and memory."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kdjax import experiment, models
from kdjax.config import default
from kdjax.data.images import augment
from kdjax.models import compose
from kdjax.training import cohort, parallel
from kdjax.training.objective import Objective, Term
from kdjax.training.parallel import Place
from kdjax.training.step import make_init
from kdjax.types import Outputs, image_spec
from tests import tiny
from tests.losses import test_losses
from tests.losses.test_losses import STUDENT, WIDTH, K
from tests.training.test_cohort import assert_same, results

BATCH, STEPS = 16, 4
DEVICES = 8


class Net(nn.Module):
    """Maps of the sizes that the students of test_losses have, each after a BatchNorm."""

    axis_name: str | None = None

    @nn.compact
    def __call__(self, image, train: bool = False) -> Outputs:
        x, preacts = image, []
        for side, channels in STUDENT:
            x = nn.Conv(channels, (3, 3), strides=x.shape[1] // side, use_bias=False)(x)
            x = nn.BatchNorm(not train, momentum=0.9, axis_name=self.axis_name if train else None)(x)
            preacts.append(x)
            x = nn.relu(x)
        embedding = nn.Dense(WIDTH["student"])(x.mean(axis=(1, 2)))
        logits = nn.Dense(K, name="classifier")(embedding)
        return Outputs(logits, tuple(map(nn.relu, preacts)), tuple(preacts), embedding)


def place(devices: int) -> Place:
    return Place(tuple(jax.devices()[:devices]), devices) if devices > 1 else Place((jax.devices()[0],))


def groups() -> list[tuple]:
    """The cases of test_losses, some at a time: compiling each alone on one device and several takes minutes."""
    of = lambda text, alike: [c for c in test_losses.CASES if (c.text, c.alike) == (text, alike)]  # noqa: E731
    rest = of(False, False)
    return [
        tuple(of(False, True)),
        *(tuple(rest[i::3]) for i in range(3)),
        tuple(of(True, True)),
        tuple(of(True, False)),
    ]


def network(case) -> nn.Module:
    """A student whose Outputs are like those that the case has of one."""
    if not case.text:
        return Net()
    sizes = {"layers": test_losses.LAYERS["student"], "heads": test_losses.HEADS, "dropout": 0.0}
    return models.bert(K, vocabulary=20, width=WIDTH["teacher" if case.alike else "student"], **sizes)


def batches(case):
    """Batches of images or texts with the teacher's Outputs on them."""
    for step in range(STEPS):
        rng = np.random.default_rng(step)
        image = jnp.asarray(rng.standard_normal((BATCH, 8, 8, 2)), jnp.float32)
        label = jnp.asarray(rng.integers(0, K, BATCH), jnp.int32)
        batch = {"input": image, "target": label, "index": jnp.asarray(rng.permutation(24)[:BATCH])}
        if not case.text:
            yield batch, test_losses.outputs("student" if case.alike else "teacher", 100 + step, BATCH)
            continue
        tokens = jnp.asarray(rng.integers(0, 20, (BATCH, test_losses.TOKENS)), jnp.int32)
        whole = jnp.ones(tokens.shape, bool)
        yield {**batch, "input": {"tokens": tokens, "mask": whole}}, test_losses.encoded("teacher", 100 + step, BATCH)


@functools.cache
def trained(group: int, devices: int):
    """(parameters, statistics, value of every loss at each step) after some steps on so many devices."""
    cases = groups()[group]
    terms = [Term(test_losses.name(case), case.fn, optax.constant_schedule(1.0), case.hyper) for case in cases]
    objective, optimizer = Objective(network(cases[0]), tuple(terms)), optax.sgd(1e-3, momentum=0.9)
    context, where = test_losses.context(BATCH), place(devices)
    constants = where.put((context["teacher_params"], context["train_labels"]))
    first = next(batches(cases[0]))
    init = jax.jit(make_init(objective, optimizer))
    state = init(*where.put((jax.random.key(0), *first)), *constants)
    step = parallel.compile_train_step(objective, optimizer, where)
    reported = []
    for given in batches(cases[0]):
        shape = (devices, 1) if devices > 1 else (1,)  # the devices, and steps of a call
        given = jax.tree.map(lambda x, shape=shape: x.reshape(*shape, -1, *x.shape[1:]), given)
        state, losses = step(state, *given, *constants)
        reported.append(parallel.first(losses))
    return jax.device_get((state.params, state.stats, reported))


@pytest.mark.parametrize(
    ("group", "devices"),
    [*((group, 2) for group in range(len(groups()))), pytest.param(1, 8, marks=pytest.mark.exhaustive)],
)
def test_every_loss_on_several_devices_as_on_one(group, devices):
    """Parameters, BatchNorm's statistics, memory banks, and the value of each loss at each step."""
    one, several = trained(group, 1), trained(group, devices)
    assert one[2][0].keys() == {"loss", *(f"loss/{test_losses.name(case)}" for case in groups()[group])}
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5), several, one)


def run(directory, mode: str, seeds=(0, 1), **changes):
    """{run: what it measured} of a small experiment, every field of the execution but the devices being equal."""
    config = tiny.config(methods=("layered", "remembered"), epochs=2)
    config.teacher.epochs = 1
    config.seeds = seeds
    config.execution.devices = mode
    with config.unlocked():
        config.update(changes)
    return results(experiment.run(config, directory / mode))


@pytest.fixture(scope="module")
def on_one(tmp_path_factory):
    return run(tmp_path_factory.mktemp("one"), "one")


def test_seeds_on_devices_of_their_own_are_what_they_are_alone(on_one, tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "local_devices", lambda **_: jax.devices()[:2])
    assert_same(on_one, run(tmp_path, "seeds"))


@pytest.mark.parametrize("mode", ["batch", "seeds"])
def test_experiment_with_batches_that_are_split(on_one, tmp_path, mode):
    """Eight devices share a batch, or four each of two seeds: evaluation, teacher and checkpoints too."""
    several = run(tmp_path, mode)
    assert several.keys() == on_one.keys()
    for name, one in on_one.items():
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4),
            several[name]["parameters"],
            one["parameters"],
        )
        assert several[name]["result"]["last"]["top1"] == pytest.approx(one["result"]["last"]["top1"], abs=0.006)


def test_split_batches_stopped_and_continued(tmp_path):
    config = tiny.config(methods=("remembered",), epochs=2)
    config.seeds, config.execution.devices = (0,), "batch"
    whole = results(experiment.run(config, tmp_path / "whole"))
    directory, stops = tiny.in_pieces(config, tmp_path / "pieces", 5)
    assert stops > 2
    assert_same(whole, results(directory))


def test_a_batch_that_does_not_divide(tmp_path):
    with pytest.raises(ValueError, match=r"config.batch_size: 30 examples do not divide by the 8 devices.*24 or 32 do"):
        run(tmp_path, "batch", batch_size=30)
    assert not list(tmp_path.rglob("*.json"))


def test_a_model_without_synchronised_statistics(tmp_path):
    message = r"config.methods.layered.student: BatchNorm_0 of Unsynchronised has batch statistics but no axis_name"
    with pytest.raises(ValueError, match=message):
        run(tmp_path, "batch", student={"model": "tests.tiny.Unsynchronised", "kwargs": {}})
    peers = compose.Peers((tiny.Net(3), tiny.Unsynchronised(3)))
    with pytest.raises(ValueError, match="members_1/BatchNorm_0 of Peers has batch statistics but no axis_name"):
        parallel.check_synchronises(peers, image_spec(8, 8, 1), "student")
    parallel.check_synchronises(compose.Peers((tiny.Net(3), tiny.Net(3))), image_spec(8, 8, 1), "student")


def test_processes_with_different_numbers_of_devices(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 12)
    with pytest.raises(ValueError, match="1 processes have 12 devices in all, this one 8; all must have the same"):
        parallel.layout("batch", 1)


def test_programs_of_split_batches_keep_one_order(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    alone, split = Place(tuple(jax.devices()[:1])), Place(tuple(jax.devices()[:2]), 2)
    assert cohort._threads({split}) == 1
    assert cohort._threads({alone}) == parallel.compiling_threads()


def test_augmentation_of_a_split_batch_is_that_of_the_whole():
    """Mixup's partners may be on another device; S steps in one call too."""
    rng = np.random.default_rng(0)
    images, labels = jnp.asarray(rng.integers(0, 256, (40, 8, 8, 3)), jnp.uint8), jnp.arange(40) % K
    mixed = augment.compose({"flip": {}, "mixup": {}}, {"input": default().data}, K)
    for indices, steps in (
        (rng.permutation(40)[None, :16], np.array([3])),
        (rng.integers(0, 40, (2, 16)), np.array([3, 4])),
    ):
        whole = parallel.compile_batch(mixed, place(1))(images, labels, indices, jax.random.key(1), steps)
        several = place(4)
        make_batch = parallel.compile_batch(mixed, several)
        given = several.put((images, labels)), several.shares(indices), several.put(jax.random.key(1)), steps
        parts = make_batch(*given[0], *given[1:])
        for name, value in whole.items():
            joined = np.concatenate(list(parts[name]), axis=indices.ndim - 1)
            np.testing.assert_allclose(joined, value, rtol=1e-6, atol=1e-6)


def test_synchronised_reaches_models_inside_models():
    network = compose.peers(3, ("resnet8", "resnet8"))
    assert [member.axis_name for member in parallel.synchronised(network).members] == ["batch", "batch"]
