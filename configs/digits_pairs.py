"""A grid of pairs: three teacher-student pairs on ten labelled images a class, three experiments in one command.

The data, networks' kind and weights of configs/digits.py, the shots and epochs of configs/digits_fewshot.py. Each of
the two teachers is trained once, on all images; the large one is shared by the two students that it teaches.

    kdjax run --config=configs/digits_pairs.py
    kdjax grid runs/digits_pairs_* --out=results/digits_pairs

Cost: 2 teachers and 4 methods x 5 seeds x 3 pairs, some three minutes on two CPU cores. Expected:
results/digits_pairs/grid.md.
"""

import digits

METHODS = ("student", "kd", "logit_mse", "dkd")
TEACHERS = {"large": (32, 64, 128), "medium": (16, 32, 64)}
STUDENTS = {"small": (4, 8, 16), "wide": (8, 16, 32)}
"""Widths of convnet's three stages."""
PAIRS = (("large", "small"), ("large", "wide"), ("medium", "small"))


def get_config():
    config = digits.get_config(METHODS)
    config.experiment = "digits_pairs"
    config.seeds = (20, 21, 22, 23, 24)
    config.data.shots = 10
    config.teacher.epochs = config.epochs
    config.epochs = 60
    config.steps_per_epoch = 8
    for teacher, student in PAIRS:
        widths = {"teacher": TEACHERS[teacher], "student": STUDENTS[student]}
        config.pairs[f"{teacher}_{student}"] = {role: {"kwargs": {"widths": own}} for role, own in widths.items()}
    return config
