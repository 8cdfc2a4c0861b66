"""Losses on tokens against values and gradients of published implementations (tests/goldens/README.md)."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import losses
from kdjax.losses.layers import layer_map
from kdjax.losses.lift import lift
from kdjax.losses.tokens import layers_of
from kdjax.types import Outputs

FOLDER = Path(__file__).parents[1] / "goldens"
LABELS = jnp.zeros(2, jnp.int32)


def golden(name: str) -> dict:
    with np.load(FOLDER / f"texts_{name}.npz") as file:
        return {key: x.astype(np.float32) for key, x in file.items() if x.dtype.kind == "f"}


def encoded(**fields) -> Outputs:
    return Outputs(
        jnp.zeros((2, 3)), **{k: x if k == "mask" else tuple(map(jnp.asarray, x)) for k, x in fields.items()}
    )


def assert_equal(value, gradients, at, *expected):
    """The value and the gradients at some arrays."""
    found, grads = jax.value_and_grad(value)(jax.tree.map(jnp.asarray, at))
    np.testing.assert_allclose(found, expected[0], rtol=1e-5)
    for got, exact in zip(jax.tree.leaves(grads), jax.tree.leaves(gradients), strict=True):
        np.testing.assert_allclose(got, exact, rtol=0, atol=1e-5 * np.abs(exact).max())


def test_tinybert_is_the_authors_code():
    """It sets the scores of padded keys, which its networks lower by 10,000, to 0, and knows no mask after that."""
    f = golden("tinybert")
    cleared = lambda scores: jnp.where(jnp.asarray(scores) <= -100, 0.0, scores)  # noqa: E731
    teacher = encoded(features=f["teacher_hidden"], attentions=cleared(f["teacher_scores"]))

    def value(hidden, scores, kernel, bias):
        student = encoded(features=hidden, attentions=cleared(scores))
        held = {"params": {"projection": {"kernel": kernel, "bias": bias}}}
        return lift(losses.tinybert).apply(held, student, teacher, LABELS)

    gradients = {name: f[f"grad_{name}"] for name in ("student_hidden", "student_scores", "kernel", "bias")}
    at = [f[name] for name in gradients]
    assert_equal(lambda at: value(*at), list(gradients.values()), at, f["loss"])


def test_tinybert_leaves_the_padding_out():
    """Another value than the code's, which counts it."""
    f = golden("tinybert")
    mask = f["mask"].astype(bool)
    s, t = f["student_scores"], f["teacher_scores"][[1, 3]]
    both = np.broadcast_to(mask[:, None, :, None] & mask[:, None, None, :], s[0].shape)
    attention = sum(np.square(a - b)[both].mean() for a, b in zip(s, t, strict=True))
    projected = f["student_hidden"] @ f["kernel"] + f["bias"]
    hidden = sum(np.square(a - b)[mask].mean() for a, b in zip(projected, f["teacher_hidden"][::2], strict=True))
    given = [
        encoded(features=f[f"{who}_hidden"], attentions=f[f"{who}_scores"], mask=jnp.asarray(mask))
        for who in ("student", "teacher")
    ]
    held = {"params": {"projection": {"kernel": f["kernel"], "bias": f["bias"]}}}
    value = lift(losses.tinybert).apply(held, *given, LABELS)
    np.testing.assert_allclose(value, attention + hidden, rtol=1e-5)
    assert abs(float(value) - float(f["loss"])) > 0.1


def test_the_second_stage_of_tinybert_is_kd():
    """Cross-entropy with the teacher's probabilities, divided by the number of classes too."""
    f = golden("tinybert")
    student, teacher = (jnp.asarray(f[f"{who}_logits"]) for who in ("student", "teacher"))
    p = jax.nn.softmax(teacher)
    entropy = -jnp.mean(jnp.sum(p * jnp.log(p), -1))
    kd = lambda s: losses.kd(Outputs(s), Outputs(teacher), LABELS, temperature=1.0)  # noqa: E731
    np.testing.assert_allclose((kd(student) + entropy) / 3, f["prediction_loss"], rtol=1e-5)
    np.testing.assert_allclose(jax.grad(kd)(student) / 3, f["grad_student_logits"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("fn", "loss", "prefix"), [(losses.minilm, "loss", ""), (losses.minilm2, "v2_loss", "v2_")])
def test_minilm(fn, loss, prefix):
    f = golden("minilm")
    heads = lambda x: x.reshape(2, 5, 2, -1)  # noqa: E731
    mask = jnp.asarray(f["mask"].astype(bool))
    teacher = encoded(qkv=[heads(f[f"teacher_{c}"]) for c in "qkv"], mask=mask)
    gradients = [heads(f[f"{prefix}grad_student_{c}"]) for c in "qkv"]
    at = [heads(f[f"student_{c}"]) for c in "qkv"]
    assert_equal(lambda qkv: fn(encoded(qkv=qkv, mask=mask), teacher, LABELS), gradients, at, f[loss])


def first_tokens(x) -> list:
    """Hidden states [B, 1, C] of embeddings, of the given layers [B, layers, C], and of a last one."""
    ones = jnp.ones_like(x[:, :1])
    return [ones, *jnp.swapaxes(x[:, :, None], 0, 1), ones]


def test_pkd_is_the_authors_code():
    f = golden("pkd")
    teacher = encoded(features=first_tokens(jnp.asarray(f["teacher_cls"])))
    value = lambda x, **hyper: losses.pkd(encoded(features=first_tokens(x)), teacher, LABELS, **hyper)  # noqa: E731
    assert_equal(value, f["grad_student_cls_normalized"], f["student_cls"], f["patience_normalized"])
    plain = value(jnp.asarray(f["student_cls"]), normalise=False)
    np.testing.assert_allclose(plain, f["patience_plain"], rtol=1e-5)


@pytest.mark.parametrize("what", ["cos", "att_mse", "att_ce", "fsp", "hid_mse"])
def test_textbrewer_with_a_mask(what):
    f = golden("masked")
    mask = jnp.asarray(f["mask"].astype(bool))
    hidden = lambda x: encoded(features=[x, f["student_hidden2"]], mask=mask)  # noqa: E731
    taught = encoded(features=[f["teacher_hidden"], f["teacher_hidden2"]], attentions=[f["teacher_scores"]], mask=mask)
    attending = lambda x: encoded(attentions=[x], mask=mask)  # noqa: E731
    same = {"params": {"projection": {"kernel": jnp.eye(6), "bias": jnp.zeros(6)}}}
    by_tinybert = lift(losses.tinybert, layers=((1, 1),), attention_weight=0.0, hidden_weight=0.0)
    at = f["student_scores"] if what.startswith("att") else f["student_hidden"]
    value = {
        "cos": lambda x: losses.distilbert(hidden(x), taught, LABELS, layer=0),
        "fsp": lambda x: losses.fsp(hidden(x), taught, LABELS, layers=(0, 1)),
        "att_mse": lambda x: losses.attention_mse(attending(x), taught, LABELS),
        "att_ce": lambda x: losses.attention_kl(attending(x), taught, LABELS) + entropy(f["teacher_scores"], mask),
        "hid_mse": lambda x: by_tinybert.apply(same, hidden(x), taught, LABELS),
    }[what]
    assert_equal(value, f[f"grad_{what}"], at, f[what])


def entropy(scores, mask):
    """Of attention weights, mean over heads and tokens."""
    p = jax.nn.softmax(jnp.where(mask[:, None, None], scores, -1e9))
    rows = -jnp.sum(p * jnp.log(jnp.maximum(p, 1e-30)), -1)  # [B, heads, T]
    return jnp.mean(rows, 1)[mask].mean()


# ---- layers by name


@pytest.mark.parametrize(
    ("name", "students", "teachers", "pairs"),
    [
        ("uniform", 4, 12, ((1, 3), (2, 6), (3, 9), (4, 12))),
        ("uniform", 4, 6, ((1, 1), (2, 3), (3, 4), (4, 6))),
        ("first", 3, 12, ((1, 1), (2, 2), (3, 3))),
        ("last", 3, 12, ((1, 10), (2, 11), (3, 12))),
        ("skip", 6, 12, ((1, 2), (2, 4), (3, 6), (4, 8), (5, 10))),  # PKD-Skip's {2, 4, 6, 8, 10}
        (((1, 4), 2), 2, 4, ((1, 4), (2, 2))),
    ],
)
def test_layers_by_name(name, students, teachers, pairs):
    assert layer_map("it", name, students, teachers) == pairs


def test_what_a_loss_compares():
    student, teacher = (
        encoded(features=jnp.ones((n + 1, 2, 5, 4)), attentions=jnp.ones((n, 2, 2, 5, 5))) for n in (3, 6)
    )
    pairs = lambda fn, layers=None: layers_of(fn, student, teacher, layers)  # noqa: E731
    assert pairs(losses.tinybert) == pairs(losses.attention_kl) == ((1, 2), (2, 4), (3, 6))
    assert pairs(losses.pkd) == ((1, 2), (2, 4))
    assert pairs(losses.pkd, "last") == ((1, 4), (2, 5))  # the last layer makes the logits
    assert pairs(losses.kd) == ()


@pytest.mark.parametrize(
    ("layers", "students", "teachers", "message"),
    [
        ("unifrom", 2, 4, "it: layers 'unifrom'; did you mean 'uniform'"),
        ("uniform", 4, 2, r"it: the student has 4 layers and the teacher 2; say which belong together, as layers=\(\("),
        ("skip", 1, 4, "it: layers='skip' pairs no layer of a student that has 1 with a teacher's"),
        (((0, 1),), 2, 4, "it: layers: 0 is out of range; the student has 2 layers, valid are 1 to 2"),
        (((1, 5),), 2, 4, "it: layers: 5 is out of range; the teacher has 4 layers, valid are 1 to 4"),
        (((1, 2, 3),), 2, 4, r"it: a layer is an int or a pair \(student's, teacher's\), got \(1, 2, 3\)"),
    ],
)
def test_layers_that_cannot_be(layers, students, teachers, message):
    with pytest.raises(ValueError, match=message):
        layer_map("it", layers, students, teachers)
