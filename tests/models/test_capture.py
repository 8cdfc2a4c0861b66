"""Layers captured by their paths: Outputs, parameters and steps are those of a network that returns Outputs itself."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import kdjax
from kdjax.config.build import build_model
from kdjax.config.rows import make_term
from kdjax.models import cost
from kdjax.models.capture import Captured, bare
from kdjax.report import table
from kdjax.training.objective import Objective
from kdjax.training.parallel import synchronised
from kdjax.training.step import make_init, make_teach, make_train_step
from kdjax.types import Outputs, image_spec
from tests import tiny

PATHS = ("layer1/act", "layer2/act", "preacts=layer1/norm", "preacts=layer2/norm", "embedding=head:input")
ME = "tests.models.test_capture"


class Relu(nn.Module):
    def __call__(self, x):
        return nn.relu(x)


class Block(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x, train: bool):
        """What comes after the activation, and before."""
        x = nn.Conv(self.width, (3, 3), strides=(2, 2), name="conv")(x)
        x = nn.BatchNorm(not train, name="norm")(x)
        return Relu(name="act")(x), x


class Told(nn.Module):
    """Returns Outputs."""

    num_classes: int
    width: int = 4

    @nn.compact
    def __call__(self, image, train: bool = False):
        first, before = Block(self.width, name="layer1")(image, train)
        second, behind = Block(2 * self.width, name="layer2")(first, train)
        pooled = nn.Dropout(0.2, deterministic=not train)(second.mean((1, 2)))
        logits = nn.Dense(self.num_classes, name="head")(pooled)
        return self.returned(Outputs(logits, (first, second), (before, behind), pooled))

    def returned(self, outputs):
        return outputs


class Plain(Told):
    """The same, but it returns an array, as networks elsewhere do."""

    def returned(self, outputs):
        return outputs.logits


def image(batch=4):
    return jax.random.normal(jax.random.key(3), (batch, 8, 8, 1))


def same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("train", [False, True])
def test_outputs_and_variables_are_those_of_a_network_that_tells_them(train):
    init = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    made = [model.init_with_output(init, image(), train=train) for model in (Told(10), Captured(Plain(10), PATHS))]
    assert isinstance(made[0][0], Outputs)
    same(*made)
    assert isinstance(Plain(10).apply(made[1][1], image()), jax.Array)  # its variables fit the network alone


def test_what_is_not_captured_stays_as_the_network_says_it():
    variables = Told(10).init(jax.random.key(0), image())
    told = Told(10).apply(variables, image())
    found = Captured(Told(10), ("layer2/act",)).apply(variables, image())
    same(found, told.replace(features=told.features[1:], preacts=()))  # no preacts of other layers
    found = Captured(Told(10), ("embedding=head",)).apply(variables, image())
    same(found, told.replace(embedding=told.logits))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("layr1/act", "capture 'layr1/act': Plain calls no such layer; did you mean 'layer1/act'"),
        ("x", "calls no such layer; valid are Dropout_0, head, layer1, layer2"),
        ("embedding=heed:input", "did you mean 'head'"),
        ("layer1", r"capture 'layer1': features are arrays \[B, ..., C\], this layer of Plain has tuple"),
        ("embedding=layer1/act", r"embedding are arrays \[B, D\], this layer of Plain has \[4, 4, 4, 4\]"),
        ("embeding=head", "a layer is taken as features, preacts, embedding; did you mean 'embedding'"),
    ],
)
def test_paths_that_cannot_be(path, message):
    with pytest.raises(ValueError, match=message):
        Captured(Plain(10), (path,)).init(jax.random.key(0), image())


def test_a_step_of_fitnet_and_rkd_is_the_same():
    """Jitted, student and teacher captured or not: losses, parameters and statistics, to the bit."""
    terms = [make_term(n, {"weight": 1.0, **own}, 5, n) for n, own in {"fitnet": {"layer": -1}, "rkd": {}}.items()]
    labels = jnp.arange(4, dtype=jnp.int32)
    found = []
    for make in (Told, lambda *args: Captured(Plain(*args), PATHS)):
        teacher, objective, optimizer = make(10, 8), Objective(make(10, 4), tuple(terms)), optax.sgd(0.1)
        variables = teacher.init(jax.random.key(5), image())
        taught = jax.jit(make_teach(teacher))(variables, image())
        batch = {"input": image(), "target": labels, "index": labels}
        given = (batch, taught, variables, labels)
        state = jax.jit(make_init(objective, optimizer))(jax.random.key(0), *given)
        step = jax.jit(make_train_step(objective, optimizer))
        for _ in range(2):
            state, losses = step(state, *given)
        assert losses["loss/fitnet"] > 0
        assert losses["loss/rkd"] > 0
        found.append((state.params, state.stats, losses))
    same(*found)


def test_it_is_built_shipped_and_spread_over_devices_as_the_network_alone():
    spec = {"model": f"{ME}.Plain", "kwargs": {"width": 2}, "capture": list(PATHS)}
    model = build_model(spec, 10, "float32", "config.student")
    assert model == Captured(Plain(10, 2), PATHS)
    assert cost.shipped(model) == bare(model) == Plain(10, 2)
    assert cost.parameters(model, image_spec(8, 8, 1)) == cost.parameters(Plain(10, 2), image_spec(8, 8, 1))
    assert synchronised(Captured(tiny.Net(10), PATHS)).model.axis_name
    with pytest.raises(ValueError, match=r"config.student.capture must be of type str .*got 1"):
        build_model({**spec, "capture": [1]}, 10, "float32", "config.student")


def small(name, **student):
    config = tiny.config(name, epochs=1, methods=("student",))
    config.methods.fitnet = {"cross_entropy": {"weight": 1.0}, "fitnet": {"weight": 1.0}}
    config.seeds, config.teacher.epochs = (0,), 1
    config.data.train_examples = 64
    for role in ("teacher", "student"):
        config[role].model = f"{ME}.Plain"
        config[role].kwargs = {"width": 4}
        config[role].capture = ("layer2/act",)
    config.student.update(student)
    return config


def test_an_experiment_from_config_to_protocol(tmp_path):
    experiment = kdjax.run(small("captured"), tmp_path, quiet=True)
    student = experiment["fitnet", 0]
    assert experiment.path.joinpath("fitnet/seed0/result.json").is_file()
    assert student.config["student"]["capture"] == ["layer2/act"]
    assert student.config["teacher"]["capture"] == ["layer2/act"]
    assert "capture" not in experiment["teacher", 0].config["student"]  # it was trained without
    said = table.markdown(table.gather(experiment.path))
    assert said.count(", the layers layer2/act for features") == 2
    own = small("by_run")
    own.teacher.update(model="", run=str(experiment.path / "teacher/seed0"))
    again = kdjax.run(own, tmp_path, quiet=True)
    assert again["fitnet", 0].history == student.history
    shown = functools.partial(kdjax.run, out=tmp_path, quiet=True)
    with pytest.raises(ValueError, match=r"student.capture: \['layer2/act'\] -> \['layer1/act'\]"):
        shown(small("captured", capture=("layer1/act",)))
    with pytest.raises(ValueError, match=r"config.methods.student: .*calls no such layer; did you mean 'layer2/act'"):
        shown(small("wrong", capture=("layer2/acct",)))
