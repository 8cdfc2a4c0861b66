"""A regression: how far the diabetes of 442 patients goes in a year, by ten numbers each.

A network of 69,000 parameters teaches one of 49. With 283 examples to learn from it is the worse of the two, so this is
no case for distillation, and the table says so.

Data: scikit-learn's, in the package (Efron et al. 2004); nothing is downloaded. It shows that methods, cohorts and
tables know nothing of images or classes. The label loss is squared_error, the teacher's predictions are matched by
logit_mse.

    kdjax run --config=configs/diabetes.py

Cost: a teacher and 3 methods x 10 seeds in about a minute on two CPU cores.
"""

from kdjax.config import default


def get_config():
    config = default()
    config.experiment = "diabetes"
    config.task = "regression"
    config.seeds = tuple(range(10))
    config.epochs = 100
    config.eval_every_epochs = 5
    config.batch_size = 32
    config.data.source = "diabetes"
    config.data.validation = 0.2
    config.teacher.model = "mlp"
    config.teacher.kwargs = {"widths": (256, 256)}
    config.teacher.epochs = 20
    config.student.model = "mlp"
    config.student.kwargs = {"widths": (4,)}
    config.optimizer.learning_rate = 0.01
    config.optimizer.weight_decay = 1e-3
    labels = {"squared_error": {"weight": 1.0}}
    config.methods.student = labels
    config.methods.matched = {"squared_error": {"weight": 0.5}, "logit_mse": {"weight": 0.5}}
    config.methods.matched_alone = {"logit_mse": {"weight": 1.0}}
    return config
