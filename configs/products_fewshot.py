r"""The shop's case with few labels: 1, 2, 5, 10 or all labelled photographs a class, a teacher trained on all.

One experiment for each number of shots; the teacher is that of configs/products.py, run first (or `run` names another).
Then one picture and table of all, accuracy against labelled images a class:

    kdjax run --config=configs/products.py:path=/data/products --only=student
    for shots in 1 2 5 10 0; do kdjax run --config=configs/products_fewshot.py:path=/data/products,shots=$shots; done
    kdjax table runs/products_shots* --out=shots       # shots=0 are all images

Every method takes `steps` steps in all, whatever the number of images. Which images a student sees depends on the
seed, and those of 2 shots are among those of 5. Two rows see more than the others: `kd_unlabelled` is kd with all
training images, those beyond the shots without labels, on which the teacher alone is followed; `function_matching`
(Beyer et al. 2022) uses no labels, so it has all images too, and besides mixes them: teacher and student see the same
mixture. The footnotes of the table say so.

The default, 4,000 steps with the networks of configs/products.py, takes hours on a GPU and has not yet been run. On two
CPU cores, about 8 seconds a run:

    kdjax run --config=configs/products_fewshot.py:path=grocery_store,size=32,teacher=resnet20,student=lenet,\
shots=5,steps=300 --config.optimizer.learning_rate=0.02

With a teacher that knows ImageNet see configs/products_lite.py and results/grocery.
"""

import products

from kdjax.config import parse_arg

METHODS = ("student", "hard_target", "kd", "dkd", "attention", "rkd")
EPOCH = 20
"""Steps of what is called an epoch here."""


def get_config(arg: str = ""):
    sizes = {name: value for name, value in products.ARGS.items() if name != "epochs"}
    args = parse_arg(arg, shots=5, steps=4000, run="runs/products/teacher/seed0", **sizes)
    args.epochs = max(1, args.steps // EPOCH)
    config = products.base(args)
    config.experiment = f"products_shots{args.shots:02d}" if args.shots else "products_shots_all"
    config.steps_per_epoch = EPOCH
    config.data.shots = args.shots
    config.teacher.run = args.run
    for name in METHODS:
        config.methods[name] = products.recipe(name, args)
    config.methods.kd_unlabelled = {**products.recipe("kd", args), "data": {"unlabelled": True}}
    mixed = {"unlabelled": True, "augment": {"mixup": {}}}
    config.methods.function_matching = {**products.recipe("function_matching", args), "data": mixed}
    return config
