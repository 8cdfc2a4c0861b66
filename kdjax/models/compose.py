"""Networks made of networks: an ensemble of teachers, peers that teach each other, and the student of SimKD."""

import importlib
import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.models.layers import Layers, global_pool
from kdjax.types import Outputs


class Ensemble(nn.Module):
    """Several networks as one: `logits` are the log of their weighted mean probabilities; the rest is the first's."""

    members: tuple[nn.Module, ...]
    weights: tuple[float, ...] = ()  # positive, one a member; (): equal

    @nn.compact
    def __call__(self, image, train: bool = False) -> Outputs:
        weights = self.weights or (1.0,) * len(self.members)
        if len(weights) != len(self.members) or min(weights) <= 0:
            raise ValueError(f"an ensemble of {len(self.members)} needs as many positive weights, not {weights}")
        outputs = [member(image, train) for member in self.members]
        logs = [
            jax.nn.log_softmax(out.logits.astype(jnp.float32)) + math.log(weight / sum(weights))
            for out, weight in zip(outputs, weights, strict=True)
        ]
        return outputs[0].replace(logits=jax.nn.logsumexp(jnp.stack(logs), axis=0))


def ensemble(num_classes: int, members: tuple, weights: tuple[float, ...] = (), **fields) -> Ensemble:
    """Several networks, given as Linen modules or by name, as one teacher; `join` makes its variables of theirs.

    `fields`, as dtype, go to members given by name.
    """
    return Ensemble(tuple(_network(member, num_classes, **fields) for member in members), tuple(weights))


class Peers(nn.Module):
    """Networks that train together: the first one's Outputs, those of the others in `peers`. The first one predicts."""

    members: tuple[nn.Module, ...]

    @nn.compact
    def __call__(self, image, train: bool = False) -> Outputs:
        first, *others = [member(image, train) for member in self.members]
        return first.replace(peers=tuple(others))


def peers(num_classes: int, members: tuple, **fields) -> Peers:
    """Networks for deep mutual learning, given as Linen modules or by name; the first one is what ships.

    `fields`, as dtype, go to members given by name.
    """
    return Peers(tuple(_network(member, num_classes, **fields) for member in members))


def join(*variables) -> dict:
    """The variables of an ensemble from those of its members, in order."""
    collections = sorted({name for member in variables for name in member})
    return {
        name: {f"members_{i}": member[name] for i, member in enumerate(variables) if name in member}
        for name in collections
    }


class SimKD(nn.Module):
    """A student's layers, a projector to the teacher's last features, and the teacher's classifier on their mean.

    Chen et al. 2022, arXiv:2203.14001. The last of `features` is the projector's result, to be compared with
    relu(teacher.preacts[-1]); `classifier` takes the teacher's parameters (a method's `from_teacher`) and stays.
    """

    num_classes: int
    student: nn.Module  # made for 0 classes: without a classifier of its own
    channels: int  # of the teacher's last features
    side: int = 0  # positions a side of the teacher's last features, to which larger maps are pooled; 0: no pooling
    factor: int = 2  # the projector narrows to channels / factor

    @nn.compact
    def __call__(self, image, train: bool = False) -> Outputs:
        unbiased = getattr(self.student, "unbiased_variance", False)
        layers = Layers(self.student.dtype, self.student.axis_name, train, unbiased_variance=unbiased)
        backbone = self.student(image, train)
        x, narrow = _pool_to(backbone.features[-1], self.side), self.channels // self.factor
        x = nn.relu(layers.conv_norm(x, narrow, 1, ("projector_conv1", "projector_bn1")))
        x = nn.relu(layers.conv_norm(x, narrow, 3, ("projector_conv2", "projector_bn2")))
        preact = layers.conv_norm(x, self.channels, 1, ("projector_conv3", "projector_bn3"))
        features, preacts = [*backbone.features[:-1], nn.relu(preact)], [*backbone.preacts[:-1], preact]
        return layers.outputs(global_pool(features[-1]), self.num_classes, features, preacts)


def simkd(num_classes: int, student, channels: int, **fields) -> SimKD:
    """The student of SimKD: a network (by name, or a module for 0 classes), a projector, the teacher's classifier.

    Args:
      num_classes: K.
      student: a name in kdjax.models, or a Linen module made with num_classes=0.
      channels: of the teacher's last features.
      fields: side and factor of SimKD; dtype and others go to a student given by name.
    """
    own = {key: fields.pop(key) for key in ("side", "factor") if key in fields}
    return SimKD(num_classes, _network(student, 0, **fields), channels, **own)


def _network(given, num_classes: int, **fields) -> nn.Module:
    if isinstance(given, nn.Module):
        return given
    models = importlib.import_module("kdjax.models")
    if not isinstance(given, str) or not hasattr(models, given):
        raise ValueError(f"{given!r} is neither a Linen module nor a name in kdjax.models")
    return getattr(models, given)(num_classes=num_classes, **fields)


def _pool_to(x, side: int):
    """[B, H, W, C] -> [B, side, side, C], means of squares; x itself where it is no larger."""
    batch, height, width, channels = x.shape
    if not side or height <= side:
        return x
    if height % side or width % side:
        raise ValueError(f"features of {height}x{width} cannot be pooled to {side}x{side} evenly")
    return x.reshape(batch, side, height // side, side, width // side, channels).mean(axis=(2, 4))
