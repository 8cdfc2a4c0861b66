"""The equalities that a table's numbers rest on: in company or alone, at once or in pieces, spread or not."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from kdjax import experiment, models
from kdjax.experiment.cohorts import Cohorts
from kdjax.runs.directory import Run
from kdjax.training import checkpoint, mappings, parallel
from kdjax.training.parallel import Place
from kdjax.training.step import make_teach
from tests import tiny


def results(directory: Path) -> dict:
    """Everything that an experiment has measured, times left out, and the final parameters."""
    found = {}
    for path in sorted(directory.glob("*/seed*")):
        run = Run(path)
        result = run.result()
        for model in filter(None, (result["student"], result["teacher"])):
            for name in [n for n in model if n.startswith("latency")]:
                model.pop(name)
        result.pop("seconds")
        found[str(path.relative_to(directory))] = {
            "result": result,
            "history": run.history(),
            "parameters": checkpoint.student(run.checkpoints) if checkpoint.numbers(run.checkpoints) else None,
        }
    return found


def assert_same(one: dict, other: dict, only=None) -> None:
    """Equal bits of every run that both have (or of those named)."""
    names = only or one.keys()
    assert names
    for name in names:
        assert one[name]["result"] == other[name]["result"], name
        assert one[name]["history"] == other[name]["history"], name
        jax.tree.map(np.testing.assert_array_equal, one[name]["parameters"], other[name]["parameters"])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict:
    directory = experiment.run(tiny.config(), tmp_path_factory.mktemp("undisturbed"))
    return results(directory)


def test_every_run_has_its_files(undisturbed):
    runs = [f"{m}/seed{s}" for m in ("student", "stateless", "layered", "remembered", "noisy") for s in (0, 1)]
    assert sorted(undisturbed) == sorted([*runs, "teacher/seed0"])
    for name, found in undisturbed.items():
        assert found["result"]["status"] == "done"
        epochs = 2 if name.startswith("teacher") else 3
        assert [row["epoch"] for row in found["history"]] == list(range(1, epochs + 1))
        assert found["history"][-1]["test_top1"] == pytest.approx(found["result"]["last"]["top1"])


def test_methods_of_a_seed_start_from_the_same_weights(tmp_path):
    config = tiny.config(epochs=1)
    config.optimizer.learning_rate = 0.0
    found = results(experiment.run(config, tmp_path))
    first = {seed: found[f"student/seed{seed}"]["parameters"]["params"] for seed in (0, 1)}
    for name in (n for n in found if not n.startswith("teacher")):
        seed = int(name[-1])
        jax.tree.map(np.testing.assert_array_equal, found[name]["parameters"]["params"], first[seed])
    assert not np.array_equal(first[0]["conv0"]["kernel"], first[1]["conv0"]["kernel"])


def test_alone_as_in_company(undisturbed, tmp_path):
    directory = experiment.run(tiny.config(), tmp_path, only=("remembered",), seeds=(1,))
    alone = results(directory)
    assert sorted(alone) == ["remembered/seed1", "teacher/seed0"]
    assert_same(alone, undisturbed)


def test_without_room_for_each_others_programs(undisturbed, tmp_path, monkeypatch):
    """Where Linux gives the process no more memory mappings, one method trains after another, and with equal bits."""
    together, cohort = [], Cohorts.train
    monkeypatch.setattr(mappings, "left", lambda: 0)
    monkeypatch.setattr(Cohorts, "train", lambda *a, **kw: together.append(len(a[3])) or cohort(*a, **kw))
    alone = results(experiment.run(tiny.config(), tmp_path, seeds=(1,)))
    assert together == [1] * 6  # the teacher and five methods
    assert_same(alone, undisturbed)


def test_methods_and_seeds_added_later(undisturbed, tmp_path):
    config = tiny.config(methods=("student", "noisy"))
    config.seeds = (0,)
    experiment.run(config, tmp_path)
    finished = (tmp_path / "tiny/student/seed0/result.json").stat().st_mtime_ns
    directory = experiment.run(tiny.config(), tmp_path)
    assert (tmp_path / "tiny/student/seed0/result.json").stat().st_mtime_ns == finished
    assert_same(undisturbed, results(directory))


@pytest.mark.parametrize(("calls", "chosen"), [(2, dict(only=("remembered",), seeds=(1,))), (7, {})])
def test_stopped_and_continued(undisturbed, tmp_path, calls, chosen):
    """Stopped again and again after so many calls of the step, from the first batch of the teacher on."""
    directory, stops = tiny.in_pieces(tiny.config(), tmp_path, calls, **chosen)
    assert stops > (1 if not chosen else 8)  # at every second of the teacher's 8 steps and the 12 of the method
    continued = results(directory)
    assert len(continued) == (2 if chosen else len(undisturbed))
    assert_same(continued, undisturbed)


def test_checkpoint_at_every_step_changes_nothing(undisturbed, tmp_path):
    config = tiny.config()
    config.execution.checkpoint_seconds = 0.0
    assert_same(undisturbed, results(experiment.run(config, tmp_path)))


def test_several_steps_a_call_are_the_same_steps(undisturbed, tmp_path):
    """lax.scan over the steps of a call: other compiled code, so equal up to rounding."""
    config = tiny.config()
    config.execution.steps_per_call = 3
    scanned = results(experiment.run(config, tmp_path, seeds=(0,)))
    for name, found in scanned.items():
        expected = undisturbed[name]
        losses = [[row["loss"] for row in f["history"]] for f in (found, expected)]
        np.testing.assert_allclose(*losses, rtol=1e-3, err_msg=name)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=2e-3), found["parameters"], expected["parameters"]
        )


def test_a_diverging_run_ends_and_leaves_the_others_alone(undisturbed, tmp_path):
    config = tiny.config(methods=("student", "explodes", "noisy"))
    directory = experiment.run(config, tmp_path, seeds=(0,))
    result = Run(directory / "explodes/seed0").result()
    assert result["status"] == "diverged"
    assert result["diverged"]["step"] == 4  # infinite from step counter 3, the fourth step
    assert result["diverged"]["term"] == "explodes"
    assert result["last"] is None
    rows = (directory / "explodes/seed0/metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["loss"] for row in rows] == [None]
    assert_same(results(directory), undisturbed, only=("student/seed0", "noisy/seed0", "teacher/seed0"))


def test_a_large_teacher_spread_over_places_gives_the_same(monkeypatch):
    places = parallel.layout("students", 1)[0]
    model = models.resnet8(num_classes=3)
    image = jax.random.normal(jax.random.key(0), (8, 8, 8, 3))
    variables = jax.jit(model.init)(jax.random.key(1), image)
    expected = jax.jit(make_teach(model))(variables, image)
    calls = []
    monkeypatch.setattr(Place, "put", lambda self, tree, put=Place.put: calls.append(self) or put(self, tree))
    for least, spread in ((1e12, False), (1.0, True)):
        monkeypatch.setattr(parallel, "SPREAD_FLOPS", least)
        teach = parallel.compile_teach(make_teach(model), places[0], places)
        for images in (image, image[:7]):  # 7 do not divide by the places
            calls.clear()
            outputs = parallel.first(teach(variables, images[None]))
            assert (set(calls) == set(places)) is (spread and len(images) == 8)
            for ours, whole in zip(jax.tree.leaves(outputs), jax.tree.leaves(expected), strict=True):
                np.testing.assert_allclose(ours, whole[: len(images)], rtol=1e-5, atol=1e-5)
