"""Every loss on texts of unequal length: neither what stands at the padding counts, nor how much of it there is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import losses
from kdjax.losses.check import masked
from kdjax.losses.lift import lift
from kdjax.types import Outputs
from tests.losses.test_losses import B, Case, context, jit, labels, made, name
from tests.losses.test_ranks import ALL, MAPS_ALONE, flat, sequences

PADDED = {"features", "preacts", "attentions", "qkv"}
SEEING = [case for case in ALL if PADDED & set(losses.NEEDS[case.fn]) and case.fn not in MAPS_ALONE]
"""All others look at one vector a text, whose network has left the padding out: tests/models/test_text.py."""
every_case = pytest.mark.parametrize("case", [pytest.param(case, id=name(case)) for case in SEEING])
LENGTHS = np.array([6, 5, 4, 3, 2, 1])  # of the examples of a batch, in tokens


def texts(case: Case, who: str) -> Outputs:
    """Outputs [B, 6, C] of a network for texts, without a mask."""
    if case.text:
        return made(case, who)
    return flat(sequences(who, case, tokens=6))


def applied(case):
    """fn(student, teacher) -> the value and what the loss keeps, of parameters drawn from one key."""
    module, held = lift(case.fn, **case.hyper), context()
    return lambda *given: module.init_with_output(jax.random.key(1), *given, labels(), **held)


def padded(case, more: int) -> list[Outputs]:
    """Student and teacher with so many positions more."""
    mask = np.arange(6)[None] < LENGTHS[:, None]
    return [masked(texts(case, who), mask, more) for who in ("student", "teacher")]


@every_case
def test_two_more_padded_positions_change_nothing(case):
    """Nor does what stands at all of them: sevens, where there was something else."""
    (value, kept), (other, other_kept) = (jit(applied(case))(*padded(case, more)) for more in (0, 2))
    np.testing.assert_allclose(value, other, rtol=2e-5, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), kept, other_kept)


@pytest.mark.parametrize("case", [pytest.param(case, id=name(case)) for case in SEEING if case.text])
def test_no_gradient_reaches_the_padding(case):
    student, teacher = padded(case, 2)
    value = lambda x: applied(case)(x.replace(mask=student.mask), teacher)[0]  # noqa: E731
    grads = jit(jax.grad(value))(student.replace(mask=None))
    for field in set(losses.NEEDS[case.fn]):
        axes = (2, 3) if field == "attentions" else (1,)
        for x in getattr(grads, field):
            for axis in axes:
                off = ~np.asarray(student.mask).reshape(B, *[8 if a == axis else 1 for a in range(1, x.ndim)])
                assert not np.where(off, x, 0).any()
    assert any(bool(jnp.any(x != 0)) for field in losses.NEEDS[case.fn] for x in getattr(grads, field))


@pytest.mark.parametrize("case", [pytest.param(case, id=name(case)) for case in SEEING if case.trained])
def test_a_mask_without_padding_is_none(case):
    given = [texts(case, who) for who in ("student", "teacher")]
    module, whole = lift(case.fn, **case.hyper), [masked(x, np.ones((B, 6), bool), 0) for x in given]

    @jit
    def both(whole, given):
        init = lambda pair: module.init_with_output(jax.random.key(1), *pair, labels(), **context())[0]  # noqa: E731
        return init(whole), init(given)

    np.testing.assert_allclose(*both(whole, given), rtol=1e-5, atol=1e-6)


def test_a_mask_of_another_shape_is_named():
    case = Case(losses.fitnet)
    student, teacher = (texts(case, who) for who in ("student", "teacher"))
    with pytest.raises(ValueError, match=r"fitnet: the mask has shape \(6, 4\) beside an array of shape \(6, 6, 8\)"):
        lift(losses.fitnet).init(jax.random.key(0), student.replace(mask=jnp.ones((6, 4), bool)), teacher, labels())
