"""No two draws of a run share a key: teacher and student, generations, stages, steps, terms, data."""

import functools
import itertools

import jax
import numpy as np
import optax
import pytest

from kdjax import experiment, models, streams
from kdjax.data import batches, subsets
from kdjax.runs.directory import Run
from kdjax.streams import ROLES, TEACHER, WITHIN, stream, within
from kdjax.training import cohort, feed, step
from kdjax.training.objective import Objective
from kdjax.training.step import make_init
from tests import tiny
from tests.training.test_cohort import results

LABELS = {"cross_entropy": {"weight": 1.0}}
TAUGHT = {**LABELS, "noisy": {"fn": "tests.tiny.noisy", "weight": 1.0}}
HINT = {"fn": "tests.tiny.layered", "weight": 1.0}
EPOCHS, STEPS, TERMS = 2, 2, 3
UNUSED = {"test", "lengths", "lists", "negatives", "rewrite", "views"}
"""Roles of texts, of searches and of data.views, which this experiment of images has no use for."""


def config(**more):
    """Generations, a first stage and few labels; the student has its teacher's architecture."""
    made = tiny.config(methods=("student",), epochs=EPOCHS)
    made.seeds, made.batch_size = (0,), 32
    made.data.shots, made.steps_per_epoch = 4, STEPS
    made.student.kwargs = {"width": 8}
    made.methods.staged = {**TAUGHT, "first_stage": {"epochs": 1, "terms": {"hint": HINT}}}
    made.methods.second = {**TAUGHT, "teacher": "student"}
    for name, spec in more.items():
        made.methods[name] = spec
    return made


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """{(seed, role, *numbers): Stream} of all that an experiment has asked for, and the roles within its keys."""
    found, inside = {}, set()

    def asked(seed, role, *numbers):
        found[seed, role, *map(int, numbers)] = made = stream(seed, role, *numbers)
        return made

    def divided(key, role, *numbers):
        inside.add(role)
        return within(key, role, *numbers)

    with pytest.MonkeyPatch.context() as patch:
        for module in (cohort, feed, batches, subsets):
            patch.setattr(module, "stream", asked)
        patch.setattr(step, "within", divided)
        experiment.run(config(), tmp_path_factory.mktemp("drawn"))
    return found, inside


def test_no_two_draws_of_a_run_share_a_key(drawn):
    found, inside = drawn
    assert {role.removeprefix(TEACHER) for _, role, *_ in found} == ROLES.keys() - UNUSED
    assert inside == WITHIN.keys()
    trained = {(role, *numbers) for _, role, *numbers in found if role.endswith("training")}
    assert trained == {(f"{TEACHER}training", 0, 0), *(("training", *n) for n in ((0, 0), (0, 1), (1, 0)))}
    assert {(0, "order", -1), (0, "order", 0), (0, f"{TEACHER}order", 0)} < found.keys()
    keys = [data for name, made in found.items() for data in divided(name[1], made)]
    assert len(keys) > 200
    assert len(set(keys)) == len(keys)


def test_no_two_roles_share_a_key():
    """The unused ones, too."""
    names = [prefix + role for prefix in ("", TEACHER) for role in ROLES]
    made = [stream(0, role, *(0 for _ in ROLES[role.removeprefix(TEACHER)])) for role in names]
    assert len({each.words for each in made}) == len(names)


def divided(role: str, made: streams.Stream) -> list[bytes]:
    """Every key that comes of a stream, and the stream's own."""
    fold, parents = jax.random.fold_in, [made.key()]
    if role.endswith("training"):
        sizes = {"step": EPOCHS * STEPS, "term": TERMS, "part": 2}
        for name, numbers in WITHIN.items():
            given = [itertools.product(*(range(sizes[n]) for n in numbers[:k])) for k in range(len(numbers) + 1)]
            parents += [functools.reduce(fold, chosen, within(made.key(), name)) for g in given for chosen in g]
    elif role.endswith("augment"):
        steps = [fold(made.key(), number) for number in range(STEPS)]
        parents += [*steps, *(fold(key, entry) for key in steps for entry in range(3))]
    return [np.asarray(jax.random.key_data(key)).tobytes() for key in parents]


def test_a_role_has_always_as_many_numbers():
    assert stream(0, "order", -3) == stream(np.int64(0), "order", np.int32(-3)) != stream(0, "order", 3)
    with pytest.raises(ValueError, match=r"'order' has the numbers \('epoch',\), got 2"):
        stream(0, "order", 1, 2)
    with pytest.raises(ValueError, match="no role 'ordre' for random numbers"):
        stream(0, "teacher/ordre", 1)
    with pytest.raises(ValueError, match="no role 'noise'"):
        within(jax.random.key(0), "noise")
    with pytest.raises(ValueError, match="got 3"):
        within(jax.random.key(0), "terms", 0, 1, 2)


def test_streams_are_the_same_on_every_machine():
    """A resumed run, or a seed added later, must not be drawn anew unseen."""
    assert stream(7, "teacher/order", -3).words == (2185920843, 102188800, 3496963952, 2740539661)


def starts(directory) -> dict:
    """{run: its student's parameters}, of an experiment whose learning rate is 0."""
    return {name: found["parameters"]["params"] for name, found in results(directory).items()}


def equal_weights(one, other) -> int:
    """How many weights of kernels two networks have in common, layer by layer as far as both have them."""
    count = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(one):
        twin = dict(jax.tree_util.tree_leaves_with_path(other)).get(path)
        if path[-1].key == "kernel" and twin is not None:
            shared = tuple(slice(min(sizes)) for sizes in zip(leaf.shape, twin.shape, strict=True))
            count += int(np.sum(np.asarray(leaf[shared]) == np.asarray(twin[shared])))
    return count


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    made = config(kd=TAUGHT, third={**TAUGHT, "teacher": "second+kd"}, longer={**LABELS, "start": "student"})
    made.optimizer.learning_rate, made.epochs = 0.0, 1
    return experiment.run(made, tmp_path_factory.mktemp("untrained"))


def test_a_student_of_its_teachers_architecture_and_seed_does_not_begin_as_its_teacher(untrained):
    found = starts(untrained)
    assert equal_weights(found["student/seed0"], found["kd/seed0"]) > 1000  # methods of a seed do
    assert equal_weights(found["student/seed0"], found["staged/seed0"]) > 1000
    assert equal_weights(found["student/seed0"], found["teacher/seed0"]) == 0


def test_generations_do_not_begin_as_those_before(untrained):
    found = starts(untrained)
    for one, other in itertools.combinations(("teacher", "student", "second", "third"), 2):
        assert equal_weights(found[f"{one}/seed0"], found[f"{other}/seed0"]) == 0, (one, other)
    assert equal_weights(found["longer/seed0"], found["student/seed0"]) > 1000  # it goes on from there
    numbers = {name: Run(untrained / name / "seed0").result()["generation"] for name in ("kd", "second", "third")}
    assert numbers == {"kd": 0, "second": 1, "third": 2}
    assert Run(untrained / "longer/seed0").result()["generation"] == 1  # and draws other numbers than it did


@pytest.mark.parametrize(("teacher", "generation"), [("student", 1), ("teacher", 0), ("third", 3)])
def test_a_student_of_another_experiment_as_teacher(untrained, tmp_path, teacher, generation):
    made = config()
    made.optimizer.learning_rate, made.epochs, made.teacher.run = 0.0, 1, f"{untrained}/{teacher}/seed0"
    directory = experiment.run(made, tmp_path, only=("student",))
    assert Run(directory / "student/seed0").result()["generation"] == generation
    assert equal_weights(starts(directory)["student/seed0"], starts(untrained)[f"{teacher}/seed0"]) == 0


def test_resnet8_does_not_begin_as_its_teacher_resnet14():
    batch = {"input": np.zeros((2, 8, 8, 3), np.float32), "target": np.zeros(2, np.int32), "index": np.arange(2)}

    def begun(model, role):
        init = jax.jit(make_init(Objective(model, ()), optax.sgd(0.1)))
        return init(stream(0, role, 0, 0).key(), batch, None, None, None).params["student"]

    student, teacher = begun(models.resnet8(3), "training"), begun(models.resnet14(3), f"{TEACHER}training")
    assert equal_weights(student, begun(models.resnet14(3), "training")) > 70_000  # what sharing a stream would give
    assert equal_weights(student, teacher) == 0
