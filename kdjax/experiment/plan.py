"""What an experiment consists of: its rows, the directory and the config.json of each run, and what is missing."""

import os
from dataclasses import replace
from pathlib import Path

from ml_collections import ConfigDict

from kdjax import config as configs
from kdjax.config.rows import expand, with_view
from kdjax.find import chosen
from kdjax.runs.directory import Run
from kdjax.runs.schema import damage
from kdjax.training import checkpoint
from kdjax.training.method import Method


def rows_of(config: ConfigDict, directory: Path) -> list[Method]:
    """The rows of an experiment under the names of their directories; see `kdjax.config.rows.expand`.

    Where an older version has left the directory of an ablated row, its name is the row's label as it stands.
    """
    rows = expand(config)
    old = {
        row.name
        for row in rows
        if row.name != row.row and os.path.isdir(directory / row.row) and not (directory / row.name).exists()
    }
    return [replace(row, name=row.row) if row.name in old else row for row in rows]


def missing(config, directory, rows: list[Method], only, seeds, exact=False, until=0) -> list[tuple[int, Method]]:
    """(seed, row) of all runs that are not finished, or have not come `until`, in the order in which they are trained.

    Raises:
      ValueError: an unknown name in `only`, wrong seeds, or a directory that holds a run of another config.
    """
    configs.check_seeds(seeds, "--seeds")
    names = only if exact else chosen([row.name for row in rows], only)
    wanted = {row.name: run_config(config, row, seeds[0]) for row in rows if row.name in names}
    return [
        (seed, row)
        for seed in seeds
        for row in rows
        if row.name in names
        and not finished(
            Run(run_path(directory, row.name, seed)), {**wanted[row.name], "seed": seed}, teaches(row, rows)
        )
        and not (until and _reached(Run(run_path(directory, row.name, seed)), until))
    ]


def _reached(run: Run, epoch: int) -> bool:
    return any(row["epoch"] >= epoch for row in run.history())


def run_path(directory: Path, method: str, seed: int) -> Path:
    """The directory of a run."""
    return Path(directory) / method / f"seed{seed}"


def experiment_config(config: ConfigDict, rows: list[Method], seeds) -> dict:
    """What the experiment's own config.json says: the whole config and the rows that the table will have."""
    listed = [{"method": row.name, "row": row.row, "ablation": dict(row.ablation)} for row in rows]
    shared = {key: value for key, value in _stated(config).items() if key != "pairs"}
    return {**shared, "seeds": sorted({*config.seeds, *seeds}), "rows": listed}


def run_config(config: ConfigDict, method: Method, seed: int) -> dict:
    """What a run's config.json says: all that determines its result, and how it was executed."""
    config = with_view(config, method)
    left_out = ("methods", "ablate", "pairs", "seeds", "student")
    shared = {k: v for k, v in _stated(config).items() if k not in left_out}
    own = {"method": method.name, "row": method.row, "ablation": dict(method.ablation), "seed": seed}
    return {**own, "spec": method.spec, "student": dict(method.model_config), **shared}


def _stated(config: ConfigDict) -> dict:
    """The plain config, without `tuned` and `pilot` where nothing was."""
    return {key: value for key, value in configs.plain(config).items() if key not in ("tuned", "pilot") or value}


def teaches(row: Method, rows: list[Method]) -> bool:
    """Whether another row is taught by this one's student, or begins as it."""
    return any(row.name in other.sources for other in rows)


def finished(run: Run, config: dict, teaches: bool) -> bool:
    """Whether there is nothing left to do for a run; one that teaches needs its last checkpoint, whole, too.

    Raises:
      ValueError: a run of another config is in its place.
    """
    run.check(config)
    result = run.result()
    if run.config() is None or result is None or damage(result):
        return False
    if teaches and result["status"] == "done":
        try:
            checkpoint.student(run.checkpoints, result.get("student_sha256", ""))
        except ValueError:
            return False
    return True
