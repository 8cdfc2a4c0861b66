"""Small plain networks: for digits, for tests, and for image classification without residual connections."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.models.layers import Layers, flatten, global_pool, max_pool
from kdjax.types import Outputs


class ConvNet(nn.Module):
    """Stages of 3x3 convolution, BatchNorm and ReLU; every stage but the first halves the image; one tap a stage."""

    num_classes: int
    widths: tuple[int, ...] = (16, 32, 64)  # channels of each stage
    depth: int = 1  # convolutions a stage
    dtype: Any = jnp.float32
    axis_name: str | None = None
    unbiased_variance: bool = False

    @nn.compact
    def __call__(self, image, train: bool = False) -> Outputs:
        layers = Layers(self.dtype, self.axis_name, train, unbiased_variance=self.unbiased_variance)
        x, features, preacts = image, [], []
        for stage, width in enumerate(self.widths):
            for i in range(self.depth):
                names = (f"stage{stage + 1}_{i}_conv", f"stage{stage + 1}_{i}_bn")
                preact = layers.conv_norm(x, width, 3, names, stride=2 if stage > 0 and i == 0 else 1)
                x = nn.relu(preact)
            features.append(x)
            preacts.append(preact)
        return layers.outputs(global_pool(x), self.num_classes, features, preacts)


class Plain(nn.Module):
    """3x3 convolutions (with bias, no BatchNorm), ReLU, 2x2 max-pooling, then dense layers; taps before poolings."""

    num_classes: int
    widths: tuple[int, ...]  # channels of the convolutions
    dense: tuple[int, ...]  # widths of the hidden dense layers
    kernel: int = 3
    dtype: Any = jnp.float32
    axis_name: str | None = None  # no BatchNorm here: nothing crosses devices

    @nn.compact
    def __call__(self, image, train: bool = False) -> Outputs:
        smallest = 2 ** len(self.widths)
        if min(image.shape[1:3]) < smallest:
            height, width = image.shape[1:3]
            raise ValueError(f"images of {height}x{width} are too small: {len(self.widths)} poolings need {smallest}")
        layers = Layers(self.dtype, self.axis_name, train)
        x, features, preacts = image, [], []
        for i, width in enumerate(self.widths, start=1):
            preacts.append(layers.conv(x, width, self.kernel, f"conv{i}", bias=True))
            features.append(nn.relu(preacts[-1]))
            x = max_pool(features[-1], 2, 2)
        x = flatten(x)
        for i, width in enumerate(self.dense, start=1):
            x = nn.relu(layers.linear(x, width, f"fc{i}"))
        return layers.outputs(x, self.num_classes, features, preacts)


def convnet(num_classes: int, **fields) -> ConvNet:
    """Conv-BN-ReLU stages of the given widths, halving the image between stages; any image size and channel count."""
    return ConvNet(num_classes, **fields)


def lenet(num_classes: int, **fields) -> Plain:
    """LeNet-5 (LeCun et al. 1998) with ReLU, max-pooling and padded convolutions: images from 4 pixels on."""
    return Plain(num_classes, widths=(6, 16), dense=(120, 84), kernel=5, **fields)


def plain_teacher(num_classes: int, **fields) -> Plain:
    """Four 3x3 convolutions 64-128-256-512, each pooled 2x2, then dense 4096-4096; images from 16 pixels on."""
    return Plain(num_classes, widths=(64, 128, 256, 512), dense=(4096, 4096), **fields)


def plain_student(num_classes: int, **fields) -> Plain:
    """The convolutions of plain_teacher, then one dense layer of 4096; images from 16 pixels on."""
    return Plain(num_classes, widths=(64, 128, 256, 512), dense=(4096,), **fields)
