"""What the doctor looks at: an experiment with its numbers, and what is known of its teacher's logits."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kdjax.config.fields import origin
from kdjax.report import records
from kdjax.report.footnotes import shared_config, spec_of, students_of
from kdjax.runs import predictions
from kdjax.runs.gather import done
from kdjax.runs.schema import TEACHER
from kdjax.runs.task import Task

FOUND, FINE, UNKNOWN = "found", "in order", "not known"


class Verdict(NamedTuple):
    """What one check says: a sentence with its number, and what to try where something was found."""

    state: str  # FOUND, FINE or UNKNOWN
    said: str
    advice: str = ""


@dataclass(frozen=True)
class Case:
    """An experiment as it is looked at."""

    experiment: records.Experiment
    soft: np.ndarray | None  # [N, K] the teacher's logits on the test split; None where none were kept

    @property
    def task(self) -> Task:
        return self.experiment.task

    @property
    def config(self) -> dict:
        """What rows have in common."""
        return shared_config(self.experiment.lines)

    @property
    def baseline(self) -> dict | None:
        """Its record."""
        name = self.config.get("baseline")
        return next((row for row in self.experiment.records if row["method"] == name and row["n"]), None)

    @property
    def teacher(self) -> dict | None:
        """The record of the experiment's own teacher, if its score is known."""
        found = [row for row in self.experiment.records if row["method"] == TEACHER]
        return found[0] if found and found[0][self.task.primary.key] is not None else None

    @property
    def students(self) -> list[dict]:
        """The records of rows that have a result."""
        return [row for row in self.experiment.records if row["method"] != TEACHER and row["n"]]

    def taught(self) -> list[dict]:
        """Those of them that the experiment's own teacher teaches."""
        own = {line["config"]["method"] for line in students_of(self.experiment.lines) if spec_of(line).get("teacher")}
        return [row for row in self.students if row["method"] not in own]

    def value(self, record: dict) -> float:
        return record[self.task.primary.key]

    def shown(self, value: float) -> str:
        """A score with its unit."""
        score = self.task.primary
        return score.number(value) + (f" {score.unit}" if score.unit else "")

    def apart(self, value: float) -> str:
        """A difference with its unit."""
        return self.task.primary.number(value) + self.task.primary.difference_unit

    def lines(self, record: dict) -> list[dict]:
        """Those of a row whose runs are done."""
        own = (line for line in self.experiment.lines if line["config"].get("method") == record["method"])
        return [line for line in own if done([line])]

    def specs(self) -> Iterator[tuple[str, dict]]:
        """(row, its terms and what else it has) of every row."""
        for record in self.students:
            yield record["row"], spec_of(self.lines(record)[0])


def cases(runs: list[dict], source: Path | None = None) -> list[Case]:
    """The experiments of lines of runs.jsonl; `source`, the directory of an experiment, may hold predictions."""
    return [Case(experiment, _soft(experiment, source)) for experiment in records.selected(runs)]


def _soft(experiment: records.Experiment, source: Path | None) -> np.ndarray | None:
    """The logits that its teacher left: of the run that was trained here, or of the one that config.teacher.run names.

    Those of an ensemble are not known: its members' are not averaged here as networks are.
    """
    spec = shared_config(experiment.lines).get("teacher") or {}
    run = spec.get("run") or ""
    if source is None or not (spec.get("model") or run) or origin(spec) not in ("", "run") or "+" in run:
        return None
    path = Path(run.strip()) if run else Path(source) / TEACHER / f"seed{spec.get('seed', 0)}"
    if not (path / predictions.NAME).is_file():
        return None
    logits = predictions.read(path).get("logits")  # tasks over a whole catalogue keep none
    return None if logits is None else logits.astype(np.float64)
