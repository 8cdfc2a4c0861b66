"""Networks that return Outputs, each a function found by its name: `kdjax.models.resnet20(num_classes=10)`.

Every network takes num_classes, dtype (what it computes in; parameters stay float32) and axis_name (the pmap axis
over which BatchNorm averages), and is called on images [B, H, W, C] with train=False or True.
"""

from kdjax.models.resnet import (
    resnet8,
    resnet8x4,
    resnet14,
    resnet18,
    resnet20,
    resnet32,
    resnet32x4,
    resnet34,
    resnet44,
    resnet50,
    resnet50_cifar,
    resnet56,
    resnet101,
    resnet110,
)
from kdjax.models.small import convnet, lenet, plain_student, plain_teacher

FAMILIES = {
    "small": (convnet, lenet, plain_teacher, plain_student),
    "CIFAR": (
        *(resnet8, resnet14, resnet20, resnet32, resnet44, resnet56, resnet110, resnet8x4, resnet32x4),
        resnet50_cifar,
    ),
    "ImageNet": (resnet18, resnet34, resnet50, resnet101),
}
"""The images a network is made for -> networks, in the order in which `kdjax list models` shows them."""
