"""Where the hyperparameters of configs/products.py come from: a small grid, chosen on the validation split.

Each of kd, dkd, attention and rkd with the paper's value of what matters most and two or three others, a third of the
epochs, one seed that configs/products.py does not use: 15 runs, of which those with the lowest negative log-likelihood
on the validation split after the last epoch are taken (its accuracy, on a few hundred images, is too coarse). All other
methods have the papers' values.

    kdjax run --config=configs/ablations/products_grid.py:path=/data/products,run=runs/products/teacher/seed0

Run as configs/products.py says, with epochs=10: 3 epochs each, three minutes in all on one CPU core.
"""

import products

from kdjax.config import parse_arg

GRID = {
    "kd.kd.temperature": (1.0, 2.0, 8.0),
    "dkd.dkd.beta": (1.0, 2.0, 4.0),
    "attention.attention.weight": (1.0, 10.0, 100.0),
    "rkd.rkd.weight": (0.01, 0.1),
}


def get_config(arg: str = ""):
    args = parse_arg(arg, run="runs/products/teacher/seed0", **products.ARGS)
    args.epochs = max(1, args.epochs // 3)
    config = products.base(args)
    config.experiment = "products_grid"
    config.seeds = (100,)
    config.teacher.run = args.run
    for name in ("student", "kd", "dkd", "attention", "rkd"):
        config.methods[name] = products.recipe(name, args, chosen={})
    for path, values in GRID.items():
        config.ablate[path] = values
    return config
