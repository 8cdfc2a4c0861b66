"""kdjax check my_file.my_loss: does a loss keep the contract that every run relies on?"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import kdjax.losses
from kdjax.find import find, nearest
from kdjax.losses.lift import CONTEXT, context_names, hyperparameters, lift
from kdjax.types import Outputs

BATCH, CLASSES, EXAMPLES, WIDTH = 8, 10, 32, 16
LAYERS, TOKENS, HEADS = 2, 6, 4
SIZES = ((16, 8), (8, 16), (4, 32), (4, WIDTH))  # (height and width, channels) of the feature maps

once = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
"""jit for a program that runs one time: unoptimized, XLA makes it in half the seconds."""


def examples(seed: int, dtype=jnp.float32, outputs: int = CLASSES, text: bool = False) -> Outputs:
    """Outputs as a model returns them, of random numbers: four feature maps, preacts, an embedding and logits.

    With text=True those of an encoder of texts: hidden states, attention, an embedding and logits.
    """
    rng = np.random.default_rng(seed)  # numpy's: every function of JAX would be compiled first
    if text:
        return jax.tree.map(lambda x: jax.device_put(x.astype(dtype)), _encoded(rng, outputs))
    maps = tuple(rng.standard_normal((BATCH, s, s, c)) for s, c in SIZES)
    made = Outputs(
        logits=3 * rng.standard_normal((BATCH, outputs)),
        features=tuple(np.maximum(x, 0) for x in maps),
        preacts=maps,
        embedding=rng.standard_normal((BATCH, WIDTH)),
        peers=(Outputs(rng.standard_normal((BATCH, outputs))),),
    )
    return jax.tree.map(lambda x: jax.device_put(x.astype(dtype)), made)


def _encoded(rng, outputs: int) -> Outputs:
    draw = lambda *shape: rng.standard_normal((BATCH, *shape))  # noqa: E731
    return Outputs(
        logits=3 * draw(outputs),
        features=tuple(draw(TOKENS, WIDTH) for _ in range(LAYERS + 1)),
        embedding=draw(WIDTH),
        attentions=tuple(draw(HEADS, TOKENS, TOKENS) for _ in range(LAYERS)),
        qkv=tuple(draw(TOKENS, HEADS, WIDTH // HEADS) for _ in range(3)),
        peers=(Outputs(draw(outputs)),),
    )


def teacher_params() -> dict:
    """Variables as a teacher of kdjax.models has them: a BatchNorm at the end of each stage, a classifier."""
    stages = {
        f"layer{i}_0": {"bn2": {"scale": np.ones(channels), "bias": np.zeros(channels)}}
        for i, (_, channels) in enumerate(SIZES[1:], start=1)
    }
    params = {"params": {**stages, **classifier()}}
    return jax.tree.map(lambda x: jax.device_put(x.astype(np.float32)), params)


def classifier() -> dict:
    return {"classifier": {"kernel": np.eye(WIDTH, CLASSES), "bias": np.zeros(CLASSES)}}


def step_context(outputs: int = CLASSES) -> dict:
    """All that a loss may ask of the step."""
    return {
        "step": jax.device_put(np.int32(0)),
        "key": jax.random.key(2),
        "index": jax.device_put(np.arange(BATCH, dtype=np.int32)),
        "second": (examples(8, outputs=outputs), examples(9, outputs=outputs)),
        "student_params": jax.tree.map(lambda x: jax.device_put(x.astype(np.float32)), {"params": classifier()}),
        "teacher_params": teacher_params(),
        "train_labels": jax.device_put(np.arange(EXAMPLES, dtype=np.int32) % CLASSES),
    }


CALLED, TRACED = "can be called on student, teacher, labels", "works under jit"


def verify(fn, task: str = "classification") -> tuple[list[tuple[str, str]], dict]:
    """([(what is checked, what is wrong or "")], the loss's own parameters and statistics).

    The checks run on random Outputs with float32 and bfloat16 numbers; hyperparameters have their defaults. Targets are
    classes, or for a task of "regression" numbers, of which one logit is the prediction, or for one of "ranking" grades
    of lists, of which logits are the scores; for one of "search" grades of the documents that `features` are of.
    """
    unknown = [name for name in context_names(fn) if name not in CONTEXT]
    if unknown:
        return [("asks only for what the step has", f"{unknown[0]!r}{nearest(unknown[0], CONTEXT)}")], {}
    numbers = task == "regression" or fn in kdjax.losses.FAMILIES["regression"]
    module, context = lift(fn), step_context(1 if numbers else CLASSES)
    labels = jax.device_put(np.arange(BATCH, dtype=np.float32 if numbers else np.int32) % CLASSES)
    searched = task == "search" or fn in kdjax.losses.FAMILIES["search"]
    if searched or task == "ranking" or fn in kdjax.losses.FAMILIES["ranking"]:
        shape = BATCH, TOKENS if searched else CLASSES
        labels = jax.device_put(np.random.default_rng(4).integers(-1, 5, shape).astype(np.float32))
    init = functools.partial(module.init_with_output, **context)
    kinds = [
        (jax.random.key(3), *(examples(seed, outputs=1 if numbers else CLASSES, text=text) for seed in (0, 1)), labels)
        for text in (False, True)
    ]
    given, text, error = kinds[0], False, _refused(init, kinds[0])
    if error and not _refused(init, kinds[1]):
        given, text, error = kinds[1], True, None
    if error:
        return _untraceable(init, given, error), {}
    shape, _ = jax.eval_shape(init, *given)
    results = [(CALLED, ""), (TRACED, ""), ("returns a float32 scalar", _scalar(shape))]
    if results[-1][1]:
        return results, {}
    _, variables = once(init)(*given)

    def value(student, teacher):
        return module.apply(variables, student, teacher, labels, **context, mutable=list(variables))[0]

    results += _values(value, *given[1:3], text)
    if text and not searched:
        results.append(("does not see padding", _sees_padding(value, *given[1:3])))
    return results, dict(variables)


def _refused(init, given) -> Exception | None:
    """What the user's code raises while it is traced, which is a finding."""
    try:
        jax.eval_shape(init, *given)
    except Exception as error:
        return error
    return None


def _sees_padding(value, student: Outputs, teacher: Outputs) -> str:
    """Whether the value changes with what stands at the padding, and with two more positions of it."""
    mask = np.arange(TOKENS)[None] < 1 + np.arange(BATCH)[:, None] % TOKENS
    plain, padded = ([masked(x, mask, more) for x in (student, teacher)] for more in (0, 2))
    try:
        values = [float(once(value)(*pair)) for pair in (plain, padded)]
    except Exception as error:
        return _told(error)
    return "" if np.allclose(*values, rtol=1e-4, atol=1e-6) else f"{values[0]:g}, and {values[1]:g} with more of it"


def masked(outputs: Outputs, mask: np.ndarray, more: int) -> Outputs:
    """Outputs of texts with so many positions more, and sevens at all that is padding where there are more."""
    size = mask.shape[1]
    mask = np.pad(mask, ((0, 0), (0, more)))

    def fill(x, axes):
        x = np.pad(np.asarray(x), [(0, more) if axis in axes else (0, 0) for axis in range(x.ndim)])
        for axis in axes if more else ():
            valid = mask.reshape(len(mask), *[size + more if a == axis else 1 for a in range(1, x.ndim)])
            x = np.where(valid, x, np.asarray(7, x.dtype))
        return jax.device_put(x)

    return outputs.replace(
        features=tuple(fill(x, (1,)) for x in outputs.features),
        preacts=tuple(fill(x, (1,)) for x in outputs.preacts),
        attentions=tuple(fill(x, (2, 3)) for x in outputs.attentions),
        qkv=tuple(fill(x, (1,)) for x in outputs.qkv),
        mask=jax.device_put(mask),
    )


def _untraceable(init, given, error: Exception) -> list[tuple[str, str]]:
    """Whether a loss that cannot be traced fails for itself, or only because its numbers are not known under jit."""
    try:
        init(*given)
    except Exception as plain:
        return [(CALLED, _told(plain))]
    return [(CALLED, ""), (TRACED, _told(error))]


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _values(value, student: Outputs, teacher: Outputs, text: bool) -> list[tuple[str, str]]:
    """What is wrong with the value and its gradients with respect to student and teacher."""
    results = []

    def check(what, test):
        try:
            results.append((what, test()))
        except Exception as error:  # the user's code is traced anew each time
            results.append((what, _told(error)))

    try:
        loss, (of_student, of_teacher) = once(jax.value_and_grad(value, (0, 1)))(student, teacher)
    except Exception as error:
        return [("has a gradient", _told(error))]
    check("is finite", lambda: "" if np.isfinite(loss) else f"is {loss}")
    check("has a finite gradient", lambda: _finite(of_student))
    check("reaches the student", lambda: _reaches(of_student))
    check("works under vmap, with the same value", lambda: _vmapped(value, student, teacher, loss))
    check("sends no gradient into the teacher", lambda: "some arrives" if _any(of_teacher) else "")
    narrow = (examples(seed, jnp.bfloat16, student.logits.shape[-1], text) for seed in (0, 1))
    check("is finite and float32 for bfloat16 inputs", lambda: _bfloat16(once(value)(*narrow)))
    return results


def _scalar(shape) -> str:
    if getattr(shape, "shape", None) != ():
        found = getattr(shape, "shape", type(shape).__name__)
        return f"returns shape {found}; take the mean over the batch"
    return "" if shape.dtype == jnp.float32 else f"returns {shape.dtype}, not float32"


def _finite(grads) -> str:
    bad = [jax.tree_util.keystr(p) for p, g in jax.tree_util.tree_leaves_with_path(grads) if not np.isfinite(g).all()]
    return f"not finite with respect to {', '.join(bad)}" if bad else ""


def _any(grads) -> bool:
    return any(np.any(np.asarray(g) != 0) for g in jax.tree.leaves(grads))


def _reaches(grads) -> str:
    return "" if _any(grads) else "the gradient with respect to every output of the student is zero"


def _vmapped(value, student, teacher, loss) -> str:
    two = jax.tree.map(lambda x: jax.device_put(np.stack([x, x])), (student, teacher))
    values = np.asarray(once(jax.vmap(value))(*two))
    return "" if np.allclose(values, loss, rtol=1e-4, atol=1e-6) else f"{values} instead of {loss}"


def _bfloat16(result) -> str:
    if result.dtype != jnp.float32:
        return f"returns {result.dtype}"
    return "" if np.isfinite(result) else f"is {result}"


def main(name: str, task: str = "classification") -> int:
    """Prints the findings of `kdjax check`; the exit status is 1 if the contract is broken."""
    fn = find(name, kdjax.losses, "loss")
    results, variables = verify(fn, task)
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
