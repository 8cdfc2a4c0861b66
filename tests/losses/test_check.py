"""kdjax check: every loss of the catalogue keeps the contract, and each way to break it is found."""

import jax
import jax.numpy as jnp
import pytest

from kdjax import losses
from kdjax.losses.check import verify
from tests import tiny
from tests.losses.test_losses import CASES


def found(fn) -> dict[str, str]:
    return {what: wrong for what, wrong in verify(fn)[0] if wrong}


# Losses with parameters or peers, and some without: all others' values, gradients and types are those of test_losses.
OTHERS = (losses.cross_entropy, losses.kd, losses.dist, losses.attention, losses.kdsvd, losses.rkd)
CHECKED = [
    fn
    for name, family in losses.FAMILIES.items()
    for fn in family
    if name == "without a teacher" or fn in OTHERS or fn in {case.fn for case in CASES if case.trained}
]


@pytest.mark.parametrize("fn", CHECKED, ids=lambda fn: fn.__name__)
def test_the_catalogue_keeps_the_contract(fn):
    broken = found(fn)
    blind = {"reaches the student"} if fn in (losses.paraphraser,) else set()  # trains on the teacher's maps alone
    assert set(broken) == blind, broken


def not_a_number(student, teacher, labels):
    return jnp.mean(jnp.log(student.logits - teacher.logits))


def infinite_gradient(student, teacher, labels):
    return jnp.sqrt(jnp.sum(jnp.square(student.logits - student.logits)))


def of_the_teacher_alone(student, teacher, labels):
    return jnp.mean(teacher.logits)


def half(student, teacher, labels):
    return jnp.mean(student.logits).astype(jnp.bfloat16)


def not_traceable(student, teacher, labels):
    return jnp.mean(student.logits) if student.logits.sum() > 0 else jnp.mean(student.logits) * 2


def too_few(student, teacher):
    return jnp.mean(student.logits)


BROKEN = {
    "is finite": not_a_number,
    "has a finite gradient": infinite_gradient,
    "reaches the student": of_the_teacher_alone,
    "returns a float32 scalar": half,
    "works under jit": not_traceable,
    "can be called on student, teacher, labels": too_few,
    "asks only for what the step has": tiny.asks_for_more,
}


@pytest.mark.parametrize("what", BROKEN)
def test_each_breach_is_found(what):
    assert what in found(BROKEN[what])


def test_a_gradient_into_the_teacher_would_be_found(monkeypatch):
    monkeypatch.setattr(jax.lax, "stop_gradient", lambda x: x)  # as if lifting forgot it
    assert "sends no gradient into the teacher" in found(losses.kd)
