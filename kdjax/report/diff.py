"""`kdjax diff a b`: in which fields, rows and numbers two experiments, or two runs, differ."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kdjax.config.fields import completed
from kdjax.report import records
from kdjax.report.cells import Grid
from kdjax.report.footnotes import shared_config, spec_of
from kdjax.report.wording import DASH, clean
from kdjax.runs import gather
from kdjax.runs import task as tasks

ROW = ("method", "row", "ablation", "seed", "spec", "rows", "seeds", "methods", "ablate", "execution", "flags")
"""Fields of a run's config.json that are its row's, or say how it was executed and not what it is."""

SIDES = ("a", "b")


@dataclass(frozen=True)
class Difference:
    """What two sides have of each thing that they differ in, as finished strings; empty grids are left out."""

    names: tuple[str, str]
    grids: list[Grid]
    notes: list[str]


def of(a, b) -> Difference:
    """Two experiments (directories or runs.jsonl) or two runs (runs/<experiment>/<method>/seed<k>).

    Raises:
      ValueError: a path is neither, or they are not of a kind.
    """
    runs = [_run(path) for path in (a, b)]
    names = clean(str(a)), clean(str(b))
    if all(runs):
        return of_runs(names, *runs)
    if any(runs):
        one, other = (names[i] for i in (0, 1)) if runs[0] else (names[1], names[0])
        raise ValueError(f"{one} is a run, {other} an experiment; give two runs or two experiments")
    return of_experiments(names, *map(gather.read, (a, b)))


def of_experiments(names: tuple[str, str], a: list[dict], b: list[dict]) -> Difference:
    """Fields that all rows share, rows and their terms, numbers of the rows that both have."""
    for name, lines in zip(names, (a, b), strict=True):
        if len(records.experiments(lines)) > 1:
            raise ValueError(f"{name} holds several experiments; compare them one by one")
    fields = _fields(*(_plain(shared_config(lines)) for lines in (a, b)))
    specs = [{line["config"].get("row", ""): spec_of(line) for line in lines} for lines in (a, b)]
    both = [row for row in specs[0] if row in specs[1]]
    terms = [row for name in both for row in _leaves(specs[0][name], specs[1][name], name)]
    notes = [_only(name, mine, other) for name, mine, other in zip(names, specs, specs[::-1], strict=True)]
    equal, pairs = _equal(a, b)
    notes.append(f"{equal} of {pairs} finished runs that both have came to the same numbers, to the bit.")
    made = [fields, Grid(["term", *SIDES], terms), _numbers(a, b)]
    return Difference(names, [grid for grid in made if grid.rows], [note for note in notes if note])


def of_runs(names: tuple[str, str], a: dict, b: dict) -> Difference:
    """Fields, terms, scores at the end, and the first epoch at which their numbers part."""
    fields = _fields(_plain(a["config"]), _plain(b["config"]))
    terms = _leaves(spec_of(a), spec_of(b))
    made = [fields, Grid(["term", *SIDES], terms), _scores(a, b)]
    return Difference(names, [grid for grid in made if grid.rows], _histories(a["history"], b["history"]))


def fields_of(lines: list[dict]) -> dict:
    """The config that the rows of an experiment share, without what is a row's own: for other comparisons."""
    return _plain(shared_config(lines))


def leaves(config: dict, path: str = "") -> dict[str, object]:
    """Dotted name -> value of every field of a plain config."""
    found = {}
    for key, value in config.items():
        name = f"{path}.{key}" if path else str(key)
        found |= leaves(value, name) if isinstance(value, dict) and value else {name: value}
    return found


def _run(path) -> dict | None:
    """The line of a run's directory; None if the path is none."""
    path = Path(path)
    if not path.name.startswith("seed") or not path.is_dir() or (path / "runs.jsonl").exists():
        return None
    wanted = f"{path.resolve().parent.name}/{path.resolve().name}"
    lines = gather.gather(path.resolve().parent.parent)
    return next((line for line in lines if line["run"] == wanted), None)


def _plain(config: dict) -> dict:
    kept = {key: value for key, value in completed(config).items() if key not in ROW}
    identity = kept.pop("identity", None) or {}
    digests = {name: (identity.get(name) or {}).get("sha256") for name in ("teacher", "start")}
    splits = {each.get("split"): each.get("sha256") for each in (identity.get("data") or {}).get("splits", ())}
    known = {"data": splits, "code": identity.get("code") or {}, **digests}
    return kept | {"identity": {name: value for name, value in known.items() if value}}


def _fields(a: dict, b: dict) -> Grid:
    return Grid(["field", *SIDES], _leaves(a, b))


def _leaves(a: dict, b: dict, path: str = "") -> list[list[str]]:
    """A line a leaf that differs."""
    of_a, of_b = leaves(a, path), leaves(b, path)
    return [
        [clean(name), *(_said(side, name) for side in (of_a, of_b))]
        for name in dict.fromkeys((*of_a, *of_b))
        if of_a.get(name, DASH) != of_b.get(name, DASH)
    ]


def _said(side: dict, name: str) -> str:
    value = side.get(name, DASH)
    return value[:12] if name.startswith("identity.") and isinstance(value, str) else clean(str(value))


def _only(name: str, own: Iterable[str], other: Iterable[str]) -> str:
    rows = [row for row in own if row not in other]
    return f"Only {name} has: {', '.join(map(clean, rows))}." if rows else ""


def _equal(a: list[dict], b: list[dict]) -> tuple[int, int]:
    """(runs of one row and seed whose epochs have the same numbers, those that both have finished)."""
    key = lambda line: (line["config"].get("row"), line["config"].get("seed"))  # noqa: E731
    of_a, of_b = ({key(line): line["history"] for line in lines if line["result"]} for lines in (a, b))
    both = of_a.keys() & of_b.keys()
    return sum(of_a[run] == of_b[run] for run in both), len(both)


def _numbers(a: list[dict], b: list[dict]) -> Grid:
    """The score of every row that both have, and how far it is apart."""
    tasks_ = [tasks.common(lines) for lines in (a, b)]
    if tasks_[0].primary != tasks_[1].primary:
        return Grid(["method", *SIDES], [])
    score = tasks_[0].primary
    of_a, of_b = ({record["row"]: record for record in records.records(lines)} for lines in (a, b))
    rows = []
    for row in (row for row in of_a if row in of_b):
        means = [side[row][score.key] for side in (of_a, of_b)]
        shown = [score.spread(side[row][score.key], side[row][f"{score.key}_std"]) for side in (of_a, of_b)]
        apart = DASH if None in means else score.signed(means[1] - means[0])
        rows.append([clean(row), str(of_a[row]["n"]), str(of_b[row]["n"]), *shown, apart])
    return Grid(
        ["method", *(f"n {side}" for side in SIDES), *(f"{score.title} {side}" for side in SIDES), "b − a"], rows
    )


def _scores(a: dict, b: dict) -> Grid:
    last = [(line["result"] or {}).get("last") or {} for line in (a, b)]
    keys = [key for key, value in last[0].items() if isinstance(value, int | float) and key in last[1]]
    rows = [[key, *(f"{side[key]:.6g}" for side in last)] for key in keys if last[0][key] != last[1][key]]
    return Grid(["at the end", *SIDES], rows)


def _histories(a: list[dict], b: list[dict]) -> list[str]:
    """In words, where the numbers of two runs part."""
    for one, other in zip(a, b, strict=False):
        parted = [key for key in dict.fromkeys((*one, *other)) if one.get(key) != other.get(key)]
        if parted:
            shown = ", ".join(f"{key} {one.get(key, DASH)} and {other.get(key, DASH)}" for key in parted[:3])
            return [f"Their numbers part at epoch {one['epoch']}: {shown}."]
    if len(a) == len(b):
        return [f"All {len(a)} epochs have the same numbers, to the bit."] if a else []
    return [f"The numbers of the first {min(len(a), len(b))} epochs are the same, to the bit; then one ends."]
