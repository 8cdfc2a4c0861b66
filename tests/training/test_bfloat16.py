"""config.dtype = "bfloat16": models compute in it, everything that is kept or reported is float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import experiment
from kdjax.config import default, recipes, resolve
from kdjax.config import rows as rows
from kdjax.training.step import make_teach, make_train_step
from kdjax.types import as_outputs
from tests import tiny
from tests.training.test_cohort import assert_same, results

OPTIMIZED = True
FLOATS = {jnp.dtype(jnp.float32)}
OFTEN = ("kd", "vid", "factor_transfer", "reviewkd", "simkd", "crd", "mutual", "self_distillation")
"""Recipes with layers, stages, other students or memories; the rest are traced by the exhaustive tests."""


def config(dtype="bfloat16", names=("student", "kd")):
    config = default()
    config.experiment, config.dtype = "rough", dtype
    config.seeds, config.epochs, config.batch_size = (0,), 8, 32
    config.data.train_examples = 320
    config.teacher.model, config.teacher.kwargs = "convnet", {"widths": (16, 32)}
    config.student.model, config.student.kwargs = "convnet", {"widths": (8, 16)}
    config.execution.checkpoint_seconds = 1e9
    for name in names:
        config.methods[name] = recipes.recipe(name, "convnet", "convnet")
    return config


def dtypes(tree) -> set:
    return {leaf.dtype for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in OFTEN else pytest.mark.exhaustive) for n in sorted(recipes.RECIPES)]
)
def test_a_step_keeps_float32(name):
    """Every recipe, traced: parameters, statistics, memories, optimizer state and losses."""
    made = default()
    made.dtype, made.teacher.model, made.student.model = "bfloat16", "resnet14", "resnet8"
    made.methods[name] = recipes.recipe(name, "resnet14", "resnet8")
    made = resolve(made)
    image, index = jax.ShapeDtypeStruct((4, 8, 8, 3), jnp.float32), jax.ShapeDtypeStruct((4,), jnp.int32)
    labels = jax.ShapeDtypeStruct((9,), jnp.int32)
    teacher = rows.build_model(made.teacher, 10, made.dtype, "config.teacher")
    variables = jax.eval_shape(teacher.init, jax.random.key(0), image)
    outputs = jax.eval_shape(make_teach(teacher), variables, image)
    row = rows.with_model(rows.expand(made)[0], made, 10)
    batch = {"input": image, "target": index, "index": index, "second": {"input": image, "taught": outputs}}
    given = (batch, outputs, variables, labels)
    for stage in rows.stages(row, made, steps_per_epoch=2):
        before = jax.eval_shape(stage.init, jax.random.key(0), *given)
        after, losses = jax.eval_shape(make_train_step(stage.objective, stage.optimizer), before, *given)
        assert dtypes((before, after, losses)) == FLOATS
        assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), before)


@pytest.mark.parametrize("name", ["resnet8", "convnet", "peers", "ensemble"])
def test_models_give_bfloat16(name):
    kwargs = {"members": ("resnet8", "resnet8")} if name in ("peers", "ensemble") else {}
    model = rows.build_model({"model": name, "kwargs": kwargs}, 10, "bfloat16", "config.student")
    image = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32)
    outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), image)
    outputs = as_outputs(outputs)
    for one in (outputs, *outputs.peers):
        assert dtypes((one.features, one.preacts, one.embedding)) == {jnp.dtype(jnp.bfloat16)}
    assert dtypes(variables) == dtypes(outputs.logits) == FLOATS


@pytest.fixture(scope="module")
def rough(tmp_path_factory):
    return results(experiment.run(config(), tmp_path_factory.mktemp("rough")))


def test_it_trains_as_float32_does(rough, tmp_path):
    """bfloat16 rounds each activation by up to 2^-9 = 0.2 %; over 60 steps losses differ by a few percent."""
    exact = results(experiment.run(config("float32"), tmp_path))
    for name in exact:
        losses, expected = (np.array([row["loss"] for row in one[name]["history"]]) for one in (rough, exact))
        assert 0 < np.abs(losses - expected).max() < 0.05 * expected[0], name
        assert losses[-1] < 0.9 * losses[0], name
        assert dtypes(rough[name]["parameters"]) == FLOATS


def test_it_resumes_exactly(rough, tmp_path):
    directory, stops = tiny.in_pieces(config(), tmp_path, 70)
    assert stops > 1
    assert_same(rough, results(directory))
