"""Losses against values and gradients of published implementations (tests/goldens/README.md)."""

import ast
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import losses
from kdjax.types import Outputs

OPTIMIZED = True
FOLDER = Path(__file__).parents[1] / "goldens"
ALL_MAPS = ("attention", "nst", "fsp")  # these were computed on f0 too


def golden(file: str) -> dict:
    with np.load(FOLDER / f"public_{file}.npz") as arrays:
        return dict(arrays)


def cases():
    for file in ("same", "cross"):
        names = [key.removeprefix("case/").removesuffix("/value") for key in golden(file) if key.endswith("/value")]
        yield from (pytest.param(file, name, id=f"{file}-{name}") for name in names)


def outputs(arrays: dict, who: str) -> Outputs:
    count = sum(key.startswith(f"{who}/f") for key in arrays)
    maps = tuple(jnp.asarray(arrays[f"{who}/f{i}"]) for i in range(count))
    return Outputs(jnp.asarray(arrays[f"{who}/logits"]), maps, maps, jnp.asarray(arrays[f"{who}/embedding"]))


def gradient(grads: Outputs, name: str):
    return grads.features[int(name[1:])] if name.startswith("f") else getattr(grads, name)


@pytest.mark.parametrize(("file", "name"), list(cases()))
def test_equals_the_reference(file, name):
    arrays = golden(file)
    loss, _, text = name.partition("|")
    hyper = {key: float(ast.literal_eval(value)) for key, value in (p.split("=") for p in text.split(",") if p)}
    if loss == "correlation_core":
        loss, hyper = "correlation", {"dim": None}
    student, teacher = outputs(arrays, "student"), outputs(arrays, "teacher")
    if loss in ALL_MAPS:
        hyper["layers"] = tuple(range(len(student.features)))
    labels = jnp.asarray(arrays["labels"].astype(np.int32))

    def value(student, teacher, labels):  # as arguments: XLA computes constants, slowly, while it compiles
        return getattr(losses, loss)(student, teacher, labels, **hyper)

    found, grads = jax.jit(jax.value_and_grad(value))(student, teacher, labels)
    np.testing.assert_allclose(found, arrays[f"case/{name}/value"], rtol=1e-4 if loss == "pkt" else 1e-5)
    prefix = f"case/{name}/grad/"
    for key in (key for key in arrays if key.startswith(prefix)):
        expected = arrays[key]
        limit = 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(gradient(grads, key.removeprefix(prefix)), expected, rtol=0, atol=limit, err_msg=key)


def later() -> list:
    """Files of one case each."""
    return [pytest.param(path, id=path.stem) for path in sorted(FOLDER.glob("logits_*.npz"))]


@pytest.mark.parametrize("path", later())
def test_logits_equal_the_reference(path):
    with np.load(path) as file:
        arrays = dict(file)
    meta = json.loads(str(arrays["meta"]))
    hyper = dict(meta["hyper"])
    if meta["loss"] == "rld":
        hyper["confidence_temperature"] = hyper["temperature"]
    student, teacher = (Outputs(jnp.asarray(arrays[f"0/in/{who}/logits"])) for who in ("student", "teacher"))

    def value(student):
        return getattr(losses, meta["loss"])(student, teacher, jnp.asarray(arrays["0/in/labels"]), **hyper)

    found, grads = jax.jit(jax.value_and_grad(value))(student)
    np.testing.assert_allclose(found, arrays["0/value"], rtol=1e-5)
    expected = arrays["0/grad/student/logits"]
    np.testing.assert_allclose(grads.logits, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("case", ["raw", "normalised"])
def test_class_activation_maps_equal_the_reference(case):
    """Its maps have a channel a class: those of a classifier that changes nothing."""
    with np.load(FOLDER / f"maps_cat_kd_{case}.npz") as file:
        arrays = dict(file)
    maps = [jnp.asarray(arrays[f"0/in/{who}/features0"]) for who in ("student", "teacher")]
    classes = maps[0].shape[-1]
    same = {"params": {"classifier": {"kernel": jnp.eye(classes), "bias": jnp.zeros(classes)}}}
    hyper = {**json.loads(str(arrays["meta"]))["hyper"], "student_params": same, "teacher_params": same}

    def value(x):
        student, teacher = (Outputs(x.mean((1, 2)), (x,)) for x in (x, maps[1]))
        return losses.cat_kd(student, teacher, None, **hyper)

    found, grads = jax.jit(jax.value_and_grad(value))(maps[0])
    np.testing.assert_allclose(found, arrays["0/value"], rtol=1e-5)
    expected = arrays["0/grad/student/features0"]
    np.testing.assert_allclose(grads, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_the_goldens_are_there():
    assert len(later()) == 5
