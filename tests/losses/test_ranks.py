"""Every loss on tokens [B, T, C], and on arrays of a rank that it cannot take."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import losses
from kdjax.losses.common import FORMS, TOKENS
from kdjax.losses.lift import context_names, lift
from kdjax.types import Outputs
from tests.losses.test_losses import CASES, Case, K, context, labels, made, name, outputs

ALL = (*CASES, Case(losses.mutual), Case(losses.self_distillation), Case(losses.virtual_teacher))
MAPS_ALONE = (losses.reviewkd, losses.cat_kd, losses.sdd)
"""Losses that refuse tokens."""
BY_EXAMPLE = (losses.similarity, losses.fsp, losses.kdsvd, losses.ickd)
"""Losses on maps that do not compare the student's positions with the teacher's."""

no_text = pytest.mark.parametrize("case", [pytest.param(case, id=name(case)) for case in ALL if not case.text])


def sequences(who: str, case: Case, tokens: int = 16) -> Outputs:
    """Outputs with maps of one column, [B, T, 1, C], as large in student and teacher."""
    made = outputs(who, alike=case.alike)
    rng = np.random.default_rng([3, who == "teacher"])
    draw = lambda x: jnp.asarray(rng.standard_normal((len(x), tokens, 1, x.shape[-1])), jnp.float32)  # noqa: E731
    preacts = tuple(map(draw, made.preacts))
    peer = Outputs(jnp.asarray(rng.standard_normal(made.logits.shape), jnp.float32))
    return made.replace(features=tuple(map(jax.nn.relu, preacts)), preacts=preacts, peers=(peer,))


def flat(columns: Outputs) -> Outputs:
    """The same with tokens [B, T, C]."""
    squeezed = {field: tuple(x[:, :, 0] for x in getattr(columns, field)) for field in ("features", "preacts")}
    return columns.replace(**squeezed)


def lifted(case, student, teacher):
    """The value, of parameters drawn from one key."""
    module, given = lift(case.fn, **case.hyper), (student, teacher, labels())
    return module.init_with_output(jax.random.key(1), *given, **context())[0]


def bare(case, student, teacher):
    held = context()
    asked = {key: held[key] for key in context_names(case.fn)}
    return case.fn(student, teacher, labels(), **case.hyper, **asked)


def refused(case, student, teacher) -> str:
    """What a loss says, bare and lifted alike, of Outputs that it cannot take."""
    said = []
    for call in (lifted, bare):
        with pytest.raises(ValueError) as error:
            jax.eval_shape(lambda *given, call=call: call(case, *given), student, teacher)
        said.append(str(error.value))
    assert said[0] == said[1]
    return said[0]


def test_every_loss_is_here():
    # test_views.py; those of other targets: tests/tasks/test_regression.py, test_lists.py, test_search.py and others
    others = ("two views", "regression", "ranking", "search", "recommendation")
    every = {fn for name, family in losses.FAMILIES.items() if name not in others for fn in family}
    assert {case.fn for case in ALL} == every


@no_text
def test_tokens_are_maps_of_one_column_or_are_refused(case):
    columns = [sequences(who, case) for who in ("student", "teacher")]
    tokens = [flat(x) for x in columns]
    if case.fn in MAPS_ALONE:
        assert "rank 3, tokens [B, T, C]; this loss takes maps [B, H, W, C]" in refused(case, *tokens)
        return
    value = lifted(case, *tokens)
    assert float(value) == float(lifted(case, *columns))
    if set(case.needs) & {"features", "preacts"} and not case.blind:  # and it has looked at them
        moved = jax.tree.map(lambda x: jnp.square(x) if x.ndim == 3 else x, tokens[0])
        assert float(lifted(case, moved, tokens[1])) != float(value)


def reads(case) -> set[tuple[str, str]]:
    """(whose, field) of every field that a loss reads."""
    special = {
        losses.cross_entropy: {("student", "logits")},
        losses.in_batch: {("student", "embedding")},
        losses.paraphraser: {("teacher", "features")},
        losses.reviewkd: {("student", "features"), ("teacher", "preacts")}
        | {(who, "embedding") for who in ("student", "teacher")},
        losses.srrl: {("student", "embedding"), ("teacher", "embedding"), ("teacher", "logits")},
        losses.simkd: {("student", "features"), ("teacher", "preacts")},
        losses.mutual: {("student", "logits")},
        losses.virtual_teacher: {("student", "logits")},
        losses.self_distillation: {("student", "logits"), ("student", "features")},
    }
    return special.get(case.fn, {(who, field) for who in ("student", "teacher") for field in case.needs})


RANKS = [(case, *read) for case in ALL for read in sorted(reads(case))]


@pytest.mark.parametrize(
    ("case", "who", "field"), [pytest.param(*row, id=f"{name(row[0])}-{row[1]}-{row[2]}") for row in RANKS]
)
def test_other_ranks_are_refused(case, who, field):
    given = {other: made(case, other) for other in ("student", "teacher")}
    given["student"] = given["student"].replace(peers=(Outputs(given["student"].logits),))
    valid = FORMS[field] if case.fn not in MAPS_ALONE or field == "embedding" else {4: FORMS[field][4]}
    valid = {3: TOKENS} if case.text and field == "features" else valid
    for rank in {1, 2, 3, 4, 5} - set(valid):
        shape = (6, 5, 4, 3, 2)[:rank]
        wrong = jax.tree.map(lambda _, shape=shape: jnp.ones(shape), getattr(given[who], field))
        said = refused(case, *{**given, who: given[who].replace(**{field: wrong})}.values())
        fn = "kd" if case.fn is losses.kd_standardized else case.fn.__name__
        found = re.escape(f"has shape {shape}, rank {rank}")
        assert re.match(rf"{fn}: the {who}'s {field}(\[-?\d\])? {found}.*; this loss takes ", said), said
        assert said.endswith(" or ".join(valid.values()))


def test_the_peers_of_a_student_are_named():
    student = Outputs(jnp.ones((6, K)), peers=(Outputs(jnp.ones((6, K))), Outputs(jnp.ones((6, 2, K)))))
    with pytest.raises(ValueError, match=r"mutual: the student's peers\[1\]'s logits has shape \(6, 2, 5\), rank 3"):
        losses.mutual(student, None, labels())


ON_MAPS = [case for case in CASES if {"features", "preacts"} & set(case.needs) and not case.blind and not case.text]


@pytest.mark.parametrize("case", [pytest.param(case, id=name(case)) for case in ON_MAPS])
def test_positions_that_do_not_stand_for_each_other(case):
    """A mean of neighbours in a sequence is no token, and a row of patches is no map: only `BY_EXAMPLE` do not care."""
    student = outputs("student", alike=case.alike)
    for other in (student, flat(sequences("student", case, tokens=12))):
        given = other, flat(sequences("teacher", case))
        if case.fn in BY_EXAMPLE:
            assert lifted(case, *given).shape == ()
        elif case.fn not in MAPS_ALONE:
            said = refused(case, *given)
            assert "position by position" in said
            assert "maps of shape" in said if other is student else "(6, 12, " in said


@pytest.mark.parametrize("case", [pytest.param(case, id=name(case)) for case in ON_MAPS])
def test_one_array_is_no_tuple_of_maps(case):
    """Its examples would be taken for layers."""
    student, teacher = (outputs(who, alike=case.alike) for who in ("student", "teacher"))
    student = student.replace(features=student.features[0], preacts=student.preacts[0])
    assert re.search(
        r"the student's \w+ is one array of shape \(6, 8, 8, \d\), not a tuple", refused(case, student, teacher)
    )
