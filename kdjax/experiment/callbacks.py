"""What a caller is told while runs train: plain functions of one `Event`, called one at a time.

They see and change nothing: what is trained has the same bits with and without them.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import jax

from kdjax.training.cohort import Learner
from kdjax.training.step import student_variables


@dataclass(frozen=True)
class Event:
    """Where a run is.

    Attributes:
      method, seed: the run's; method "teacher" is the teacher's own.
      epoch: the one in training, or the one that has just ended, from 1; 0 and below are of a first stage.
      step: steps taken in this epoch; 0 after one has ended.
    """

    method: str
    seed: int
    epoch: int
    step: int
    _values: Callable
    _learner: Learner

    @property
    def path(self) -> Path:
        """The run's directory."""
        return self._learner.run.path

    @property
    def values(self) -> dict:
        """Of a step its losses, of an epoch its row of metrics.jsonl, at the end what stands in result.json.

        Losses are read from the device when they are asked for: the next step waits for that.
        """
        return self._values()

    @property
    def variables(self) -> dict:
        """A copy of the student's variables as they are now, on the host."""
        return jax.device_get(student_variables(self._learner.state))


@dataclass(frozen=True)
class Callbacks:
    """Functions of an `Event`, or None: after each call of the train step, each epoch, and when a run is finished.

    An exception in one of them ends the experiment as a failure would: what is finished is whole.
    """

    on_step: Callable[[Event], None] | None = None
    on_epoch: Callable[[Event], None] | None = None
    on_finish: Callable[[Event], None] | None = None
    _one: threading.RLock = field(default_factory=threading.RLock)  # seeds may be trained by threads of their own

    def stepped(self, learner: Learner) -> None:
        self._call(self.on_step, learner, learner.epoch + 1, lambda: _last(learner.losses))

    def ended(self, learner: Learner, row: dict) -> None:
        self._call(self.on_epoch, learner, learner.epoch, lambda: row)

    def finished(self, learner: Learner, result: dict) -> None:
        self._call(self.on_finish, learner, learner.epoch, lambda: result)

    def _call(self, function, learner: Learner, epoch: int, values: Callable) -> None:
        if function is not None:
            with self._one:
                function(Event(learner.program.method.row, learner.seed, epoch, learner.step, values, learner))


def _last(losses: list[dict]) -> dict[str, float]:
    """The losses of the last step taken."""
    return {name: float(values[-1]) for name, values in jax.device_get(losses[-1]).items()} if losses else {}
