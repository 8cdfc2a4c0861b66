"""Rows of metrics.jsonl for trackers, one small adapter each; the runs themselves stay as they are.

    kdjax track runs/digits --to=tensorboard:logs        an event file a run, logs/<experiment>/<method>/seed<k>
    kdjax track runs/digits --to=mlflow:sqlite:///m.db   an MLflow experiment, a run each, at a tracking URI
    kdjax track runs/digits --to=wandb:entity/project    W&B runs, their group the experiment; its variables hold
    kdjax track runs/digits --to=trackio:project         Trackio runs in its local store

An adapter is a context (place, line of runs.jsonl) -> fn(row); what an earlier call has sent of a run is replaced, or
is not sent again. `kdjax run --track=...` opens the same ones as it trains (kdjax.api.tracking).
"""

import contextlib
import contextvars
import hashlib
import importlib
import itertools
import re
import shutil
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
    """(adapter, place) of "tensorboard:logs" or "tensorboard".

    Raises:
      ValueError: there is no such tracker, or its package is not installed.
    """
    name, _, place = to.partition(":")
    if name not in TRACKERS:
        raise ValueError(f"there is no tracker {name!r}{nearest(name, TRACKERS)}")
    open_, default, package = TRACKERS[name]
    _needs(package, name)
    return open_, place or default


def numbers(row: dict) -> dict:
    """A row without what is null: an infinity or NaN, which trackers draw as they like."""
    return {name: value for name, value in row.items() if value is not None}


@contextlib.contextmanager
def _tensorboard(place: str, line: dict) -> Iterator[Callable[[dict], None]]:
    """An event file; what an earlier call has written of this run is replaced."""
    writing = importlib.import_module(EVENT_FILE)
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
        writer.flush()

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

    client = importlib.import_module("mlflow").MlflowClient(place)
    known = client.get_experiment_by_name(_experiment(line))
    experiment = known.experiment_id if known else client.create_experiment(_experiment(line))
    for earlier in client.search_runs([experiment], f"tags.`kdjax.run` = '{line['run']}'"):
        client.delete_run(earlier.info.run_id)
    tags = {"kdjax.run": line["run"], "mlflow.runName": line["run"]}
    run = client.create_run(experiment, tags=tags).info.run_id
    for name, value in leaves(_config(line)).items():
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


@contextlib.contextmanager
def _wandb(place: str, line: dict) -> Iterator[Callable[[dict], None]]:
    """A run of a W&B project, under an id of its own: rows that an earlier call has sent are not sent again.

    W&B's variables hold, WANDB_MODE=offline, WANDB_DIR and others. What an earlier call has written offline and nobody
    has sent with `wandb sync` is replaced.
    """
    wandb = importlib.import_module("wandb")
    entity, _, project = place.rpartition("/")
    name = f"{_experiment(line)}/{line['run']}"
    identity = hashlib.sha256(name.encode()).hexdigest()[:16]
    settings = wandb.Settings(console="off", silent=True)
    made = {"id": identity, "name": name, "group": _experiment(line), "config": _config(line), "resume": "allow"}
    run = wandb.init(entity=entity or None, project=project, reinit="create_new", settings=settings, **made)
    here = Path(run.dir).parent
    for earlier in here.parent.glob(f"offline-run-*-{identity}"):
        if earlier != here and not list(earlier.glob("*.synced")):
            shutil.rmtree(earlier)
    run.define_metric("*", step_metric="epoch")
    sent = itertools.count(-run.step)  # of a run that is resumed online, the rows that it has
    failed = 1
    try:
        yield lambda row: run.log(row) if next(sent) >= 0 else None
        failed = 0
    finally:
        run.finish(exit_code=failed)


@contextlib.contextmanager
def _trackio(place: str, line: dict) -> Iterator[Callable[[dict], None]]:
    """A run of a Trackio project in its local store (TRACKIO_DIR); one of the same name from an earlier call goes."""
    trackio = importlib.import_module("trackio")
    name = f"{_experiment(line)}/{line['run']}"
    with contextlib.suppress(ValueError):  # there is no such project yet
        for earlier in [run for run in trackio.Api().runs(place) if run.name == name]:
            earlier.delete()
    made = {"name": name, "group": _experiment(line), "config": _config(line), "embed": False}
    quiet = {"auto_log_gpu": False, "auto_log_cpu": False}
    # in a context of its own: Trackio ends the run that it finds open where another begins
    run = contextvars.copy_context().run(lambda: trackio.init(place, **made, **quiet))
    importlib.import_module("trackio.context_vars").current_project.set(place)  # it says once where it writes
    try:
        yield lambda row: run.log({TAKEN.get(key, key): value for key, value in row.items()}, step=row["epoch"])
    finally:
        run.finish()


TAKEN = {"step": "steps"}
"""Columns of metrics.jsonl whose names Trackio keeps for itself -> what they are called there."""
EVENT_FILE = "tensorboard.summary.writer.event_file_writer"
TRACKERS = {
    "tensorboard": (_tensorboard, "tensorboard", EVENT_FILE),
    "mlflow": (_mlflow, "sqlite:///mlflow.db", "mlflow"),
    "wandb": (_wandb, "kdjax", "wandb"),
    "trackio": (_trackio, "kdjax", "trackio"),
}
"""Name, which is also that of its extra -> (adapter, default place, what it imports)."""


def _config(line: dict) -> dict:
    """What a tracker shows of a run's config."""
    return {key: value for key, value in line["config"].items() if key not in ("identity", "flags", "execution")}


def _experiment(line: dict) -> str:
    return line["config"].get("experiment") or "kdjax"


def _plain(name: str) -> str:
    """A name as MLflow takes it: letters, digits and _ - . / and spaces."""
    return re.sub(r"[^\w\-./ ]", "_", name)


def _needs(module: str, extra: str):
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(f"{extra} needs {error.name}, which comes with: pip install 'kdjax[{extra}]'") from error
