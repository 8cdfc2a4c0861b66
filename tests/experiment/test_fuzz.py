"""Configs with randomly changed fields and types: each trains a step or is refused by a message that names a field."""

import io
import tempfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict
from rich.console import Console

from kdjax import experiment
from kdjax.experiment.progress import Display
from kdjax.training import cohort
from tests import tiny

VALUES = (None, True, False, -1, 0, 1, 2, 2**70, -0.5, 0.3, float("nan"), float("inf"), "", "abc", "../x", "a\0b")
VALUES += ((), (1,), (-1, 0.5), ("a", None), ((1,),), {}, {"a": 1}, {"weight": "abc"}, b"x", 1j, print)
UNCHANGED = ("experiment",)  # where it runs is this test's business
EXTRA = ("", "epoch", "data.augment", "data.augment.shift", "methods", "methods.new", "methods.stateless.first_stage")
EXTRA += ("methods.stateless.teacher", "methods.stateless.student", "methods.stateless.freeze", "ablate", "ablate.x")
EXTRA += ("methods.stateless.optimizer", "methods.stateless.stateless.temperature", "methods.stateless.stateless.x")
EXTRA += ("methods.stateless.stateless.warmup_epochs", "methods.stateless.from_teacher", "teacher.optimizer")


def small() -> ConfigDict:
    config = tiny.config(methods=("stateless",), epochs=1)
    config.seeds = (0,)
    config.batch_size = 16
    config.steps_per_epoch = 1
    config.eval_every_epochs = 1
    config.data.train_examples = 60
    config.student.model = config.teacher.model = "tests.tiny.LogitsOnly"
    config.teacher.kwargs = {}
    config.teacher.epochs = 1
    return config


def leaves(config, path="") -> list[str]:
    """The dotted paths of all fields and of all dictionaries of fields."""
    found = [path] if path else []
    if isinstance(config, ConfigDict):
        for key in config:
            found += leaves(config[key], f"{path}.{key}".lstrip("."))
    return found


FIELDS = sorted({*leaves(small()), *EXTRA} - {"", *UNCHANGED})


def change(config: ConfigDict, field: str, value) -> None:
    *parents, leaf = field.split(".")
    node = config
    for key in parents:
        if not isinstance(node, ConfigDict):
            return  # an earlier change has put something else there
        node = node.get(key, node)
    if isinstance(node, ConfigDict):
        with node.ignore_type():
            node[leaf] = value


def attempt(changes: dict) -> str:
    """What becomes of the small config with these changes: "trained" or the message of a ValueError."""
    config, taken = small(), []
    for field, value in changes.items():
        change(config, field, value)
    display = Display(Console(file=io.StringIO()))
    display.advance = taken.append
    with tempfile.TemporaryDirectory() as root:
        try:
            experiment.run(config, root, display=display, stop_signal=lambda: 15 * (len(taken) >= 3))
        except cohort.Stopped:
            return "trained"
        except ValueError as error:
            return str(error)
    return "trained"


def names_one(message: str, changes: dict) -> bool:
    """Whether a message names a changed field: its last part, or the dictionary that was put in its place."""
    words = {word for field in changes for word in field.split(".")[-2:]}
    words |= {key for value in changes.values() if isinstance(value, dict) for key in value}
    return any(word in message for word in words)


@pytest.fixture
def tell(record_property):
    """Counts what became of a config, for results/reliability; at the end of the test."""
    counts = {"configs": 0, "trained": 0, "refused": 0}

    def count(result: str) -> None:
        counts["configs"] += 1
        counts["trained" if result == "trained" else "refused"] += 1

    yield count
    for name, number in counts.items():
        record_property(name, number)


def test_each_config_trains_or_is_refused(tell):
    @settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(VALUES), min_size=1, max_size=2))
    def run(changes):
        result = attempt(changes)
        assert result == "trained" or names_one(result, changes), result
        tell(result)

    run()


@pytest.mark.exhaustive
@pytest.mark.parametrize("field", FIELDS)
def test_every_value_of_a_field(field, tell):
    for value in VALUES:
        result = attempt({field: value})
        assert result == "trained" or names_one(result, {field: value}), (value, result)
        tell(result)
