"""Residual networks for small images and for ImageNet. He et al. 2015, arXiv:1512.03385.

Taps: the stem, then the end of each stage; `preacts` are the sums before the last ReLU of a stage.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.models.layers import Layers, global_pool, max_pool, relu
from kdjax.types import Outputs


class Block(nn.Module):
    """A residual block, without its final ReLU: two 3x3 convolutions, or the 1x1, 3x3, 1x1 bottleneck."""

    layers: Layers
    width: int
    stride: int = 1
    expansion: int = 1  # 4 makes a bottleneck with 4 * width output channels
    shortcut: str = "projection"

    @nn.compact
    def __call__(self, x):  # [B, H, W, C] -> [B, H/stride, W/stride, width * expansion]
        conv_norm, features = self.layers.conv_norm, self.width * self.expansion
        if self.expansion == 1:
            y = relu(conv_norm(x, self.width, 3, ("conv1", "bn1"), stride=self.stride))
            y = conv_norm(y, features, 3, ("conv2", "bn2"))
        else:
            y = relu(conv_norm(x, self.width, 1, ("conv1", "bn1")))
            y = relu(conv_norm(y, self.width, 3, ("conv2", "bn2"), stride=self.stride))
            y = conv_norm(y, features, 1, ("conv3", "bn3"))
        if x.shape == y.shape:
            return y + x
        if self.shortcut == "A":
            return y + _subsample_and_pad(x, self.stride, features).astype(y.dtype)
        return y + conv_norm(x, features, 1, ("downsample_0", "downsample_1"), stride=self.stride)


def _subsample_and_pad(x, stride: int, features: int):
    """The parameter-free shortcut ("option A" of the paper): subsampled, with zero channels on both sides."""
    missing = features - x.shape[-1]
    before = missing // 2
    return jnp.pad(x[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (before, missing - before)))


class ResNet(nn.Module):
    """Stem, stages of residual blocks that halve the image from the second on, mean over positions, classifier."""

    num_classes: int
    blocks: tuple[int, ...]  # a stage
    widths: tuple[int, ...] = (16, 32, 64)  # a stage
    stem: int = 16  # channels
    expansion: int = 1
    imagenet: bool = False  # stem of a 7x7 convolution and a pooling, which together divide the image by 4
    shortcut: str = "projection"  # where shapes change: 1x1 convolution and BatchNorm; "A": no parameters
    dtype: Any = jnp.float32
    axis_name: str | None = None
    unbiased_variance: bool = False

    @nn.compact
    def __call__(self, image, train: bool = False) -> Outputs:
        if self.shortcut not in ("projection", "A"):
            raise ValueError(f"unknown shortcut {self.shortcut!r} of a ResNet; valid are 'projection' and 'A'")
        layers = Layers(self.dtype, self.axis_name, train, unbiased_variance=self.unbiased_variance)
        kernel, stride = (7, 2) if self.imagenet else (3, 1)
        preacts = [layers.conv_norm(image, self.stem, kernel, ("conv1", "bn1"), stride=stride)]
        features = [relu(preacts[0])]
        x = max_pool(features[0], 3, 2, padding=1) if self.imagenet else features[0]
        for stage, (blocks, width) in enumerate(zip(self.blocks, self.widths, strict=True), start=1):
            for i in range(blocks):
                stride = 2 if stage > 1 and i == 0 else 1
                block = Block(layers, width, stride, self.expansion, self.shortcut, name=f"layer{stage}_{i}")
                preact = block(x)
                x = relu(preact)
            preacts.append(preact)
            features.append(x)
        return layers.outputs(global_pool(x), self.num_classes, features, preacts)


def resnet8(num_classes: int, **fields) -> ResNet:
    """ResNet-8 for 32x32; shortcut="A" for parameter-free shortcuts, here and below."""
    return ResNet(num_classes, (1, 1, 1), **fields)


def resnet14(num_classes: int, **fields) -> ResNet:
    """ResNet-14 for 32x32."""
    return ResNet(num_classes, (2, 2, 2), **fields)


def resnet20(num_classes: int, **fields) -> ResNet:
    """ResNet-20 for 32x32."""
    return ResNet(num_classes, (3, 3, 3), **fields)


def resnet32(num_classes: int, **fields) -> ResNet:
    """ResNet-32 for 32x32."""
    return ResNet(num_classes, (5, 5, 5), **fields)


def resnet44(num_classes: int, **fields) -> ResNet:
    """ResNet-44 for 32x32."""
    return ResNet(num_classes, (7, 7, 7), **fields)


def resnet56(num_classes: int, **fields) -> ResNet:
    """ResNet-56 for 32x32."""
    return ResNet(num_classes, (9, 9, 9), **fields)


def resnet110(num_classes: int, **fields) -> ResNet:
    """ResNet-110 for 32x32."""
    return ResNet(num_classes, (18, 18, 18), **fields)


def resnet8x4(num_classes: int, **fields) -> ResNet:
    """ResNet-8 for 32x32, four times as wide after a stem of 32 channels."""
    return ResNet(num_classes, (1, 1, 1), (64, 128, 256), 32, **fields)


def resnet32x4(num_classes: int, **fields) -> ResNet:
    """ResNet-32 for 32x32, four times as wide after a stem of 32 channels."""
    return ResNet(num_classes, (5, 5, 5), (64, 128, 256), 32, **fields)


def resnet50_cifar(num_classes: int, **fields) -> ResNet:
    """ResNet-50 for 32x32: that of ImageNet with a 3x3 stem that keeps the image's size."""
    return ResNet(num_classes, (3, 4, 6, 3), (64, 128, 256, 512), 64, expansion=4, **fields)


def resnet18(num_classes: int, **fields) -> ResNet:
    """ResNet-18 for ImageNet."""
    return _imagenet(num_classes, (2, 2, 2, 2), **fields)


def resnet34(num_classes: int, **fields) -> ResNet:
    """ResNet-34 for ImageNet."""
    return _imagenet(num_classes, (3, 4, 6, 3), **fields)


def resnet50(num_classes: int, **fields) -> ResNet:
    """ResNet-50 for ImageNet, the stride on the 3x3 convolution as in torchvision."""
    return _imagenet(num_classes, (3, 4, 6, 3), expansion=4, **fields)


def resnet101(num_classes: int, **fields) -> ResNet:
    """ResNet-101 for ImageNet."""
    return _imagenet(num_classes, (3, 4, 23, 3), expansion=4, **fields)


def _imagenet(num_classes, blocks, **fields):
    return ResNet(num_classes, blocks, (64, 128, 256, 512), 64, imagenet=True, **fields)
