"""A row of the table as it is trained: a method, and the stages that it consists of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import flax.linen as nn
import optax

from kdjax.training.objective import Objective

RESERVED = (
    *("data", "first_stage", "freeze", "from_teacher", "optimizer"),
    *("prune", "quantize", "start", "student", "teacher"),
)
"""Keys of a method that are no loss terms; see kdjax/config/recipes.py."""


@dataclass(frozen=True)
class Stage:
    """Some epochs of training with one objective and a fresh optimizer."""

    epochs: int
    objective: Objective
    optimizer: optax.GradientTransformation
    rate: optax.Schedule
    init: Callable  # (key, batch, teacher Outputs, teacher_params, train_labels) -> State


@dataclass(frozen=True)
class Method:
    """What one method does to one student. `name` is its directory, `row` its label in the table."""

    name: str
    row: str
    spec: Mapping  # the plain dictionary of the config
    model: nn.Module  # the student's
    model_config: Mapping  # {"model", "kwargs"}
    ablation: Mapping = field(default_factory=dict)  # {"kd.temperature": 2.0}
    teacher: str = ""  # the method whose finished run teaches, or several "a+b"; "": the experiment's teacher

    @property
    def terms(self) -> dict:
        return {name: term for name, term in self.spec.items() if name not in RESERVED}

    @property
    def teachers(self) -> list[str]:
        """The methods whose students teach this one."""
        return self.teacher.split("+") if self.teacher else []

    @property
    def start(self) -> str:
        """The method whose finished student of the same seed this one begins as; "": none."""
        return self.spec.get("start", "")

    @property
    def sources(self) -> set[str]:
        """The methods that must be finished before this one begins: its teachers, and its start."""
        return {*self.teachers, *([self.start] if self.start else [])}

    @property
    def data(self) -> dict:
        """Fields of config.data that differ for this method."""
        return self.spec.get("data", {})

    @property
    def first_epoch(self) -> int:
        """0, or minus the epochs of the first stage: the main stage starts at epoch 0 for every method."""
        return -self.spec["first_stage"]["epochs"] if "first_stage" in self.spec else 0
