"""Which student to ship: the front of a metric against bytes, latency and FLOPs, and the smallest that is good enough.

    kdjax choose runs/digits_small --keep=0.95 --max-kb=100
    kdjax choose results/digits_small --sizes=results/digits_small/sizes.csv --out=results/digits_small

A candidate is a row of an experiment as a network, or, where `kdjax sizes` has measured its files, in each exported
form. Nothing here imports JAX.
"""

import csv
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import special

from kdjax import tables
from kdjax.files import write_text
from kdjax.find import nearest
from kdjax.report.grid import columns
from kdjax.report.statistics import CONFIDENCE, summary
from kdjax.report.wording import DASH, clean, counted, listed
from kdjax.runs import task as tasks
from kdjax.runs.gather import done
from kdjax.runs.schema import TEACHER
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
    form: str  # NETWORK, or as `kdjax sizes` calls its file: float32, int8
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


def choose(paths, wanted: Wanted, metric: str = "", sizes=()) -> Choice:
    """The smallest student of experiments that keeps enough of the best teacher with 95 % confidence.

    Of the ratios r_s of a seed's score to the teacher's (of the teacher's to the score where less is better), n seeds:
    mean(r) - t(0.95, n - 1) std(r) / sqrt(n), the lower end of their one-sided t interval, is at least `wanted.keep`.

    Args:
      metric: a key of result["last"], "f1"; "": the task's primary.
      sizes: sizes.csv files of `kdjax sizes`; those beside the runs are read, too.

    Raises:
      ValueError: experiments of other data or tasks, no teacher, a metric that results do not have.
    """
    found = columns.read(paths)
    if len({each.settings["data"] for each in found}) > 1:
        told = listed(f"{each.name} on {each.settings['data']}" for each in found)
        raise ValueError(f"these experiments are of different data, and their students do not compare: {told}")
    task = found[0].task
    score = _score(found, metric)
    better = task.higher_is_better if score == task.primary else score.key not in LESS
    teacher = _teacher(found, score, better)
    files = [*map(Path, sizes), *(path for path in _beside(found) if path not in map(Path, sizes))]
    exported = {key: row for path in files for key, row in _exported(path, found).items()}
    candidates, notes = [], []
    for column in found:
        for line_group in _rows(column):
            candidates += _candidates(column, line_group, score, exported if score.key == "top1" else {})
    if exported and score.key != "top1":
        notes.append(f"Exported files were measured in top-1 alone: for {score.title} students count as networks.")
    elif not exported:
        notes.append("No sizes.csv: bytes are of the parameters in float32, ms of the network in JAX; see kdjax sizes.")
    elif any(each.form == NETWORK for each in candidates):
        notes.append("A network's bytes are those of its parameters, its ms are JAX's; those of files are whole.")
    if not candidates:
        raise ValueError(f"no student of {listed(each.name for each in found)} is finished: there is nothing to choose")
    candidates = _front([_kept(each, teacher[1], better) for each in candidates], better)
    passing = [each for each in candidates if passes(each, wanted)]
    least = SAME * min((each.bytes for each in passing), default=0)
    chosen = max((each for each in passing if each.bytes <= least), key=lambda each: each.lowest, default=None)
    notes.append(f"Each interval is its own, not corrected for the {counted(len(candidates), 'candidate')} looked at.")
    return Choice(score, better, teacher, candidates, wanted, chosen, notes)


SAME = 1.01
"""Files that differ by no more than this factor are of one size: of these the one that surely keeps most is chosen."""
LESS = ("nll", "ece", "mae", "rmse")
"""Scores besides a task's primary of which less is better."""


def passes(candidate: Candidate, wanted: Wanted) -> bool:
    costs = {name: getattr(candidate, name) for name in wanted.limits}
    fits = all(cost is not None and cost <= wanted.limits[name] for name, cost in costs.items())
    enough = candidate.lowest is not None and candidate.lowest >= wanted.keep
    return fits and enough and candidate.bytes is not None


# ---- what there is


def _score(found: list[columns.Column], metric: str) -> Score:
    task = found[0].task
    known = {score.key: score for each in found for score in (each.task.primary, *each.task.columns)}
    known |= {key: Score(key, key) for key in task.unshown}
    known.pop("agreement", None)  # a teacher has none
    if metric and metric not in known:
        raise ValueError(f"--metric={metric}: the results have no such score{nearest(metric, known)}")
    return known[metric] if metric else task.primary


def _teacher(found: list[columns.Column], score: Score, better: bool) -> tuple[str, float]:
    """The best of the experiments' teachers, as it was measured there."""
    known = [
        (f"{each.settings['teacher'] or TEACHER} of {each.name}", each.records[TEACHER].get(score.key))
        for each in found
        if TEACHER in each.records
    ]
    known = [(name, value) for name, value in known if value is not None]
    if not known:
        raise ValueError(f"no teacher's {score.title} is known, so nobody can say what a student keeps of it")
    best = (max if better else min)(known, key=lambda item: item[1])
    if best[1] <= 0:
        raise ValueError(f"the teacher's {score.title} is {score.number(best[1])}: there is no share of that")
    return best


def _beside(found: list[columns.Column]) -> list[Path]:
    folders = dict.fromkeys(
        Path(each.source) if Path(each.source).is_dir() else Path(each.source).parent for each in found
    )
    return [folder / "sizes.csv" for folder in folders if (folder / "sizes.csv").is_file()]


def _exported(path: Path, found: list[columns.Column]) -> dict[tuple[str, str, str], dict]:
    """(experiment, row, form) -> a line of sizes.csv, as numbers."""
    try:
        lines = list(csv.DictReader(path.read_text("utf-8").splitlines()))
        rows = {}
        for line in lines:
            numbers = {
                key: float(line[key]) if line[key] else None
                for key in ("n", "top1", "top1_std", "bytes", "flops", "ms")
            }
            experiment, colon, row = line["student"].partition(": ")
            names = [(experiment, row)] if colon else [(each.name, line["student"]) for each in found]
            rows |= {(*name, line["file"]): numbers for name in names}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no sizes.csv as `kdjax sizes --out` writes it: {error!r}") from None
    return rows


def _rows(column: columns.Column) -> list[list[dict]]:
    grouped = {}
    for line in done_lines(column.lines):
        if line["config"].get("method") != TEACHER:
            grouped.setdefault(line["config"]["method"], []).append(line)
    return list(grouped.values())


def done_lines(lines: list[dict]) -> list[dict]:
    return [line for line in lines if done([line])]


def _candidates(column: columns.Column, lines: list[dict], score: Score, exported: dict) -> list[Candidate]:
    config = lines[0]["config"]
    values = [line["result"]["last"].get(score.key) for line in lines]
    row = config.get("row") or config["method"]
    record = column.records[row]
    source = column.source if Path(column.source).is_dir() else f"runs/{column.name}"
    source = source if not (Path(source) / "runs.jsonl").is_file() else f"runs/{column.name}"
    names = (column.name, row, config["method"])
    shared = {"seed": _shipped(lines, column), "source": source}
    files = {form: each for (*key, form), each in exported.items() if key == [column.name, row]}
    if files:
        return [
            Candidate(
                *names, form, (), int(f["n"]), f["top1"], f["top1_std"], f["bytes"], f["ms"], f["flops"], **shared
            )
            for form, f in files.items()
        ]
    if None in values:
        return []
    found = summary(values)
    costs = (record["bytes"], record["latency_1_ms"], record["flops"])
    return [Candidate(*names, NETWORK, tuple(values), found["n"], found["mean"], found["std"], *costs, **shared)]


def _shipped(lines: list[dict], column: columns.Column) -> int:
    """The seed whose last epoch is the best on the validation split; the first where there is none."""
    key, sign = f"validation_{column.task.primary.key}", column.task.sign
    known = [
        (sign * line["history"][-1][key], line)
        for line in lines
        if line["history"] and line["history"][-1].get(key) is not None
    ]
    return (max(known, key=lambda item: item[0])[1] if known else lines[0])["result"]["seed"]


# ---- how good they are


def lower_bound(mean: float, std: float | None, n: int) -> float | None:
    """The lower end of the one-sided 95 % t interval of a mean; None where the spread is not known."""
    return None if std is None or n < 2 else mean - float(special.stdtrit(n - 1, CONFIDENCE)) * std / math.sqrt(n)


def _kept(candidate: Candidate, teacher: float, better: bool) -> Candidate:
    """With the share of the teacher's score that it keeps."""
    if candidate.scores:
        ratios = [value / teacher if better else teacher / value if value else math.inf for value in candidate.scores]
        found = summary(ratios)
        mean, std = found["mean"], found["std"]
    else:  # files: top-1, of which their means and spreads are those of ratios times the teacher's
        mean, std = candidate.mean / teacher, None if candidate.std is None else candidate.std / teacher
    return replace(candidate, kept=mean, lowest=lower_bound(mean, std, candidate.n))


def _front(candidates: list[Candidate], better: bool) -> list[Candidate]:
    """With those marked that no other equals in everything and beats in something; unknown costs are infinite."""
    sign = -1 if better else 1
    rows = [[sign * each.mean, *(_known(getattr(each, name)) for name in COSTS)] for each in candidates]
    values = np.array(rows)
    fronts = [not np.any(np.all(values <= own, axis=1) & np.any(values < own, axis=1)) for own in values]
    return [replace(each, front=bool(front)) for each, front in zip(candidates, fronts, strict=True)]


def _known(cost: float | None) -> float:
    return math.inf if cost is None else cost


# ---- what is said


def command(candidate: Candidate) -> str:
    """What exports it."""
    run = f"{candidate.source}/{candidate.method}/seed{candidate.seed}"
    if candidate.form == "int8":
        return f"kdjax sizes {run}    # writes {run}/student-int8.onnx"
    return f"kdjax export {run} student.onnx"


def verdict(choice: Choice) -> str:
    wanted, score = choice.wanted, choice.score
    limits = [f"at most {limit / COSTS[name][1]:g} {COSTS[name][0]}" for name, limit in wanted.limits.items()]
    name, value = choice.teacher
    of = f"{100 * wanted.keep:g} % of the teacher's {score.title} ({name}: {score.number(value)})"
    if choice.chosen:
        one = choice.chosen
        return (
            f"{one.name}: the smallest of {len(choice.candidates)} that keeps {of} with 95 % confidence"
            f"{', ' * bool(limits)}{listed(limits) if limits else ''}: {score.spread(one.mean, one.std)}, "
            f"{100 * one.kept:.1f} % kept, at least {100 * one.lowest:.1f} % over {counted(one.n, 'seed')}."
        )
    known = [each for each in choice.candidates if each.lowest is not None]
    if not known:
        return f"None qualifies: no candidate has two seeds or more, so none keeps {of} with any known confidence."
    fitting = [each for each in known if passes(each, replace(wanted, keep=1e-9))]
    if not fitting:
        return f"None qualifies: no candidate has a known cost of {listed(limits)}."
    best = max(fitting, key=lambda each: each.lowest)
    return (
        f"None qualifies: of {len(fitting)} {'within the limits ' * bool(limits)}the best, {best.name}, keeps at least "
        f"{100 * best.lowest:.1f} % with 95 % confidence, and {of} was asked for."
    )


def table(choice: Choice) -> list[list[str]]:
    """Header and a line a candidate, the smallest first."""
    units = [unit for unit, _ in COSTS.values()]
    lines = [["student", "n", choice.score.header, "kept, %", "at least", *units, "front"]]
    for each in sorted(choice.candidates, key=lambda one: _known(one.bytes)):
        share = lambda value: DASH if value is None else f"{100 * value:.1f}"  # noqa: E731
        costs = [
            DASH if (c := getattr(each, name)) is None else f"{c / unit:,.3g}" for name, (_, unit) in COSTS.items()
        ]
        mark = "chosen" if choice.chosen == each else "yes" if each.front else ""
        name = each.row if len({one.experiment for one in choice.candidates}) == 1 else f"{each.experiment}: {each.row}"
        score = choice.score.spread(each.mean, each.std)
        lines.append(
            [clean(f"{name}, {each.form}"), str(each.n), score, share(each.kept), share(each.lowest), *costs, mark]
        )
    return lines


def notes(choice: Choice) -> list[str]:
    sides = "score / teacher's" if choice.higher_is_better else "teacher's / score, as less is better"
    return [
        f"Kept: the mean over seeds of r = {sides}; at least: mean(r) - t(0.95, n - 1) std(r) / sqrt(n), the lower end "
        "of its one-sided 95 % interval over seeds. The teacher's score is taken as it is.",
        f"Front: no other is at least as good in {choice.score.title}, bytes, ms and FLOPs and better in one.",
        f"Smallest: of those no more than {100 * (SAME - 1):.0f} % larger, the one that surely keeps most.",
        *choice.notes,
    ]


def markdown(choice: Choice) -> str:
    chosen = f"\n\n    {command(choice.chosen)}" if choice.chosen else ""
    below = "\n".join(f"- {note}" for note in notes(choice))
    return f"{verdict(choice)}{chosen}\n\n{tables.markdown(table(choice))}\n\n{below}\n"


def write(choice: Choice, out) -> None:
    """choose.md, choose.csv and front.png, .svg, .pdf under `out`."""
    from kdjax.report.plots import front

    write_text(Path(out) / "choose.md", markdown(choice))
    keys = ("experiment", "row", "form", "n", "mean", "std", "kept", "lowest", *COSTS, "front")
    rows = [{key: getattr(each, key) for key in keys} | {"chosen": each == choice.chosen} for each in choice.candidates]
    write_text(Path(out) / "choose.csv", tables.csv(rows))
    front.write(choice, Path(out))


def main(args) -> None:
    """`kdjax choose RUNS... --keep=0.95`: prints the candidates, what is chosen and how it is exported."""
    from rich.console import Console
    from rich.text import Text

    limits = {"bytes": args.max_kb, "ms": args.max_ms, "flops": args.max_mflops}
    limits = {name: limit * COSTS[name][1] for name, limit in limits.items() if limit is not None}
    choice = choose(args.runs, Wanted(args.keep, limits), args.metric, args.sizes)
    if args.out:
        write(choice, args.out)
    console = Console(highlight=False)
    head, *lines = table(choice)
    console.print(tables.terminal(head, lines, wrapped=True))
    for note in notes(choice):
        console.print(Text(clean(note), "dim"))
    console.print(Text(clean(verdict(choice)), "bold"))
    if choice.chosen:
        console.print(command(choice.chosen), soft_wrap=True)


def common(choice: Choice) -> tasks.Task:
    """The task whose primary is the metric, for axes."""
    return tasks.Task("", choice.score, choice.higher_is_better, ())
