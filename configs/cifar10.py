"""CIFAR-10 through TensorFlow Datasets, every method, in the recipe of the CRD benchmark (Tian et al. 2020).

240 epochs of batch 64, SGD with momentum 0.9, weight decay 5e-4, learning rate 0.05 divided by 10 after epochs 150,
180 and 210; random crops with 4 black pixels around, flips. No validation split, as in the benchmark, so there is no
best epoch. The teacher is trained here unless `weights` names a .safetensors file of PyTorch weights.

    kdjax run --config=configs/cifar10.py:teacher=resnet56,student=resnet20
    kdjax run --config=configs/cifar10.py:teacher=resnet56,student=resnet20 \
        --config.epochs=2 --config.data.train_examples=2048 --seeds=0 --only=student,kd  # minutes on a CPU

Weights are read into the architecture that is named, and images normalised as the weights were trained; the ResNets of
akamaster/pytorch_resnet_cifar10, for one, have parameter-free shortcuts and ImageNet's statistics:

    kdjax run --config=configs/cifar10.py:teacher=resnet20,student=resnet8,weights=resnet20_cifar10.safetensors \
        --config.teacher.kwargs.shortcut=A --config.data.mean=0.485,0.456,0.406 --config.data.std=0.229,0.224,0.225

TFDS_DATA_DIR says where the data lies. Cost: hours for each method and seed on one GPU.
"""

import digits

from kdjax import methods
from kdjax.config import default, parse_arg


def get_config(arg: str = ""):
    config = base(parse_arg(arg, **ARGS))
    for name in digits.METHODS:
        config.methods[name] = methods.recipe(name, config.teacher.model, config.student.model)
    return config


ARGS = dict(teacher="resnet56", student="resnet20", weights="")


def base(args):
    """Data, networks and optimizer, without methods."""
    config = default()
    config.experiment = f"cifar10_{args.teacher}_{args.student}"
    config.seeds = (0, 1, 2)
    config.epochs = 240
    config.batch_size = 64
    config.keep_last_batch = True
    config.eval_every_epochs = 10
    config.data.source = "tfds"
    config.data.name = "cifar10"
    config.data.mean, config.data.std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    config.data.augment.random_crop = {"padding": 4}
    config.data.augment.flip = {}
    config.teacher.model = args.teacher
    config.teacher.weights = args.weights
    config.student.model = args.student
    config.optimizer.learning_rate = 0.05
    config.optimizer.weight_decay = 5e-4
    config.optimizer.schedule = "step"
    config.optimizer.milestones = (150, 180, 210)
    return config
