"""The candidates that experiments and measured files offer, with the share of the teacher that each keeps."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from kdjax.find import nearest
from kdjax.report.choose.case import COSTS, NETWORK, Candidate, known
from kdjax.report.grid import columns
from kdjax.report.statistics import lower_bound, summary
from kdjax.report.wording import listed
from kdjax.runs.gather import done
from kdjax.runs.schema import TEACHER
from kdjax.runs.task import Score


def score_of(found: list[columns.Column], metric: str) -> Score:
    task = found[0].task
    known = {score.key: score for each in found for score in (each.task.primary, *each.task.columns)}
    known |= {key: Score(key, key) for key in task.unshown}
    known.pop("agreement", None)  # a teacher has none
    if metric and metric not in known:
        raise ValueError(f"--metric={metric}: the results have no such score{nearest(metric, known)}")
    return known[metric] if metric else task.primary


def teacher_of(found: list[columns.Column], score: Score, better: bool) -> tuple[str, float]:
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


def offered(found: list[columns.Column], score: Score, sizes) -> tuple[list[Candidate], list[str]]:
    """(the candidates of experiments, what should be known of their costs); `sizes`: more sizes.csv files."""
    files = [*map(Path, sizes), *(path for path in _beside(found) if path not in map(Path, sizes))]
    exported = {key: row for path in files for key, row in _exported_in(path, found).items()}
    candidates, remarks = [], []
    for column in found:
        for line_group in _rows_of(column):
            candidates += _of(column, line_group, score, exported if score.key == "top1" else {})
    if exported and score.key != "top1":
        remarks.append(f"Exported files were measured in top-1 alone: for {score.title} students count as networks.")
    elif not exported:
        remarks.append("No sizes.csv: bytes are those of parameters in float32, ms are of JAX; see kdjax sizes.")
    elif any(each.form == NETWORK for each in candidates):
        remarks.append("A network's bytes are those of its parameters, its ms are JAX's; those of files are whole.")
    if not candidates:
        raise ValueError(f"no student of {listed(each.name for each in found)} is finished: there is nothing to choose")
    return candidates, remarks


def _beside(found: list[columns.Column]) -> list[Path]:
    folders = dict.fromkeys(
        Path(each.source) if Path(each.source).is_dir() else Path(each.source).parent for each in found
    )
    return [folder / "sizes.csv" for folder in folders if (folder / "sizes.csv").is_file()]


def _exported_in(path: Path, found: list[columns.Column]) -> dict[tuple[str, str, str], dict]:
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


def _rows_of(column: columns.Column) -> list[list[dict]]:
    grouped = {}
    for line in done_lines(column.lines):
        if line["config"].get("method") != TEACHER:
            grouped.setdefault(line["config"]["method"], []).append(line)
    return list(grouped.values())


def done_lines(lines: list[dict]) -> list[dict]:
    return [line for line in lines if done([line])]


def _of(column: columns.Column, lines: list[dict], score: Score, exported: dict) -> list[Candidate]:
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


def rated(candidates: list[Candidate], teacher: float, better: bool) -> list[Candidate]:
    """With the share of the teacher's score that each keeps, and those on the front marked."""
    return _front([_kept(each, teacher, better) for each in candidates], better)


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
    rows = [[sign * each.mean, *(known(getattr(each, name)) for name in COSTS)] for each in candidates]
    values = np.array(rows)
    fronts = [not np.any(np.all(values <= own, axis=1) & np.any(values < own, axis=1)) for own in values]
    return [replace(each, front=bool(front)) for each, front in zip(candidates, fronts, strict=True)]
