"""How large each part of scripts/gpu is, in its full, its quick and its tiny form."""

import dataclasses
import importlib.util

SMALL = "resnet14,resnet8"
PAIRS = ("resnet32x4,resnet8x4", "resnet56,resnet20")
DETERMINISTIC = "--xla_gpu_deterministic_ops=true --xla_gpu_autotune_level=0"
"""No operation of XLA whose order of additions may change, and kernels that are chosen without timing them."""
METHODS = ("kd", "attention", "similarity", "rkd", "dkd", "fitnet")


class Skipped(Exception):
    """A part cannot run here, and why."""


def absent(module: str) -> bool:
    """Whether a package cannot be imported here; it is not imported to see."""
    try:
        return importlib.util.find_spec(module.partition(".")[0]) is None
    except (ImportError, ValueError):  # something keeps it from being found
        return True


@dataclasses.dataclass(frozen=True)
class Form:
    """Sizes of all parts."""

    pairs: tuple[str, ...]
    small: str  # a pair for what does not depend on depth: deep networks take a GPU's compiler a minute
    methods: tuple[str, ...]  # of the table
    batch: int
    steps: int  # of a round, every method
    rounds: int
    calls: tuple[int, ...]  # steps a call that are compared
    precision_steps: int
    matrix: int  # rows of a square matrix
    seeds: int  # that are vmapped
    epochs: int  # of the run that is stopped
    demo: tuple[str, ...]  # arguments of the digits demo


FORMS = {
    "full": Form(PAIRS, SMALL, METHODS, 64, 64, 4, (1, 4, 16, 64), 200, 8192, 4, 2, ()),
    "quick": Form(PAIRS[1:], SMALL, METHODS, 64, 64, 3, (1, 16), 200, 8192, 4, 2, ("--seeds=0",)),
    "tiny": Form(
        ("convnet,convnet",),
        "convnet,convnet",
        ("kd",),
        8,
        2,
        1,
        (1, 2),
        6,
        64,
        2,
        2,
        ("--seeds=0", "--only=kd", "--config.epochs=1"),
    ),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """What a part is given."""

    form: str
    seconds: float  # that it may take
    out: str  # a folder for what is no table
    goldens: str = ""
    data: str = ""
    resume: str = ""
    pairs: str = ""
    only: str = ""
    seeds: str = ""

    @property
    def size(self) -> Form:
        form = FORMS[self.form]
        return dataclasses.replace(form, pairs=tuple(self.pairs.split(";"))) if self.pairs else form
