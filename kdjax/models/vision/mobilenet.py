"""MobileNets 1 and 2 and EfficientNet: networks of depthwise separable convolutions.

The CIFAR network of the CRD benchmark is `mobilenetv2`; that of ImageNet, as in torchvision, is `mobilenetv2_imagenet`.
Blocks of MobileNetV2 and EfficientNet end without activation, so their taps are the same in `features` and `preacts`.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.models.layers import Layers, global_pool, torch_default, uniform
from kdjax.types import Outputs


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, channel gate if any, 1x1 projection; plus x where shapes agree."""

    layers: Layers
    width: int
    stride: int
    hidden: int  # channels of the depthwise convolution
    names: tuple[tuple[str, str], ...]  # of convolution and BatchNorm; two pairs instead of three: no expansion
    kernel: int = 3
    activation: Callable = nn.relu6
    padding: str | None = None  # of the depthwise convolution, as of Layers.conv
    gate: str = ""  # name of the squeeze-and-excitation; "": none
    squeezed: int = 0  # its channels in between
    gate_activations: tuple[Callable, Callable] = (nn.silu, nn.sigmoid)

    @nn.compact
    def __call__(self, x):
        conv_norm, y = self.layers.conv_norm, x
        *expansion, depthwise, projection = self.names
        for names in expansion:
            y = self.activation(conv_norm(y, self.hidden, 1, names))
        options = dict(stride=self.stride, groups=self.hidden, padding=self.padding)
        y = self.activation(conv_norm(y, self.hidden, self.kernel, depthwise, **options))
        if self.gate:
            y = y * SqueezeExcitation(self.layers, self.squeezed, self.gate_activations, name=self.gate)(y)
        y = conv_norm(y, self.width, 1, projection)
        return x + y if x.shape == y.shape else y


class SqueezeExcitation(nn.Module):
    """A factor in 0..1 for each channel, from their means over positions. Hu et al. 2017, arXiv:1709.01507."""

    layers: Layers
    squeezed: int  # channels in between
    activations: tuple[Callable, Callable]  # after each of the two layers

    @nn.compact
    def __call__(self, x):  # [B, H, W, C] -> [B, 1, 1, C]
        y = jnp.mean(x, axis=(1, 2), keepdims=True)
        inner, outer = self.activations
        y = inner(self.layers.conv(y, self.squeezed, 1, "fc1", bias=True))
        return outer(self.layers.conv(y, x.shape[-1], 1, "fc2", bias=True))


class MobileNetV1(nn.Module):
    """Howard et al. 2017, arXiv:1704.04861. Taps: the stem and the last block at each size. Torch's default start."""

    num_classes: int
    dtype: Any = jnp.float32
    axis_name: str | None = None
    unbiased_variance: bool = False

    @nn.compact
    def __call__(self, image, train: bool = False) -> Outputs:
        layers = Layers(self.dtype, self.axis_name, train, torch_default, unbiased_variance=self.unbiased_variance)
        preacts = [layers.conv_norm(image, 32, 3, ("model_0_0", "model_0_1"), stride=2)]
        features = [nn.relu(preacts[0])]
        x, block = features[0], 1
        for width, strides in ((64, (1,)), (128, (2, 1)), (256, (2, 1)), (512, (2, 1, 1, 1, 1, 1)), (1024, (2, 1))):
            for stride in strides:
                names = [f"model_{block}_{i}" for i in (0, 1, 3, 4)]
                x = nn.relu(layers.conv_norm(x, x.shape[-1], 3, names[:2], stride=stride, groups=x.shape[-1]))
                preact = layers.conv_norm(x, width, 1, names[2:])
                x, block = nn.relu(preact), block + 1
            if width > 64:
                preacts.append(preact)
                features.append(x)
        return layers.outputs(global_pool(x), self.num_classes, features, preacts)


class MobileNetV2Cifar(nn.Module):
    """Sandler et al. 2018, arXiv:1801.04381, half as wide, with ReLU, and with smaller strides for 32x32.

    Taps: the stem at half of the image's size, then the ends of stages 2, 3, 5 and 7. `embedding` is 1280 wide.
    """

    num_classes: int
    width: float = 0.5  # times the paper's channels
    expansion: int = 6
    dtype: Any = jnp.float32
    axis_name: str | None = None
    unbiased_variance: bool = False

    @nn.compact
    def __call__(self, image, train: bool = False) -> Outputs:
        layers = Layers(self.dtype, self.axis_name, train, unbiased_variance=self.unbiased_variance)
        names = (("conv_0", "conv_1"), ("conv_3", "conv_4"), ("conv_6", "conv_7"))
        preacts = [layers.conv_norm(image, int(32 * self.width), 3, ("conv1_0", "conv1_1"), stride=2)]
        features = [nn.relu(preacts[0])]
        x = features[0]
        stages = ((16, 1, 1), (24, 2, 1), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
        for stage, (channels, blocks, stride) in enumerate(stages):
            for i in range(blocks):
                hidden = x.shape[-1] * (self.expansion if stage > 0 else 1)
                options = dict(hidden=hidden, names=names, activation=nn.relu, name=f"blocks_{stage}_{i}")
                x = InvertedResidual(layers, int(channels * self.width), stride if i == 0 else 1, **options)(x)
            if stage in (1, 2, 4, 6):
                preacts.append(x)
                features.append(x)
        x = nn.relu(layers.conv_norm(x, 1280, 1, ("conv2_0", "conv2_1")))
        inits = dict(kernel_init=nn.initializers.normal(0.01), bias_init=nn.initializers.zeros)
        return layers.outputs(global_pool(x), self.num_classes, features, preacts, **inits)


class MobileNetV2(nn.Module):
    """Sandler et al. 2018, arXiv:1801.04381. Taps: the stem and the last block at each size. Without dropout."""

    num_classes: int
    dtype: Any = jnp.float32
    axis_name: str | None = None
    unbiased_variance: bool = False

    @nn.compact
    def __call__(self, image, train: bool = False) -> Outputs:
        layers = Layers(self.dtype, self.axis_name, train, unbiased_variance=self.unbiased_variance)
        preacts = [layers.conv_norm(image, 32, 3, ("features_0_0", "features_0_1"), stride=2)]
        features = [nn.relu6(preacts[0])]
        x, block = features[0], 1
        stages = (
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        )
        for stage, (expansion, width, blocks, stride) in enumerate(stages):
            names = (("conv_0_0", "conv_0_1"), ("conv_1_0", "conv_1_1"), ("conv_2", "conv_3"))
            if expansion == 1:
                names = (("conv_0_0", "conv_0_1"), ("conv_1", "conv_2"))
            for i in range(blocks):
                options = dict(hidden=expansion * x.shape[-1], names=names, name=f"features_{block}")
                x = InvertedResidual(layers, width, stride if i == 0 else 1, **options)(x)
                block += 1
            if stage in (1, 2, 4, 6):
                preacts.append(x)
                features.append(x)
        x = nn.relu6(layers.conv_norm(x, 1280, 1, (f"features_{block}_0", f"features_{block}_1")))
        inits = dict(kernel_init=nn.initializers.normal(0.01), bias_init=nn.initializers.zeros)
        return layers.outputs(global_pool(x), self.num_classes, features, preacts, **inits)


class EfficientNet(nn.Module):
    """B0 of Tan and Le 2019, arXiv:1905.11946. Taps as in MobileNetV2. Without dropout and stochastic depth."""

    num_classes: int
    dtype: Any = jnp.float32
    axis_name: str | None = None
    unbiased_variance: bool = False

    @nn.compact
    def __call__(self, image, train: bool = False) -> Outputs:
        layers = Layers(self.dtype, self.axis_name, train, unbiased_variance=self.unbiased_variance)
        preacts = [layers.conv_norm(image, 32, 3, ("features_0_0", "features_0_1"), stride=2)]
        features = [nn.silu(preacts[0])]
        x = features[0]
        stages = (  # expansion, width, blocks, stride, kernel
            *((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3)),
            *((6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)),
        )
        for stage, (expansion, width, blocks, stride, kernel) in enumerate(stages, start=1):
            *before, gate, last = range(4 if expansion > 1 else 3)
            names = tuple((f"block_{i}_0", f"block_{i}_1") for i in (*before, last))
            options = dict(names=names, kernel=kernel, activation=nn.silu, gate=f"block_{gate}")
            for i in range(blocks):
                sizes = dict(hidden=expansion * x.shape[-1], squeezed=max(1, x.shape[-1] // 4))
                options |= sizes | {"name": f"features_{stage}_{i}"}
                x = InvertedResidual(layers, width, stride if i == 0 else 1, **options)(x)
            if stage in (2, 3, 5, 7):
                preacts.append(x)
                features.append(x)
        x = nn.silu(layers.conv_norm(x, 1280, 1, ("features_8_0", "features_8_1")))
        inits = dict(kernel_init=uniform(max(1, self.num_classes) ** -0.5), bias_init=nn.initializers.zeros)
        return layers.outputs(global_pool(x), self.num_classes, features, preacts, **inits)


def mobilenetv1(num_classes: int, **fields) -> MobileNetV1:
    """MobileNetV1 for ImageNet."""
    return MobileNetV1(num_classes, **fields)


def mobilenetv2(num_classes: int, **fields) -> MobileNetV2Cifar:
    """MobileNetV2 for 32x32, half as wide (T=6, w=0.5)."""
    return MobileNetV2Cifar(num_classes, **fields)


def mobilenetv2_imagenet(num_classes: int, **fields) -> MobileNetV2:
    """MobileNetV2 for ImageNet, of full width."""
    return MobileNetV2(num_classes, **fields)


def efficientnet_b0(num_classes: int, **fields) -> EfficientNet:
    """EfficientNet-B0 for ImageNet."""
    return EfficientNet(num_classes, **fields)
