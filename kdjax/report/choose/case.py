"""What is chosen among: students in forms that can be shipped, and what one must be."""

import math
from dataclasses import dataclass

from kdjax.runs import task as tasks
from kdjax.runs.task import Score

NETWORK = "network"
COSTS = {"bytes": ("KB", 1e3), "ms": ("ms", 1.0), "flops": ("MFLOPs", 1e6)}
"""Cost -> (unit it is shown and limited in, that unit in stored ones)."""


@dataclass(frozen=True)
class Candidate:
    """A student in a form that can be shipped. Scores are stored ones; None is unknown."""

    experiment: str
    row: str
    method: str  # its directory
    form: str  # NETWORK, or as `kdjax sizes` calls its file: float32, int8, LiteRT int8
    scores: tuple[float, ...]  # a seed each; empty where only mean, std and n are known
    n: int
    mean: float
    std: float | None
    bytes: float | None
    ms: float | None
    flops: float | None
    seed: int  # the one to ship: the best on the validation split, else the first
    source: str  # the experiment's directory
    lowest: float | None = None  # the lower end of the interval of the kept share
    kept: float | None = None  # its mean
    front: bool = False

    @property
    def name(self) -> str:
        return f"{self.experiment}: {self.row}, {self.form}"


@dataclass(frozen=True)
class Wanted:
    """What a student must be: the share of the teacher's metric that it keeps, and limits of its costs."""

    keep: float
    limits: dict[str, float]  # of COSTS, in stored units

    def __post_init__(self):
        if not 0 < self.keep <= 2:
            raise ValueError(f"--keep is a share of the teacher's score, like 0.95, got {self.keep}")
        for name, limit in self.limits.items():
            if not limit > 0:
                unit = COSTS[name][0]
                raise ValueError(f"--max-{unit.lower()} is a number above 0, got {limit / COSTS[name][1]:g}")


@dataclass(frozen=True)
class Choice:
    """All candidates, and the one that is chosen, if any is."""

    score: Score
    higher_is_better: bool
    teacher: tuple[str, float]  # its name and score
    candidates: list[Candidate]
    wanted: Wanted
    chosen: Candidate | None
    notes: list[str]


def known(cost: float | None) -> float:
    return math.inf if cost is None else cost


def fits(candidate: Candidate, wanted: Wanted) -> bool:
    """Whether its costs are known and within the limits."""
    costs = {name: getattr(candidate, name) for name in wanted.limits}
    within = all(cost is not None and cost <= wanted.limits[name] for name, cost in costs.items())
    return within and candidate.bytes is not None


def passes(candidate: Candidate, wanted: Wanted) -> bool:
    return fits(candidate, wanted) and candidate.lowest is not None and candidate.lowest >= wanted.keep


def common(choice: Choice) -> tasks.Task:
    """The task whose primary is the metric, for axes."""
    return tasks.Task("", choice.score, choice.higher_is_better, ())
