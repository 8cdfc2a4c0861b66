"""Parts of scripts/gpu that ask whether an accelerator computes the right thing: goldens, devices, precision."""

import ast
import dataclasses
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from bench_kdjax import make
from gpu_forms import Options, Skipped

from kdjax import losses
from kdjax.config import default
from kdjax.data import load
from kdjax.training import parallel
from kdjax.training.step import make_train_step
from kdjax.types import Outputs

PRECISIONS = {"float32": "highest", "tf32": "tensorfloat32"}
"""What a product of float32 is computed in; XLA's own choice on such a GPU is the second."""
WITH_FIRST_MAP = ("attention", "nst", "fsp")
"""Losses whose goldens were computed on the first map too."""


# ---- goldens


def goldens(options: Options, save) -> dict:
    """Largest error of each loss against published values (relative) and gradients (of the largest entry)."""
    files = sorted(Path(options.goldens).glob("public_*.npz"))
    if not files:
        raise Skipped(f"no public_*.npz in --goldens={options.goldens}")
    found = {"tolerance": {"value": 1e-5, "pkt's value": 1e-4, "gradient": 1e-4}, "rows": []}
    for path in files[: 1 if options.form == "tiny" else None]:
        with np.load(path) as stored:
            arrays = dict(stored)
        names = [key.removeprefix("case/").removesuffix("/value") for key in arrays if key.endswith("/value")]
        for name in names[: 2 if options.form == "tiny" else None]:
            for kind, precision in PRECISIONS.items():
                with jax.default_matmul_precision(precision):
                    found["rows"].append({"file": path.stem, "case": name, "in": kind, **_case(arrays, name)})
        save(found)
    return found


def _case(arrays: dict, name: str) -> dict:
    loss, _, text = name.partition("|")
    hyper = {key: float(ast.literal_eval(value)) for key, value in (p.split("=") for p in text.split(",") if p)}
    if loss == "correlation_core":
        loss, hyper = "correlation", {"dim": None}
    student, teacher = _outputs(arrays, "student"), _outputs(arrays, "teacher")
    if loss in WITH_FIRST_MAP:
        hyper["layers"] = tuple(range(len(student.features)))
    labels = jnp.asarray(arrays["labels"].astype(np.int32))
    value = lambda student: getattr(losses, loss)(student, teacher, labels, **hyper)  # noqa: E731
    found, grads = jax.jit(jax.value_and_grad(value))(student)
    expected, prefix = arrays[f"case/{name}/value"], f"case/{name}/grad/"
    errors = [
        np.abs(_field(grads, key.removeprefix(prefix)) - arrays[key]).max() / np.abs(arrays[key]).max()
        for key in arrays
        if key.startswith(prefix)
    ]
    return {"value": float(abs(found - expected) / abs(expected)), "gradient": float(max(errors, default=0.0))}


def _outputs(arrays: dict, who: str) -> Outputs:
    maps = tuple(jnp.asarray(arrays[key]) for key in sorted(arrays) if key.startswith(f"{who}/f"))
    logits, embedding = (jnp.asarray(arrays[f"{who}/{name}"]) for name in ("logits", "embedding"))
    return Outputs(logits=logits, features=maps, preacts=maps, embedding=embedding)


def _field(outputs: Outputs, name: str) -> np.ndarray:
    return np.asarray(outputs.features[int(name[1:])] if name.startswith("f") else getattr(outputs, name))


# ---- one device, pmap on one, pmap on several


def devices(options: Options, save) -> dict:
    """Losses and parameters of a batch that is split by pmap against those of one device: at first, after some steps.

    Networks are drawn at random and see noise, so that from step to step differences in rounding grow.
    """
    size, steps = options.size, 2 if options.form == "tiny" else 8
    teacher, student = size.small.split(",")
    found = {"devices": jax.local_device_count(), "steps": steps, "rows": []}
    with jax.default_matmul_precision("highest"):
        for name in [name for name in ("kd", "rkd", "fitnet") if name in size.methods]:
            bench = make(teacher, student, [name], steps=1, batch=size.batch, devices="one", steps_per_call=1)
            expected = _train(bench, steps)
            for number in {1, _most(size.batch)}:
                got = _train(bench, steps, jax.local_devices()[:number])
                found["rows"].append({"method": name, "devices": number, **_apart(expected, got)})
                save(found)
    return found


def _most(batch: int) -> int:
    """The largest number of devices here that a batch divides by."""
    return max(n for n in range(1, jax.local_device_count() + 1) if batch % n == 0)


def _train(bench, steps: int, on=()) -> tuple[np.ndarray, list]:
    """(losses [steps], parameters after each of them) of a method; `on`: by pmap on these devices."""
    learner, feed, variables = bench.learners[0], bench.cohort.feed, bench.cohort.teacher_variables
    stage, state = learner.program.stages[-1], jax.tree.map(jnp.copy, learner.state)
    if on:
        step, place = _by_pmap(stage, on), parallel.Place(tuple(on), len(on))
        variables, targets, state = place.put((variables, feed.targets, state))
    else:
        step, targets = jax.jit(make_train_step(stage.objective, stage.optimizer)), feed.targets
    values, params = [], []
    for number in range(steps):
        indices, zero = feed._order(number)[:1], np.zeros(1, np.int32)
        batch = feed.make_batch(feed.inputs, feed.targets, indices, feed._key(number), zero)
        given = parallel.first((batch, bench.cohort.teach(bench.cohort.teacher_variables, batch["input"])))
        if on:
            given = jax.tree.map(lambda x: place.put_parts(x.reshape(len(on), -1, *x.shape[1:])), given)
        state, reported = step(state, *given, variables, targets)
        values.append(float(reported["loss"]))
        params.append(jax.device_get(state.params))
    return np.array(values), params


def _by_pmap(stage, on):
    """What `parallel.compile_train_step` makes of a stage at a place of several devices, also for a single one."""
    objective = stage.objective.clone(student=parallel.synchronised(stage.objective.student), gather=parallel.gather)
    average = partial(jax.lax.pmean, axis_name=parallel.AXIS)
    step = make_train_step(objective, stage.optimizer, average, part=partial(jax.lax.axis_index, parallel.AXIS))
    return jax.pmap(step, parallel.AXIS, in_axes=(None, 0, 0, None, None), out_axes=None, devices=on)


def _apart(expected, got) -> dict:
    """Relative differences after a step and after all: of the loss, and of the parameters together by their norm."""
    (losses, params), (own, owned) = expected, got
    rows = {}
    for name, step in (("first", 0), ("last", -1)):
        trees = (params[step], owned[step])
        flat = [np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for tree in trees]
        rows[f"{name}_loss"] = float(abs(own[step] - losses[step]) / abs(losses[step]))
        rows[f"{name}_parameters"] = float(np.linalg.norm(flat[1] - flat[0]) / np.linalg.norm(flat[0]))
    return rows


# ---- bfloat16 and tf32 against float32


def precision(options: Options, save) -> dict:
    """Losses of the first steps of kd, means of ten, in three arithmetics; on images that can be learned."""
    size = options.size
    teacher, student = size.pairs[-1].split(",")
    wanted = default()
    wanted.data.source = "generated"
    wanted.data.kwargs = {"shape": (32, 32, 3), "train": 2048, "test": 16, "noise": 96.0}
    data = load(wanted.data)
    every = min(10, size.precision_steps // 2)
    curves = {}
    for kind, (dtype, matmul) in {
        "float32": ("float32", "highest"),
        "tf32": ("float32", "tensorfloat32"),
        "bfloat16": ("bfloat16", None),
    }.items():
        with jax.default_matmul_precision(matmul):
            bench = make(
                teacher, student, ["kd"], steps=every, batch=size.batch, classes=10, dtype=dtype, data=data.train
            )
            curve = curves[kind] = []
            note = lambda learner, losses, curve=curve: curve.append(losses["loss"])  # noqa: E731
            cohort = dataclasses.replace(bench.cohort, on_epoch=note)
            for number in range(size.precision_steps // every):
                cohort._epoch(number, bench.learners)
        save({"every": every, "curves": curves})
    reference = np.array(curves["float32"])
    apart = {
        kind: {
            "first": float(abs(curve[0] - reference[0]) / reference[0]),
            "last": float(abs(curve[-1] - reference[-1]) / reference[-1]),
            "largest": float((np.abs(np.array(curve) - reference) / reference).max()),
        }
        for kind, curve in curves.items()
        if kind != "float32"
    }
    return {"every": every, "curves": curves, "apart": apart}
