"""Losses on class activation maps in a run: they train the student's classifier, and only where it sees means."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kdjax import experiment, losses, models
from kdjax.experiment.checks import sees_the_mean
from kdjax.report import table
from kdjax.training.objective import Objective, Term
from kdjax.training.step import make_init, make_teach, make_train_step
from kdjax.types import image_spec
from tests import tiny

MAPS = {"cat_kd": {"cat_kd": {"weight": 1.0}}, "sdd": {"sdd": {"weight": 0.1}}}


def test_they_train_from_the_command_to_the_table(tmp_path):
    config = tiny.config(epochs=1, methods=("student",))
    config.seeds, config.teacher.epochs = (0,), 1
    for who, widths in (("teacher", (4, 8)), ("student", (4, 4))):
        config[who].model, config[who].kwargs = "convnet", {"widths": widths}
    for name, terms in MAPS.items():
        config.methods[name] = {"cross_entropy": {"weight": 1.0}, **terms}
    directory = experiment.run(config, tmp_path)
    shown = table.records(table.gather(directory))
    assert [row["method"] for row in shown if row["top1"] is not None] == ["teacher", "student", "cat_kd", "sdd"]
    config.experiment, config.student.model, config.student.kwargs = "other", "lenet", {}
    message = r"config.methods.cat_kd.cat_kd: .*'classifier' of the student is no linear layer on its last map"
    with pytest.raises(ValueError, match=message):
        experiment.run(config, tmp_path, only=("cat_kd",))


@pytest.mark.parametrize(
    ("model", "sees"),
    [(models.convnet(5, widths=(4, 8)), True), (models.resnet8(5), True), (models.wrn_16_1(5), False)],
)
def test_whose_classifiers_see_the_mean_of_their_last_map(model, sees):
    """A WRN normalises and rectifies the sum that is its last map first."""
    assert sees_the_mean(model, image_spec(16, 16, 3)) == sees


@pytest.mark.parametrize("name", MAPS)
def test_the_classifier_of_the_student_is_trained_and_the_teachers_is_not(name):
    student, teacher = models.convnet(3, widths=(4, 4)), models.convnet(3, widths=(4, 8))
    image = jax.random.normal(jax.random.key(1), (6, 8, 8, 1))
    variables = teacher.init(jax.random.key(2), image)
    batch = {"input": image, "target": jnp.arange(6) % 3, "index": jnp.arange(6)}
    given = batch, make_teach(teacher)(variables, image), variables, None
    objective = Objective(student, (Term(name, getattr(losses, name), optax.constant_schedule(1.0)),))
    state = make_init(objective, optax.sgd(0.1))(jax.random.key(0), *given)
    after, found = jax.jit(make_train_step(objective, optax.sgd(0.1)))(state, *given)
    for layer in ("classifier", "stage2_0_conv"):
        before, moved = (tree.params["student"][layer]["kernel"] for tree in (state, after))
        assert np.abs(np.asarray(before - moved)).max() > 0

    def loss(params):
        out, _ = student.apply(
            {"params": params, "batch_stats": state.stats["batch_stats"]["student"]},
            image,
            train=True,
            mutable=["batch_stats"],
        )
        held = {"student_params": {"params": params}, "teacher_params": variables}
        return getattr(losses, name)(out, given[1], batch["target"], **held)

    value, grads = jax.value_and_grad(loss)(state.params["student"])
    np.testing.assert_allclose(found["loss"], value, rtol=1e-5)
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, state.params["student"], grads)
    for ours, theirs in zip(jax.tree.leaves(after.params["student"]), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
