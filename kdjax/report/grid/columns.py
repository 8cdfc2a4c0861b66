"""The columns of a grid: experiments read from their files, compared with each other, and named by what differs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kdjax.config.fields import ORIGINS, completed
from kdjax.report import records
from kdjax.report.footnotes import shared_config
from kdjax.report.wording import clean, listed, setting
from kdjax.runs import gather, identity
from kdjax.runs import task as tasks
from kdjax.runs.schema import TEACHER
from kdjax.runs.task import Task

NAMES = ("data", "teacher", "student", "data.shots", "data.imbalance")
"""What papers name columns by, in the order of the lines of a head; shown wherever it differs."""
SETTINGS = ("epochs", "batch_size", "steps_per_epoch", "dtype", "data", "teacher", "student", "optimizer")
"""Fields of a config that may tell experiments apart."""
ELSEWHERE = (
    "data.source",
    "data.name",
    "data.path",
    "teacher.model",
    "student.model",
    *(f"teacher.{name}" for name in ORIGINS),
)
"""Those of them that NAMES has in its words, and paths."""
TRAINING = ("shots", "imbalance", "validation", "train_examples", "unlabelled", "augment")
"""Fields of config.data that change no test image."""


@dataclass(frozen=True)
class Column:
    """One experiment of a grid."""

    name: str  # the experiment's
    task: Task
    source: str  # where it was read
    lines: list[dict]  # of runs.jsonl, of each curve the last epoch, without confusions
    records: dict[str, dict]  # row -> its record (kdjax.report.records), the teacher's as TEACHER
    settings: dict[str, str]  # what may tell it from others, in words

    @property
    def baseline(self) -> str:
        """The row that the experiment compares the others with; "" if it is not known."""
        return shared_config(self.lines).get("baseline", "")

    def scores(self, row: str) -> dict[int, float]:
        """Seed -> the task's primary score of a row's finished runs, at the last epoch."""
        own = [line for line in self.lines if _row(line) == row and line["config"].get("method") != TEACHER]
        return records.scores(own, self.task)


def read(paths) -> list[Column]:
    """The experiments of directories and runs.jsonl files, as `kdjax table` takes them, in this order.

    Raises:
      ValueError: a path is neither, is given twice, or its experiments cannot stand in one grid (see `check`).
    """
    columns, seen = [], {}
    for path in map(Path, paths):
        if (real := path.resolve()) in seen:
            raise ValueError(f"{path} is given twice{f', as {seen[real]} too' * (seen[real] != path)}")
        seen[real] = path
        if gather.is_folder(path):
            inside = " ".join(map(str, gather.experiments(path)))
            raise ValueError(f"{path} holds experiments; a grid is of single ones: {inside}")
        lines = gather.read(path)
        columns += [column(name, str(path), of_one) for name, of_one in records.experiments(lines).items()]
    check(columns)
    return columns


def column(name: str, source: str, lines: list[dict]) -> Column:
    found = {record["row"]: record for record in records.records(lines)}
    return Column(name, tasks.common(lines), source, list(map(_light, lines)), found, _settings(lines))


def _light(line: dict) -> dict:
    """Without what pictures of a single experiment are made of: most of the memory of thousands of runs."""
    if (result := line["result"]) is not None:
        parts = {name: result[name] for name in ("last", "best", "peak") if isinstance(result.get(name), dict)}
        light = {name: {k: v for k, v in part.items() if k != "confusion"} for name, part in parts.items()}
        result = {**result, **light}
    return {**line, "result": result, "history": line["history"][-1:]}


def _row(line: dict) -> str:
    return line["config"].get("row") or line["config"].get("method", "")


# ---- what may differ


def _settings(lines: list[dict]) -> dict[str, str]:
    """NAMES and every leaf of SETTINGS of an experiment, in words."""
    config = completed(shared_config(lines))
    found = {"data": data_name(lines), TEACHER: _teacher(lines, config), "student": _model(config, "student")}
    leaves = {}
    for key in SETTINGS:
        leaves |= _leaves(key, config.get(key))
    leaves = {key: value for key, value in leaves.items() if key not in ELSEWHERE}
    words = {name: clean(value) for name, value in {**found, **leaves}.items()}
    return words | {name: "all" for name in ("data.shots",) if words.get(name) == "0"}


def data_name(lines: list[dict]) -> str:
    """As the results call it, else as the config does."""
    named = next((line["result"]["dataset"] for line in lines if (line["result"] or {}).get("dataset")), "")
    data = shared_config(lines).get("data") or {}
    return named or data.get("name") or data.get("source") or ""


def _teacher(lines: list[dict], config: dict) -> str:
    of_results = ((line["result"] or {}).get(TEACHER) or {} for line in lines if line["config"]["method"] != TEACHER)
    return _model(config, TEACHER) or next((known["model"] for known in of_results if known.get("model")), "")


def _model(config: dict, role: str) -> str:
    return (config.get(role) or {}).get("model") or ""


def _leaves(path: str, value) -> dict[str, str]:
    if isinstance(value, Mapping) and value:
        return {k: v for key, inner in value.items() for k, v in _leaves(f"{path}.{key}", inner).items()}
    return {} if value is None or value == {} else {path: setting(value)}


def heads(columns: list[Column]) -> tuple[list[tuple[str, list[str]]], list[str]]:
    """([(title, a text a column)] of the lines of the head, other settings that differ).

    The lines are NAMES that differ, other settings while they tell more columns apart, and the experiment's name where
    that is not enough.
    """
    keys = dict.fromkeys((*NAMES, *(key for each in columns for key in each.settings)))
    values = {key: [each.settings.get(key, "") for each in columns] for key in keys}
    differing = [key for key in keys if len(set(values[key])) > 1]
    shown = [key for key in differing if key in NAMES]
    rest = [key for key in differing if key not in NAMES]
    told = lambda keys: len({tuple(values[key][i] for key in keys) for i in range(len(columns))})  # noqa: E731
    for key in list(rest):
        if told([*shown, key]) > told(shown):
            shown.append(key)
            rest.remove(key)
    lines = [(key.removeprefix("data."), values[key]) for key in shown]
    if told(shown) < len(columns) or not shown:
        names = [each.name for each in columns]
        unique = names if len(set(names)) == len(names) else [each.source for each in columns]
        lines.append(("experiment", [clean(name) for name in unique]))
    return lines, rest


# ---- whether they compare


def check(columns: list[Column]) -> None:
    """Raises a ValueError if experiments cannot stand in one grid, and says what differs."""
    if not columns:
        raise ValueError("a grid needs one experiment at least")
    tasks = {}
    for each in columns:
        tasks.setdefault(_task(each), []).append(each)
    if len(tasks) > 1:
        raise ValueError(
            "these experiments are scored on different tasks, and their numbers do not compare: "
            + "; ".join(f"{listed(_named(own))}: {task}" for task, own in tasks.items())
        )
    same = {}
    for each in columns:
        if data := _identity(each):
            other = same.setdefault(each.settings["data"], (each, data))
            _check_data(other[0], other[1], each, data)


def _named(columns: list[Column]) -> list[str]:
    return [f"{each.name} ({each.source})" for each in columns]


def _task(column: Column) -> str:
    """In words: its name, and what it is scored by where that is not classification's."""
    task = column.task
    by = (task.primary, task.higher_is_better)
    same = by == (tasks.CLASSIFICATION.primary, tasks.CLASSIFICATION.higher_is_better)
    return task.name if same else f"{task.name} by {task.primary.header}"


def _identity(column: Column) -> dict:
    known = (identity.stored(line["config"]).get("data") for line in column.lines if line["result"])
    return next((data for data in known if data), {})


def _check_data(one: Column, old: dict, other: Column, new: dict) -> None:
    """Data of one name must have the same classes and test images; the same settings must give the same of all."""
    views = [completed(shared_config(each.lines)).get("data") or {} for each in (one, other)]
    tested, trained = (
        [{key: value for key, value in view.items() if key not in left_out} for view in views]
        for left_out in ((*TRAINING, "path"), ("augment", "path"))
    )
    only_test = lambda data: {**data, "splits": [s for s in data["splits"] if s["split"] == "test"]}  # noqa: E731
    if trained[0] == trained[1]:
        lines = identity.other_data(old, new)
    elif tested[0] == tested[1]:
        lines = identity.other_data(only_test(old), only_test(new))
    else:  # another size of images, say: other bytes, which the head of the column tells
        lines = [line for line in identity.other_data(only_test(old), only_test(new)) if " -> " in line]
    if lines:
        shown = "\n  ".join(lines)
        names = _named([one, other])
        raise ValueError(
            f"{names[0]} and {names[1]} call their data {one.settings['data']!r} alike, and do not have the same:\n"
            f"  {shown}\nLeave one of them out, or make a table of each."
        )
