"""Wide residual networks for 32x32. Zagoruyko and Komodakis 2016, arXiv:1605.07146; as in the CRD benchmark.

Blocks normalise and activate first, so the end of a stage is a plain sum. As in RepDistiller, `features` are these sums
(the first is the stem's), and `preacts` are what the next BatchNorm makes of them, before its ReLU.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.models.layers import Layers, global_pool
from kdjax.types import Outputs


class PreActivationBlock(nn.Module):
    """BatchNorm, ReLU, 3x3 convolution, twice; plus x, or a 1x1 convolution of relu(bn1(x)) where widths change."""

    layers: Layers
    width: int
    stride: int

    @nn.compact
    def __call__(self, x):
        """x [B, H, W, C] -> (sum [B, H/stride, W/stride, width], bn1(x) [B, H, W, C])."""
        conv, norm = self.layers.conv, self.layers.norm
        normed = norm(x, "bn1")
        active = nn.relu(normed)
        y = nn.relu(norm(conv(active, self.width, 3, "conv1", stride=self.stride), "bn2"))
        y = conv(y, self.width, 3, "conv2")
        if x.shape[-1] != self.width:
            x = conv(active, self.width, 1, "convShortcut", stride=self.stride)
        return x + y, normed


class WideResNet(nn.Module):
    """Three stages of pre-activation blocks, `widen` times 16, 32 and 64 channels wide."""

    num_classes: int
    depth: int  # 6 n + 4, with n blocks a stage
    widen: int
    dtype: Any = jnp.float32
    axis_name: str | None = None
    unbiased_variance: bool = False

    @nn.compact
    def __call__(self, image, train: bool = False) -> Outputs:
        layers = Layers(self.dtype, self.axis_name, train, unbiased_variance=self.unbiased_variance)
        x = layers.conv(image, 16, 3, "conv1")
        features, preacts = [x], [x]
        for stage, width in enumerate((16, 32, 64), start=1):
            for i in range((self.depth - 4) // 6):
                stride = 2 if stage > 1 and i == 0 else 1
                block = PreActivationBlock(layers, width * self.widen, stride, name=f"block{stage}_layer_{i}")
                x, normed = block(x)
                if stage > 1 and i == 0:
                    preacts.append(normed)
            features.append(x)
        preacts.append(layers.norm(x, "bn1"))
        embedding = global_pool(nn.relu(preacts[-1]))
        return layers.outputs(embedding, self.num_classes, features, preacts, bias_init=nn.initializers.zeros)


def wrn_16_1(num_classes: int, **fields) -> WideResNet:
    """WRN-16-1 for 32x32."""
    return WideResNet(num_classes, 16, 1, **fields)


def wrn_16_2(num_classes: int, **fields) -> WideResNet:
    """WRN-16-2 for 32x32."""
    return WideResNet(num_classes, 16, 2, **fields)


def wrn_40_1(num_classes: int, **fields) -> WideResNet:
    """WRN-40-1 for 32x32."""
    return WideResNet(num_classes, 40, 1, **fields)


def wrn_40_2(num_classes: int, **fields) -> WideResNet:
    """WRN-40-2 for 32x32."""
    return WideResNet(num_classes, 40, 2, **fields)
