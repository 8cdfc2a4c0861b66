"""EfficientNet-Lite 0 to 4: EfficientNets for phones, without squeeze-and-excitation and with ReLU6, in timm's names.

Liu 2020, blog.tensorflow.org/2020/03/higher-accuracy-on-vision-models-with-efficientnet-lite.html; after Tan and Le
2019, arXiv:1905.11946. The weights that exist come from TensorFlow and so need its SAME padding, which is uneven at
stride 2 (Layers.conv), and BatchNorm's epsilon of 1e-3. timm calls them tf_efficientnet_lite0 to 4; their pixels are
(x - 127) / 128: mean 0.498 and standard deviation 0.502 of pixels in 0..1.
"""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.models.layers import Layers, divisible, global_pool, uniform
from kdjax.models.vision.mobilenet import InvertedResidual
from kdjax.types import Outputs

STAGES = (  # expansion, width, blocks, stride, kernel
    *((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3)),
    *((6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)),
)
"""Of Lite0."""


class EfficientNetLite(nn.Module):
    """Wider and deeper than Lite0 in all but the stem, the head and the depth of the first and the last stage.

    Taps: the stem, then the last block at each size; blocks end without activation, so `preacts` are the same there.
    `embedding` is 1280 wide. Without dropout and stochastic depth.
    """

    num_classes: int
    width: float = 1.0  # times Lite0's channels
    depth: float = 1.0  # times Lite0's blocks
    dtype: Any = jnp.float32
    axis_name: str | None = None
    unbiased_variance: bool = False

    @nn.compact
    def __call__(self, image, train: bool = False) -> Outputs:
        fields = dict(unbiased_variance=self.unbiased_variance, epsilon=1e-3)
        layers = Layers(self.dtype, self.axis_name, train, **fields)
        preacts = [layers.conv_norm(image, 32, 3, ("conv_stem", "bn1"), stride=2, padding="SAME")]
        features = [nn.relu6(preacts[0])]
        x = features[0]
        for stage, (expansion, width, blocks, stride, kernel) in enumerate(STAGES):
            names = (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3"))
            if expansion == 1:
                names = (("conv_dw", "bn1"), ("conv_pw", "bn2"))
            options = dict(names=names, kernel=kernel, padding="SAME")
            inside = 0 < stage < len(STAGES) - 1
            for i in range(math.ceil(blocks * self.depth) if inside else blocks):
                options |= dict(hidden=expansion * x.shape[-1], name=f"blocks_{stage}_{i}")
                x = InvertedResidual(layers, divisible(width * self.width), stride if i == 0 else 1, **options)(x)
            if stage in (1, 2, 4, 6):
                preacts.append(x)
                features.append(x)
        x = nn.relu6(layers.conv_norm(x, 1280, 1, ("conv_head", "bn2")))
        inits = dict(kernel_init=uniform(max(1, self.num_classes) ** -0.5), bias_init=nn.initializers.zeros)
        return layers.outputs(global_pool(x), self.num_classes, features, preacts, **inits)


def efficientnet_lite0(num_classes: int, **fields) -> EfficientNetLite:
    """EfficientNet-Lite0 for ImageNet, made for 224x224."""
    return EfficientNetLite(num_classes, **fields)


def efficientnet_lite1(num_classes: int, **fields) -> EfficientNetLite:
    """EfficientNet-Lite1 for ImageNet, made for 240x240."""
    return EfficientNetLite(num_classes, 1.0, 1.1, **fields)


def efficientnet_lite2(num_classes: int, **fields) -> EfficientNetLite:
    """EfficientNet-Lite2 for ImageNet, made for 260x260."""
    return EfficientNetLite(num_classes, 1.1, 1.2, **fields)


def efficientnet_lite3(num_classes: int, **fields) -> EfficientNetLite:
    """EfficientNet-Lite3 for ImageNet, made for 280x280, with weights of 300x300 in timm."""
    return EfficientNetLite(num_classes, 1.2, 1.4, **fields)


def efficientnet_lite4(num_classes: int, **fields) -> EfficientNetLite:
    """EfficientNet-Lite4 for ImageNet, made for 300x300, with weights of 380x380 in timm."""
    return EfficientNetLite(num_classes, 1.4, 1.8, **fields)
