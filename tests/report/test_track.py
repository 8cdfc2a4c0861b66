"""`kdjax track`: what a tracker has is what metrics.jsonl has; handed on again, it is there once."""

import pytest

from kdjax.report import track
from tests.fabricated import fabricate


def lines():
    made = fabricate({"student": 0.9, "kd": 0.93}, seeds=2, epochs=3)
    made[0]["history"][1]["loss"] = None  # not finite
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
