"""Losses among all documents of a batch: their formulas, padding that changes nothing, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import losses
from kdjax.losses.check import verify
from kdjax.types import Outputs

FAMILY = losses.FAMILIES["search"]
every_loss = pytest.mark.parametrize("fn", FAMILY, ids=lambda fn: fn.__name__)
GRADES = np.array([[1, 0, -1], [2, 1, 0], [0, -1, -1], [1, -1, -1]], np.float32)


def outputs(seed: int, width: int, more: int = 0) -> Outputs:
    """Of four queries with up to three documents, and so much padding more."""
    rng = np.random.default_rng(seed)
    q, d = rng.standard_normal((4, width)), rng.standard_normal((4, 3, width))
    d = np.pad(np.where((GRADES >= 0)[..., None], d, 7.0), ((0, 0), (0, more), (0, 0)), constant_values=9.0)
    q, d = jnp.asarray(q, jnp.float32), jnp.asarray(d, jnp.float32)
    return Outputs(jnp.zeros(d.shape[:2]), (d,), embedding=q)


def grades(more: int = 0):
    return jnp.asarray(np.pad(GRADES, ((0, 0), (0, more)), constant_values=-1))


def scores(made: Outputs) -> np.ndarray:
    """[4, 7] products of every query with every document that there is, in float64."""
    d = np.asarray(made.features[-1][:, :3], np.float64)[GRADES >= 0]
    return np.asarray(made.embedding, np.float64) @ d.T


def test_in_batch_documents_is_its_formula():
    student = outputs(0, 5)
    s, owner, each = scores(student) / 0.3, np.repeat(np.arange(4), (GRADES >= 0).sum(1)), GRADES[GRADES >= 0]
    values = []
    for query, column in [(owner[at], at) for at in np.flatnonzero(each > 0)]:
        others = [at for at in range(len(each)) if not (owner[at] == query and each[at] > 0)]
        against = [s[query, column], *s[query, others]]
        values.append(-s[query, column] + np.log(np.sum(np.exp(against))))
    found = losses.in_batch_documents(student, None, grades(), temperature=0.3)
    np.testing.assert_allclose(found, np.mean(values), rtol=1e-5)


def test_in_batch_documents_kl_is_its_formula():
    student, teacher = outputs(0, 5), outputs(1, 8)
    p = []
    for made in (student, teacher):
        s = np.exp(scores(made) / 2.0)
        p.append(s / s.sum(1, keepdims=True))
    expected = np.mean(np.sum(p[1] * np.log(p[1] / p[0]), axis=1))
    found = losses.in_batch_documents_kl(student, teacher, grades(), temperature=2.0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(losses.in_batch_documents_kl(student, student, grades()), 0, atol=1e-6)


@every_loss
def test_padding_changes_neither_value_nor_gradient(fn):
    def value(made, teacher, targets):
        return fn(made, teacher, targets, temperature=0.5)

    plain, padded = (
        jax.value_and_grad(value)(outputs(0, 5, more), outputs(1, 8, more), grades(more)) for more in (0, 2)
    )
    np.testing.assert_allclose(plain[0], padded[0], rtol=1e-6)
    np.testing.assert_allclose(plain[1].embedding, padded[1].embedding, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(plain[1].features[0], padded[1].features[0][:, :3], rtol=1e-4, atol=1e-6)
    assert not padded[1].features[0][grades(2) < 0].any()
    assert jnp.abs(plain[1].embedding).max() > 1e-3


@every_loss
def test_the_contract_is_kept(fn):
    assert not {what: wrong for what, wrong in verify(fn)[0] if wrong}


@every_loss
def test_one_query_with_nothing_else_is_finite(fn):
    one = jax.tree.map(lambda leaf: leaf[:1], outputs(0, 5))
    value, gradient = jax.value_and_grad(lambda made: fn(made, one, jnp.array([[1.0, -1.0, -1.0]])))(one)
    assert abs(value) < 1e-6
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_outputs_of_no_two_towers_are_refused():
    wrong = Outputs(jnp.zeros((4, 3)), embedding=jnp.zeros((4, 5)))
    with pytest.raises(ValueError, match=r"the student has embeddings .4, 5. of queries and None of documents"):
        losses.in_batch_documents(wrong, None, grades())
    with pytest.raises(ValueError, match="in_batch_documents_kl: the teacher has embeddings"):
        losses.in_batch_documents_kl(outputs(0, 5), wrong, grades())
    with pytest.raises(ValueError, match="this loss needs a teacher"):
        losses.in_batch_documents_kl(outputs(0, 5), None, grades())
