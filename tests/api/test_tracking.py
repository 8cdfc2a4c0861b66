"""Trackers beside training: each row as it is written, no bit changed, and a tracker's failure is no run's."""

import contextlib
import threading

import pytest

import kdjax as package
from kdjax.api import tracking
from kdjax.report import track
from tests import tiny


def config():
    """Two students of a cohort: two runs are open at the same time."""
    made = tiny.config("tracked", epochs=2, methods=("student",))
    made.methods.twin = {"cross_entropy": {"weight": 0.5}}
    made.seeds, made.teacher.model, made.data.train_examples = (0,), "", 64
    return made


@pytest.fixture(scope="module")
def untracked(tmp_path_factory):
    return package.run(config(), tmp_path_factory.mktemp("untracked"), quiet=True)


def histories(experiment):
    return {line["run"]: line["history"] for line in experiment.lines}


@pytest.fixture
def tracker(monkeypatch):
    """({run: its rows, and how it ended}, {row: what goes wrong there}) of a tracker in memory."""
    seen, faults = {}, {}

    @contextlib.contextmanager
    def memory(place, line):
        rows = seen[line["run"]] = []

        def log(row):
            faults.get((place, len(rows)), lambda: None)()
            rows.append(row)

        yield log
        rows.append("finished" if line["result"] else "unfinished")

    monkeypatch.setitem(track.TRACKERS, "memory", (memory, "here", "json"))
    return seen, faults


def test_every_row_reaches_the_tracker_and_no_bit_changes(untracked, tracker, tmp_path):
    seen, _ = tracker
    counted = []
    tracked = package.run(
        config(), tmp_path, quiet=True, track="memory", on_epoch=lambda event: counted.append(event.epoch)
    )
    assert histories(tracked) == histories(untracked)
    assert seen == {name: [*rows, "finished"] for name, rows in histories(untracked).items()}
    assert len(counted) == sum(map(len, histories(untracked).values()))  # one's own callbacks are called, too


def test_a_run_that_is_continued_is_sent_whole(untracked, tracker, tmp_path):
    seen, _ = tracker
    stops = iter(range(100))

    def stop(event):
        if event.method == "student" and next(stops) == 0:
            raise RuntimeError("the power fails")

    made = config()
    made.execution.checkpoint_seconds = 0.0
    with pytest.raises(RuntimeError, match="the power fails"):
        package.run(made, tmp_path, quiet=True, track="memory", on_epoch=stop)
    assert {rows[-1] for rows in seen.values()} == {"unfinished"}
    package.run(made, tmp_path, quiet=True, track="memory")
    assert seen == {name: [*rows, "finished"] for name, rows in histories(untracked).items()}


def test_a_tracker_that_fails_or_hangs_is_left_alone_and_says_so_once(
    untracked, tracker, tmp_path, capsys, monkeypatch
):
    _, faults = tracker
    waits = threading.Event()

    def full():
        raise OSError("the disk is full")

    faults |= {("fails", 1): full, ("hangs", 0): waits.wait}
    monkeypatch.setattr(tracking, "PATIENCE", 0.5)
    tracked = package.run(config(), tmp_path, quiet=True, track=["memory:fails", "memory:hangs"])
    said = capsys.readouterr().err
    waits.set()
    assert histories(tracked) == histories(untracked)
    assert said.count("the disk is full") == 1
    assert "kdjax: --track=memory:fails: the disk is full; training goes on without it; afterwards, kdjax track" in said
    assert "kdjax: --track=memory:hangs has not taken everything in 0 s; afterwards" in said


def test_from_the_command_line(kdjax, tmp_path):
    pytest.importorskip("tensorboard", reason="needs the extra tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    given = ("run", "--config=tests/tiny_config.py", "--only=student", "--config.data.train_examples=64")
    status, *_ = kdjax(*given, f"--out={tmp_path}/runs", f"--track=tensorboard:{tmp_path}/logs")
    assert status == 0
    events = EventAccumulator(str(tmp_path / "logs/tiny/student/seed0"))
    events.Reload()
    (row,) = package.load_experiment(tmp_path / "runs/tiny")["student", 0].history
    assert [event.value for event in events.Scalars("test_top1")] == pytest.approx([row["test_top1"]], rel=1e-6)
    for wrong, message in (
        (["--track=tensorbord"], "no tracker 'tensorbord'; did you mean 'tensorboard'"),
        (["--track=tensorboard", "--launcher=local"], "kdjax track DIRECTORY --to=tensorboard sends their rows"),
    ):
        status, _, err = kdjax(*given, *wrong)
        assert (status, message in err) == (2, True)
