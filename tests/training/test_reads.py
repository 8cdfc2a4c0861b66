"""The teacher's pass returns what the losses read, in equal bits, and a loss sees no difference."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import experiment, losses, models
from kdjax.losses.lift import lift
from kdjax.training import parallel
from kdjax.training.objective import Term
from kdjax.training.reads import keep, read
from kdjax.training.step import make_teach
from kdjax.types import Absent, Memory, Outputs, restored
from tests import tiny
from tests.losses.test_losses import CASES, context, encoded, labels, made, name, outputs
from tests.losses.test_ranks import ALL, reads


def paths_of(tree) -> list[str]:
    return [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def read_by(fn, batch: int = 6, **hyper) -> set[str]:
    student, teacher = (outputs(who, batch=batch) for who in ("student", "teacher"))
    student = student.replace(peers=(Outputs(student.logits),))
    held = context(batch)["teacher_params"], context(batch)["train_labels"], context(batch)["student_params"]
    return set(read([Term("it", fn, None, hyper)], student, teacher, labels(batch), *held))


def alike(case) -> tuple[Outputs, Outputs]:
    student = made(case, "student")
    return student.replace(peers=(Outputs(student.logits),)), made(case, "teacher")


@pytest.mark.parametrize("case", [pytest.param(case, id=name(case)) for case in ALL])
def test_the_fields_that_each_loss_reads(case):
    student, teacher = alike(case)
    held = context()["teacher_params"], context()["train_labels"], context()["student_params"]
    found = read([Term("it", case.fn, None, case.hyper)], student, teacher, labels(), *held)
    fields = {path.partition("[")[0].lstrip(".") for path in found}
    assert fields == {field for who, field in reads(case) if who == "teacher"}


MORE = [case for case in CASES if case.needs != ("logits",)]


@pytest.mark.parametrize("case", [pytest.param(case, id=name(case)) for case in MORE])
def test_a_loss_sees_no_difference(case):
    """Value, parameters, memory and gradients, with all that it does not read being NaN."""
    student, teacher = alike(case)
    held = context()
    constants = held["teacher_params"], held["train_labels"], held["student_params"]
    found = read([Term("it", case.fn, None, case.hyper)], student, teacher, labels(), *constants)
    module = lift(case.fn, **case.hyper)

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def everything(student, teacher):
        variables = module.init(jax.random.key(1), student, teacher, labels(), **held)
        mutable = [name for name in variables if name != "params"]

        def value(params, student):
            given = {**variables, **params}, student, teacher, labels()
            return module.apply(*given, **held, mutable=mutable)

        params = {"params": variables["params"]} if "params" in variables else {}
        return variables, jax.value_and_grad(value, (0, 1), has_aux=True)(params, student)

    kept = keep(teacher, found)
    absent = [x for x in jax.tree.leaves(kept, is_leaf=lambda x: isinstance(x, Absent)) if isinstance(x, Absent)]
    assert len(absent) == len(paths_of(teacher)) - len(found) > 0
    jax.tree.map(np.testing.assert_array_equal, everything(student, kept), everything(student, teacher))


def test_of_the_maps_only_the_layers_that_are_read():
    assert read_by(losses.attention) == {".features[1]", ".features[2]"}
    assert read_by(losses.attention, layers=((0, 2), (-1, 0))) == {".features[0]", ".features[2]"}
    assert read_by(losses.fitnet) == {".features[2]"}
    assert read_by(losses.reviewkd) == {".preacts[1]", ".preacts[2]", ".embedding"}
    assert read_by(losses.cross_entropy) == set()


@pytest.mark.parametrize(
    ("fn", "hyper", "expected"),
    [
        (losses.kd, {}, {".logits"}),
        (losses.distilbert, {"layer": (2, -1)}, {".features[4]"}),
        (losses.attention_kl, {"layers": "last"}, {".attentions[2]", ".attentions[3]"}),
        (losses.tinybert, {"attention_weight": 0.0, "layers": ((1, 2),)}, {".features[0]", ".features[2]"}),
        (losses.minilm2, {}, {".qkv[0]", ".qkv[1]", ".qkv[2]"}),
    ],
)
def test_of_an_encoder_no_layer_that_nothing_reads(fn, hyper, expected):
    """Scores are as many numbers as the square of a text's tokens; of two masks the student's is read."""
    mask = jnp.ones((6, 6), bool)
    student, teacher = (encoded(who, alike=True).replace(mask=mask) for who in ("student", "teacher"))
    assert read([Term("it", fn, None, hyper)], student, teacher, labels(), None, labels()) == expected
    back = restored(keep(teacher, frozenset(expected)))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), back) == jax.tree.map(lambda x: (x.shape, x.dtype), teacher)


def test_terms_together_read_what_each_reads():
    student, teacher = outputs("student"), outputs("teacher")
    terms = [Term("one", losses.kd, None), Term("two", losses.fitnet, None), Term("three", losses.cross_entropy, None)]
    held = context()["teacher_params"], context()["train_labels"], context()["student_params"]
    assert read(terms, student, teacher, labels(), *held) == {".logits", ".features[2]"}


def maps_over_all(student, teacher, labels):
    teacher = jax.tree.map(lambda x: 2 * jnp.tanh(x), teacher)
    return jnp.mean((student.logits - teacher.logits) ** 2)


def sums_over_all(student, teacher, labels):
    total = jax.tree.reduce(lambda total, x: total + jnp.mean(x), (teacher.features, teacher.embedding), 0.0)
    return jnp.mean(student.logits) * total


@jax.jit
def jitted(student, teacher):
    return jnp.mean((student.logits - teacher.logits) ** 2) + 0 * len(teacher.features)


def calls_jitted(student, teacher, labels):
    return jitted(student, teacher)


def looks_at_shapes(student, teacher, labels):
    """The size of a map, and the number of maps, weigh the logits."""
    weight = len(teacher.features) + teacher.features[0].shape[1] + jnp.zeros_like(teacher.preacts[1]).size
    return weight * jnp.mean((student.logits - teacher.logits) ** 2)


def scans(student, teacher, labels):
    step = lambda total, row: (total + jnp.sum(row[0] * row[1]), None)  # noqa: E731
    return jax.lax.scan(step, jnp.zeros(()), (student.embedding[:, :4], teacher.embedding[:, :4]))[0]


def begins_with_the_teacher(student, teacher, labels):
    centre = Memory(name="centre")(lambda: teacher.embedding.mean(0))
    return jnp.mean((student.embedding[:, :1] - jax.lax.stop_gradient(centre.value)[None, :1]) ** 2)


def remembers_the_teacher(student, teacher, labels):
    last = Memory(name="last")(jnp.zeros, teacher.features[1].shape)
    last.value = teacher.features[1]
    return jnp.mean(student.logits**2)


@jax.custom_vjp
def straight(s, t):
    return jnp.mean(s)


straight.defvjp(lambda s, t: (jnp.mean(s), (s, t)), lambda kept, g: (g * (kept[0] - kept[1]), None))


def in_the_gradient_alone(student, teacher, labels):
    return straight(student.logits, teacher.logits)


OWN = {
    maps_over_all: {".logits"},
    sums_over_all: {".features[0]", ".features[1]", ".features[2]", ".embedding"},
    calls_jitted: {".logits"},
    looks_at_shapes: {".logits"},
    scans: {".embedding"},
    begins_with_the_teacher: {".embedding"},
    remembers_the_teacher: {".features[1]"},
    in_the_gradient_alone: {".logits"},
}


@pytest.mark.parametrize("fn", OWN, ids=lambda fn: fn.__name__)
def test_losses_of_ones_own(fn):
    assert read_by(fn) == OWN[fn]


def test_what_is_absent_has_its_shape_and_is_no_number():
    teacher = outputs("teacher")
    back = restored(keep(teacher, frozenset([".logits"])))
    assert jax.tree.map(jnp.shape, back) == jax.tree.map(jnp.shape, teacher)
    np.testing.assert_array_equal(back.logits, teacher.logits)
    assert jnp.isnan(back.features[0]).all()


NETWORKS = [("convnet", 8), ("vgg8", 32), ("wrn_16_1", 16), ("mobilenetv2", 32)]
"""(network, pixels a side); without the barrier of `keep` the logits of the first three are rounded otherwise."""


@pytest.mark.parametrize(("network", "side"), NETWORKS)
def test_what_is_kept_has_equal_bits(network, side):
    """Whatever else is kept: a run's numbers depend on no other method of its cohort."""
    model = getattr(models, network)(num_classes=10)
    image = jax.random.normal(jax.random.key(0), (8, side, side, 3))
    variables = jax.jit(model.init)(jax.random.key(1), image)
    place = parallel.layout("one", 1)[0][0]
    whole = parallel.compile_teach(make_teach(model), place)(variables, image[None])
    leaves = dict(zip(paths_of(whole), jax.tree.leaves(whole), strict=True))
    for paths in ([".logits"], [".logits", ".embedding"], [".logits", ".features[1]"]):
        kept = parallel.compile_teach(make_teach(model), place, (), frozenset(paths))(variables, image[None])
        for path in paths:
            found = dict(zip(paths_of(kept), jax.tree.leaves(kept), strict=True))[path]
            np.testing.assert_array_equal(found, leaves[path], err_msg=f"{path} beside {paths}")
        sizes = sum(x.size for x in jax.tree.leaves(kept))
        assert sizes == sum(leaves[p].size for p in paths) + len(image) * (len(leaves) - len(paths))


def test_axes_before_the_batch_and_several_places(monkeypatch):
    """[S, B, ...] at once, and shares of a batch at several places of a CPU."""
    monkeypatch.setattr(parallel, "SPREAD_FLOPS", 1.0)
    places = parallel.layout("students", 1)[0][:2]
    model, paths = models.resnet8(num_classes=3), frozenset([".logits", ".features[1]"])
    image = jax.random.normal(jax.random.key(0), (2, 4, 8, 8, 3))
    variables = jax.jit(model.init)(jax.random.key(1), image[0])
    whole = jax.jit(make_teach(model))(variables, image[0])
    for among in ((), places):
        teach = parallel.compile_teach(make_teach(model), places[0], among, paths)
        for found in (parallel.first(teach(variables, image[:1])), parallel.first(teach(variables, image))):
            back = restored(found)
            assert jax.tree.map(jnp.shape, back) == jax.tree.map(jnp.shape, whole)
            np.testing.assert_allclose(back.logits, whole.logits, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(back.features[1], whole.features[1], rtol=1e-5, atol=1e-5)


def test_without_a_reader_nothing_is_computed():
    model, place = models.resnet8(num_classes=3), parallel.layout("one", 1)[0][0]
    image = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
    variables = jax.jit(model.init)(jax.random.key(1), image)
    teach = parallel.compile_teach(make_teach(model), place, (), frozenset())
    assert teach.lower(variables, image[None]).cost_analysis().get("flops", 0) == 0
    assert jax.tree.map(jnp.shape, restored(parallel.first(teach(variables, image[None])))) == jax.tree.map(
        jnp.shape, make_teach(model)(variables, image)
    )


def of_the_last_batch(student, teacher, labels):
    """Reads the embedding where a batch is small."""
    return jnp.mean(student.logits**2) * (jnp.mean(teacher.embedding) if len(labels) < 48 else 1.0)


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ({"kd": {}}, {".logits"}),
        ({"kd": {}, "fitnet": {"layer": 0}, "student": None}, {".logits", ".features[0]"}),
        ({"student": None}, set()),
        ({"last": {"fn": "tests.training.test_reads.of_the_last_batch"}}, {".embedding"}),
    ],
)
def test_the_pass_of_an_experiment(methods, expected, tmp_path, monkeypatch):
    asked = []
    compile_teach = parallel.compile_teach
    spy = lambda *given: asked.append(given[-1]) or compile_teach(*given)  # noqa: E731
    monkeypatch.setattr(parallel, "compile_teach", spy)
    config = tiny.config(methods=(), epochs=1)
    config.batch_size, config.keep_last_batch = 48, True  # 2 of 48, one of 32
    for row, term in methods.items():
        own = {} if term is None else {row: {"weight": 1.0, **term}}
        config.methods[row] = {"cross_entropy": {"weight": 1.0}, **own}
    experiment.run(config, tmp_path, seeds=(0,))
    assert asked == [frozenset(expected)]
