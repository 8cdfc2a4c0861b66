"""ShuffleNet V1 (Zhang et al. 2017, arXiv:1707.01083) and V2 (Ma et al. 2018, arXiv:1807.11164) for 32x32.

As in the CRD benchmark: a 1x1 stem of 24 channels and no pooling, so that stages end at 16, 8 and 4 positions a side.
All layers start from torch's defaults.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.models.layers import Layers, avg_pool, global_pool, torch_default
from kdjax.types import Outputs


def shuffle(x, groups: int):
    """Interleaves the channels of x [B, H, W, C]: the i-th of each group, for all i."""
    return x.reshape(*x.shape[:-1], groups, -1).swapaxes(-1, -2).reshape(x.shape)


class GroupedBottleneck(nn.Module):
    """V1: grouped 1x1, shuffle, depthwise 3x3, 1x1; plus x, or beside the pooled x at stride 2; no last ReLU."""

    layers: Layers
    width: int  # of the output
    stride: int
    groups: int = 3

    @nn.compact
    def __call__(self, x):
        conv_norm, inputs = self.layers.conv_norm, x.shape[-1]
        first = 1 if inputs == 24 else self.groups  # the stem is too narrow to be split
        width = self.width - inputs if self.stride == 2 else self.width
        middle = width // 4
        y = shuffle(nn.relu(conv_norm(x, middle, 1, ("conv1", "bn1"), groups=first)), first)
        y = nn.relu(conv_norm(y, middle, 3, ("conv2", "bn2"), stride=self.stride, groups=middle))
        y = conv_norm(y, width, 1, ("conv3", "bn3"), groups=self.groups)
        if self.stride == 1:
            return y + x
        return jnp.concatenate([y, avg_pool(x, 3, 2, padding=1)], axis=-1)


class ShuffleNetV1(nn.Module):
    """Three groups; stages of 4, 8 and 4 blocks, 240, 480 and 960 channels wide. `preacts` are the sums before ReLU."""

    num_classes: int
    dtype: Any = jnp.float32
    axis_name: str | None = None
    unbiased_variance: bool = False

    @nn.compact
    def __call__(self, image, train: bool = False) -> Outputs:
        layers = Layers(self.dtype, self.axis_name, train, torch_default, unbiased_variance=self.unbiased_variance)
        preacts = [layers.conv_norm(image, 24, 1, ("conv1", "bn1"))]
        features = [nn.relu(preacts[0])]
        x = features[0]
        for stage, (blocks, width) in enumerate(((4, 240), (8, 480), (4, 960)), start=1):
            for i in range(blocks):
                preact = GroupedBottleneck(layers, width, 2 if i == 0 else 1, name=f"layer{stage}_{i}")(x)
                x = nn.relu(preact)
            features.append(x)
            preacts.append(preact)
        return layers.outputs(global_pool(x), self.num_classes, features, preacts)


class SplitBlock(nn.Module):
    """V2: half of the channels passes by, the other through 1x1, depthwise 3x3 and 1x1 convolutions; then a shuffle.

    Gives the block before its last ReLU. The half that passes by is positive already, so ReLU of all is the block.
    """

    layers: Layers

    @nn.compact
    def __call__(self, x):
        conv_norm = self.layers.conv_norm
        kept, y = jnp.split(x, 2, axis=-1)
        width = y.shape[-1]
        y = nn.relu(conv_norm(y, width, 1, ("conv1", "bn1")))
        y = conv_norm(y, width, 3, ("conv2", "bn2"), groups=width)
        y = conv_norm(y, width, 1, ("conv3", "bn3"))
        return shuffle(jnp.concatenate([kept, y], axis=-1), 2)


class DownBlock(nn.Module):
    """V2: halves the image in two branches that make half of the channels each; before the last ReLU."""

    layers: Layers
    width: int  # of the output

    @nn.compact
    def __call__(self, x):
        conv_norm, inputs, half = self.layers.conv_norm, x.shape[-1], self.width // 2
        left = conv_norm(x, inputs, 3, ("conv1", "bn1"), stride=2, groups=inputs)
        left = conv_norm(left, half, 1, ("conv2", "bn2"))
        right = nn.relu(conv_norm(x, half, 1, ("conv3", "bn3")))
        right = conv_norm(right, half, 3, ("conv4", "bn4"), stride=2, groups=half)
        right = conv_norm(right, half, 1, ("conv5", "bn5"))
        return shuffle(jnp.concatenate([left, right], axis=-1), 2)


class ShuffleNetV2(nn.Module):
    """Size 1: a DownBlock and 3, 7 and 3 SplitBlocks of 116, 232 and 464 channels, then a 1x1 convolution to 1024.

    `embedding` is 1024 wide. RepDistiller's preacts are those here before the shuffle.
    """

    num_classes: int
    dtype: Any = jnp.float32
    axis_name: str | None = None
    unbiased_variance: bool = False

    @nn.compact
    def __call__(self, image, train: bool = False) -> Outputs:
        layers = Layers(self.dtype, self.axis_name, train, torch_default, unbiased_variance=self.unbiased_variance)
        preacts = [layers.conv_norm(image, 24, 1, ("conv1", "bn1"))]
        features = [nn.relu(preacts[0])]
        x = features[0]
        for stage, (blocks, width) in enumerate(((3, 116), (7, 232), (3, 464)), start=1):
            x = nn.relu(DownBlock(layers, width, name=f"layer{stage}_0")(x))
            for i in range(1, blocks + 1):
                preact = SplitBlock(layers, name=f"layer{stage}_{i}")(x)
                x = nn.relu(preact)
            features.append(x)
            preacts.append(preact)
        x = nn.relu(layers.conv_norm(x, 1024, 1, ("conv2", "bn2")))
        return layers.outputs(global_pool(x), self.num_classes, features, preacts)


def shufflenetv1(num_classes: int, **fields) -> ShuffleNetV1:
    """ShuffleNet V1 (3 groups) for 32x32."""
    return ShuffleNetV1(num_classes, **fields)


def shufflenetv2(num_classes: int, **fields) -> ShuffleNetV2:
    """ShuffleNet V2 (size 1) for 32x32."""
    return ShuffleNetV2(num_classes, **fields)
