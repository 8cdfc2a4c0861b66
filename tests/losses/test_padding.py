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


def everything(case, student, teacher):
    """The value, the gradients of the student's numbers, and what the loss keeps, of parameters drawn from one key."""
    module, held = lift(case.fn, **case.hyper), context()
    mask = student.mask

    def value(student, variables):
        given = student.replace(mask=mask), teacher, labels()
        return module.apply(variables, *given, **held, mutable=[c for c in variables if c != "params"])

    @jit
    def run(student):
        variables = module.init(jax.random.key(1), student.replace(mask=mask), teacher, labels(), **held)
        return jax.value_and_grad(value, has_aux=True)(student, variables)

    return run(student.replace(mask=None))


@every_case
def test_two_more_padded_positions_change_nothing(case):
    mask = np.arange(6)[None] < LENGTHS[:, None]
    given = [texts(case, who) for who in ("student", "teacher")]
    (value, kept), grads = everything(case, *(masked(x, mask, 0) for x in given))
    (other, other_kept), other_grads = everything(case, *(masked(x, mask, 2) for x in given))
    np.testing.assert_allclose(value, other, rtol=2e-5, atol=1e-6)
    near = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)  # noqa: E731
    jax.tree.map(near, kept, other_kept)
    for field in PADDED:
        for plain, padded in zip(getattr(grads, field), getattr(other_grads, field), strict=True):
            axes = (2, 3) if field == "attentions" else (1,)
            within = tuple(slice(0, 6) if axis in axes else slice(None) for axis in range(plain.ndim))
            scale = 1e-6 + float(jnp.abs(plain).max())
            np.testing.assert_allclose(plain / scale, padded[within] / scale, rtol=0, atol=2e-3)
            assert float(jnp.abs(padded).sum()) == pytest.approx(float(jnp.abs(padded[within]).sum()), rel=1e-6)


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
