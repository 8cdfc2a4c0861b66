"""The temperature of `kd`, one row each, on the digits of configs/digits.py.

Hinton et al. 2015 found high temperatures best for students of some size and low ones for very small students.

    kdjax run --config=configs/ablations/temperature.py

Cost: about a minute on two CPU cores. Expected: results/temperature/table.md and ablation.png.
"""

import digits


def get_config():
    config = digits.get_config(("student", "kd"))
    config.experiment = "temperature"
    config.ablate["kd.kd.temperature"] = (1.0, 2.0, 8.0, 16.0)  # kd itself has 4
    return config
