"""What pictures are made of: the lines of one experiment that are shown, and its records, computed over all."""

import textwrap
from dataclasses import dataclass

import numpy as np

from kdjax.report import table
from kdjax.report.classes import between
from kdjax.report.plots import style
from kdjax.report.plots.figure import Figure
from kdjax.runs import task as tasks
from kdjax.runs.schema import TEACHER
from kdjax.runs.task import Score, Task

MOST_ROWS = 60
"""A picture with a line a method shows so many: its size is bounded."""


@dataclass(frozen=True)
class Experiment:
    """Lines of runs.jsonl by row of the table, without the teacher's own, and the records of kdjax.report.table.

    Attributes:
      name: the experiment's.
      task: what its runs are scored by.
      rows: {method: its lines, by seed}, in the order of the table; those shown.
      records: {method: its record}, of all rows, shown or not: Holm's family is the whole experiment.
      looks: {method: how its line looks}, of all rows.
    """

    name: str
    task: Task
    rows: dict[str, list[dict]]
    records: dict[str, dict]
    looks: dict[str, style.Look]

    @property
    def baseline(self) -> str | None:
        """The method that the others are compared with, if it is known."""
        return next((runs[0]["config"].get("baseline") for runs in self.rows.values()), None)

    @property
    def runs(self) -> list[dict]:
        return [run for runs in self.rows.values() for run in runs]

    @property
    def score(self) -> Score:
        """What is drawn, `score.scale` times the stored number."""
        return self.task.primary

    @property
    def teacher(self) -> float | None:
        """The teacher's score as it is drawn, as measured by these runs."""
        value = self.records.get(TEACHER, {}).get(self.score.key)
        return None if value is None else self.score.scale * value

    def label(self, method: str) -> str:
        return style.short(self.records[method]["row"])

    def summary(self, method: str) -> dict:
        """{"mean", "std"} of the last epoch's score as drawn, those of the table; None where unknown."""
        record, score = self.records[method], self.score
        found = {"mean": record[score.key], "std": record[f"{score.key}_std"]}
        return {name: None if value is None else score.scale * value for name, value in found.items()}

    def values(self, method: str) -> np.ndarray:
        """[n] the last epoch's score of a row's finished runs, as drawn."""
        score = self.score
        return np.array([score.scale * run["result"]["last"][score.key] for run in finished(self.rows[method])])

    def better(self, method: str) -> float:
        """By which rows are ordered: the higher the better; the last are those without a number."""
        value = self.records[method][self.score.key]
        return -np.inf if value is None else self.task.sign * value

    def strongest(self) -> dict[str, list[dict]]:
        """`rows`, or the MOST_ROWS of best score with the baseline among them, in the order of the table."""
        if len(self.rows) <= MOST_ROWS:
            return self.rows
        rank = lambda name: (name != self.baseline, -self.better(name))  # noqa: E731
        kept = set(sorted(self.rows, key=rank)[:MOST_ROWS])
        return {name: runs for name, runs in self.rows.items() if name in kept}


def experiments(runs: list[dict], shown: list[dict]) -> list[Experiment]:
    """The experiments of the lines in `shown`, with records of all `runs`."""
    grouped, found = table.experiments(runs), []
    records = {name: {} for name in grouped}
    for record in table.records(runs):
        records[record["experiment"]][record["method"]] = record
    for name, lines in table.experiments(shown).items():
        rows = {}
        for line in sorted(lines, key=lambda line: line["config"].get("seed", 0)):
            rows.setdefault(line["config"].get("method", ""), []).append(line)
        order = [method for method in records[name] if method in rows and method != TEACHER]
        if order:
            baseline = lines[0]["config"].get("baseline")
            looks = style.looks([method for method in records[name] if method != TEACHER], baseline)
            task = tasks.common(grouped[name])
            found.append(Experiment(name, task, {method: rows[method] for method in order}, records[name], looks))
    return found


def finished(runs: list[dict]) -> list[dict]:
    """The lines of runs that ended well."""
    return [run for run in runs if run["result"] and run["result"]["status"] == "done"]


def diverged(runs: list[dict]) -> list[dict]:
    return [run for run in runs if run["result"] and run["result"]["status"] == "diverged"]


def lost(runs: list[dict]) -> str:
    """ "(2 diverged, 1 missing)", or "" where all runs ended well."""
    gone = len(diverged(runs))
    counts = {"diverged": gone, "missing": len(runs) - len(finished(runs)) - gone}
    told = [f"{count} {what}" for what, count in counts.items() if count]
    return f"({', '.join(told)})" if told else ""


# ---- titles


def title(experiment: Experiment, what: str, rows: dict[str, list[dict]] | None = None, more: str = "") -> str:
    """Two lines: experiment and subject; teacher -> student, data set, seeds and last epoch, then `more`."""
    rows = experiment.rows if rows is None else rows
    if MOST_ROWS <= len(rows) < len(experiment.rows):
        what += f", {len(rows)} of {len(experiment.rows)} methods"
    return heading(style.short(experiment.name, 60), what, experiment, map(finished, rows.values()), more)


def heading(name: str, what: str, experiment: Experiment, rows, more: str) -> str:
    """The same of several experiments: `rows` are lists of finished runs, `experiment` any one of them."""
    rows = [runs for runs in rows if runs]
    counts, epochs = {len(runs) for runs in rows}, {run["result"]["epochs"] for runs in rows for run in runs}
    seeds = f"{between(counts)} seed{'s' * (counts != {1})}" if counts else "no finished run"
    ended = f", last epoch ({between(epochs)})" if epochs else ""
    return f"{name + ': ' if name else ''}{what}\n{pair(experiment)}, {seeds}{ended}{more}"


def pair(experiment: Experiment) -> str:
    """ "resnet20 → lenet on grocery_store"."""
    teacher = experiment.records.get(TEACHER, {}).get("model")
    method = experiment.baseline if experiment.baseline in experiment.rows else next(iter(experiment.rows))
    configured = experiment.rows[method][0]["config"].get("student") or {}
    student = style.short(configured.get("model") or experiment.records[method]["model"] or "student")
    on = next((run["result"]["dataset"] for run in experiment.runs if (run["result"] or {}).get("dataset")), "")
    return (f"{style.short(teacher)} → " if teacher else "") + student + (f" on {style.short(on)}" if on else "")


def wide(figure: Figure, text: str) -> None:
    """A title over the whole figure, its lines broken where they would run out of it."""
    most = int(figure.get_figwidth() / 0.088)  # characters of 10 points
    lines = [part for line in text.split("\n") for part in textwrap.wrap(line, most, break_on_hyphens=False)]
    figure.suptitle("\n".join(lines), fontsize=10)
