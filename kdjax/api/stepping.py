"""Training by hand: an iterator over the steps of one run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from kdjax import config as configs
from kdjax import data
from kdjax.api.running import setup
from kdjax.experiment import checks
from kdjax.experiment.cohorts import Cohorts
from kdjax.experiment.lab import Lab
from kdjax.experiment.progress import Display
from kdjax.experiment.teachers import Teachers
from kdjax.find import nearest
from kdjax.training import parallel
from kdjax.training.cohort import Cohort, Learner
from kdjax.training.step import student_variables


@dataclass(frozen=True)
class Step:
    """A step of a run after it was taken.

    Attributes:
      epoch: from 1; 0 and below are of a first stage.
      step: of this epoch, from 1.
      losses: those before the update, {"loss", "loss/<term>"}.
      batch: {"input" [B, ...], "target" [B, ...], "index" [B]} as the step saw it, augmented.
      teacher: what the losses read of the teacher's Outputs on it; None without a teacher.
    """

    epoch: int
    step: int
    losses: dict[str, float]
    batch: dict
    teacher: Any
    _learner: Learner

    @property
    def state(self):
        """A copy of the kdjax.types.State as it is now: parameters, statistics, memories, the optimizer's state."""
        return jax.tree.map(lambda leaf: leaf.copy(), self._learner.state)

    @property
    def variables(self) -> dict:
        """A copy of the student's variables as they are now, on the host."""
        return jax.device_get(student_variables(self._learner.state))


def steps(config: ConfigDict, method: str, seed: int = 0, out="runs"):
    """Yields a `Step` after each step of one run, with the bits of `kdjax.run`; stop asking and it stops.

    What teaches is read from the experiment's directory under `out`, and trained there first if it is missing. Of the
    run itself nothing is read or written, and nothing is evaluated.

    Args:
      config: an experiment, see `kdjax.load_config`.
      method: the name of a row of it.

    Raises:
      ValueError: something in the config or the data is wrong.
    """
    setup()
    config = configs.resolve(config)
    config.execution.steps_per_call = 1
    if config.execution.devices not in ("students", "one"):
        raise ValueError("config.execution.devices: a single run is stepped through with 'students' or 'one'")
    return _steps(config, method, seed, Path(out) / config.experiment)


def _steps(config: ConfigDict, method: str, seed: int, directory: Path):
    with Display() as display:
        lab = Lab(config, directory, display, lambda: 0)
        row = _row(lab, method)
        lab.layout = parallel.layout(config.execution.devices, 1)
        checks.check_data(lab)
        checks.check_rows(lab, {row.name: row}, data.subset(lab.dataset.train, config.data, seed))
        cohorts = Cohorts(lab)
        teachers, places = Teachers(lab, cohorts), lab.layout[0]
        teacher = teachers.own()
        if row.start:
            teachers.source(row.start, seed, teacher, places)
        taught = teachers.of(row, seed, teacher, places) if row.teacher else teacher
    with cohorts.alone(*lab.view(row, seed), row, seed, taught, places[0]) as (cohort, learner):
        yield from _walk(cohort, learner)


def _row(lab: Lab, method: str):
    """The row of a name, or of a label as tables show it."""
    labels = {row.row: row.name for row in lab.rows.values()} | {name: name for name in lab.rows}
    if method not in labels:
        raise ValueError(f"the config has no method {method!r}{nearest(str(method), labels)}")
    return lab.row(labels[method])


def _walk(cohort: Cohort, learner: Learner):
    for batch, taught in cohort.steps(learner):
        first = lambda tree: jax.tree.map(lambda leaf: leaf[0], tree)  # noqa: E731
        losses = {name: float(values[0]) for name, values in jax.device_get(learner.losses[-1]).items()}
        yield Step(learner.epoch + 1, learner.step, losses, first(batch), first(taught), learner)
