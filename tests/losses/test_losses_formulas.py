"""Losses without golden values, against formulas written from the papers in NumPy, in float64.

Each formula takes the student, the teacher (attributes logits, features, preacts, embedding), labels, and the loss's
parameters. Its value is compared, and its slope along a random direction of the student's outputs, by differences.
"""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from kdjax import losses
from kdjax.config import recipes
from kdjax.losses.common import convolution
from kdjax.losses.contrast import _class_ids, _negatives
from kdjax.losses.lift import context_names, lift
from kdjax.types import Outputs
from tests.losses.test_losses import B, K, N, context, labels, outputs

FIELDS = ("logits", "features", "preacts", "embedding")


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def log_softmax(x):
    return np.log(softmax(x))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.maximum(x, 0)


def leaky(x):
    return np.where(x > 0, x, 0.1 * x)


def unit(x, axis=-1):
    return x / np.sqrt((x**2).sum(axis, keepdims=True))


def conv(x, p, stride=1, pad=None, dilate=1):
    """Correlation of x [B, H, W, C] with p["kernel"] [h, w, C, C'], plus p["bias"] if there is one."""
    kernel = p["kernel"]
    side = kernel.shape[0]
    if dilate > 1:
        spread = np.zeros((x.shape[0], (x.shape[1] - 1) * dilate + 1, (x.shape[2] - 1) * dilate + 1, x.shape[3]))
        spread[:, ::dilate, ::dilate] = x
        x = spread
    pad = (side - 1) // 2 if pad is None else pad
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    rows, columns = (range(0, n - side + 1, stride) for n in x.shape[1:3])
    patches = [[x[:, i : i + side, j : j + side] for j in columns] for i in rows]
    out = np.einsum("ijbhwc,hwcd->bijd", np.array(patches), kernel)
    return out + p.get("bias", 0)


def batch_norm(x, p):
    axes = tuple(range(x.ndim - 1))
    return (x - x.mean(axes)) / np.sqrt(x.var(axes) + 1e-5) * p["scale"] + p["bias"]


def pool(x, side):
    """torch.nn.functional.adaptive_avg_pool2d, spelled out."""
    n = x.shape[1]
    spans = [slice(i * n // side, -(-(i + 1) * n // side)) for i in range(side)]
    return np.stack([np.stack([x[:, a, b].mean((1, 2)) for b in spans], 1) for a in spans], 1)


def smaller(a, b):
    side = min(a.shape[1], b.shape[1])
    return pool(a, side), pool(b, side)


def flat(x):
    return x.reshape(len(x), -1)


def attention(x, power=2):
    return unit(flat((np.abs(x) ** power).mean(-1)))


def cross_entropy(s, t, y, p):
    target = 0.9 * np.eye(K)[y] + 0.1 / K
    return -(target * log_softmax(s.logits)).sum(-1).mean()


def hard_target(s, t, y, p):
    return -log_softmax(s.logits)[np.arange(B), t.logits.argmax(-1)].mean()


def binary_kd(targets):
    def formula(s, t, y, p):
        q, target = sigmoid(s.logits / 2), targets(t.logits / 2)
        return -(target * np.log(q) + (1 - target) * np.log(1 - q)).mean()

    return formula


def logit_mse(s, t, y, p):
    return ((s.logits - t.logits) ** 2).mean()


def mlkd(temperatures, weights):
    def formula(s, t, y, p):
        total = 0
        for temperature in temperatures:
            a, b = softmax(s.logits / temperature), softmax(t.logits / temperature)
            parts = (
                temperature**2 * (b * np.log(b / a)).sum() / B,
                ((a.T @ a - b.T @ b) ** 2).sum() / K,
                ((a @ a.T - b @ b.T) ** 2).sum() / B,
            )
            total += np.dot(weights, parts)
        return total

    return formula


def ctkd(s, t, y, p):
    temperature = 1 + 20 * sigmoid(p["temperature"]["value"])
    a, b = softmax(s.logits / temperature), softmax(t.logits / temperature)
    return temperature**2 * (b * np.log(b / a)).sum() / B


def fitnet(layer, **options):
    def formula(s, t, y, p):
        hint, target = s.features[layer], t.features[layer]
        if not options:
            hint, target = smaller(hint, target)
        hint = relu(batch_norm(conv(hint, p["regressor"], **options), p["norm"]))
        return ((hint - target) ** 2).mean()

    return formula


def attention_power(s, t, y, p):
    total = 0
    for i, j in ((0, 0), (1, 2), (2, 2)):
        a, b = smaller(s.features[i], t.features[j])
        total += ((attention(a, 4) - attention(b, 4)) ** 2).mean()
    return total


def vid(s, t, y, p):
    total = 0
    for i in range(2):
        x, target = smaller(s.features[i + 1], t.features[i + 1])
        x = relu(conv(x, p[f"regressor{i}_0"]))
        x = relu(conv(x, p[f"regressor{i}_1"]))
        x = conv(x, p[f"regressor{i}_2"])
        variance = np.log(1 + np.exp(p[f"variance{i}"]["value"])) + 1e-5
        total += (0.5 * ((x - target) ** 2 / variance + np.log(variance))).mean()
    return total


def kdsvd(s, t, y, p, rank=1):
    def decompose(x):
        _, values, rows = np.linalg.svd(x.reshape(len(x), -1, x.shape[-1]), full_matrices=False)
        return values, rows.transpose(0, 2, 1)

    loss = 0
    for b in range(B):
        kernels = []
        for layer in (1, 2):
            values, v = (x[b] for x in decompose(t.features[layer]))
            v = v[:, :rank] * np.where(v[:, :rank].sum(0) < 0, -1, 1)
            w = decompose(s.features[layer])[1][b][:, : rank + 3]
            best = np.abs(w.T @ v).argmax(0)
            w = np.stack([w[:, m] * np.sign(w[:, m] @ v[:, n]) for n, m in enumerate(best)], -1)
            scale = unit(values[:rank])
            kernels.append((w * scale, v * scale))
        (w1, v1), (w2, v2) = kernels
        for n in range(rank):
            student = np.exp(-(np.subtract.outer(w1[:, n], w2[:, n]) ** 2) / 8)
            teacher = np.exp(-(np.subtract.outer(v1[:, n], v2[:, n]) ** 2) / 8)
            loss += ((student - teacher) ** 2).sum()
    return loss / B


def encode(x, p):
    for i in range(3):
        x = leaky(conv(x, p[f"conv{i}"]))
    return x


def paraphraser(s, t, y, p):
    target = t.features[-1]
    return ((encode(encode(target, p["paraphraser"]), p["decoder"]) - target) ** 2).mean()


def factor_transfer(s, t, y, p):
    factor = encode(t.features[-1], p["paraphraser"])
    x = s.features[-1]
    for i in range(3):
        x = leaky(batch_norm(conv(x, p["translator"][f"conv{i}"]), p["translator"][f"norm{i}"]))
    assert factor.shape[-1] == 6
    x, factor = smaller(x, factor)
    return np.abs(attention(x) - attention(factor)).mean()


def activation_boundary(s, t, y, p):
    total = 0
    for i, weight in enumerate((0.5, 1.0)):
        x, target = s.preacts[i + 1], t.preacts[i + 1]
        options = dict(dilate=2, pad=2) if i == 1 else {}
        x = batch_norm(conv(x, p[f"regressor{i}"], **options), p[f"norm{i}"])
        loss = (x + 1) ** 2 * ((x > -1) & (target <= 0)) + (x - 1) ** 2 * ((x <= 1) & (target > 0))
        total += weight * loss.sum() / B
    return total / 1000 * 3


def overhaul(s, t, y, p):
    total = 0
    for i, weight in enumerate((0.5, 1.0)):
        bn = context()["teacher_params"]["params"][f"layer{i + 1}_0"]["bn2"]
        mean, deviation = np.float64(bn["bias"]), np.abs(np.float64(bn["scale"]))
        negative = scipy.stats.norm.cdf(-mean / deviation)
        density = np.exp(-((mean / deviation) ** 2) / 2) / np.sqrt(2 * np.pi)
        margin = np.where(negative > 0.001, mean - deviation * density / negative, -3 * deviation)
        x = batch_norm(conv(s.preacts[i + 1], p[f"connector{i}"]), p[f"norm{i}"])
        x, target = smaller(x, t.preacts[i + 1])
        target = np.maximum(target, margin)
        total += weight * ((x - target) ** 2 * ((x > target) | (target > 0))).sum() / B
    return total


def nearest(x, side):
    at = np.floor(np.arange(side) * x.shape[1] / side).astype(int)
    return x[:, at][:, :, at]


def reviewkd(levels, preacts):
    def formula(s, t, y, p):
        students = [*(s.preacts if preacts else s.features)[1:], s.embedding[:, None, None]]
        teachers = [*t.preacts[1:], t.embedding[:, None, None]]
        total, fused = 0, None
        for i in (2, 1, 0):
            x = batch_norm(conv(students[i], p[f"in{i}"]), p[f"in{i}_norm"])
            if fused is not None:
                deeper = nearest(fused, x.shape[1])
                gate = sigmoid(conv(np.concatenate([x, deeper], -1), p[f"attention{i}"]))
                x = x * gate[..., 0:1] + deeper * gate[..., 1:2]
            target = teachers[i]
            fused = nearest(x, target.shape[1])
            x = batch_norm(conv(fused, p[f"out{i}"]), p[f"out{i}_norm"])
            parts, weights = [((x - target) ** 2).mean()], [1.0]
            for level in levels:
                if level < x.shape[1]:
                    parts.append(((pool(x, level) - pool(target, level)) ** 2).mean())
                    weights.append(weights[-1] / 2)
            total += np.average(parts, weights=weights)
        return total

    return formula


def srrl(s, t, y, p):
    head = jax.tree.map(np.float64, context()["teacher_params"]["params"]["classifier"])
    x = relu(batch_norm(s.embedding @ p["regressor"]["kernel"], p["norm"]))
    return ((x - t.embedding) ** 2).mean() + ((x @ head["kernel"] + head["bias"] - t.logits) ** 2).mean()


def simkd(s, t, y, p):
    return ((s.features[-1] - relu(t.preacts[-1])) ** 2).mean()


def dense(x, p):
    return x @ p["kernel"] + p["bias"]


def correlation(s, t, y, p):
    difference = np.abs(dense(s.embedding, p["student_embed"]) - dense(t.embedding, p["teacher_embed"]))
    return np.mean([(difference[i] * difference[i + 1]).sum() for i in range(B - 1)])


def class_maps(x, who):
    layer = context()[f"{who}_params"]["params"]["classifier"]
    return x.features[-1] @ np.float64(layer["kernel"]) + np.float64(layer["bias"])


def cat_kd(s, t, y, p):
    return ((pool(class_maps(s, "student"), 2) - pool(class_maps(t, "teacher"), 2)) ** 2).mean()


def dkd_of_one(s, t, y, alpha, beta, temperature):
    """Of the logits [K] of one example, with its class, from probabilities."""
    p, q = softmax(t / temperature), softmax(s / temperature)
    two = [np.array([x[y], x.sum() - x[y]]) for x in (p, q)]
    rest = [np.delete(x, y) / np.delete(x, y).sum() for x in (p, q)]
    kls = [(a * np.log(a / b)).sum() for a, b in (two, rest)]
    return temperature**2 * (alpha * kls[0] + beta * kls[1])


def sdd(scales, alpha, beta, temperature, complementary):
    def formula(s, t, y, p):
        sides = [pool(class_maps(x, who), max(scales)) for x, who in ((s, "student"), (t, "teacher"))]
        total = 0
        for b in range(B):
            whole = sides[1][b].mean((0, 1)).argmax() == y[b]
            for scale in scales:
                a, c = (pool(x[b : b + 1], scale)[0].reshape(-1, K) for x in sides)
                for ours, theirs in zip(a, c, strict=True):
                    weight = 1.0 if (theirs.argmax() == y[b]) == whole else complementary
                    total += weight * dkd_of_one(ours, theirs, y[b], alpha, beta, temperature)
        return total / B

    return formula


def ickd(s, t, y, p):
    x = batch_norm(conv(s.features[-1], p["embed"], pad=0), p["norm"])
    total = 0
    for ours, theirs in zip(x, t.features[-1], strict=True):
        products = [unit(z.reshape(-1, z.shape[-1]).T @ z.reshape(-1, z.shape[-1])) for z in (ours, theirs)]
        total += ((products[0] - products[1]) ** 2).sum() / theirs.shape[-1]
    return total / B


def mgd(s, t, y, p):
    x, goal = smaller(s.features[-1], t.features[-1])
    x = conv(x, p["align"], pad=0)
    kept = np.asarray(jax.random.uniform(context()["key"], (B, 1, 1, x.shape[-1]))) >= 0.15
    x = conv(relu(conv(x * kept, p["generation0"])), p["generation1"])
    return ((x - goal) ** 2).sum() / B


def itrd(s, t, y, p):
    x, goal = dense(s.embedding, p["embed"]), t.embedding
    a, b = ((z - z.mean(0)) / z.std(0, ddof=1) for z in (x, goal))
    correlation = (a * b).sum(0) / B
    first = np.log2((np.abs(correlation - 1) ** 2.02).sum())
    a, b = (unit(z) @ unit(z).T for z in (x, goal))
    joint = a * b
    second = ((a / np.trace(a)) ** 2).sum() - ((joint / np.trace(joint)) ** 2).sum()
    return 2 * first + second


CASES = [
    (losses.cross_entropy, {"label_smoothing": 0.1}, cross_entropy),
    (losses.hard_target, {}, hard_target),
    (losses.binary_kd, {"temperature": 2.0}, binary_kd(softmax)),
    (losses.binary_kd, {"temperature": 2.0, "targets": "sigmoid"}, binary_kd(sigmoid)),
    (losses.logit_mse, {}, logit_mse),
    (losses.mlkd, {}, mlkd((2, 3, 4, 5, 6), (1.5, 0.5, 0.5))),
    (
        losses.mlkd,
        {"temperatures": (1.0, 3.0), "example_weight": 1.0, "class_weight": 2.0, "batch_weight": 3.0},
        mlkd((1, 3), (1, 2, 3)),
    ),
    (losses.ctkd, {}, ctkd),
    (losses.fitnet, {}, fitnet(2, dilate=2, pad=2)),
    (losses.fitnet, {"layer": 1}, fitnet(1)),
    (losses.fitnet, {"layer": 1, "kernel": 1}, fitnet(1)),
    (losses.attention, {"layers": (0, (1, 2), -1), "power": 4}, attention_power),
    (losses.vid, {}, vid),
    (losses.kdsvd, {}, kdsvd),
    (losses.kdsvd, {"rank": 3}, functools.partial(kdsvd, rank=3)),
    (losses.paraphraser, {}, paraphraser),
    (losses.factor_transfer, {}, factor_transfer),
    (losses.activation_boundary, {}, activation_boundary),
    (losses.overhaul, {}, overhaul),
    (losses.overhaul, {"norms": ("layer1_0/bn2", "layer2_0/bn2")}, overhaul),
    (losses.reviewkd, {}, reviewkd((4, 2, 1), preacts=False)),
    (losses.reviewkd, {"levels": (3,), "student_preacts": True}, reviewkd((3,), preacts=True)),
    (losses.srrl, {}, srrl),
    (losses.simkd, {}, simkd),
    (losses.correlation, {"dim": 7}, correlation),
    (losses.cat_kd, {}, cat_kd),
    (losses.sdd, {}, sdd((1, 2, 4), 1.0, 8.0, 4.0, 2.0)),
    (losses.sdd, {"scales": (1, 2), "alpha": 2.0, "beta": 3.0, "complementary": 5.0}, sdd((1, 2), 2.0, 3.0, 4.0, 5.0)),
    (losses.ickd, {}, ickd),
    (losses.mgd, {}, mgd),
    (losses.itrd, {}, itrd),
]
ALIKE = (losses.kdsvd, losses.simkd)


def numpy_outputs(x: Outputs):
    return SimpleNamespace(**{f: jax.tree.map(np.float64, getattr(x, f)) for f in FIELDS})


def moved(x, direction, by):
    fields = {f: jax.tree.map(lambda a, d: a + by * d, getattr(x, f), getattr(direction, f)) for f in FIELDS}
    return SimpleNamespace(**fields)


def stirred(params):
    """Parameters away from where they start: biases that are not 0, scales that are not 1."""
    rng = np.random.default_rng(3)
    return jax.tree.map(lambda x: x + jnp.asarray(0.1 * rng.standard_normal(x.shape), x.dtype), params)


@pytest.mark.parametrize(
    ("fn", "hyper", "formula"), [pytest.param(*case, id=f"{case[0].__name__}-{case[1]}") for case in CASES]
)
def test_equals_its_formula(fn, hyper, formula):
    student, teacher = outputs("student", alike=fn in ALIKE), outputs("teacher")
    # Away from 0, where all channels of a position may be: convolutions without bias have a kink there.
    student = student.replace(features=tuple(x + 0.1 for x in student.features))
    held = {key: context()[key] for key in context_names(fn)}
    module = lift(fn, **hyper)
    variables = dict(jax.jit(module.init)(jax.random.key(0), student, teacher, labels(), **held))
    variables["params"] = stirred(variables.get("params", {}))

    @jax.jit
    @jax.value_and_grad
    def run(student, variables, teacher, held):  # as arguments: XLA computes constants, slowly, while it compiles
        return module.apply(variables, student, teacher, labels(), **held, mutable=["batch_stats"])[0]

    value, grads = run(student, variables, teacher, held)
    params = jax.tree.map(np.float64, variables["params"])
    s, t, y = numpy_outputs(student), numpy_outputs(teacher), np.asarray(labels())
    np.testing.assert_allclose(value, formula(s, t, y, params), rtol=1e-5)

    direction = numpy_outputs(outputs("student", seed=9, alike=fn in ALIKE))
    ahead, behind = (formula(moved(s, direction, by), t, y, params) for by in (1e-6, -1e-6))
    slope = sum(
        jax.tree.leaves(jax.tree.map(lambda g, d: (np.float64(g) * d).sum(), numpy_grads(grads), vars(direction)))
    )
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-6, rtol=1e-3, atol=1e-6)


def numpy_grads(grads):
    return {f: jax.tree.map(np.float64, getattr(grads, f)) for f in FIELDS}


@pytest.mark.parametrize(("student_side", "teacher_side"), [(8, 4), (4, 8), (5, 5), (6, 4), (4, 6), (9, 3)])
def test_fitnet_at_any_resolution(student_side, teacher_side):
    rng = np.random.default_rng(0)
    draw = lambda side, channels: jnp.asarray(rng.standard_normal((B, side, side, channels)), jnp.float32)  # noqa: E731
    student = Outputs(jnp.zeros((B, K)), features=(draw(student_side, 4),))
    teacher = Outputs(jnp.zeros((B, K)), features=(draw(teacher_side, 6),))
    begin = jax.jit(lift(losses.fitnet).init_with_output)
    value, variables = begin(jax.random.key(0), student, teacher, labels())
    params = jax.tree.map(np.float64, variables["params"])
    options = {(8, 4): dict(stride=2, pad=1), (4, 8): dict(dilate=2, pad=2)}.get((student_side, teacher_side), {})
    expected = fitnet(0, **options)(numpy_outputs_of(student), numpy_outputs_of(teacher), None, params)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def numpy_outputs_of(x):
    return SimpleNamespace(features=[np.float64(f) for f in x.features])


def test_reviewkd_hands_on_at_the_resolution_of_the_teacher():
    """A student's map of 8x8, compared with a teacher's of 4x4, is handed on as 4x4, as in mdistiller's ABF."""
    student, teacher, module = outputs("teacher"), outputs("student"), lift(losses.reviewkd)
    value, variables = jax.jit(module.init_with_output)(jax.random.key(0), student, teacher, labels())
    params = jax.tree.map(np.float64, variables["params"])
    expected = reviewkd((4, 2, 1), preacts=False)(numpy_outputs(student), numpy_outputs(teacher), None, params)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_mlkd_is_the_authors_objective_of_two_equal_views():
    """Their masks multiply means; numbers of examples and classes are even here, so that a median halves them."""
    rng, y = np.random.default_rng(0), np.array([0, 1, 2, 3, 1, 2])
    s, t = 3 * rng.standard_normal((2, 6, 4))
    confidence, class_confidence = softmax(t).max(1), softmax(t).sum(0)
    mask, class_mask = (x <= np.percentile(x, 50) for x in (confidence, class_confidence))
    expected = 0.1 * 2 * -log_softmax(s)[np.arange(6), y].mean()
    for temperature in (4, 3, 5, 2, 6):
        a, b = softmax(s / temperature), softmax(t / temperature)
        kd = temperature**2 * (b * np.log(b / a)).sum(1).mean()
        weak, strong = (kd * mask).mean(), kd
        between_classes = (((a.T @ a - b.T @ b) ** 2).sum() / 4 * class_mask).mean()
        between_examples = (((a @ a.T - b @ b.T) ** 2).sum() / 6 * mask).mean()
        expected += 0.9 * (weak + strong + between_classes + between_examples)
    terms = {k: dict(v) for k, v in recipes.recipe("mlkd").items() if k in ("cross_entropy", "mlkd")}
    weights = {name: term.pop("weight") for name, term in terms.items()}
    given = Outputs(jnp.float32(s)), Outputs(jnp.float32(t)), jnp.asarray(y)
    found = sum(weights[name] * getattr(losses, name)(*given, **terms[name]) for name in terms)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("transposed", "kernel", "inside", "width"), [(False, 3, 8, 600), (True, 3, 32, 128), (True, 4, 128, 32)]
)
def test_convolutions_start_as_torchs(transposed, kernel, inside, width):
    torch = pytest.importorskip("torch")
    kind = torch.nn.ConvTranspose2d if transposed else torch.nn.Conv2d
    torch.manual_seed(0)
    reference = kind(inside, width, kernel)
    module = lift(
        lambda student, teacher, labels: convolution(student, width, kernel, "x", transposed=transposed).sum()
    )
    x = jax.ShapeDtypeStruct((1, 4, 4, inside), jnp.float32)
    found = jax.jit(lambda x: module.init(jax.random.key(0), x, None, None))(jnp.zeros(x.shape))["params"]["x"]
    for ours, theirs in ((found["kernel"], reference.weight), (found["bias"], reference.bias)):
        ours, theirs = np.asarray(ours), theirs.detach().numpy()
        assert ours.size == theirs.size
        tolerance = 5 / np.sqrt(ours.size)
        np.testing.assert_allclose(ours.std(), theirs.std(), rtol=tolerance)
        np.testing.assert_allclose(np.abs(ours).max(), np.abs(theirs).max(), rtol=tolerance)
        assert abs(ours.mean()) < tolerance * ours.std()


def test_mixed_labels():
    logits = outputs("student").logits
    mixed = jnp.asarray(np.random.default_rng(0).dirichlet(np.ones(K), B), jnp.float32)
    expected = -(np.float64(mixed) * log_softmax(np.float64(logits))).sum(-1).mean()
    np.testing.assert_allclose(losses.cross_entropy(Outputs(logits), None, mixed), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="cross_entropy: labels have shape"):
        losses.cross_entropy(Outputs(logits), None, mixed[:, 1:])


def test_standardize_has_mean_0_and_sample_deviation_1():
    logits = np.float64(losses.standardize(outputs("student")).logits)
    np.testing.assert_allclose(logits.mean(-1), 0, atol=1e-6)
    np.testing.assert_allclose(logits.std(-1, ddof=1), 1, rtol=1e-5)


@pytest.mark.parametrize(("step", "reversal"), [(0, 0.0), (5, 0.5), (10, 1.0), (50, 1.0)])
def test_ctkd_reverses_the_gradient_of_its_temperature(step, reversal):
    student, teacher = outputs("student"), outputs("teacher")
    module = lift(losses.ctkd, ramp_steps=10)
    variables = jax.jit(module.init)(jax.random.key(0), student, teacher, labels(), step=jnp.int32(0))
    found = jax.jit(jax.grad(module.apply))(variables, student, teacher, labels(), step=jnp.int32(step))["params"][
        "temperature"
    ]["value"]
    s, t = numpy_outputs(student), numpy_outputs(teacher)
    ahead, behind = (ctkd(s, t, None, {"temperature": {"value": 1 + by}}) for by in (1e-5, -1e-5))
    np.testing.assert_allclose(found, -reversal * (ahead - behind) / 2e-5, rtol=1e-3, atol=1e-6)


def test_crd_equals_its_formula_over_two_steps():
    student, teacher, held = outputs("student"), outputs("teacher"), context()
    held = {key: held[key] for key in context_names(losses.crd)}
    hyper = dict(dim=7, negatives=9, temperature=0.1, momentum=0.3)
    module = lift(losses.crd, **hyper)
    variables = dict(jax.jit(module.init)(jax.random.key(0), student, teacher, labels(), **held))
    apply = jax.jit(functools.partial(module.apply, mutable=["memory"]))
    p = jax.tree.map(np.float64, variables["params"])
    v = unit(dense(np.float64(student.embedding), p["student_embed"]))
    w = unit(dense(np.float64(teacher.embedding), p["teacher_embed"]))
    banks = [np.float64(variables["memory"][name]["value"]) for name in ("student_bank", "teacher_bank")]
    assert np.abs(banks).max() < np.sqrt(3 / 7)
    index, constants = np.asarray(held["index"]), None
    for step in range(2):
        key = jax.random.key(step)
        ids = _class_ids(held["train_labels"])
        drawn = np.asarray(_negatives(key, held["index"], ids, jnp.argsort(ids), 9))
        chosen = np.concatenate([index[:, None], drawn], 1)
        out_v = np.exp(np.einsum("bmd,bd->bm", banks[1][chosen], v) / 0.1)
        out_w = np.exp(np.einsum("bmd,bd->bm", banks[0][chosen], w) / 0.1)
        constants = constants or (out_v.mean() * N, out_w.mean() * N)
        expected, noise = 0, 9 / N
        for out, constant in zip((out_v, out_w), constants, strict=True):
            out = out / constant
            expected -= np.log(out[:, 0] / (out[:, 0] + noise + 1e-7)).sum() / B
            expected -= np.log(noise / (out[:, 1:] + noise + 1e-7)).sum() / B
        value, state = apply(variables, student, teacher, labels(), **{**held, "key": key})
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        for bank, new in zip(banks, (v, w), strict=True):
            bank[index] = unit(0.3 * bank[index] + 0.7 * new)
        variables |= state
        for bank, name in zip(banks, ("student_bank", "teacher_bank"), strict=True):
            np.testing.assert_allclose(state["memory"][name]["value"], bank, atol=1e-6)


def test_crd_draws_negatives_uniformly_from_other_classes():
    classes = jnp.array([2, 0, 1, -1, 1, 0, 2, 2, -1, 0])  # -1: unlabelled, each a class of its own
    ids = _class_ids(classes)
    index = jnp.array([0, 2, 3])
    drawn = np.asarray(_negatives(jax.random.key(0), index, ids, jnp.argsort(ids), 40000))
    for row, own in zip(drawn, ([0, 6, 7], [2, 4], [3]), strict=True):
        counts = np.bincount(row, minlength=10)
        assert not counts[own].any()
        others = np.delete(counts, own)
        assert scipy.stats.chisquare(others).pvalue > 1e-3


@pytest.mark.parametrize("rank", [1, 3])
def test_kdsvd_has_finite_gradients_where_singular_values_coincide(rank):
    eye = jnp.broadcast_to(jnp.eye(4).reshape(1, 2, 2, 4), (B, 2, 2, 4))
    noise = jnp.asarray(np.random.default_rng(0).random((B, 2, 2, 4)), jnp.float32)
    student = Outputs(jnp.zeros((B, K)), features=(eye, eye, eye))
    teacher = Outputs(jnp.zeros((B, K)), features=(noise, noise, noise + eye))
    grads = jax.jit(jax.grad(lambda s, t: losses.kdsvd(s, t, labels(), rank=rank)))(student, teacher)
    assert all(bool(np.isfinite(leaf).all()) for leaf in jax.tree.leaves(grads))
