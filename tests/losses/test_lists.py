"""Losses on ranked lists: published values and gradients, padding that changes nothing, and what is refused."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import losses
from kdjax.losses.check import verify
from kdjax.losses.lift import context_names
from kdjax.losses.lists import plackett_luce
from kdjax.types import Outputs
from tests.losses.test_losses import jit

FOLDER = Path(__file__).parents[1] / "goldens"
FAMILY = losses.FAMILIES["ranking"]
CASES = [(fn, {}) for fn in FAMILY] + [(losses.ranknet, {"order": "teacher"})]
every_case = pytest.mark.parametrize(
    ("fn", "hyper"), [pytest.param(*case, id="-".join([case[0].__name__, *case[1].values()])) for case in CASES]
)


def golden(name: str) -> dict:
    with np.load(FOLDER / f"ranking_{name}.npz") as file:
        return {key: jnp.asarray(x.astype(np.float32) if x.dtype.kind == "f" else x) for key, x in file.items()}


def assert_equal(fn, scores, value, gradient):
    """The value and the gradient of fn(Outputs of scores)."""
    found, grad = jax.value_and_grad(lambda s: fn(Outputs(s)))(scores)
    np.testing.assert_allclose(found, value, rtol=1e-5)
    np.testing.assert_allclose(grad, gradient, atol=2e-6)


def test_margin_mse_is_the_authors_code():
    f = golden("margin_mse")
    pairs = lambda who: jnp.stack([f[f"{who}_pos"], f[f"{who}_neg"]], 1)  # noqa: E731
    grades = jnp.tile(jnp.array([[1.0, 0.0]]), (6, 1))
    gradient = jnp.stack([f["grad_student_pos"], f["grad_student_neg"]], 1)
    of = lambda s: losses.margin_mse(s, Outputs(pairs("teacher")), grades)  # noqa: E731
    assert_equal(of, pairs("student"), f["loss"], gradient)
    grades = jnp.tile(jnp.arange(5) == 0, (4, 1)).astype(jnp.float32)
    of = lambda s: losses.margin_mse(s, Outputs(f["list_teacher"]), grades)  # noqa: E731
    assert_equal(of, f["list_student"], f["list_loss"], f["grad_list_student"])


def test_listnet_and_the_divergence_of_lists_are_the_authors_code():
    f = golden("listwise")
    assert bool((f["listnet_labels"] < 0).any())  # has padding
    of = lambda s: losses.listnet(s, None, f["listnet_labels"])  # noqa: E731
    assert_equal(of, f["student"], f["listnet"], f["grad_listnet"])
    t = float(f["temperature"])
    of = lambda s: losses.list_kl(s, Outputs(f["teacher"]), jnp.zeros((3, 5)), temperature=t)  # noqa: E731
    assert_equal(of, f["student"], f["kl"], f["grad_kl"])


def test_rankdistil_is_that_of_tf_ranking():
    f = golden("rankdistil")
    valid, top = jnp.ones((3, 5), bool), int(f["topk"])
    of = lambda s: jnp.mean(plackett_luce(s.logits, f["permutations"].astype(jnp.int32), valid, top))  # noqa: E731
    assert_equal(of, f["student"], f["loss"], f["grad_student"])
    documented = f["tf_ranking_doc_y_pred"], f["tf_ranking_doc_permutations"].astype(jnp.int32)
    value = plackett_luce(*documented, jnp.ones((2, 3), bool), 2).mean()
    np.testing.assert_allclose(value, f["tf_ranking_doc_topk2_loss"], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "fn", "hyper"),
    [
        ("ranknet", losses.ranknet, {}),
        ("lambdarank", losses.lambdarank, {}),
        ("approx_ndcg_0.1", losses.approx_ndcg, {}),
        ("approx_ndcg_1.0", losses.approx_ndcg, {"temperature": 1.0}),
    ],
)
def test_losses_on_grades_are_those_of_rax(name, fn, hyper):
    f = golden("rax")
    assert_equal(lambda s: fn(s, None, f["grades"], **hyper), f["scores"], f[name], f[f"grad_{name}"])


def given(length: int = 6, seed: int = 0):
    """(the student's scores, the teacher's, grades) [4, L], the lists of 6, 4, 2 and 1 items, sevens at padding."""
    rng = np.random.default_rng(seed)
    scores = [np.full((4, length), 7.0, np.float32) for _ in range(2)]
    grades = np.full((4, length), -1.0, np.float32)
    for place, count in enumerate((6, 4, 2, 1)):
        for x in scores:
            x[place, :count] = rng.standard_normal(count)
        grades[place, :count] = rng.permutation(count) % 4
    return *map(jnp.asarray, scores), jnp.asarray(grades)


def value(fn, hyper, s, t, grades):
    context = {"key": jax.random.key(5)} if "key" in context_names(fn) else {}
    return fn(Outputs(s), Outputs(t), grades, **hyper, **context)


@every_case
def test_two_more_padded_items_change_nothing(fn, hyper):
    of = jit(jax.value_and_grad(lambda s, *rest: value(fn, hyper, s, *rest)))
    (loss, grad), (wider, wider_grad) = (of(*given(length)) for length in (6, 8))
    assert float(loss) > 0
    assert bool(jnp.any(grad != 0))
    np.testing.assert_allclose(wider, loss, rtol=1e-6)
    np.testing.assert_allclose(wider_grad[:, :6], grad, atol=1e-6)
    assert not wider_grad[given(8)[2] < 0].any()


@every_case
def test_the_order_of_a_list_does_not_matter(fn, hyper):
    s, t, grades = given()
    if fn is losses.rankdistil:
        pytest.skip("its draws are of places")
    order = np.array([3, 0, 5, 1, 4, 2])
    moved = value(fn, hyper, *(x[:, order] for x in (s, t, grades)))
    np.testing.assert_allclose(moved, value(fn, hyper, s, t, grades), rtol=1e-5)


@pytest.mark.parametrize("fn", [losses.score_mse, losses.margin_mse, losses.list_kl])
def test_a_student_as_the_teacher_has_nothing_to_learn(fn):
    _, t, grades = given()
    loss, grad = jax.value_and_grad(lambda s: value(fn, {}, s, t, grades))(t)
    np.testing.assert_allclose(loss, 0, atol=1e-6)
    np.testing.assert_allclose(grad, 0, atol=1e-6)


def test_lists_without_a_relevant_item_or_pair_are_finite():
    s, t, _ = given()
    none = jnp.zeros((4, 6))
    for fn, hyper in CASES:
        loss, grad = jit(jax.value_and_grad(lambda s, fn=fn, hyper=hyper: value(fn, hyper, s, t, none)))(s)
        assert np.isfinite(loss), fn
        assert np.isfinite(grad).all(), fn


def test_orders_are_drawn_as_the_teacher_scores():
    """Of two items the teacher's softmax says how often each is first."""
    t = jnp.array([[0.0, jnp.log(3.0)]])
    s = jnp.array([[0.0, 1.0]])
    loss = losses.rankdistil(Outputs(s), Outputs(t), jnp.zeros((1, 2)), key=jax.random.key(0), samples=20_000)
    expected = -(0.25 * jax.nn.log_softmax(s)[0, 0] + 0.75 * jax.nn.log_softmax(s)[0, 1])
    np.testing.assert_allclose(loss, expected, atol=0.01)


@pytest.mark.parametrize("fn", FAMILY, ids=lambda fn: fn.__name__)
def test_kdjax_check_knows_them(fn):
    assert not {what: wrong for what, wrong in verify(fn, "ranking")[0] if wrong}


def test_other_targets_are_refused():
    for grades in (jnp.zeros(4, jnp.int32), jnp.zeros((4, 6), jnp.int32), jnp.zeros((4, 5))):
        with pytest.raises(
            ValueError, match=r"listnet: targets are .* it is for ranking, a grade and a score for each"
        ):
            losses.listnet(Outputs(given()[0]), None, grades)
