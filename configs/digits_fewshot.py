"""Few labels: the student sees 10 (or 20) images a class, the teacher was trained on all.

The same data, networks and methods as configs/digits.py. Which images a student sees depends on the seed, so the
spread over seeds holds the luck of the draw; the methods of one seed see the same images.

    kdjax run --config=configs/digits_fewshot.py            # 10 images a class
    kdjax run --config=configs/digits_fewshot.py:shots=20

Ten seeds: five others (0 to 4) were run first, and `kdjax plan runs/digits_fewshot10 --detect=3` asked of their spread
for ten to see three points. These are new ones, so that nothing was looked at before.

Cost: some two minutes on two CPU cores. Expected: results/digits_fewshot10/table.md.
"""

import digits

from kdjax.config import parse_arg


def get_config(arg: str = ""):
    shots = parse_arg(arg, shots=10).shots
    config = digits.get_config()
    config.experiment = f"digits_fewshot{shots}"
    config.seeds = tuple(range(5, 15))
    config.data.shots = shots
    config.teacher.epochs = config.epochs
    config.epochs = 60
    config.steps_per_epoch = 8  # as many steps for 10 as for 20 images a class
    return config
