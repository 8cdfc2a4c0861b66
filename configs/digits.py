"""Handwritten digits: twelve ways to distil a convolutional network into one 50 times smaller.

Data: scikit-learn's 1,797 images of 8 x 8 pixels (Alpaydin and Kaynak 1998), in the package; nothing is downloaded.
A fixed stratified split: a fifth for testing, a fifth of the rest for choosing epochs. Augmentation: a shift of at
most one pixel. Hyperparameters are those of the papers for CIFAR-100 (kdjax/config/recipes.py), but for four weights
that are far too large on maps of 8 x 8 and fewer positions: they were chosen by configs/ablations/digits_weights.py.

    kdjax run --config=configs/digits.py

Cost: a teacher and 12 methods x 5 seeds in about two minutes on two CPU cores, compilation included.
Expected: results/digits/table.md.
"""

from kdjax import methods
from kdjax.config import default

METHODS = (
    "student",
    "hard_target",
    "kd",
    "binary_kd",
    "logit_mse",
    "dkd",
    "dist",
    "fitnet",
    "attention",
    "similarity",
    "rkd",
    "pkt",
)

WEIGHTS = {"fitnet": 10.0, "attention": 1.0, "rkd": 0.1, "pkt": 3000.0}
"""Of the paper's weight and 0.1, 0.01 and 0.001 of it: the best mean validation accuracy over three other seeds."""


def get_config(names=METHODS):
    config = default()
    config.experiment = "digits"
    config.seeds = (0, 1, 2, 3, 4)
    config.epochs = 30
    config.batch_size = 64
    config.data.source = "digits"
    config.data.validation = 0.2
    config.data.augment.shift = {"pixels": 1}
    config.data.mean, config.data.std = (0.3,), (0.38,)
    config.teacher.model = "convnet"
    config.teacher.kwargs = {"widths": (32, 64, 128)}
    config.student.model = "convnet"
    config.student.kwargs = {"widths": (4, 8, 16)}
    config.optimizer.learning_rate = 0.05
    config.optimizer.weight_decay = 5e-4
    for name in names:
        config.methods[name] = methods.recipe(name)
        if name in WEIGHTS:
            config.methods[name][name].weight = WEIGHTS[name]
    return config
