"""The tables themselves as finished strings: methods, teacher beside student, groups of classes."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from kdjax.report import classes, footnotes, paired, statistics
from kdjax.report.records import COSTS, Experiment
from kdjax.report.wording import DASH, clean
from kdjax.runs.gather import done
from kdjax.runs.schema import TEACHER
from kdjax.runs.task import TOP1, Score

DIFFERENCE = "Δ {} [95 %]"
"""The header of differences to a baseline."""


@dataclass(frozen=True)
class Grid:
    """A table of finished strings; the first column is text, the others are numbers."""

    header: list[str]
    rows: list[list[str]]


def notes_of(found: list[Experiment]) -> tuple[list[list[str]], list[str]]:
    """(the footnotes of each row of all experiments, all of them without repetition)."""
    marks = [
        footnotes.notes(experiment.lines, record, experiment.task)
        for experiment in found
        for record in experiment.records
    ]
    return marks, list(dict.fromkeys(note for of_row in marks for note in of_row))


def methods(found: list[Experiment]) -> list[Grid]:
    """The methods tables, one for each score that experiments are compared by."""
    marks, notes = notes_of(found)
    marks = iter(marks)
    tables = {}
    for experiment in found:
        parts, names = tables.setdefault(experiment.task.primary, ([], []))
        parts.append(experiment)
        for record in experiment.records:
            numbers = sorted(notes.index(note) + 1 for note in next(marks))
            names.append(_name(experiment, record, found) + superscript(numbers))
        names += [_name(experiment, record, found) for record in experiment.references]
    return [_methods(score, *of_score) for score, of_score in tables.items()]


def _name(experiment: Experiment, record: dict, found: list[Experiment]) -> str:
    return clean(f"{experiment.name}: {record['row']}" if len(found) > 1 else record["row"])


def _methods(score: Score, found: list[Experiment], names: list[str]) -> Grid:
    """One table of rows of these names. Columns that no row has a value in are left out, but for n and the score."""
    lines = [line for experiment in found for line in experiment.lines]
    baselines = {line["config"]["baseline"] for line in lines if "baseline" in line["config"]}
    against = DIFFERENCE.format(baselines.pop() if len(baselines) == 1 else "baseline")
    others = list(dict.fromkeys(each for experiment in found for each in experiment.task.columns))
    header = [
        "method",
        "n",
        "trials",
        score.header,
        clean(against),
        "p",
        paired.COLUMN,
        paired.BOTH,
        "best epoch",
        *(each.header for each in others),
    ]
    with_published = any((line["config"].get("published") or {}).get("benchmark") for line in lines)
    header += ["published", "Δ published"] if with_published else []
    rows = [record for experiment in found for record in (*experiment.records, *experiment.references)]
    cells = [
        [name, *_cells(row, score, others), *(_published(row, score) if with_published else [])]
        for name, row in zip(names, rows, strict=True)
    ]
    return _known(header, cells, kept=("n", score.header, "published", "Δ published"))


def _known(header: list[str], rows: list[list[str]], kept=()) -> Grid:
    """The table without the columns that no row has a value in."""
    known = [i for i, name in enumerate(header) if name in kept or any(row[i] != DASH for row in rows)]
    return Grid([header[i] for i in known], [[row[i] for i in known] for row in rows])


def superscript(numbers: list[int]) -> str:
    digits = str.maketrans("0123456789,", "⁰¹²³⁴⁵⁶⁷⁸⁹˒")
    return ",".join(str(number) for number in numbers).translate(digits)


def _cells(row: dict, score: Score, others: list[Score]) -> list[str]:
    count = str(row["n"]) if row["n"] == row["expected"] else f"{row['n']} of {row['expected']}"
    return [
        count,
        str(row.get("trials") or DASH),
        score.spread(row[score.key], row[f"{score.key}_std"]),
        _difference(row, score),
        _p(row["p"]),
        _p(row.get("p_examples")),
        _interval(row.get("low_both"), row.get("high_both"), score),
        score.spread(row["best"], row["best_std"]),
        *(each.number(row.get(each.key)) for each in others),
    ]


def _difference(row: dict, score: Score) -> str:
    if row["difference"] is None:
        return DASH
    return f"{score.signed(row['difference'])} [{_interval(row['low'], row['high'], score)}]"


def _interval(low: float | None, high: float | None, score: Score) -> str:
    return DASH if low is None else f"{score.signed(low)}, {score.signed(high)}"


def _p(value: float | None) -> str:
    return DASH if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def _published(row: dict, score: Score) -> list[str]:
    if row["published"] is None:
        return [DASH, DASH]
    trials = f" (n {row['published_n']})" if row["published_n"] else ""
    best = " best" if row["published_epoch"] == "best" else ""
    printed = score.spread(row["published"], row["published_std"])
    return [printed + trials + best, score.signed(row["published_difference"])]


def probabilities(found: list[Experiment]) -> Grid:
    """How probably each method is better than the baseline, equal or worse, in percent; empty if not asked for."""
    rows = []
    for experiment in found:
        compared = [row for row in experiment.records if row["pairs"] is not None]
        for row in compared if experiment.rope is not None else ():
            shares = (row["better"], row["equal"], row["worse"])
            rows.append(
                [_name(experiment, row, found), *(DASH if share is None else f"{100 * share:.1f}" for share in shares)]
            )
    return Grid(["method, probably", "better", "equal", "worse"], rows)


def changed(found: list[Experiment]) -> Grid:
    """Which test examples each method fixed and broke, seed by seed, where the scores of examples are known."""
    rows = []
    for experiment in found:
        for row in experiment.records:
            for seed, fixed, broken, p in zip(*(row.get(name, ()) for name in paired.SEEDS), strict=True):
                rows.append([f"{_name(experiment, row, found)}, {seed}", f"{fixed:,}", f"{broken:,}", _p(p)])
    return Grid(list(paired.CHANGED), rows)


def costs(found: list[Experiment]) -> Grid:
    """Teacher beside student: a row for each model of different size."""
    sizes = {}
    for record in (record for experiment in found for record in experiment.records):
        unknown = record["method"] == TEACHER and record["model"]  # of a teacher of elsewhere
        if record["parameters"] is not None or unknown:
            role = TEACHER if record["method"] == TEACHER else "student"
            key = (record["experiment"], role, *(record[name] for name in ("model", *COSTS[:3])))
            sizes.setdefault(key, []).append(record)
    several = len({key[0] for key in sizes}) > 1
    teachers = {key[0]: key[3] for key in sizes if key[1] == TEACHER}
    names = Counter(key[:3] for key in sizes)
    rows = []
    for key, group in sizes.items():
        experiment, role, model, parameters = key[:4]
        rows_of = ", ".join(record["row"] for record in group) if names[key[:3]] > 1 else ""
        name = f"{experiment}: " * several + f"{role}: {model}" + (f" ({rows_of})" if rows_of else "")
        ratio = f"{teachers[experiment] / parameters:.1f}" if teachers.get(experiment) and parameters else DASH
        numbers = [DASH if value is None else f"{value:,}" for value in key[3:]]
        times = [_time([record[name] for record in group]) for name in COSTS[3:]]
        rows.append([clean(name), *numbers, *times, ratio])
    one = footnotes.example([line for experiment in found for line in experiment.lines])
    header = ["model", "parameters", "FLOPs", "bytes", f"ms, 1 {one}", f"ms, 64 {one}s", "compression"]
    return _known(header, rows)


def _time(values: list[float | None]) -> str:
    values = [value for value in values if value is not None]
    return f"{np.median(values):.3g}" if values else DASH


def groups(found: list[Experiment]) -> Grid:
    """Mean accuracy of the classes with few, medium and many training images, where their numbers differ."""
    rows, sizes = [], {}
    for experiment in found:
        grouped = {}
        for line in experiment.lines:
            if line["config"].get("method") != TEACHER and done([line]) and classes.uneven(line["result"]):
                grouped.setdefault((line["config"]["method"], line["config"]["row"]), []).append(line["result"])
        for (_, row), results in grouped.items():
            label = clean(f"{experiment.name}: {row}" if len(found) > 1 else row)
            rows.append([label, *(_group(results, number) for number in range(len(classes.GROUPS)))])
            sizes.setdefault(experiment.name, results)
    first = next(iter(sizes.values()), [])
    header = [f"{g}: {classes.group_sizes(first, i)}" if len(sizes) == 1 else g for i, g in enumerate(classes.GROUPS)]
    one = footnotes.example([line for experiment in found for line in experiment.lines])
    return Grid([f"classes by training {one}s", *header], rows)


def _group(results: list[dict], number: int) -> str:
    values = [classes.group_accuracy(result, number) for result in results]
    summary = statistics.summary([value for value in values if np.isfinite(value)])
    return TOP1.spread(summary["mean"], summary["std"])
