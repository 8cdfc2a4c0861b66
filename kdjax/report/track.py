"""Rows of metrics.jsonl for trackers, one small adapter each; the runs themselves stay as they are.

    kdjax track runs/digits --to=tensorboard:logs        an event file a run, logs/<experiment>/<method>/seed<k>
    kdjax track runs/digits --to=mlflow:sqlite:///m.db   an MLflow experiment, a run each, at a tracking URI

An adapter is a function (place, run) -> Sink; a Sink takes (row), and closes.
"""

import contextlib
import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from kdjax.find import nearest


def send(lines: list[dict], to: str) -> tuple[int, int, str]:
    """Hands the histories of lines of runs.jsonl on; returns (runs, rows, where they are).

    Args:
      to: a tracker, with a place after a colon or at its default.

    Raises:
      ValueError: there is no such tracker, its package is not installed, or nothing was trained.
    """
    open_, place = tracker(to)
    begun = [line for line in lines if line["history"]]
    if not begun:
        raise ValueError("no run has a row in metrics.jsonl yet")
    for line in begun:
        with open_(place, line) as log:
            for row in line["history"]:
                log(numbers(row))
    return len(begun), sum(len(line["history"]) for line in begun), place


def tracker(to: str) -> tuple[Callable, str]:
    """(adapter, place) of "tensorboard:logs" or "tensorboard"."""
    name, _, place = to.partition(":")
    if name not in TRACKERS:
        raise ValueError(f"--to: there is no tracker {name!r}{nearest(name, TRACKERS)}")
    open_, default = TRACKERS[name]
    return open_, place or default


def numbers(row: dict) -> dict:
    """A row without what is null: an infinity or NaN, which trackers draw as they like."""
    return {name: value for name, value in row.items() if value is not None}


@contextlib.contextmanager
def _tensorboard(place: str, line: dict) -> Iterator[Callable[[dict], None]]:
    """An event file; what an earlier call has written of this run is replaced."""
    writing = _needs("tensorboard.summary.writer.event_file_writer", "tensorboard")
    event_pb2 = importlib.import_module("tensorboard.compat.proto.event_pb2")
    summary_pb2 = importlib.import_module("tensorboard.compat.proto.summary_pb2")
    folder = Path(place) / _experiment(line) / line["run"]
    for earlier in folder.glob("events.out.tfevents.*.kdjax"):
        earlier.unlink()
    writer = writing.EventFileWriter(str(folder), filename_suffix=".kdjax")

    def log(row: dict) -> None:
        values = [
            summary_pb2.Summary.Value(tag=name, simple_value=value) for name, value in row.items() if name != "epoch"
        ]
        writer.add_event(event_pb2.Event(step=row["epoch"], summary=summary_pb2.Summary(value=values)))

    try:
        yield log
    finally:
        writer.close()


@contextlib.contextmanager
def _mlflow(place: str, line: dict) -> Iterator[Callable[[dict], None]]:
    """An MLflow run with config and result; one of the same name from an earlier call is deleted."""
    from kdjax.report.diff import (
        leaves,
    )  # what it imports takes half of the command line's start, which asks for TRACKERS

    client = _needs("mlflow", "mlflow").MlflowClient(place)
    known = client.get_experiment_by_name(_experiment(line))
    experiment = known.experiment_id if known else client.create_experiment(_experiment(line))
    for earlier in client.search_runs([experiment], f"tags.`kdjax.run` = '{line['run']}'"):
        client.delete_run(earlier.info.run_id)
    tags = {"kdjax.run": line["run"], "mlflow.runName": line["run"]}
    run = client.create_run(experiment, tags=tags).info.run_id
    config = {key: value for key, value in line["config"].items() if key not in ("identity", "flags", "execution")}
    for name, value in leaves(config).items():
        client.log_param(run, _plain(name), str(value)[:6000])
    try:
        yield lambda row: [
            client.log_metric(run, _plain(name), value, step=row["epoch"])
            for name, value in row.items()
            if name != "epoch"
        ]
    except BaseException:
        client.set_terminated(run, "FAILED")
        raise
    client.set_terminated(run, "FINISHED" if line["result"] else "RUNNING")


TRACKERS = {"tensorboard": (_tensorboard, "tensorboard"), "mlflow": (_mlflow, "sqlite:///mlflow.db")}
"""Name, which is also that of its extra -> (adapter, default place)."""


def _experiment(line: dict) -> str:
    return line["config"].get("experiment") or "kdjax"


def _plain(name: str) -> str:
    """A name as MLflow takes it: letters, digits and _ - . / and spaces."""
    return re.sub(r"[^\w\-./ ]", "_", name)


def _needs(module: str, extra: str):
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(f"--to={extra}: needs {error.name}, which comes with: pip install 'kdjax[{extra}]'") from error
