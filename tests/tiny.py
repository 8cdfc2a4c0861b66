"""The smallest experiment: models and losses of one's own, found by import path, on a few of the digits."""

import io

import flax.linen as nn
import jax
import jax.numpy as jnp
from rich.console import Console

from kdjax import experiment
from kdjax.config import default
from kdjax.data import sources
from kdjax.experiment.progress import Display
from kdjax.training import cohort
from kdjax.types import Memory, Outputs


class Net(nn.Module):
    """Two convolutions with BatchNorm, pooled; every field of Outputs filled."""

    num_classes: int
    width: int = 4
    axis_name: str | None = None

    @nn.compact
    def __call__(self, image, train: bool = False):
        axis = self.axis_name if train else None
        x, features, preacts = image, [], []
        for stage in range(2):
            x = nn.Conv(self.width * 2**stage, (3, 3), strides=(2, 2), use_bias=False, name=f"conv{stage}")(x)
            x = nn.BatchNorm(not train, momentum=0.9, axis_name=axis, name=f"bn{stage}")(x)
            preacts.append(x)
            x = nn.relu(x)
            features.append(x)
        embedding = x.mean(axis=(1, 2))
        return Outputs(nn.Dense(self.num_classes, name="fc")(embedding), tuple(features), tuple(preacts), embedding)


class LogitsOnly(nn.Module):
    """Returns an array: works with losses on logits."""

    num_classes: int

    @nn.compact
    def __call__(self, image, train: bool = False):
        return nn.Dense(self.num_classes)(image.reshape(len(image), -1))


class Cosine(nn.Module):
    """Its embedding is normalised without an epsilon: 0/0 on a black image."""

    num_classes: int

    @nn.compact
    def __call__(self, image, train: bool = False):
        embedding = nn.relu(nn.Conv(8, (3, 3), strides=(2, 2), use_bias=False)(image)).mean(axis=(1, 2))
        embedding = embedding / jnp.linalg.norm(embedding, axis=-1, keepdims=True)
        return nn.Dense(self.num_classes, use_bias=False)(embedding)


def blackened(config):
    """The digits, image 5 of the test split black."""
    digits = sources.digits(config)
    digits.test.input[5] = 0
    return digits


def stateless(student, teacher, labels, *, temperature=2.0):
    return jnp.mean(jnp.square((student.logits - teacher.logits) / temperature))


def layered(student, teacher, labels, *, layer=0):
    hint = nn.Dense(teacher.features[layer].shape[-1], name="regressor")(student.features[layer])
    return jnp.mean(jnp.square(hint - teacher.features[layer]))


def summed(student, teacher, labels, *, layers=(0,)):
    """`layered` over several layers."""
    return sum(jnp.mean(jnp.square(student.features[i].mean(-1) - teacher.features[i].mean(-1))) for i in layers)


def remembered(student, teacher, labels, *, index, train_labels, momentum=0.5):
    """Draws an embedding towards where it was when the example was last seen."""
    bank = Memory(name="bank")(jnp.zeros, (len(train_labels), student.embedding.shape[-1]))
    loss = jnp.mean(jnp.square(student.embedding - bank.value[index]))
    bank.value = bank.value.at[index].set(momentum * bank.value[index] + (1 - momentum) * student.embedding)
    return loss


def noisy(student, teacher, labels, *, key, step):
    """Uses the randomness of the step."""
    noise = jax.random.normal(key, student.logits.shape) / (1 + step).astype(jnp.float32)
    return jnp.mean(jnp.square(student.logits - teacher.logits + noise))


def explodes(student, teacher, labels, *, at=3, step):
    """Infinite from some step on."""
    return jnp.where(step >= at, jnp.inf, 1.0) * jnp.mean(jnp.square(student.logits))


def config(name="tiny", epochs=3, methods=("student", "stateless", "layered", "remembered", "noisy")):
    config = default()
    config.experiment = name
    config.seeds = (0, 1)
    config.epochs = epochs
    config.batch_size = 32
    config.data.train_examples = 160
    config.data.validation = 0.2
    config.data.augment.shift = {"pixels": 1}
    config.teacher.model = "tests.tiny.Net"
    config.teacher.kwargs = {"width": 8}
    config.teacher.epochs = 2
    config.student.model = "tests.tiny.Net"
    config.execution.checkpoint_seconds = 1e9
    labels = {"cross_entropy": {"weight": 1.0}}
    for method in methods:
        own = {} if method == "student" else {method: {"fn": f"tests.tiny.{method}", "weight": 1.0}}
        config.methods[method] = {**labels, **own}
    return config


def vector(student, teacher, labels):
    """Breaks the contract: one value an example."""
    return jnp.sum(jnp.square(student.logits - teacher.logits), axis=-1)


def asks_for_more(student, teacher, labels, *, momentun):
    """Breaks the contract: no such thing in the step, and no default."""
    return jnp.mean(student.logits) * momentun


class Unsynchronised(nn.Module):
    """BatchNorm that knows nothing of other devices."""

    num_classes: int

    @nn.compact
    def __call__(self, image, train: bool = False):
        x = nn.Dense(4)(image.reshape(len(image), -1))
        return nn.Dense(self.num_classes)(nn.BatchNorm(not train)(x))


class FourClasses(nn.Module):
    """Whatever it is asked for, it tells four classes apart."""

    num_classes: int
    width: int = 4

    @nn.compact
    def __call__(self, image, train: bool = False):
        return nn.Dense(4)(image.reshape(len(image), -1))


def in_pieces(config, root, calls: int, **chosen):
    """Runs an experiment, or what is chosen of it as for `experiment.run`, that is stopped whenever it has taken
    `calls` calls of the step: (directory, stops).
    """
    for stops in range(1000):
        with Display(Console(file=io.StringIO())) as display:
            taken = []
            display.advance = taken.append
            try:
                stop = lambda: 15 * (len(taken) >= calls)  # noqa: B023, E731
                return experiment.run(config, root, display=display, stop_signal=stop, **chosen), stops
            except cohort.Stopped:
                pass
    raise AssertionError("it never ends")


def bad_gradient(student, teacher, labels, *, step, at=3):
    """Finite, with a gradient that is not, at one step."""
    x = jnp.sum(jnp.square(student.logits)) * jnp.where(step == at, 0.0, 1.0)
    return jnp.where(step == at, jnp.sqrt(x), 0.0)


def shapeless(key, image):
    """An augmentation that fails for want of as many images as channels."""
    return image * jnp.ones(7)
