"""How large each part of scripts/gpu is, in its full, its quick and its tiny form."""

import dataclasses
import importlib.util

PAIRS = ("resnet32x4,resnet8x4", "resnet56,resnet20")
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
    "full": Form(PAIRS, METHODS, 64, 64, 4, (1, 4, 16, 64), 200, 8192, 4, 2, ()),
    "quick": Form(PAIRS[1:], METHODS, 64, 64, 2, (1, 16), 200, 8192, 4, 2, ("--seeds=0",)),
    "tiny": Form(
        ("convnet,convnet",), ("kd",), 8, 2, 1, (1, 2), 6, 64, 2, 2, ("--seeds=0", "--only=kd", "--config.epochs=1")
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
    only: str = ""
    seeds: str = ""

    @property
    def size(self) -> Form:
        return FORMS[self.form]
