"""MobileNetV3 small and large of Howard et al. 2019, arXiv:1905.02244, as in torchvision."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from kdjax.models.layers import Layers, divisible, global_pool
from kdjax.models.vision.mobilenet import InvertedResidual
from kdjax.types import Outputs


class Row(NamedTuple):
    """A block, as in the paper's Tables 1 and 2."""

    kernel: int
    hidden: int
    width: int
    gate: bool  # squeeze-and-excitation
    hard_swish: bool  # otherwise ReLU
    stride: int


LARGE = (
    *(Row(3, 16, 16, False, False, 1), Row(3, 64, 24, False, False, 2), Row(3, 72, 24, False, False, 1)),
    *(Row(5, 72, 40, True, False, 2), Row(5, 120, 40, True, False, 1), Row(5, 120, 40, True, False, 1)),
    *(Row(3, 240, 80, False, True, 2), Row(3, 200, 80, False, True, 1)),
    *(Row(3, 184, 80, False, True, 1), Row(3, 184, 80, False, True, 1)),
    *(Row(3, 480, 112, True, True, 1), Row(3, 672, 112, True, True, 1)),
    *(Row(5, 672, 160, True, True, 2), Row(5, 960, 160, True, True, 1), Row(5, 960, 160, True, True, 1)),
)
SMALL = (
    *(Row(3, 16, 16, True, False, 2), Row(3, 72, 24, False, False, 2), Row(3, 88, 24, False, False, 1)),
    *(Row(5, 96, 40, True, True, 2), Row(5, 240, 40, True, True, 1), Row(5, 240, 40, True, True, 1)),
    *(Row(5, 120, 48, True, True, 1), Row(5, 144, 48, True, True, 1)),
    *(Row(5, 288, 96, True, True, 2), Row(5, 576, 96, True, True, 1), Row(5, 576, 96, True, True, 1)),
)


class MobileNetV3(nn.Module):
    """Taps: the stem, then the last block at each smaller size; without activation, so `preacts` are the same there.

    `embedding` is what the last of two dense layers sees, after hard-swish. Without dropout.
    """

    num_classes: int
    rows: tuple[Row, ...]
    last: int  # width of the embedding
    momentum: float = 0.01  # of BatchNorm, torchvision's; 0.1, as elsewhere, where a training has some hundred steps
    dtype: Any = jnp.float32
    axis_name: str | None = None
    unbiased_variance: bool = False

    @nn.compact
    def __call__(self, image, train: bool = False) -> Outputs:
        fields = dict(unbiased_variance=self.unbiased_variance, momentum=self.momentum, epsilon=1e-3)
        layers = Layers(self.dtype, self.axis_name, train, **fields)
        preacts = [layers.conv_norm(image, 16, 3, ("features_0_0", "features_0_1"), stride=2)]
        features = [nn.hard_swish(preacts[0])]
        x = features[0]
        halving = [i for i, row in enumerate(self.rows) if row.stride == 2]
        for i, row in enumerate(self.rows, start=1):
            x = InvertedResidual(layers, name=f"features_{i}", **_block(row, x.shape[-1]))(x)
            if i in (*halving[1:], len(self.rows)):
                preacts.append(x)
                features.append(x)
        end = len(self.rows) + 1
        names = (f"features_{end}_0", f"features_{end}_1")
        x = nn.hard_swish(layers.conv_norm(x, 6 * x.shape[-1], 1, names))
        inits = dict(kernel_init=nn.initializers.normal(0.01), bias_init=nn.initializers.zeros)
        x = nn.hard_swish(layers.linear(global_pool(x), self.last, "classifier_0", **inits))
        return layers.outputs(x, self.num_classes, features, preacts, **inits)


def _block(row: Row, channels: int) -> dict:
    """The fields of the InvertedResidual that a row describes, on a map of so many channels."""
    *before, gate, last = range(2 + (row.hidden != channels) + row.gate)
    if not row.gate:
        before.append(gate)
    return dict(
        width=row.width,
        stride=row.stride,
        hidden=row.hidden,
        names=tuple((f"block_{i}_0", f"block_{i}_1") for i in (*before, last)),
        kernel=row.kernel,
        activation=nn.hard_swish if row.hard_swish else nn.relu,
        gate=f"block_{gate}" if row.gate else "",
        squeezed=divisible(row.hidden // 4),
        gate_activations=(nn.relu, nn.hard_sigmoid),
    )


def mobilenetv3_small(num_classes: int, **fields) -> MobileNetV3:
    """MobileNetV3-small for ImageNet; momentum=0.1 for BatchNorm in short trainings."""
    return MobileNetV3(num_classes, SMALL, 1024, **fields)


def mobilenetv3_large(num_classes: int, **fields) -> MobileNetV3:
    """MobileNetV3-large for ImageNet; momentum=0.1 for BatchNorm in short trainings."""
    return MobileNetV3(num_classes, LARGE, 1280, **fields)
