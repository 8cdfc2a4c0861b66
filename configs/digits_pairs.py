"""A grid of pairs: two teachers and three students on ten labelled images a class, six experiments in one command.

The data, networks' kind and weights of configs/digits.py, the shots and epochs of configs/digits_fewshot.py. Each of
the two teachers is trained once, on all images, and shared by the three students that it teaches.

    kdjax run --config=configs/digits_pairs.py
    kdjax grid runs/digits_pairs_* --out=results/digits_pairs

Cost: 2 teachers and 6 methods x 5 seeds x 6 pairs, some six minutes on two CPU cores. Expected:
results/digits_pairs/grid.md.
"""

import digits
from ml_collections import ConfigDict

METHODS = ("student", "kd", "logit_mse", "dkd", "fitnet", "rkd")
TEACHERS = {"large": (32, 64, 128), "medium": (16, 32, 64)}
STUDENTS = {"tiny": (2, 4, 8), "small": (4, 8, 16), "wide": (8, 16, 32)}
"""Widths of convnet's three stages."""


def get_config():
    config = digits.get_config(METHODS)
    config.experiment = "digits_pairs"
    config.seeds = (20, 21, 22, 23, 24)
    config.data.shots = 10
    config.teacher.epochs = config.epochs
    config.epochs = 60
    config.steps_per_epoch = 8
    for teacher, of_teacher in TEACHERS.items():
        for student, of_student in STUDENTS.items():
            fields = {"teacher": {"kwargs": {"widths": of_teacher}}, "student": {"kwargs": {"widths": of_student}}}
            config.pairs[f"{teacher}_{student}"] = ConfigDict(fields)
    return config
