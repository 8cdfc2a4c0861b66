r"""The shop's case with a teacher that knows ImageNet: EfficientNet-Lite0 fine-tuned at 224 pixels, students at 96.

Images as in configs/products.py, but of 224 pixels. `start` is a file of ImageNet weights in timm's names
(timm/tf_efficientnet_lite0.in1k), whose pixels are (x - 127) / 128. Teacher and students see the same augmented views,
made smaller on the device for the students.

    kdjax run --config=configs/products_lite.py:path=grocery_store_224,start=tf_efficientnet_lite0.safetensors
    kdjax run --config=configs/products_lite.py:path=grocery_store_224,start=...,student=lenet,methods=student+kd
    kdjax run --config=configs/products_lite.py:path=grocery_store_224,run=runs/x/teacher/seed0,student=lenet
    kdjax run --config=configs/products_lite.py:path=grocery_store_224,run=...,shots=5

The teacher is fine-tuned for a few epochs: its classifier at the learning rate, its other layers at a tenth, BatchNorm
as ImageNet left it. On CPU cores its pass at 224 pixels takes most of a student's step, and every method of a seed
that sees the same images shares it: give all methods of a seed to one run. With views=4 it looks once at four augmented
views of each image, of which the epochs take one in turn (execution.teach_once). `begin` is a file of weights that
students start from. With `shots` an epoch has `steps` steps for all, and a method sees those labelled images alone,
unless its name ends in _unlabelled: then the others, too, on which the teacher alone is followed.

Expected, LeNet at 64 pixels, three to five seeds (results/grocery): teacher 73.6 %; with 1, 2, 5 and 10 labels a class
student 2.8, 3.4, 7.9, 13.7, kd 4.3, 5.1, 8.3, 15.8, kd_unlabelled 25.9, 23.0, 23.0, 26.7.
"""

import products

from kdjax import methods
from kdjax.config import parse_arg

METHODS = "student+kd+dkd+dist+pkt"
FEW = "student+kd+kd_unlabelled+dist_unlabelled"
"""Unless `methods` names others: with all labels, and with `shots`."""
PIXELS = {"mean": (127 / 255,) * 3, "std": (128 / 255,) * 3}
"""Of TensorFlow's EfficientNet-Lite: (x - 127) / 128 of pixels 0..255."""


def get_config(arg: str = ""):
    args = parse_arg(arg, **ARGS)
    config = products.base(args)
    config.experiment = f"products_lite_{args.student}" + (f"_{args.shots}shots" if args.shots else "")
    config.execution.eval_batch_size = 64
    config.execution.teach_once, config.data.views = args.views > 0, args.views
    config.batch_size, config.teacher.batch_size = args.batch, 32
    config.data.augment = {}
    config.data.augment.random_resized_crop = {"scale": (0.5, 1.0)}
    config.data.augment.flip = {}
    config.data.shots, config.steps_per_epoch = args.shots, args.steps if args.shots else 0
    config.optimizer.learning_rate = methods.learning_rate(args.student) * args.batch / 32
    _teacher(config, args)
    config.student.start = args.begin
    for name in (args.methods or (FEW if args.shots else METHODS)).split("+"):
        spec = products.recipe(name.removesuffix("_unlabelled"), args)
        config.methods[name] = {**spec, "data": {"unlabelled": True}} if name.endswith("_unlabelled") else spec
    return config


ARGS = dict(path="", size=96, teacher="efficientnet_lite0", student="mobilenetv2", epochs=30, batch=64)
ARGS |= dict(start="", weights="", run="", begin="", shots=0, steps=40, methods="", pixels=224, tuning=6, views=0)
"""`pixels` are the teacher's, `tuning` the epochs of its fine-tuning."""


def _teacher(config, args) -> None:
    config.teacher.image_size = args.pixels
    config.teacher.mean, config.teacher.std = PIXELS["mean"], PIXELS["std"]
    config.teacher.run = args.run
    if args.run:
        config.teacher.model = config.teacher.start = ""
    config.teacher.epochs = args.tuning
    config.teacher.optimizer = {
        "learning_rate": 0.02,
        "warmup_epochs": 0.0,
        "frozen_batch_norm": True,
        "rates": {"student": 0.1, "student/classifier": 1.0},
    }
