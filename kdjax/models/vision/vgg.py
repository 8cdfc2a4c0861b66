"""VGG networks with BatchNorm for 32x32. Simonyan and Zisserman 2014, arXiv:1409.1556; as in the CRD benchmark.

Five blocks of 3x3 convolutions, pooled in between, except before the last block of images under 64 pixels; then the
mean over positions and one linear layer. A tap at the end of each block, before pooling.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.models.layers import Layers, global_pool, max_pool
from kdjax.types import Outputs


class VGG(nn.Module):
    """Convolutions have a bias beside their BatchNorm, as in the reference."""

    num_classes: int
    depths: tuple[int, ...]  # convolutions in each block
    dtype: Any = jnp.float32
    axis_name: str | None = None
    unbiased_variance: bool = False

    @nn.compact
    def __call__(self, image, train: bool = False) -> Outputs:
        layers = Layers(self.dtype, self.axis_name, train, unbiased_variance=self.unbiased_variance)
        x, features, preacts = image, [], []
        for block, (depth, width) in enumerate(zip(self.depths, (64, 128, 256, 512, 512), strict=True)):
            if 0 < block < 4 or (block == 4 and image.shape[1] >= 64):
                x = max_pool(x, 2, 2)
            for i in range(depth):
                preact = layers.conv_norm(
                    x, width, 3, (f"block{block}_{3 * i}", f"block{block}_{3 * i + 1}"), bias=True
                )
                x = nn.relu(preact)
            features.append(x)
            preacts.append(preact)
        inits = dict(kernel_init=nn.initializers.normal(0.01), bias_init=nn.initializers.zeros)
        return layers.outputs(global_pool(x), self.num_classes, features, preacts, **inits)


def vgg8(num_classes: int, **fields) -> VGG:
    """VGG-8 with BatchNorm for 32x32."""
    return VGG(num_classes, (1, 1, 1, 1, 1), **fields)


def vgg11(num_classes: int, **fields) -> VGG:
    """VGG-11 with BatchNorm for 32x32."""
    return VGG(num_classes, (1, 1, 2, 2, 2), **fields)


def vgg13(num_classes: int, **fields) -> VGG:
    """VGG-13 with BatchNorm for 32x32."""
    return VGG(num_classes, (2, 2, 2, 2, 2), **fields)


def vgg16(num_classes: int, **fields) -> VGG:
    """VGG-16 with BatchNorm for 32x32."""
    return VGG(num_classes, (2, 2, 3, 3, 3), **fields)


def vgg19(num_classes: int, **fields) -> VGG:
    """VGG-19 with BatchNorm for 32x32."""
    return VGG(num_classes, (2, 2, 4, 4, 4), **fields)
