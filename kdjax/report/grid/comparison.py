"""The numbers of a grid: every method on every experiment, what is best in a column, averages and ranks over all."""

from dataclasses import dataclass, field, replace

import numpy as np

from kdjax.find import nearest
from kdjax.report import ranks
from kdjax.report.grid.columns import Column, heads
from kdjax.report.statistics import holm, known
from kdjax.report.wording import counted, listed
from kdjax.runs.schema import TEACHER
from kdjax.runs.task import Task

KD = "kd"
TEST_COLUMNS = 5
"""Fewer columns than these, and average ranks are given without a test."""


@dataclass
class Cell:
    """A method on an experiment; fractions where scores are shares. What is not known is None."""

    n: int
    expected: int
    mean: float | None
    std: float | None
    difference: float | None = None  # to the reference, over common seeds
    low: float | None = None  # its 95 % interval
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None  # over the column's comparisons with the reference
    best: bool = False
    p_best: float | None = None  # against the best of the column, Holm over these comparisons
    tied: bool = False  # cannot be told from the best
    rank: float | None = None
    published: dict = field(default_factory=dict)  # the record's fields "published..."
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Average:
    """A method over all columns; None unless it has a number in each."""

    mean: float | None
    difference: float | None
    rank: float | None
    ari: float | None  # relative improvement over kd
    ari_columns: int


@dataclass(frozen=True)
class Comparison:
    """A grid.

    Attributes:
      heads: (title, a text a column) of each line of the head.
      rows: names of methods in order, without the teacher.
      cells: {(row, column's position)}; what is not there was not run. TEACHER is a row of them.
      reference: what differences are to.
      friedman: the test over the columns; None where there is none. wilcoxon: every two of `ranked`, beside it.
      notes: what concerns the whole.
    """

    columns: list[Column]
    heads: list[tuple[str, list[str]]]
    rows: list[str]
    cells: dict[tuple[str, int], Cell]
    averages: dict[str, Average]
    reference: str
    friedman: ranks.Friedman | None
    wilcoxon: ranks.Wilcoxon | None
    notes: list[str]

    @property
    def task(self) -> Task:
        """That all columns share (`kdjax.report.grid.columns.check`)."""
        return self.columns[0].task

    def label(self, column: int) -> str:
        """ "resnet56, resnet20"."""
        return ", ".join(texts[column] for _, texts in self.heads)

    @property
    def ranked(self) -> list[str]:
        """The rows with an average rank, best first."""
        known = [row for row in self.rows if self.averages[row].rank is not None]
        return sorted(known, key=lambda row: self.averages[row].rank)


def compare(columns: list[Column], against: str = "") -> Comparison:
    """The grid of experiments (`kdjax.report.grid.columns.read`).

    Args:
      against: the row that differences are to; "": the experiments' own baseline.

    Raises:
      ValueError: no experiment has such a row, or they have different baselines and `against` names none.
    """
    rows = list(dict.fromkeys(row for each in columns for row in each.records if row != TEACHER))
    reference = _reference(columns, rows, against)
    rows.sort(key=lambda row: row != reference)
    cells = {}
    for position, column in enumerate(columns):
        for row, cell in _column(column, rows, reference).items():
            cells[row, position] = cell
    values = _values(cells, rows, len(columns))
    averages, friedman = _over_columns(cells, rows, values, reference, columns[0].task.sign)
    lines, rest = heads(columns)
    notes = _notes(columns, cells, rows, averages, rest)
    made = Comparison(columns, lines, rows, cells, averages, reference, friedman, None, notes)
    return replace(made, wilcoxon=ranks.wilcoxon(values[:, [rows.index(r) for r in made.ranked]])) if friedman else made


def _reference(columns: list[Column], rows: list[str], against: str) -> str:
    if against and against not in rows:
        raise ValueError(f"--against={against}: no experiment has such a row{nearest(against, rows)}")
    own = list(dict.fromkeys(each.baseline for each in columns if each.baseline))
    if not against and len(own) > 1:
        raise ValueError(f"the experiments have different baselines, {listed(own)}: say which by --against={own[0]}")
    return against or (own or [""])[0]


# ---- a column


def _column(column: Column, rows: list[str], reference: str) -> dict[str, Cell]:
    own = [row for row in rows if row in column.records]
    cells = {row: _cell(column.records[row], column.task) for row in own}
    scores = {row: column.scores(row) for row in own}
    seeds = sorted({seed for of_row in scores.values() for seed in of_row})
    values = np.array([[scores[row].get(seed, np.nan) for seed in seeds] for row in own]).reshape(len(own), len(seeds))
    tests = ranks.pairs(values)
    if reference in own:
        _differences(cells, own, tests, own.index(reference))
    _best(cells, own, tests, column.task.sign)
    if TEACHER in column.records:
        cells[TEACHER] = _cell(column.records[TEACHER], column.task)
    return cells


def _cell(record: dict, task: Task) -> Cell:
    own = "published_score" not in record  # else it is of another score than the cell
    published = {key: value for key, value in record.items() if own and key.startswith("published")}
    mean, std = (record[f"{task.primary.key}{end}"] for end in ("", "_std"))
    cell = Cell(record["n"], record["expected"], mean, std, published=published)
    if record["n"] < record["expected"] and record["method"] != TEACHER:
        diverged = f", {record['diverged']} diverged" if record["diverged"] else ""
        cell.notes.append(f"{record['n']} of {counted(record['expected'], 'run')} finished{diverged}.")
    return cell


def _differences(cells: dict[str, Cell], own: list[str], tests: ranks.Pairs, reference: int) -> None:
    adjusted = holm(tests.p[:, reference])
    for i, row in enumerate(own):
        cell, difference, half = cells[row], tests.difference[i, reference], tests.half[i, reference]
        if i == reference or not np.isfinite(difference):
            continue
        cell.difference, cell.p, cell.p_holm = float(difference), known(tests.p[i, reference]), known(adjusted[i])
        cell.low, cell.high = known(difference - half), known(difference + half)
        if (common := tests.n[i, reference]) < cell.n:
            cell.notes.append(f"Its difference is over the {counted(int(common), 'seed')} that both have finished.")


def _best(cells: dict[str, Cell], own: list[str], tests: ranks.Pairs, sign: int) -> None:
    means = [-np.inf if cells[row].mean is None else sign * cells[row].mean for row in own]
    if not means or not np.isfinite(max(means)):
        return
    first = int(np.argmax(means))
    adjusted = ranks.against_best(tests.p, first)
    for i, (row, rank) in enumerate(zip(own, ranks.ranks(np.array(means)), strict=True)):
        cell = cells[row]
        if cell.mean is None:
            continue
        cell.best, cell.p_best, cell.rank = means[i] == means[first], known(adjusted[i]), float(rank)
        cell.tied = not cell.best and cell.p_best is not None and cell.p_best >= ranks.ALPHA


# ---- over columns


def _values(cells: dict, rows: list[str], columns: int) -> np.ndarray:
    """[columns, rows] means, NaN where there is none."""
    mean = lambda row, i: cells[row, i].mean if (row, i) in cells else None  # noqa: E731
    return np.array([[np.nan if (v := mean(row, i)) is None else v for row in rows] for i in range(columns)])


def _over_columns(cells, rows, values, reference, sign: int) -> tuple[dict[str, Average], ranks.Friedman | None]:
    count, better = len(values), sign * values
    complete = np.isfinite(values).all(axis=0) & (count > 1)
    ranked = np.full(len(rows), np.nan)
    test = None
    if complete.sum() > 1:
        ranked[complete] = ranks.ranks(better[:, complete]).mean(axis=0)
        test = ranks.friedman(better[:, complete]) if count >= TEST_COLUMNS else None
    averages = {}
    for j, row in enumerate(rows):
        differences = [cells[row, i].difference if (row, i) in cells else None for i in range(count)]
        ari, over = _ari(better, rows, j, reference)
        averages[row] = Average(
            mean=float(values[:, j].mean()) if complete[j] else None,
            difference=float(np.mean(differences)) if count > 1 and None not in differences else None,
            rank=known(ranked[j]),
            ari=ari if complete[j] else None,
            ari_columns=over,
        )
    return averages, test


def _ari(values: np.ndarray, rows: list[str], j: int, reference: str) -> tuple[float | None, int]:
    """Over kd, relative to what kd gains over the student trained alone: defined where both are rows."""
    student = "student" if "student" in rows else reference
    if KD not in rows or student not in rows or rows[j] in (KD, student):
        return None, 0
    return ranks.relative_improvement(values[:, j], values[:, rows.index(KD)], values[:, rows.index(student)])


# ---- what concerns the whole


def _notes(columns: list[Column], cells: dict, rows: list[str], averages: dict, rest: list[str]) -> list[str]:
    found, count = [], len(columns)
    most = [max((cells[row, i].n for row in rows if (row, i) in cells), default=0) for i in range(count)]
    single = [column.name for column, n in zip(columns, most, strict=True) if n < 2]
    if single:
        found.append(f"Fewer than two seeds in {listed(single)}: no spread, no test, nothing underlined there.")
    if count < 2:
        found.append("A single column: no averages and no ranks.")
    elif count < TEST_COLUMNS:
        found.append(f"{count} columns: average ranks without a test, which needs {TEST_COLUMNS} at least.")
    if count > 1 and any(averages[row].mean is None for row in rows):
        found.append("Rows that lack a number in some column have no average and no rank.")
    over = [averages[row].ari_columns for row in rows if averages[row].ari is not None]
    if over and over[0] < count:
        found.append(f"ARI leaves out {counted(count - over[0], 'column')} where kd is no better than the student.")
    found += _settings_apart(columns, rows)
    if rest:
        found.append(f"Columns differ in other settings, too: {listed(rest)}.")
    return found


def _settings_apart(columns: list[Column], rows: list[str]) -> list[str]:
    """Rows whose terms are not the same in all columns."""
    specs = {}
    for i, column in enumerate(columns):
        for line in column.lines:
            row = line["config"].get("row") or line["config"].get("method", "")
            if line["config"].get("spec"):
                specs.setdefault(row, {}).setdefault(repr(line["config"]["spec"]), set()).add(i)
    apart = [row for row in rows if len(specs.get(row, ())) > 1]
    return [f"Not of the same settings in all columns: {listed(apart)}."] if apart else []


def tested(comparison: Comparison) -> list[str]:
    """Sentences on the test over columns."""
    test = comparison.friedman
    if test is None:
        return []
    p = "< 0.001" if test.p < 0.001 else f"= {test.p:.3f}"
    verdict = (
        f"rows whose average ranks differ by less than {test.critical:.2f} cannot be told apart by Nemenyi's test"
        if test.p < ranks.ALPHA
        else "no two rows can be told apart"
    )
    found = [
        f"Over {test.n} columns and {test.k} rows Friedman's χ² = {test.chi2:.2f}, Iman and Davenport's "
        f"F = {test.f:.2f}, p {p}: {verdict} (Demšar 2006)."
    ]
    found.append(_pairs(comparison))
    alike = [name for name in ("data", TEACHER) if _shared(comparison.columns, name)]
    if alike:
        found.append(f"The test takes columns as independent; some share their {' or their '.join(alike)}.")
    return found


def _pairs(comparison: Comparison) -> str:
    """What Wilcoxon's tests tell apart."""
    rows, adjusted = comparison.ranked, comparison.wilcoxon.p_holm
    apart = [
        f"{rows[i]} and {rows[j]} (p = {adjusted[i, j]:.3f})"
        for i in range(len(rows))
        for j in range(i + 1, len(rows))
        if adjusted[i, j] < ranks.ALPHA
    ]
    pairs = len(rows) * (len(rows) - 1) // 2
    told = listed(apart) if apart else "no two rows"
    least = min(1.0, pairs * 2.0 ** (1 - comparison.friedman.n))
    reach = f"; with so few columns p is at least {least:.2g}, whatever is seen" if least >= ranks.ALPHA else ""
    return (
        f"Wilcoxon's signed-rank tests over columns, Holm's method over all {pairs} pairs, tell apart: {told}{reach} ("
        "Benavoli et al. 2016; a pair's p there does not hang on the other rows)."
    )


def _shared(columns: list[Column], name: str) -> bool:
    return len({column.settings[name] for column in columns}) < len(columns)
