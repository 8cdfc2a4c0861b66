"""SqueezeNet 1.1 for ImageNet. Iandola et al. 2016, arXiv:1602.07360, as in torchvision."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.models.layers import Layers, global_pool, max_pool
from kdjax.types import Outputs

_kaiming_uniform = nn.initializers.variance_scaling(2.0, "fan_in", "uniform")


class Fire(nn.Module):
    """A 1x1 convolution, then a 1x1 and a 3x3 side by side; before the last ReLU."""

    layers: Layers
    squeezed: int
    expanded: int  # channels of each of the two

    @nn.compact
    def __call__(self, x):  # [B, H, W, C] -> [B, H, W, 2 * expanded]
        x = nn.relu(self.layers.conv(x, self.squeezed, 1, "squeeze", bias=True))
        sides = [self.layers.conv(x, self.expanded, kernel, f"expand{kernel}x{kernel}", bias=True) for kernel in (1, 3)]
        return jnp.concatenate(sides, axis=-1)


class SqueezeNet(nn.Module):
    """Taps: the stem, then the end of the fire modules at each size. No BatchNorm. Without dropout.

    The classifier is a 1x1 convolution with a ReLU, averaged over positions: so `embedding`, the mean of the last
    features, is not quite the classifier's input.
    """

    num_classes: int
    dtype: Any = jnp.float32
    axis_name: str | None = None  # no BatchNorm here: nothing crosses devices

    @nn.compact
    def __call__(self, image, train: bool = False) -> Outputs:
        layers = Layers(self.dtype, self.axis_name, train, _kaiming_uniform)
        preacts = [layers.conv(image, 64, 3, "features_0", stride=2, padding=0, bias=True)]
        features = [nn.relu(preacts[0])]
        index = 3
        for fires in (((16, 64), (16, 64)), ((32, 128), (32, 128)), ((48, 192), (48, 192), (64, 256), (64, 256))):
            x = _pool(features[-1])
            for squeezed, expanded in fires:
                preact = Fire(layers, squeezed, expanded, name=f"features_{index}")(x)
                x, index = nn.relu(preact), index + 1
            features.append(x)
            preacts.append(preact)
            index += 1
        classifier = nn.Conv(
            self.num_classes, (1, 1), dtype=self.dtype, kernel_init=nn.initializers.normal(0.01), name="classifier"
        )
        logits = global_pool(nn.relu(classifier(x)).astype(jnp.float32))
        return Outputs(logits, tuple(features), tuple(preacts), global_pool(x))


def _pool(x):
    """3x3 max-pooling with stride 2 whose last window may reach over the edge (torch's ceil_mode)."""
    padding = tuple((0, (size - 3) % 2) for size in x.shape[1:3])
    return max_pool(x, 3, 2, padding)


def squeezenet(num_classes: int, **fields) -> SqueezeNet:
    """SqueezeNet 1.1 for ImageNet."""
    return SqueezeNet(num_classes, **fields)
