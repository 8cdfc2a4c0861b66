"""CIFAR-10 with few images: 100 a class for students, a teacher trained on all 5,000; after VID's Table 1.

Ahn et al. 2019 (arXiv:1904.05835) train a WRN-16-1 under a WRN-40-2 on 5,000, 1,000, 500 and 100 images a class, and
find that the fewer there are, the further what matches maps (attention, vid) is ahead of kd. Here a ResNet-8 under the
ResNet-56 whose weights are published, in a budget of two CPU cores; `student=wrn_16_1` is theirs.

    kdjax run --config=configs/cifar10_fewshot.py:weights=resnet56_cifar10.safetensors
    kdjax run --config=configs/cifar10_fewshot.py:weights=resnet56_cifar10.safetensors,shots=500
    kdjax table runs/cifar10_shots* --out=results/cifar10_fewshot

`weights` are those of github.com/akamaster/pytorch_resnet_cifar10 as safetensors; without them the teacher is trained
here, for as many epochs as the students. Every method takes 512 steps of 64 images, whatever the number of images, by
its paper's recipe; nothing is tuned. Which images a student sees depends on the seed; there is no validation split, so
there is no best epoch.

Cost: nine minutes a seed on two CPU cores. Expected (results/cifar10_fewshot, three seeds): student 43.9 %, kd 46.9,
fitnet 51.2, similarity 47.3, attention 38.9.
"""

import cifar10

from kdjax import methods
from kdjax.config import parse_arg

METHODS = ("student", "kd", "dkd", "fitnet", "attention", "nst", "vid", "similarity", "rkd")
EPOCHS, STEPS = 32, 16
"""What is called an epoch here has STEPS steps: with 100 images a class it is one."""


def get_config(arg: str = ""):
    args = parse_arg(arg, **{**cifar10.ARGS, "student": "resnet8"}, shots=100)
    config = cifar10.base(args)
    config.experiment = f"cifar10_shots{args.shots:04d}"
    config.epochs = EPOCHS
    config.steps_per_epoch = STEPS
    config.eval_every_epochs = EPOCHS // 2
    config.optimizer.schedule = "cosine"
    config.data.shots = args.shots
    if args.weights:
        config.data.mean, config.data.std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # the teacher's
        config.teacher.kwargs = {"shortcut": "A"}
    for name in METHODS:
        config.methods[name] = methods.recipe(name, args.teacher, args.student)
    return config
