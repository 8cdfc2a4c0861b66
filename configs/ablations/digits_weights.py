"""Where the weights of configs/digits.py come from: the papers' weights and 0.1, 0.01 and 0.001 of them.

Seeds that configs/digits.py does not use; the choice is made by accuracy on the validation split.

    kdjax run --config=configs/ablations/digits_weights.py

Cost: two minutes on two CPU cores.
"""

import digits

from kdjax import methods

SWEPT = ("fitnet", "attention", "similarity", "rkd", "pkt", "dkd")


def get_config():
    config = digits.get_config(("student",))
    config.experiment = "digits_weights"
    config.seeds = (100, 101, 102)
    for name in SWEPT:
        recipe = methods.recipe(name)
        config.methods[name] = recipe
        config.ablate[f"{name}.{name}.weight"] = tuple(recipe[name]["weight"] * factor for factor in (1e-3, 1e-2, 1e-1))
    return config
