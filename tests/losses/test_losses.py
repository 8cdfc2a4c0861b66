"""Every loss of the catalogue under the same properties; a new one enters by a line in CASES."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kdjax import losses
from kdjax.losses.lift import context_names, hyperparameters, lift
from kdjax.types import Outputs

BY = "case"
B, K, N = 6, 5, 24  # examples of a batch, classes, training examples
STUDENT, TEACHER = ((8, 4), (8, 6), (4, 8)), ((8, 4), (8, 8), (8, 12))  # (side, channels) of the maps
WIDTH = {"student": 8, "teacher": 12}


class Case(NamedTuple):
    fn: Callable
    hyper: Mapping[str, Any] = {}
    labelled: bool = False  # looks at labels
    alike: bool = False  # wants student and teacher maps of one shape
    trained: bool = False  # has parameters
    matched: float | None = None  # value at student = teacher, where its gradient is 0
    ordered: bool = False  # the order of the batch matters, or draws differ from place to place
    blind: bool = False  # does not look at the student
    untaught: bool = False  # does not look at the teacher
    text: bool = False  # wants tokens, with attention

    @property
    def needs(self) -> tuple[str, ...]:
        return losses.NEEDS[self.fn]


CASES = (
    Case(losses.cross_entropy, labelled=True),
    Case(losses.cross_entropy, {"label_smoothing": 0.1}, labelled=True),
    Case(losses.hard_target),
    Case(losses.kd, matched=0.0),
    Case(losses.binary_kd),
    Case(losses.logit_mse, matched=0.0),
    Case(losses.dkd, labelled=True, matched=0.0),
    Case(losses.nkd, labelled=True),
    Case(losses.dist, matched=0.0),
    Case(losses.wsld, labelled=True),
    Case(losses.kd_standardized, matched=0.0),
    Case(losses.mlkd, matched=0.0),
    Case(losses.ctkd, {"ramp_steps": 10}, trained=True, matched=0.0),
    Case(losses.ttm),
    Case(losses.wttm),
    Case(losses.rld, labelled=True),
    Case(losses.fitnet, trained=True),
    Case(losses.attention, matched=0.0),
    Case(losses.nst, matched=0.0),
    Case(losses.vid, trained=True),
    Case(losses.fsp, alike=True, matched=0.0),
    Case(losses.kdsvd, alike=True, matched=0.0),
    Case(losses.paraphraser, trained=True, blind=True),
    Case(losses.factor_transfer, trained=True),
    Case(losses.activation_boundary, trained=True),
    Case(losses.overhaul, trained=True),
    Case(losses.reviewkd, trained=True),
    Case(losses.srrl, trained=True),
    Case(losses.simkd, alike=True, matched=0.0),
    Case(losses.cat_kd),
    Case(losses.cat_kd, {"normalise": True}),
    Case(losses.sdd, labelled=True),
    Case(losses.ickd, trained=True),
    Case(losses.mgd, trained=True, ordered=True),
    Case(losses.rkd, matched=0.0),
    Case(losses.similarity, matched=0.0),
    Case(losses.correlation, trained=True, ordered=True),
    Case(losses.pkt, matched=0.0),
    Case(losses.itrd, trained=True),
    Case(losses.in_batch, labelled=True, untaught=True),
    Case(losses.in_batch_kl, matched=0.0),
    Case(losses.crd, {"dim": 8, "negatives": 16}, trained=True, ordered=True),
    Case(losses.tinybert, trained=True, text=True),
    Case(losses.pkd, alike=True, matched=0.0, text=True),
    Case(losses.distilbert, alike=True, matched=0.0, text=True),
    Case(losses.minilm, matched=0.0, text=True),
    Case(losses.minilm2, matched=0.0, text=True),
    Case(losses.attention_mse, matched=0.0, text=True),
    Case(losses.attention_kl, matched=0.0, text=True),
)


def name(case: Case) -> str:
    return case.fn.__name__ + "".join(f"-{key}={value}" for key, value in case.hyper.items())


def cases(test):
    """The cases for which `test` holds, as parameters of a test."""
    return pytest.mark.parametrize("case", [pytest.param(c, id=name(c)) for c in CASES if test(c)])


every_case = cases(lambda case: True)


def outputs(who: str, seed: int = 0, batch: int = B, alike: bool = False) -> Outputs:
    """Random Outputs; `alike` gives the student the teacher's shapes."""
    who_shaped = "teacher" if alike else who
    rng = np.random.default_rng([seed, who == "teacher"])
    sizes = TEACHER if who_shaped == "teacher" else STUDENT
    draw = lambda *shape: jnp.asarray(rng.standard_normal((batch, *shape)), jnp.float32)  # noqa: E731
    preacts = tuple(draw(side, side, channels) for side, channels in sizes)
    return Outputs(3 * draw(K), tuple(jax.nn.relu(x) for x in preacts), preacts, draw(WIDTH[who_shaped]))


TOKENS, HEADS, LAYERS = 6, 2, {"student": 2, "teacher": 4}


def encoded(who: str, seed: int = 0, batch: int = B, alike: bool = False) -> Outputs:
    """Random Outputs of an encoder of texts; `alike` gives the student the teacher's width."""
    rng = np.random.default_rng([9, seed, who == "teacher"])
    width, layers = WIDTH["teacher" if alike else who], LAYERS[who]
    draw = lambda *shape: jnp.asarray(rng.standard_normal((batch, *shape)), jnp.float32)  # noqa: E731
    return Outputs(
        3 * draw(K),
        features=tuple(draw(TOKENS, width) for _ in range(layers + 1)),
        embedding=draw(width),
        attentions=tuple(draw(HEADS, TOKENS, TOKENS) for _ in range(layers)),
        qkv=tuple(draw(TOKENS, HEADS, width // HEADS) for _ in range(3)),
    )


def made(case, who: str, seed: int = 0, batch: int = B) -> Outputs:
    """Outputs as a case wants them."""
    return (encoded if case.text else outputs)(who, seed, batch, case.alike and who == "student")


def context(batch: int = B) -> dict:
    """All that a loss may ask of the step."""
    rng = np.random.default_rng(7)
    norms = {
        f"layer{i}_0": {"bn2": {key: jnp.asarray(rng.standard_normal(c), jnp.float32) for key in ("scale", "bias")}}
        for i, (_, c) in enumerate(TEACHER[1:], start=1)
    }
    classifier = {"kernel": jnp.asarray(rng.standard_normal((WIDTH["teacher"], K)), jnp.float32), "bias": jnp.ones(K)}
    own = {"kernel": jnp.asarray(rng.standard_normal((WIDTH["student"], K)), jnp.float32), "bias": jnp.ones(K)}
    return {
        "second": (outputs("student", 50, batch), outputs("teacher", 50, batch)),
        "student_params": {"params": {"classifier": own}},
        "step": jnp.int32(3),
        "key": jax.random.key(5),
        "index": jnp.arange(batch) * 3,
        "teacher_params": {"params": {**norms, "classifier": classifier}},
        "train_labels": jnp.arange(N) % K,
    }


def labels(batch: int = B) -> jax.Array:
    return jnp.arange(batch) * 3 % K


jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
"""Compiles in half the time; the tests against golden values run the optimized code."""


@functools.cache
def _compiled(number: int):
    """(init, step, both) of a case: (student, teacher, labels, context) -> variables, these and the same arguments ->
    value, updates, gradients, and without the variables to the same, as one program.
    """
    case = CASES[number]
    module = lift(case.fn, **case.hyper)

    def value(params_and_student, state, teacher, labels, context):
        params, student = params_and_student
        held = {"params": params, **state}
        return module.apply(held, student, jax.lax.stop_gradient(teacher), labels, **context, mutable=list(state))

    def learn(variables, student, teacher, labels, context):
        state = dict(variables)
        params = state.pop("params", {})
        run = jax.value_and_grad(value, has_aux=True)
        (loss, state), grads = run((params, student), state, teacher, labels, context)
        return loss, state, grads

    def begin(student, teacher, labels, context):
        return module.init(jax.random.key(1), student, teacher, labels, **context)

    compile_begin = jit(begin)

    def init(*given):
        shapes = jax.eval_shape(begin, *given)
        return compile_begin(*given) if jax.tree.leaves(shapes) else shapes

    return init, jit(learn), jit(lambda *given: learn(begin(*given), *given))


def compiled(case: Case):
    return _compiled(CASES.index(case))


def run(case, student, teacher, targets=None, variables=None):
    """(value, new state, (gradients of the parameters, gradients of the student))."""
    batch = len(student.logits)
    targets = labels(batch) if targets is None else targets
    init, step, _ = compiled(case)
    if variables is None:
        variables = init(student, teacher, targets, context(batch))
    return step(variables, student, teacher, targets, context(batch))


def pair(case, seed=0, batch=B):
    return made(case, "student", seed, batch), made(case, "teacher", seed, batch)


def assert_finite(case, student, teacher, targets=None):
    _assert_finite(*run(case, student, teacher, targets))


def _assert_finite(value, state, grads):
    assert value.shape == ()
    assert value.dtype == jnp.float32
    assert jnp.isfinite(value), value
    for path, leaf in jax.tree_util.tree_leaves_with_path((grads, state)):
        where = jax.tree_util.keystr(path)
        assert np.isfinite(leaf).all(), where


def test_every_loss_is_here():
    # test_losses_peers.py, test_views.py, tests/tasks/test_regression.py, test_lists.py, test_search.py and others
    others = ("without a teacher", "two views", "regression", "ranking", "search", "recommendation")
    catalogue = {fn for name, family in losses.FAMILIES.items() if name not in others for fn in family}
    assert {case.fn for case in CASES} == catalogue


STILL = {  # loss -> its parameters without a gradient: BatchNorm takes a bias before it away, a paraphraser is held
    losses.fitnet: {"regressor/bias"},
    losses.activation_boundary: {"regressor0/bias", "regressor1/bias"},
    losses.factor_transfer: {f"translator/conv{i}/bias" for i in range(3)}
    | {f"paraphraser/conv{i}/{name}" for i in range(3) for name in ("kernel", "bias")},
}


@every_case
def test_finite_scalar_with_a_gradient_for_the_student_and_the_parameters(case):
    student, teacher = pair(case)
    assert_finite(case, student, teacher)
    _, _, (params, wrt) = run(case, student, teacher)
    assert bool(params) == case.trained
    sizes = {
        "/".join(entry.key for entry in path): float(jnp.abs(leaf).max())
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    moved = {path for path, size in sizes.items() if size > 1e-5 * max(sizes.values())}  # what is less is rounding
    assert sizes.keys() - moved == STILL.get(case.fn, set())
    if not case.blind:
        assert any(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(wrt))


@cases(lambda case: case.trained)
def test_jit_equals_eager(case):
    student, teacher = pair(case)
    init, _, _ = compiled(case)
    variables = init(student, teacher, labels(), context())
    module = lift(case.fn, **case.hyper)
    eager, _ = module.apply(
        variables, student, teacher, labels(), **context(), mutable=[k for k in variables if k != "params"]
    )
    np.testing.assert_allclose(run(case, student, teacher)[0], eager, rtol=1e-5, atol=1e-6)


@every_case
def test_vmap_over_seeds_equals_one_after_the_other(case):
    init, step, _ = compiled(case)
    pairs = [pair(case, seed) for seed in (0, 1)]
    variables = [init(*p, labels(), context()) for p in pairs]
    stacked = jax.tree.map(lambda *xs: np.stack(xs), *[(v, *p) for v, p in zip(variables, pairs, strict=True)])
    values, _, grads = jax.vmap(step, in_axes=(0, 0, 0, None, None))(*stacked, labels(), context())
    for i, ((student, teacher), held) in enumerate(zip(pairs, variables, strict=True)):
        value, _, alone = run(case, student, teacher, variables=held)
        np.testing.assert_allclose(values[i], value, rtol=1e-4, atol=1e-6)
        # A bias before BatchNorm has no gradient but rounding, which is measured by the others'.
        rounding = 1e-6 * max((float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(alone)), default=0.0)
        for got, expected in zip(jax.tree.leaves(grads), jax.tree.leaves(alone), strict=True):
            least = 1e-4 * (1e-3 + float(jnp.abs(expected).max()))
            np.testing.assert_allclose(got[i], expected, rtol=1e-3, atol=max(least, rounding))


def asked(case) -> dict:
    """What a loss asks of the step."""
    held = context()
    return {key: held[key] for key in context_names(case.fn)}


@cases(lambda case: not case.trained)
def test_bare_equals_lifted_and_eager_equals_jit(case):
    student, teacher = pair(case)
    bare = case.fn(student, teacher, labels(), **asked(case), **case.hyper)
    np.testing.assert_allclose(run(case, student, teacher)[0], bare, rtol=1e-5, atol=1e-6)


@cases(lambda case: not case.trained)
def test_bfloat16_inputs_are_computed_in_float32(case):
    student, teacher = jax.tree.map(lambda x: x.astype(jnp.bfloat16), pair(case))
    value = jit(functools.partial(case.fn, **case.hyper))(student, teacher, labels(), **asked(case))
    assert value.dtype == jnp.float32
    rounded = jax.tree.map(lambda x: x.astype(jnp.float32), (student, teacher))
    np.testing.assert_allclose(value, run(case, *rounded)[0], rtol=1e-5, atol=1e-6)


@every_case
def test_traces_with_64_bit_numbers_enabled(case):
    with jax.enable_x64(True):
        value, _ = jax.eval_shape(
            lift(case.fn, **case.hyper).init_with_output, jax.random.key(0), *pair(case), labels(), **context()
        )
    assert value.dtype == jnp.float32


@cases(lambda case: case.matched is not None)
def test_minimum_at_the_teacher(case):
    student, teacher = pair(case)
    like = lambda outputs: student.replace(**{field: getattr(outputs, field) for field in case.needs})  # noqa: E731
    value, _, (_, grads) = run(case, like(teacher), teacher)
    assert abs(float(value) - case.matched) < 1e-4
    for leaf in jax.tree.leaves(grads):
        np.testing.assert_allclose(leaf, 0, atol=1e-4)
    for seed in range(3):
        noise = made(case, "teacher", seed + 10)
        other = jax.tree.map(lambda x, n: x + 0.3 * n, teacher, noise)
        assert run(case, like(other), teacher)[0] > value


@cases(lambda case: not case.ordered)
def test_order_of_the_batch_does_not_matter(case):
    student, teacher = pair(case)
    order = np.random.default_rng(0).permutation(B)
    init, step, _ = compiled(case)
    variables = init(student, teacher, labels(), context())
    shuffled = jax.tree.map(lambda x: x[order], (student, teacher, labels()))
    moved = step(variables, *shuffled, {**context(), "index": context()["index"][order]})
    np.testing.assert_allclose(moved[0], step(variables, student, teacher, labels(), context())[0], rtol=2e-4)


@pytest.mark.parametrize("batch", [1, 2])
@every_case
def test_tiny_batches(case, batch):
    """The last batch of an epoch may hold one example."""
    given = pair(case, batch=batch)
    found = compiled(case)[2](*given, labels(batch), context(batch)) if case.trained else run(case, *given)
    _assert_finite(*found)


def _first(x):
    return jnp.broadcast_to(x[:1], x.shape)


def _certain(logits):
    """Probability 1 - 1e-7 for one class."""
    odds = (1 - 1e-7) / 1e-7
    return jnp.zeros_like(logits).at[:, 0].set(np.log(odds * (K - 1)))


EXTREMES = {
    "identical examples": lambda s, t: jax.tree.map(_first, (s, t)),
    "identical students": lambda s, t: (jax.tree.map(_first, s), t),
    "all zero": lambda s, t: jax.tree.map(jnp.zeros_like, (s, t)),
    "students zero": lambda s, t: (jax.tree.map(jnp.zeros_like, s), t),
    "equal logits": lambda s, t: (s.replace(logits=jnp.full_like(s.logits, 0.1)), t),
    "teacher's logits equal": lambda s, t: (s, t.replace(logits=jnp.full_like(t.logits, 0.1))),
    "teacher certain": lambda s, t: (s, t.replace(logits=_certain(t.logits))),
    "student certain": lambda s, t: (s.replace(logits=_certain(s.logits)), t),
    "logits of 1e4": lambda s, t: (s.replace(logits=1e4 * s.logits), t.replace(logits=-1e4 * t.logits)),
    "all 1e4": lambda s, t: jax.tree.map(lambda x: 1e4 * x, (s, t)),
    "all 1e-4": lambda s, t: jax.tree.map(lambda x: 1e-4 * x, (s, t)),
}


@pytest.mark.parametrize("extreme", list(EXTREMES))
@every_case
def test_finite_at_extremes(case, extreme):
    assert_finite(case, *EXTREMES[extreme](*pair(case)))


@functools.cache
def _numbers():
    ordinary = st.floats(-10, 10, width=32)
    return st.one_of(ordinary, st.sampled_from([0.0, -0.0, 1e-30, 1e-12, 1e-6, 1e4, -1e4, 1.0]))


def _chosen(case, outputs, data):
    """The same Outputs with numbers that hypothesis chooses in the fields that the loss looks at."""
    draw = lambda x: jnp.asarray(data.draw(hnp.arrays(np.float32, x.shape, elements=_numbers(), fill=_numbers())))  # noqa: E731
    return outputs.replace(**{field: jax.tree.map(draw, getattr(outputs, field)) for field in case.needs})


@every_case
@settings(max_examples=8, deadline=None, derandomize=True, phases=(Phase.generate,))
@given(data=st.data())
def test_finite_on_any_numbers(case, data):
    student, teacher = (_chosen(case, outputs, data) for outputs in pair(case))
    targets = jnp.asarray(data.draw(hnp.arrays(np.int32, (B,), elements=st.integers(-1, K - 1))))
    assert_finite(case, student, teacher, targets)


@cases(lambda case: case.labelled)
def test_unlabelled_examples_do_not_count(case):
    student, teacher = pair(case)
    some = labels().at[jnp.array([1, 4])].set(-1)
    kept = jax.tree.map(lambda x: x[np.array([0, 2, 3, 5])], (student, teacher, labels()))
    np.testing.assert_allclose(run(case, student, teacher, some)[0], run(case, *kept)[0], rtol=1e-5)
    value, _, (_, grads) = run(case, student, teacher, jnp.full(B, -1))
    assert value == 0
    assert not any(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(grads))


@cases(lambda case: not case.labelled)
def test_labels_do_not_matter(case):
    student, teacher = pair(case)
    assert run(case, student, teacher, jnp.full(B, -1))[0] == run(case, student, teacher)[0]


@cases(lambda case: case.labelled and case.fn is not losses.cross_entropy)
def test_soft_labels_are_refused(case):
    with pytest.raises(ValueError, match=f"{case.fn.__name__}: needs one class for each example"):
        case.fn(*pair(case), jnp.full((B, K), 1 / K), **asked(case))


def bare(student_or_teacher: Outputs) -> Outputs:
    return Outputs(student_or_teacher.logits)


def _trace(case, student, teacher, **hyper):
    return jax.eval_shape(
        lift(case.fn, **{**case.hyper, **hyper}).init, jax.random.key(0), student, teacher, labels(), **context()
    )


@cases(lambda case: case.needs != ("logits",))
def test_what_a_model_lacks_is_named(case):
    student, teacher = pair(case)
    missing = "|".join(field for field in case.needs if field != "logits")
    if not case.blind:
        with pytest.raises(ValueError, match=rf"{case.fn.__name__}: the student gives no ({missing}); its model must"):
            _trace(case, bare(student), teacher)
    if not case.untaught:
        with pytest.raises(ValueError, match=rf"{case.fn.__name__}: the teacher gives no ({missing})"):
            _trace(case, student, bare(teacher))


@every_case
def test_reads_what_it_needs_and_demands_nothing_else(case, monkeypatch):
    """Of the student or of the teacher: what no equation reads may be missing."""
    monkeypatch.setattr(jax.lax, "stop_gradient", lambda x: x)  # an equation that would read every field of the teacher
    held, fields = context(), ("logits", "features", "preacts", "embedding", "attentions", "qkv")

    def value(student, teacher):
        return lift(case.fn, **case.hyper).init_with_output(jax.random.key(0), student, teacher, labels(), **held)

    given = pair(case)
    traced = jax.make_jaxpr(value)(*given).jaxpr
    found = {var for equation in traced.eqns for var in equation.invars if not hasattr(var, "val")}
    used = jax.tree.unflatten(jax.tree.structure(given), [var in found for var in traced.invars])
    read = [{field for field in fields if any(jax.tree.leaves(getattr(use, field)))} for use in used]
    assert set.union(*read) == set(case.needs)
    stripped = [
        outputs.replace(**{f: () if isinstance(getattr(outputs, f), tuple) else None for f in fields if f not in kept})
        for outputs, kept in zip(given, read, strict=True)
    ]
    jax.eval_shape(value, *stripped)


@cases(lambda case: case.trained)
def test_biases_beside_a_kernel_are_drawn(case):
    """As torch does, from U(+-1 / sqrt(fan in)); a transposed convolution's fan-in is that of its output channels."""
    variables = compiled(case)[0](*pair(case), labels(), context())
    layers = [
        (path, tree)
        for path, tree in jax.tree_util.tree_leaves_with_path(
            variables.get("params", {}), is_leaf=lambda tree: isinstance(tree, dict) and "kernel" in tree
        )
        if isinstance(tree, dict) and "bias" in tree
    ]
    for path, layer in layers:
        where, kernel = jax.tree_util.keystr(path), layer["kernel"]
        transposed = "decoder" in where or kernel.shape[:2] == (4, 4)
        fan_in = kernel.size // (kernel.shape[-2] if transposed else kernel.shape[-1])
        assert float(jnp.abs(layer["bias"]).max()) <= fan_in**-0.5, where
        assert 0.7 * fan_in**-0.5 < float(jnp.abs(kernel).max()) <= fan_in**-0.5, where
        assert jnp.unique(layer["bias"]).size == layer["bias"].size, where


@cases(lambda case: not case.text and ("layer" in hyperparameters(case.fn) or "layers" in hyperparameters(case.fn)))
def test_a_layer_out_of_range_is_named(case):
    key = "layer" if "layer" in hyperparameters(case.fn) else "layers"
    value = 5 if key == "layer" else (0, 5)
    with pytest.raises(
        ValueError, match=rf"{case.fn.__name__}: {key}: 5 is out of range; the (student|teacher) has 3 "
    ):
        _trace(case, *pair(case), **{key: value})


@cases(lambda case: "layers" in hyperparameters(case.fn) and not case.hyper and not case.text)
def test_different_numbers_of_maps_need_pairs(case):
    student, teacher = pair(case)
    student = student.replace(features=student.features[1:], preacts=student.preacts[1:])
    with pytest.raises(ValueError, match=rf"{case.fn.__name__}: the student has 2 .* and the teacher 3; say which"):
        _trace(case, student, teacher)
    _trace(case, student, teacher, layers=((0, 1), (1, 2)))


@cases(lambda case: case.needs == ("logits",) and case.fn is not losses.cross_entropy)
def test_logits_of_different_widths_are_refused(case):
    student, teacher = pair(case)
    with pytest.raises(ValueError, match=rf"\w+: logits of student and teacher must have one shape, got \({B}, {K}\)"):
        _trace(case, student, teacher.replace(logits=teacher.logits[:, 1:]))


@pytest.mark.parametrize(
    ("fn", "hyper", "alike", "message"),
    [
        (losses.attention, {"layers": ()}, False, "attention: layers is empty"),
        (losses.attention, {"layers": ((0, 1, 2),)}, False, "attention: a layer is an int or a pair"),
        (losses.fsp, {"layers": (1,)}, True, "fsp: needs at least two maps"),
        (losses.kdsvd, {"layers": (1,)}, True, "kdsvd: needs at least two maps"),
        (losses.fsp, {}, False, "fsp: maps of student and teacher must have equally many channels, got 6 and 8"),
        (losses.kdsvd, {}, False, "kdsvd: maps of student and teacher must have equally many channels, got 6 and 8"),
        (
            losses.simkd,
            {},
            False,
            "simkd: the student's last map has 8 channels, the teacher's 12; the student must be",
        ),
        (losses.correlation, {"dim": None}, False, "correlation: embeddings have shapes"),
        (losses.binary_kd, {"targets": "sparse"}, False, "binary_kd: targets 'sparse' is unknown; valid are"),
        (losses.overhaul, {"layers": (1,)}, False, r"overhaul: the layers have \[8\] channels, .* \[8, 12\]; name one"),
        (
            losses.overhaul,
            {"norms": ("layer9",)},
            False,
            "overhaul: the teacher's variables have no 'layer9'; .* layer1_0",
        ),
        (losses.srrl, {"classifier": "fc"}, False, "srrl: the teacher's variables have no 'params/fc'; .* classifier"),
        (losses.srrl, {"classifier": "layer1_0/bn2"}, False, "srrl: 'layer1_0/bn2' is no linear layer"),
    ],
)
def test_what_makes_no_sense_is_refused(fn, hyper, alike, message):
    with pytest.raises(ValueError, match=message):
        _trace(Case(fn, alike=alike), *pair(Case(fn, alike=alike)), **hyper)


@cases(lambda case: case.trained)
def test_parameters_move_and_state_is_updated(case):
    student, teacher = pair(case)
    init, step, _ = compiled(case)
    first = variables = init(student, teacher, labels(), context())
    values = []
    for _ in range(30):
        value, state, (grads, _) = step(variables, student, teacher, labels(), context())
        params = jax.tree.map(lambda p, g: p - 0.003 * g / (1e-6 + jnp.abs(g).max()), variables["params"], grads)
        variables = {"params": params, **state}
        values.append(float(value))
    assert (values[-1] > values[0]) if case.fn is losses.ctkd else (values[-1] < values[0])
    for path, old in jax.tree_util.tree_leaves_with_path(first):
        keys = [entry.key for entry in path]
        if "order" in keys or (case.fn is losses.factor_transfer and "paraphraser" in keys):
            continue
        new = functools.reduce(lambda tree, key: tree[key], keys, variables)
        assert not np.array_equal(old, new), keys
