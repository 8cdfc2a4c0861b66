"""Losses of recommendation: goldens of the authors' code (tests/goldens/README.md), and what holds of all of them."""

import functools
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import losses
from kdjax.losses import experts, items, recommended
from kdjax.losses.lift import context_names, lift, listing, lists_of
from kdjax.types import Outputs

FOLDER = Path(__file__).parents[1] / "goldens"
B, ITEMS, SIZES = 6, 40, {"student": 3, "teacher": 8}  # users, items, dimensions
CASES = (
    (losses.bpr, {"negatives": 3}),
    (losses.item_softmax, {}),
    (losses.item_softmax, {"negatives": 12}),
    (losses.sampled_softmax, {"negatives": 12}),
    (losses.sequence_softmax, {"negatives": 12}),
    (losses.rd, {"top": 5, "samples": 20}),
    (losses.rd, {"top": 5, "samples": 0}),
    (losses.rrd, {"top": 6, "others": 10}),
    (losses.rrd, {"top": 6, "others": 10, "sample": True, "pool": 12}),
    (losses.cd, {"samples": 5}),
    (losses.unkd, {"pairs": 20, "pool": 6}),
    (losses.de, {"experts": 2}),
    (losses.ftd, {}),
    (losses.htd, {"groups": 2}),
    (losses.htd, {"groups": 2, "first": True}),
)
every_case = pytest.mark.parametrize(
    ("fn", "hyper"), CASES, ids=["-".join([fn.__name__, *map(str, hyper)]) for fn, hyper in CASES]
)


def golden(name: str) -> dict:
    with np.load(FOLDER / f"items_{name}.npz") as file:
        return {key: x.astype(np.float32) if x.dtype.kind == "f" else x for key, x in file.items()}


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * max(1.0, np.abs(expected).max()))


def batch(seed: int = 0):
    """(Outputs of student and teacher, target, context) of scores that are products of vectors."""
    rng = np.random.default_rng(seed)
    draw = lambda *shape: jnp.asarray(rng.standard_normal(shape), jnp.float32)  # noqa: E731
    made, held = [], {"key": jax.random.key(seed)}
    for who, size in SIZES.items():
        table, user = draw(ITEMS, size), draw(B, size)
        made.append(Outputs(user @ table.T, (draw(B, 4, size),), embedding=user))
        held[f"{who}_params"] = {"params": {"items": {"embedding": table}}}
    target = np.full((B, 7), -1, np.int32)
    for row, count in zip(target, (7, 5, 3, 1, 1, 2), strict=True):
        row[:count] = rng.permutation(ITEMS)[:count]
    target[0, 3:] = -2 - target[0, 3:]
    held["train_labels"] = jnp.asarray(rng.integers(0, 1 + np.arange(9 * ITEMS).reshape(9, ITEMS) % ITEMS), jnp.int32)
    return *made, jnp.asarray(target), held


def value(fn, hyper):
    """fn(student, teacher, target, context) -> the lifted loss, of parameters drawn from one key."""

    def call(student, teacher, target, held):
        asked = {name: held[name] for name in context_names(fn)}
        return lift(fn, **hyper).init_with_output(jax.random.key(9), student, teacher, target, **asked)[0]

    return call


def test_every_loss_is_here():
    assert {fn for fn, _ in CASES} == set(losses.FAMILIES["recommendation"])


@every_case
def test_finite_with_a_gradient(fn, hyper):
    student, teacher, target, held = batch()
    run = jax.jit(jax.value_and_grad(value(fn, hyper), (0, 3), allow_int=True))
    found, (to_student, to_held) = run(student, teacher, target, held)
    assert found.shape == ()
    assert found.dtype == jnp.float32
    assert jnp.isfinite(found)
    reached = next(x for x in jax.tree.leaves(to_student) if x.any())
    assert jnp.isfinite(reached).all()
    assert reached.any()
    if fn in (losses.de, losses.ftd, losses.htd, losses.sampled_softmax, losses.sequence_softmax):
        of_items = to_held["student_params"]["params"]["items"]["embedding"]
        assert jnp.isfinite(of_items).all()
        assert of_items.any()


@pytest.mark.parametrize(
    ("fn", "hyper"),
    [
        (losses.item_softmax, {}),
        (losses.rd, {"top": 5, "samples": 0}),
        (losses.rrd, {"top": 6, "others": 10, "sample": True, "pool": 12}),
    ],
    ids=["item_softmax", "rd", "rrd"],
)
def test_neither_padding_nor_the_order_of_a_target_counts(fn, hyper):
    """Of losses that draw nothing for its places."""
    student, teacher, target, held = batch()
    run = jax.jit(value(fn, hyper))
    wider = jnp.pad(target[:, ::-1], ((0, 0), (1, 1)), constant_values=-1)
    np.testing.assert_allclose(*(run(student, teacher, x, held) for x in (target, wider)), rtol=1e-5)


@pytest.mark.parametrize("fn", [losses.rd, losses.rrd, losses.cd, losses.unkd], ids=lambda fn: fn.__name__)
def test_items_that_the_user_has_are_taught_by_nobody(fn):
    """Whatever the teacher thinks of them, and whatever the student does."""
    student, teacher, target, held = batch()
    hyper = next(hyper for loss, hyper in CASES if loss is fn)
    known = items.items_of("", target, ITEMS).known
    run = jax.jit(value(fn, {**hyper, **({"samples": 0} if fn is losses.rd else {})}))
    plain = run(student, teacher, target, held)
    other = teacher.replace(logits=jnp.where(known, 50.0, teacher.logits))
    np.testing.assert_array_equal(plain, run(student, other, target, held))
    changed = student.replace(logits=jnp.where(known, -50.0, student.logits))
    np.testing.assert_allclose(plain, run(changed, teacher, target, held), rtol=1e-6)


of_lists = pytest.mark.parametrize(
    ("fn", "hyper"),
    [case for case in CASES if hasattr(case[0], "lists")],
    ids=lambda part: getattr(part, "__name__", str(part)),
)


@of_lists
def test_lists_that_are_kept_give_the_bits_of_the_logits(fn, hyper):
    """What is made of the teacher once is all that the loss needs: its logits are not there any more."""
    student, teacher, target, context = batch()
    known = {name: context[name] for name in context_names(fn)}
    made = lists_of(fn, hyper, teacher, target, context["train_labels"])
    kept = teacher.replace(logits=jnp.full_like(teacher.logits, jnp.nan), listed={listing(fn, hyper): made})

    @jax.jit
    def both(scores, *taught):
        of = lambda s, t: lift(fn, **hyper).apply({}, student.replace(logits=s), t, target, **known)  # noqa: E731
        return [jax.value_and_grad(of)(scores, each) for each in taught]

    plain, listed = both(student.logits, teacher, kept)
    np.testing.assert_array_equal(plain[0], listed[0])
    np.testing.assert_array_equal(plain[1], listed[1])
    assert np.isfinite(plain[0])
    assert np.any(plain[1])


@of_lists
def test_no_catalogue_is_sorted_for_its_first_items(fn, hyper):
    """XLA finds a top_k only where nothing else takes slices of what it sorted; a sort takes ten times as long."""
    student, teacher, target, context = batch()
    of = functools.partial(value(fn, hyper), student)
    compiled = jax.jit(of).lower(teacher, target, context).compile().as_text()
    assert "TopK" in compiled
    assert not re.search(rf"\[\d[\d,]*,{ITEMS}\]\S*\) sort\(", compiled)


def test_bpr_and_the_sampled_softmax_draw_no_item_that_the_user_has():
    """With an advantage of 100 over all others, all are 0, although the user has half of the catalogue."""
    target = jnp.arange(ITEMS // 2, dtype=jnp.int32)[None]
    student = Outputs(jnp.where(jnp.arange(ITEMS) < ITEMS // 2, 100.0, 0.0)[None])
    for fn, hyper in ((losses.bpr, {"negatives": 8}), (losses.item_softmax, {"negatives": 16})):
        assert fn(student, None, target, key=jax.random.key(0), **hyper) < 1e-6
    params = {"params": {"items": {"embedding": student.logits.T}}}
    options = dict(key=jax.random.key(0), student_params=params, negatives=16)
    assert losses.sampled_softmax(student.replace(embedding=jnp.ones((1, 1))), None, target, **options) < 1e-6
    level = losses.bpr(Outputs(jnp.zeros((1, ITEMS))), None, target, key=jax.random.key(0), negatives=8)
    np.testing.assert_allclose(level, np.log(2), rtol=1e-6)


def test_item_softmax_is_cross_entropy_on_classes():
    rng = np.random.default_rng(0)
    student = Outputs(jnp.asarray(rng.standard_normal((5, ITEMS)), jnp.float32))
    labels = jnp.array([3, 0, 39, -1, 7], jnp.int32)
    found = losses.item_softmax(student, None, labels, key=jax.random.key(0))
    np.testing.assert_allclose(found, losses.cross_entropy(student, None, labels), rtol=1e-6)


def test_softmax_of_vectors_is_that_of_scores():
    """The sampled softmax of logits draws the same items of the same key."""
    student, _, target, held = batch()
    given = dict(key=held["key"], negatives=12)
    found = losses.sampled_softmax(student, None, target, student_params=held["student_params"], **given)
    np.testing.assert_allclose(found, losses.item_softmax(student, None, target, **given), rtol=1e-5)


def test_sequence_softmax_is_that_of_each_position():
    """In float64, by its definition: the item after each position, at positions behind an item, before the moment."""
    student, _, _, held = batch()
    target = np.full((B, 7), -1, np.int32)
    target[0, :6] = [-2 - 5, -2 - 6, -2 - 7, 8, -2 - 9, -2 - 4]  # the moment is the fourth place
    target[1, :7] = [10, 11, 12, 13, 14, 15, 16]  # the last of all
    target[2, :1] = [3]  # nothing comes before
    loss = jax.jit(functools.partial(losses.sequence_softmax, negatives=15))
    found = loss(student, None, jnp.asarray(target), key=held["key"], student_params=held["student_params"])
    coming = {0: {1: 6, 2: 7, 3: 8}, 1: {0: 13, 1: 14, 2: 15, 3: 16}}
    drawn = np.asarray(jax.random.randint(held["key"], (15,), 0, ITEMS))
    states, table = (
        np.asarray(x, np.float64)
        for x in (student.features[-1], held["student_params"]["params"]["items"]["embedding"])
    )
    values = []
    for user, places in coming.items():
        own = {item if item >= 0 else -2 - item for item in target[user] if item != -1}
        others = [item for item in drawn if item not in own]
        assert len(others) == 15 - 3 * user, "drawn items that the user has are left out"
        for place, item in places.items():
            scores = table @ states[user, place]
            values.append(np.log(np.exp(scores[[item, *others]]).sum()) - scores[item])
    np.testing.assert_allclose(found, np.mean(values), rtol=1e-5)


def test_unbiased_distillation_compares_items_of_like_popularity():
    """In float64, of lists of two places, of which every pair that counts is the same."""
    student, teacher, target, held = batch()
    loss = jax.jit(functools.partial(losses.unkd, groups=3, pool=2, even=0.5))
    found = loss(student, teacher, target, key=held["key"], train_labels=held["train_labels"])
    count = np.bincount(np.asarray(held["train_labels"]).ravel(), minlength=ITEMS)
    order = np.argsort(-count, kind="stable")
    group = np.empty(ITEMS, int)
    group[order] = np.minimum(3 * (np.cumsum(count[order]) - count[order]) // count.sum(), 2)
    means = np.array([count[group == number].mean() for number in range(3)])
    weights = np.maximum((means.max() + means.min() - means) / (means.max() + means.min() - means).sum(), 0.1) ** 0.5
    known = np.asarray(items.items_of("", target, ITEMS).known)
    values = np.zeros(3)
    for number in range(3):
        taught = np.where((group == number)[None] & ~known, teacher.logits, -np.inf)
        pairs = np.argsort(-taught, axis=1)[:, :2]
        own = np.take_along_axis(np.asarray(student.logits, np.float64), pairs, 1)
        values[number] = np.log1p(np.exp(own[:, 1] - own[:, 0])).mean()
    np.testing.assert_allclose(found, weights @ values / weights.sum(), rtol=1e-5)
    assert weights[0] < weights[2]


def test_ranking_distillation_is_the_authors_code():
    f = golden("rd")
    static = recommended.static_weights(4, float(f["lambda_"]))
    close(static[None], f["static_weight"])
    dynamic = recommended.dynamic_weights(f["candidate"], f["dynamic"], int(f["num_items"]), float(f["mu"]))
    close(dynamic, f["dynamic_weight"])
    close(static[None] * dynamic, f["weight"])
    weighted = (f["weight"] * jax.nn.softplus(-f["candidate"])).sum(-1).mean()
    close(f["base_loss"] + f["alpha"] * weighted, f["loss"])


def test_rd_weighs_the_teachers_first_items():
    """All of it, by what the golden has checked."""
    student, teacher, target, held = batch()
    found = losses.rd(student, teacher, target, key=held["key"], top=4, samples=0)
    known = np.asarray(items.items_of("", target, ITEMS).known)
    first = np.argsort(-np.where(known, -np.inf, teacher.logits), axis=1)[:, :4]
    weights = np.exp(-np.arange(1, 5.0)) / np.exp(-np.arange(1, 5.0)).sum()
    scores = np.take_along_axis(np.asarray(student.logits), first, 1)
    np.testing.assert_allclose(found, (weights * np.log1p(np.exp(-scores))).sum(1).mean(), rtol=1e-5)


def test_relaxed_ranking_distillation_is_the_authors_code():
    """But for the mean over users, whose sum theirs is."""
    f = golden("rrd")
    users = len(f["interesting"])
    found, grads = jax.value_and_grad(recommended.relaxed, (0, 1))(f["interesting"], f["uninteresting"])
    close(users * found, f["loss"])
    close(users * grads[0], f["grad_interesting"])
    close(users * grads[1], f["grad_uninteresting"])


def test_distillation_experts_are_the_authors_code():
    """But for the mean over vectors, whose sum theirs is."""
    f = golden("de")
    params = {"gate": {"kernel": f["user_selection_net/0/weight"].T, "bias": f["user_selection_net/0/bias"]}}
    for number in (0, 1):
        for layer, place in ((0, 0), (1, 2)):
            at = f"user_experts/{number}/mlp/{place}"
            params[f"expert_{number}_{layer}"] = {"kernel": f[f"{at}/weight"].T, "bias": f[f"{at}/bias"]}
    taught = f["teacher_user"][f["index"]]

    def distance(table, params):
        own = table[f["index"]]
        guess = experts.Experts(2).apply({"params": params}, own, taught, f["gumbel"], float(f["temperature"]))
        return jnp.sum(jnp.square(taught - guess))

    found, (to_table, to_params) = jax.value_and_grad(distance, (0, 1))(jnp.asarray(f["user_emb/weight"]), params)
    close(found, f["loss"])
    close(to_table, f["grad_user_emb/weight"])
    close(to_params["gate"]["kernel"].T, f["grad_user_selection_net/0/weight"])
    close(to_params["expert_1_1"]["bias"], f["grad_user_experts/1/mlp/2/bias"])


@pytest.mark.parametrize("name", ["ftd", "htd_first", "htd_second"])
def test_topology_distillation_is_the_authors_code(name):
    """But for the number of users and items, by which theirs does not divide."""
    f = golden("topology")
    rows = {"user": f["batch_user"], "item": f["batch_item"]}
    joined = lambda of: jnp.concatenate([of[kind][index] for kind, index in rows.items()])  # noqa: E731
    taught = joined({kind: jnp.asarray(f[f"teacher_{kind}"]) for kind in rows})
    group = np.concatenate([f["group_user"], f["group_item"]])

    def value(tables):
        if name == "ftd":
            return experts.topology(joined(tables), taught)
        return experts.grouped_topology(joined(tables), taught, group, 5, first=name == "htd_first")

    found, grads = jax.value_and_grad(value)({kind: jnp.asarray(f[f"student_{kind}"]) for kind in rows})
    close(found, f[name])
    for kind in rows:
        close(grads[kind], f[f"{name}_grad_student_{kind}"])


def test_what_a_loss_lacks_is_said():
    student, teacher, target, held = batch()
    with pytest.raises(ValueError, match="rrd: a list of 40 items of a catalogue of 40"):
        losses.rrd(student, teacher, target, key=held["key"])
    with pytest.raises(ValueError, match="bpr: the target is float32"):
        losses.bpr(student, None, target.astype(jnp.float32), key=held["key"])
    given = dict(key=held["key"], student_params=held["student_params"])
    with pytest.raises(ValueError, match=r"sequence_softmax: the target is \(6,\); it is items in their order"):
        losses.sequence_softmax(student, None, target[:, 0], **given)
    with pytest.raises(ValueError, match=r"sequence_softmax: the student has no features \[B, T, D\]"):
        losses.sequence_softmax(student.replace(features=()), None, target, **given)
    bare = {"student_params": {"params": {}}, "teacher_params": held["teacher_params"], "key": held["key"]}
    with pytest.raises(ValueError, match=r"ftd: the student has no vectors of items.*matrix_factorisation"):
        losses.ftd(student, teacher, target, **bare)
