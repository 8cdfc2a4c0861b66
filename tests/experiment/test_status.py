"""`kdjax status` of experiments that no cluster knows."""

import json
import os
import time

from kdjax.config import resolve
from kdjax.config.rows import expand
from kdjax.experiment import status
from kdjax.experiment.plan import run_config
from kdjax.files import megabytes, size, write_json, write_text
from kdjax.runs.directory import Run
from tests import tiny
from tests.report.test_table import history


def test_what_trains_is_told_with_its_time_and_what_it_takes_on_disk(tmp_path):
    """400 seconds for 4 epochs leave 600 for 6; of a run that was continued nobody knows."""
    config = tiny.config(methods=("student",), epochs=10)
    run = Run(tmp_path / "tiny/student/seed0")
    run.path.mkdir(parents=True)
    resolved = resolve(config)
    write_json(run.path / "config.json", run_config(resolved, expand(resolved)[0], 0))
    rows = [{**history()[-1], "epoch": epoch} for epoch in range(1, 5)]
    write_text(run.path / "metrics.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))
    assert run.lock.acquire() == ""
    now = time.time()

    def told(lock: float) -> list[str]:
        for name, at in (("config.json", now - 400), ("metrics.jsonl", now), ("lock", lock)):
            os.utime(run.path / name, (at, at))
        return status.lines(tmp_path / "tiny")

    whole, own = told(now - 410)
    assert whole.endswith(f"1 runs, 1 in training; {megabytes(size(tmp_path))} on disk")
    assert "student/seed0: in training, epoch 4 of 10, some 10 min left (" in own
    assert "left" not in told(now)[1]
    run.lock.release()
    assert status.lines(tmp_path / "tiny")[1] == "  student/seed0: stopped, epoch 4 of 10"


def test_sizes_of_folders_and_files(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b").write_bytes(bytes(1500))
    (tmp_path / "c").write_bytes(bytes(500))
    (tmp_path / "link").symlink_to(tmp_path / "a/b")
    assert (size(tmp_path), size(tmp_path / "c")) == (2000, 500)
    assert (megabytes(2000), megabytes(2_000_000)) == ("2.0 kB", "2.0 MB")
