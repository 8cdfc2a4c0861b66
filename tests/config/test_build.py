"""A network from a config: what it takes, and the words for what it does not."""

import jax.numpy as jnp
import pytest

from kdjax.config import rows
from kdjax.config.build import build_model
from tests import tiny


def build(model, dtype="float32", **kwargs):
    return build_model({"model": model, "kwargs": kwargs}, 10, dtype, "config.student")


def test_lists_become_tuples_and_the_dtype_reaches_the_model():
    model = build("convnet", "bfloat16", widths=[4, 8])
    assert (model.num_classes, model.widths, model.dtype) == (10, (4, 8), jnp.bfloat16)


def test_what_the_data_knows_reaches_networks_that_others_are_made_of_where_they_take_it():
    known = {"vocabulary": 12}
    of_images = {"model": "simkd", "kwargs": {"student": "resnet8", "channels": 64}}
    assert build_model(of_images, 10, "float32", "config.student", known).student.num_classes == 0
    for members, taken in ((["resnet8", "resnet8"], False), (["textcnn", "textcnn"], True)):
        peers = build_model({"model": "peers", "kwargs": {"members": members}}, 10, "float32", "config.student", known)
        assert [getattr(member, "vocabulary", None) for member in peers.members] == [12 if taken else None] * 2


WRONG = {
    "misspelt": (("convnet", "float32", {"width": 3}), "convnet takes no 'width'; did you mean 'widths'?"),
    "fixed by its function": (
        ("lenet", "float32", {"widths": (4,)}),
        "lenet takes no 'widths'; valid are axis_name, dty",
    ),
    "a number for a tuple": (
        ("convnet", "float32", {"widths": 4}),
        r"kwargs.widths is of another type .*\(16, 32, 64\)",
    ),
    "a text for a number": (
        ("tests.tiny.Net", "float32", {"width": "8"}),
        "kwargs.width is of another type .*; got '8'",
    ),
    "missing": (("simkd", "float32", {}), "simkd needs a value for 'student'"),
    "classes": (("convnet", "float32", {"num_classes": 3}), "convnet takes no 'num_classes'"),
    "a loss": (("tests.tiny.vector", "float32", {}), "tests.tiny.vector has no field num_classes"),
    "a module of code": (("tests.tiny", "float32", {}), "not a flax.linen Module"),
    "dtype": (("tests.tiny.LogitsOnly", "bfloat16", {}), "config.dtype 'bfloat16': the model tests.tiny.LogitsOnly of"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_a_model_does_not_take(case):
    (model, dtype, kwargs), message = WRONG[case]
    with pytest.raises(ValueError, match=message) as error:
        build(model, dtype, **kwargs)
    assert "()" not in str(error.value)  # Python's words name functions so


def test_a_method_with_another_student_has_no_arguments_of_the_first():
    config = tiny.config(methods=("student",))
    config.student.kwargs = {"width": 2}
    labels = {"cross_entropy": {"weight": 1.0}}
    config.methods.same = {**labels, "student": {"model": "tests.tiny.Net"}}
    config.methods.other = {**labels, "student": {"model": "lenet"}}
    config.methods.own = {**labels, "student": {"model": "convnet", "kwargs": {"widths": (4,)}}}
    kwargs = {row.name: row.model_config["kwargs"] for row in rows.expand(config)}
    assert kwargs == {"student": {"width": 2}, "same": {"width": 2}, "other": {}, "own": {"widths": [4]}}
