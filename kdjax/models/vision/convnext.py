"""ConvNeXt of Liu et al. 2022, arXiv:2201.03545, in timm's names."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.models.layers import Layers, global_pool, layer_norm
from kdjax.types import Outputs

_INITS = dict(kernel_init=nn.initializers.normal(0.02), bias_init=nn.initializers.zeros)


class Block(nn.Module):
    """x plus: 7x7 depthwise convolution, LayerNorm, two dense layers with GELU between, a factor for each channel."""

    layers: Layers

    @nn.compact
    def __call__(self, x):  # [B, H, W, C] -> [B, H, W, C]
        width = x.shape[-1]
        y = layer_norm(self.layers.conv(x, width, 7, "conv_dw", groups=width, bias=True), "norm")
        y = nn.gelu(self.layers.linear(y, 4 * width, "mlp_fc1", **_INITS), approximate=False)
        y = self.layers.linear(y, width, "mlp_fc2", **_INITS)
        gamma = self.param("gamma", nn.initializers.constant(1e-6), (width,))
        return x + y * gamma.astype(y.dtype)[None, None, None]


class ConvNeXt(nn.Module):
    """Patches of 4x4, then stages, each but the first after a 2x2 convolution that halves the map.

    Taps: the normalised patches, then the end of each stage; no activation follows, so `preacts` are the same.
    `embedding` is normalised. Without stochastic depth.
    """

    num_classes: int
    blocks: tuple[int, ...]  # a stage
    widths: tuple[int, ...]  # a stage
    dtype: Any = jnp.float32
    axis_name: str | None = None  # no BatchNorm here: nothing crosses devices

    @nn.compact
    def __call__(self, image, train: bool = False) -> Outputs:
        height, width = image.shape[1:3]
        least = 4 * 2 ** (len(self.blocks) - 1)
        if min(height, width) < least:
            raise ValueError(f"images of {height}x{width} are too small for this ConvNeXt, which needs {least}x{least}")
        layers = Layers(self.dtype, self.axis_name, train, _INITS["kernel_init"])
        x = layers.conv(image, self.widths[0], 4, "stem_0", stride=4, padding=0, bias=True)
        x = layer_norm(x, "stem_1")
        features = [x]
        for stage, (blocks, width) in enumerate(zip(self.blocks, self.widths, strict=True)):
            if stage > 0:
                x = layer_norm(x, f"stages_{stage}_downsample_0")
                x = layers.conv(x, width, 2, f"stages_{stage}_downsample_1", stride=2, padding=0, bias=True)
            for i in range(blocks):
                x = Block(layers, name=f"stages_{stage}_blocks_{i}")(x)
            features.append(x)
        return layers.outputs(layer_norm(global_pool(x), "head_norm"), self.num_classes, features, features, **_INITS)


def convnext_tiny(num_classes: int, **fields) -> ConvNeXt:
    """ConvNeXt-tiny for ImageNet; images of 32x32 or more."""
    return ConvNeXt(num_classes, (3, 3, 9, 3), (96, 192, 384, 768), **fields)
