"""How much of the loss is `kd` and how much the labels, one row each, on the digits of configs/digits.py.

    kdjax run --config=configs/ablations/weight.py

Cost: about a minute on two CPU cores.
"""

import digits


def get_config():
    config = digits.get_config(("student", "kd"))
    config.experiment = "weight"
    config.ablate["kd.kd.weight"] = (0.1, 0.3, 3.0, 9.0)  # kd itself has 0.9, beside 0.1 of cross-entropy
    return config
