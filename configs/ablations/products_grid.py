"""Where the hyperparameters of configs/products.py come from: a small grid, chosen on the validation split.

Each of kd, dkd, attention and rkd with the paper's value of what matters most and two or three others, a third of the
epochs, one seed that configs/products.py does not use: 15 runs, of which the one with the best validation accuracy at
the last epoch is taken. Not swept, and so at the papers' values: all other methods.

    kdjax run --config=configs/ablations/products_grid.py:path=/data/products,run=runs/products/teacher/seed0
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
    config.teacher.start = config.teacher.weights = ""
    config.teacher.run = args.run
    for name in ("student", "kd", "dkd", "attention", "rkd"):
        config.methods[name] = products.recipe(name, args)
    for path, values in GRID.items():
        config.ablate[path] = values
    return config
