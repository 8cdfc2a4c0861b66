"""CIFAR-10 on one GPU in minutes: seven methods in a tenth of the CRD benchmark's recipe (Tian et al. 2020).

24 epochs instead of 240, the learning rate divided by 10 after epochs 15, 18 and 21, warm-ups of 2 epochs instead of
20; the rest is configs/cifar10.py: batch 64, SGD, crops and flips, no validation split. The teacher is trained here.

    kdjax run --config=configs/cifar10_gpu.py

`data` names a file that scripts/gpu --pack has written, for machines without TensorFlow Datasets' packages:

    kdjax run --config=configs/cifar10_gpu.py:data=cifar10.npz

scripts/gpu result runs it in as many calls as it takes. Cost: minutes a seed on one GPU, estimated, not yet measured.
"""

import cifar10
import numpy as np

from kdjax import methods
from kdjax.config import parse_arg
from kdjax.data import Arrays, Dataset
from kdjax.data.images.encoded import Encoded

METHODS = ("student", "kd", "attention", "crd", "dkd", "reviewkd", "dist")
SHORTER = 10


def get_config(arg: str = ""):
    args = parse_arg(arg, data="", epochs=24)
    config = cifar10.base(parse_arg("", **cifar10.ARGS))
    config.experiment = "cifar10_gpu"
    config.epochs = args.epochs
    config.eval_every_epochs = 4
    config.optimizer.milestones = tuple(epoch * args.epochs // 240 for epoch in (150, 180, 210))
    if args.data:
        config.data.source = "cifar10_gpu.packed"
        config.data.path = args.data
    for name in METHODS:
        config.methods[name] = methods.recipe(name, config.teacher.model, config.student.model)
        for term in config.methods[name].values():
            if "warmup_epochs" in term:
                term.warmup_epochs = term.warmup_epochs // SHORTER
    return config


def packed(config) -> Dataset:
    """The data set in the .npz file `config.path`: the images' files end to end, where each ends, labels, names."""
    with np.load(config.path) as file:
        stored = dict(file)

    def arrays(split):
        ends, content = stored[f"{split}_ends"], stored[f"{split}_bytes"].tobytes()
        items = [content[start:end] for start, end in zip((0, *ends[:-1]), ends, strict=True)]
        names = [f"{split}[{number}]" for number in range(len(items))]
        held = [np.array([*values, None], object)[:-1] for values in (items, names)]
        return Arrays(Encoded(*held, config.image_size), stored[f"{split}_label"])

    return Dataset(arrays("train"), None, arrays("test"), tuple(map(str, stored["classes"])), str(stored["name"]))
