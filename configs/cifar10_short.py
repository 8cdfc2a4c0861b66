"""Every method of the catalogue on CIFAR-10, short: whether each trains, not which is best.

resnet20 teaches resnet8 for two epochs over 6,144 images, one seed. The papers' recipes, except what a budget of
192 steps forbids: one epoch instead of 30 for first stages, one instead of 20 for warm-ups, 1,024 negatives instead of
16,384 for crd. Two epochs decide nothing about a method: the papers train for 240 on all 50,000 images.

    kdjax run --config=configs/cifar10_short.py:weights=resnet20_cifar10.safetensors

`weights` are those of github.com/akamaster/pytorch_resnet_cifar10 as safetensors; without them the teacher is trained
here, for two epochs too. Cost: 53 processor minutes, half of them for compiling. Expected:
results/cifar10_short/table.md, where each method's own loss (runs.jsonl) falls from the first epoch to the second, but
for virtual_teacher's and for crd's: this one rises while its bank fills with embeddings, and falls from the third epoch
on (--config.epochs=8: 16.5, 17.0, 16.4, 14.4, 13.2, 13.0). What matches raw maps or logits moves fastest; ttm and sdd,
at their papers' weights for a hundred classes, do not get beyond chance in so few steps.
"""

from kdjax import methods
from kdjax.config import default, parse_arg

EPOCHS = 2


def get_config(arg: str = ""):
    args = parse_arg(arg, weights="")
    config = default()
    config.experiment = "cifar10_short"
    config.seeds = (0,)  # a second one with --seeds=0,1
    config.epochs = EPOCHS
    config.eval_every_epochs = EPOCHS
    config.batch_size = 64
    config.data.source = "tfds"
    config.data.name = "cifar10"
    config.data.train_examples = 6144
    config.data.mean, config.data.std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # the teacher's
    config.data.augment.random_crop = {"padding": 4}
    config.data.augment.flip = {}
    config.teacher.model = "resnet20"
    config.teacher.kwargs = {"shortcut": "A"}
    config.teacher.weights = args.weights
    config.student.model = "resnet8"
    for name in methods.RECIPES:
        config.methods[name] = shortened(methods.recipe(name, "resnet20", "resnet8"))
    return config


def shortened(recipe: dict) -> dict:
    """A recipe with its durations cut to a few epochs."""
    if "first_stage" in recipe:
        recipe["first_stage"]["epochs"] = 1
    for term in recipe.values():
        if isinstance(term, dict) and "warmup_epochs" in term:
            term["warmup_epochs"] = 1
    if "crd" in recipe:
        recipe["crd"]["negatives"] = 1024
    if "ctkd" in recipe:
        recipe["ctkd"]["ramp_steps"] = 96
    return recipe
