"""`kdjax track`: what a tracker has is what metrics.jsonl has; handed on again, it is there once."""

import json
import time

import pytest

from kdjax.report import track
from tests.fabricated import fabricate


def lines():
    made = fabricate({"student": 0.9, "kd": 0.93}, seeds=2, epochs=3)
    made[0]["history"][1]["loss"] = None  # not finite
    for row in (row for line in made for row in line["history"]):
        row["step"] = 5 * row["epoch"]
    return made


def test_a_tensorboard_event_file(tmp_path):
    pytest.importorskip("tensorboard", reason="needs the extra tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):
        assert track.send(lines(), f"tensorboard:{tmp_path}") == (4, 12, str(tmp_path))
    for line in lines():
        events = EventAccumulator(str(tmp_path / "digits" / line["run"]))
        events.Reload()
        for name in ("loss", "loss/kd", "test_top1"):
            expected = [(row["epoch"], row[name]) for row in line["history"] if row[name] is not None]
            found = [(event.step, event.value) for event in events.Scalars(name)]
            assert [step for step, _ in found] == [step for step, _ in expected]
            assert [value for _, value in found] == pytest.approx([value for _, value in expected], rel=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of MLflow's own use of SQLAlchemy
def test_an_mlflow_store(tmp_path):
    pytest.importorskip("mlflow", reason="needs the extra mlflow")
    pytest.importorskip("sqlalchemy", reason="MLflow keeps its store by SQLAlchemy, of the extra mlflow")
    import mlflow

    place = f"sqlite:///{tmp_path}/mlflow.db"
    for _ in range(2):
        assert track.send(lines(), f"mlflow:{place}")[:2] == (4, 12)
    client = mlflow.MlflowClient(place)
    experiment = client.get_experiment_by_name("digits")
    runs = {run.data.tags["kdjax.run"]: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {line["run"] for line in lines()}
    found = client.get_metric_history(runs["kd/seed1"].info.run_id, "loss/kd")
    history = next(line for line in lines() if line["run"] == "kd/seed1")["history"]
    assert [(each.step, each.value) for each in found] == [(row["epoch"], row["loss/kd"]) for row in history]
    assert runs["kd/seed1"].data.params["spec.kd.temperature"] == "4.0"
    assert runs["kd/seed1"].info.status == "FINISHED"


def wandb_records(path):
    """The records of a .wandb file, which is a log of LevelDB's: blocks of 32 KB, records whole or in parts."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, parts = path.read_bytes(), 7, []  # the first 7 bytes say what it is
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        size, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        parts.append(content[at + 7 : at + 7 + size])
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(b"".join(parts))
            parts = []


def wandb_rows(folder):
    (path,) = folder.glob("run-*.wandb")
    for record in wandb_records(path):
        if record.HasField("history"):
            items = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
            yield {key: json.loads(value) for key, value in items.items() if not key.startswith("_")}


def test_wandb_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="needs the extra wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    for _ in range(2):  # of what was not sent to a server, the later takes the place of the earlier
        assert track.send(lines()[:2], "wandb:team/project")[:2] == (2, 6)
    folders = sorted((tmp_path / "wandb").glob("offline-run-*"))
    while not all(found := [list(wandb_rows(folder)) for folder in folders]):
        time.sleep(0.5)  # its own process writes the file; pytest's timeout is the limit
    expected = [[track.numbers(row) for row in line["history"]] for line in lines()[:2]]
    assert len(folders) == 2
    assert found in (expected, expected[::-1])
    runs = [record.run for folder in folders for record in wandb_records(next(folder.glob("run-*.wandb")))]
    runs = {run.display_name: run for run in runs if run.run_id}
    assert set(runs) == {"digits/student/seed0", "digits/student/seed1"}
    assert {(run.entity, run.project, run.run_group) for run in runs.values()} == {("team", "project", "digits")}


def test_trackios_local_store(tmp_path, monkeypatch):
    pytest.importorskip("trackio", reason="needs the extra trackio")
    from trackio import sqlite_storage

    monkeypatch.setattr(sqlite_storage, "TRACKIO_DIR", tmp_path)
    for _ in range(2):
        assert track.send(lines(), "trackio:project")[:2] == (4, 12)
    store = sqlite_storage.SQLiteStorage
    assert list(tmp_path.glob("project*.db"))
    assert sorted(store.get_runs("project")) == sorted(f"digits/{line['run']}" for line in lines())
    for line in lines():
        found = store.get_logs("project", f"digits/{line['run']}")
        kept = [{key: value for key, value in row.items() if key not in ("step", "timestamp")} for row in found]
        sent = [{track.TAKEN.get(key, key): v for key, v in track.numbers(row).items()} for row in line["history"]]
        assert kept == sent
        assert "steps" in kept[0]
        assert [row["step"] for row in found] == [row["epoch"] for row in line["history"]]
    assert store.get_run_config("project", "digits/kd/seed1")["spec"]["kd"]["temperature"] == 4.0


def test_what_is_wrong_is_said(kdjax, tmp_path, monkeypatch):
    import sys

    with pytest.raises(ValueError, match="no tracker 'tensorbord'; did you mean 'tensorboard'"):
        track.send(lines(), "tensorbord")
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ValueError, match=r"pip install 'kdjax\[mlflow\]'"):
        track.send(lines(), "mlflow")
    empty = [{**line, "history": []} for line in lines()]
    with pytest.raises(ValueError, match="no run has a row"):
        track.send(empty, "tensorboard")
    status, _, err = kdjax("track", tmp_path, "--to=tensorboard")
    assert (status, "holds no runs" in err) == (2, True)
