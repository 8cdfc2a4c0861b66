"""kdjax check my_file.my_loss: does a loss keep the contract that every run relies on?"""

import jax
import jax.numpy as jnp

import kdjax.losses
from kdjax.find import find, nearest
from kdjax.objective import CONTEXT, context_names, hyperparameters, lift
from kdjax.types import Outputs

BATCH, CLASSES, EXAMPLES, WIDTH = 8, 10, 32, 16
SIZES = ((16, 8), (8, 16), (4, 32), (4, WIDTH))  # (height and width, channels) of the feature maps


def examples(seed: int, dtype=jnp.float32) -> Outputs:
    """Outputs as a model returns them, of random numbers: four feature maps, preacts, an embedding and logits."""
    keys = iter(jax.random.split(jax.random.key(seed), len(SIZES) + 2))
    maps = tuple(jax.random.normal(next(keys), (BATCH, s, s, c), dtype) for s, c in SIZES)
    return Outputs(
        logits=3 * jax.random.normal(next(keys), (BATCH, CLASSES), dtype),
        features=tuple(jax.nn.relu(x) for x in maps),
        preacts=maps,
        embedding=jax.random.normal(next(keys), (BATCH, WIDTH), dtype),
        peers=(Outputs(jax.random.normal(jax.random.key(seed + 100), (BATCH, CLASSES), dtype)),),
    )


def teacher_params() -> dict:
    """Variables as a teacher of kdjax.models has them: a BatchNorm at the end of each stage, a classifier."""
    stages = {
        f"layer{i}_0": {"bn2": {"scale": jnp.ones(channels), "bias": jnp.zeros(channels)}}
        for i, (_, channels) in enumerate(SIZES[1:], start=1)
    }
    classifier = {"kernel": jnp.eye(WIDTH, CLASSES), "bias": jnp.zeros(CLASSES)}
    return {"params": {**stages, "classifier": classifier}}


def verify(fn) -> tuple[list[tuple[str, str]], dict]:
    """([(what is checked, what is wrong or "")], the loss's own parameters and statistics).

    The checks run on random Outputs with float32 and bfloat16 numbers; hyperparameters have their defaults.
    """
    unknown = [name for name in context_names(fn) if name not in CONTEXT]
    if unknown:
        return [("asks only for what the step has", f"{unknown[0]!r}{nearest(unknown[0], CONTEXT)}")], {}
    student, teacher = examples(0), examples(1)
    labels, index = jnp.arange(BATCH) % CLASSES, jnp.arange(BATCH)
    context = {
        "step": jnp.zeros((), jnp.int32),
        "key": jax.random.key(2),
        "index": index,
        "teacher_params": teacher_params(),
        "train_labels": jnp.arange(EXAMPLES) % CLASSES,
    }
    module = lift(fn)
    results, variables = [], {}

    def check(what, test):
        try:
            wrong = test() or ""
        except Exception as error:  # whatever the user's code raises is a finding
            wrong = f"{type(error).__name__}: {error}"
        results.append((what, wrong))
        return not wrong

    def init():
        variables.update(module.init(jax.random.key(3), student, teacher, labels, **context))

    if not check("can be called on student, teacher, labels", init):
        return results, {}

    def value(student, teacher, params=None):
        held = variables if params is None else {**variables, "params": params}
        return module.apply(held, student, teacher, labels, **context, mutable=list(variables))[0]

    def scalar():
        result = value(student, teacher)
        if jnp.shape(result) != ():
            return f"returns shape {jnp.shape(result)}; take the mean over the batch"
        return "" if jnp.result_type(result) == jnp.float32 else f"returns {jnp.result_type(result)}, not float32"

    if not check("returns a float32 scalar", scalar):
        return results, dict(variables)
    check("is finite", lambda: "" if jnp.isfinite(value(student, teacher)) else f"is {value(student, teacher)}")
    check("has a finite gradient", lambda: _finite(jax.grad(value)(student, teacher)))
    check("reaches the student", lambda: _reaches(jax.grad(value)(student, teacher)))
    check(
        "works under jit with the same value", lambda: _equal(jax.jit(value)(student, teacher), value(student, teacher))
    )
    check("works under vmap", lambda: _vmapped(value, student, teacher))
    check("sends no gradient into the teacher", lambda: _no_teacher_gradient(value, student, teacher))
    check(
        "is finite and float32 for bfloat16 inputs",
        lambda: _bfloat16(value(examples(0, jnp.bfloat16), examples(1, jnp.bfloat16))),
    )
    return results, dict(variables)


def _finite(grads):
    bad = [
        jax.tree_util.keystr(path)
        for path, g in jax.tree_util.tree_leaves_with_path(grads)
        if not jnp.isfinite(g).all()
    ]
    return f"not finite with respect to {', '.join(bad)}" if bad else ""


def _reaches(grads):
    if any(bool(jnp.any(g != 0)) for g in jax.tree.leaves(grads)):
        return ""
    return "the gradient with respect to every output of the student is zero"


def _equal(a, b):
    return "" if jnp.allclose(a, b, rtol=1e-4, atol=1e-6) else f"{a} instead of {b}"


def _vmapped(value, student, teacher):
    two = jax.tree.map(lambda x: jnp.stack([x, x]), (student, teacher))
    values = jax.vmap(value)(*two)
    return _equal(values[0], value(student, teacher)) or _equal(values[1], value(student, teacher))


def _no_teacher_gradient(value, student, teacher):
    grads = jax.grad(lambda teacher: value(student, teacher))(teacher)
    return "" if all(bool(jnp.all(g == 0)) for g in jax.tree.leaves(grads)) else "some arrives"


def _bfloat16(result):
    if result.dtype != jnp.float32:
        return f"returns {result.dtype}"
    return "" if jnp.isfinite(result) else f"is {result}"


def main(name: str) -> int:
    """Prints the findings of `kdjax check`; the exit status is 1 if the contract is broken."""
    fn = find(name, kdjax.losses, "loss")
    results, variables = verify(fn)
    print(f"{name}: the contract of a loss")
    for what, wrong in results:
        print(f"  {'NO' if wrong else 'ok'}  {what}{f': {wrong}' if wrong else ''}")
    print(f"hyperparameters: {', '.join(f'{k}={v!r}' for k, v in hyperparameters(fn).items()) or 'none'}")
    print(f"asks the step for: {', '.join(context_names(fn)) or 'nothing'}")
    for collection, tree in sorted(variables.items()):
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            print(f"{collection}: {'/'.join(str(entry.key) for entry in path)} {tuple(leaf.shape)} {leaf.dtype}")
    broken = any(wrong for _, wrong in results)
    print("The contract is broken." if broken else "The contract is kept.")
    return int(broken)
