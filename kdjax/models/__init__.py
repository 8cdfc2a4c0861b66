"""Networks that return Outputs, each a function found by its name: `kdjax.models.resnet20(num_classes=10)`.

Every network takes num_classes, dtype (what it computes in; parameters and BatchNorm's statistics stay float32) and
axis_name (the pmap axis over which BatchNorm averages), and is called on images [B, H, W, C] with train=False or True.
Those with BatchNorm take unbiased_variance=True, which keeps its running variance as torch does
(kdjax.models.layers.BatchNorm): `config.student.kwargs = {"unbiased_variance": True}`, for comparisons with torch.
Those for texts take `vocabulary`, the number of its entries, and are called on {"tokens", "mask"} [B, T]
(kdjax.models.text.words), those for searches on a query and its documents (kdjax.models.ranking.encoders), those for
interactions on {"user" [B], "history" [B, T]}.
Its last linear layer is params["classifier"]. Layers are named as in the torch network whose weights it can take
(kdjax.models.pytorch). `kdjax.losses.norms.stage_norms(params)` finds the BatchNorm that makes each of `preacts`.
"""

from kdjax.models.compose import ensemble, peers, simkd
from kdjax.models.dense import mlp
from kdjax.models.interactions import matrix_factorisation, neumf, popularity, sasrec
from kdjax.models.lightgcn import lightgcn
from kdjax.models.ranking.encoders import bi_encoder, cross_encoder
from kdjax.models.ranking.scorer import scorer
from kdjax.models.text.bert import bert
from kdjax.models.text.small import bag_of_words, bilstm, textcnn
from kdjax.models.vision.convnext import convnext_tiny
from kdjax.models.vision.efficientnet_lite import (
    efficientnet_lite0,
    efficientnet_lite1,
    efficientnet_lite2,
    efficientnet_lite3,
    efficientnet_lite4,
)
from kdjax.models.vision.mobilenet import efficientnet_b0, mobilenetv1, mobilenetv2, mobilenetv2_imagenet
from kdjax.models.vision.mobilenetv3 import mobilenetv3_large, mobilenetv3_small
from kdjax.models.vision.resnet import (
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
from kdjax.models.vision.shufflenet import shufflenetv1, shufflenetv2
from kdjax.models.vision.small import convnet, lenet, plain_student, plain_teacher
from kdjax.models.vision.squeezenet import squeezenet
from kdjax.models.vision.vgg import vgg8, vgg11, vgg13, vgg16, vgg19
from kdjax.models.vision.vit import deit_small, deit_tiny
from kdjax.models.vision.wrn import wrn_16_1, wrn_16_2, wrn_40_1, wrn_40_2

FAMILIES = {
    "small": (convnet, lenet, plain_teacher, plain_student),
    "CIFAR": (
        *(resnet8, resnet14, resnet20, resnet32, resnet44, resnet56, resnet110, resnet8x4, resnet32x4),
        *(wrn_16_1, wrn_16_2, wrn_40_1, wrn_40_2, vgg8, vgg11, vgg13, vgg16, vgg19),
        *(resnet50_cifar, mobilenetv2, shufflenetv1, shufflenetv2),
    ),
    "ImageNet": (
        *(resnet18, resnet34, resnet50, resnet101, mobilenetv1, mobilenetv2_imagenet, mobilenetv3_small),
        *(mobilenetv3_large, squeezenet, efficientnet_b0, efficientnet_lite0, efficientnet_lite1, efficientnet_lite2),
        *(efficientnet_lite3, efficientnet_lite4, convnext_tiny, deit_tiny, deit_small),
    ),
    "texts": (bert, bilstm, textcnn, bag_of_words),
    "numbers": (mlp,),
    "lists": (scorer,),
    "searches": (bi_encoder, cross_encoder),
    "interactions": (matrix_factorisation, neumf, lightgcn, sasrec, popularity),
    "made of others": (ensemble, peers, simkd),
}
"""The inputs that a network is made for -> networks, in the order in which `kdjax list models` shows them."""
