"""kdjax from Python: what the command line trains and prints, to the bit; callbacks, steps, tables, students."""

import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

import kdjax
from kdjax import cli
from kdjax.api import results
from kdjax.runs.directory import Run
from kdjax.training import checkpoint
from tests import tiny

ROOT = Path(__file__).parent.parent.parent
CONFIG = ROOT / "tests/tiny_config.py"
ARG = ":methods=student+stateless,epochs=2"


@pytest.fixture(scope="module")
def commanded(tmp_path_factory):
    """What the command has trained."""
    out = tmp_path_factory.mktemp("commanded")
    with pytest.raises(SystemExit) as exit_:
        cli.main(["run", f"--config={CONFIG}{ARG}", "--config.execution.steps_per_call=1", f"--out={out}"])
    assert exit_.value.code == 0
    return out / "tiny"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(what Python has trained, the events that its callbacks saw)."""
    events = {"on_step": [], "on_epoch": [], "on_finish": []}
    config = kdjax.load_config(f"{CONFIG}{ARG}", "execution.steps_per_call=1")

    def noted(name):
        return lambda event: events[name].append((event.method, event.epoch, event.step, dict(event.values)))

    calls = {name: noted(name) for name in events}
    return kdjax.run(config, tmp_path_factory.mktemp("trained"), quiet=True, **calls), events


def same(one, other) -> bool:
    return jax.tree.all(jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), one, other))


def test_python_trains_what_the_command_does(commanded, trained):
    experiment, _ = trained
    for method in ("teacher", "student", "stateless"):
        here, there = experiment[method, 0], Run(commanded / method / "seed0")
        assert same(here.variables, checkpoint.student(there.checkpoints, there.result()["student_sha256"]))
        assert here.history == there.history()
        assert here.result["last"] == there.result()["last"]
    assert not same(experiment["student", 0].variables, experiment["stateless", 0].variables)


def test_the_same_table_as_the_command_prints(kdjax, commanded):
    status, out, _ = kdjax("table", commanded)
    assert status == 0
    experiment = results.load_experiment(commanded)
    assert experiment.table() == out
    assert "stateless" not in experiment.table(only="student")
    assert (experiment.methods, experiment.seeds) == (["student", "stateless"], [0])


def test_callbacks_see_every_step_epoch_and_end(trained):
    experiment, events = trained
    steps = len({(epoch, step) for method, epoch, step, _ in events["on_step"] if method == "stateless"})
    assert steps == experiment["stateless", 0].history[-1]["step"]
    rows = [values for method, *_, values in events["on_epoch"] if method == "stateless"]
    assert rows == experiment["stateless", 0].history
    losses = [values["loss"] for method, epoch, _, values in events["on_step"] if (method, epoch) == ("stateless", 2)]
    assert np.mean(losses) == pytest.approx(rows[1]["loss"], rel=1e-6)
    assert {method: values["status"] for method, *_, values in events["on_finish"]} == dict.fromkeys(
        ("teacher", "student", "stateless"), "done"
    )


def test_steps_by_hand_have_the_bits_of_the_run(trained):
    experiment, events = trained
    config = kdjax.load_config(f"{CONFIG}{ARG}")
    run = Run(experiment.path / "stateless/seed0")
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    seen, early = [], None
    for step in kdjax.steps(config, "stateless", seed=0, out=experiment.path.parent):
        seen.append((step.epoch, step.step, step.losses))
        early = early or step.state
    assert seen == [tuple(event) for method, *event in events["on_step"] if method == "stateless"]
    assert same(step.variables, experiment["stateless", 0].variables)
    assert int(early.step) == 1  # a copy: the steps after it have not taken it away
    assert step.batch["input"].shape[0] == config.batch_size == step.teacher.logits.shape[0]
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before


def test_a_student_predicts_what_was_measured(trained):
    from kdjax import data

    experiment, _ = trained
    config = kdjax.load_config(f"{CONFIG}{ARG}")
    test = data.load(config.data).test
    for method in ("student", "teacher"):
        logits = experiment[method, 0].predict(test.input)
        top1 = np.mean(logits.argmax(1) == test.target)
        assert top1 == pytest.approx(experiment[method, 0].result["last"]["top1"])
    larger = np.repeat(np.repeat(test.input[:3], 2, axis=1), 2, axis=2)
    assert experiment["student", 0].predict(larger).shape == (3, 10)
    with pytest.raises(ValueError, match=r"images \[N, H, W, 1\] uint8, got float64"):
        experiment["student", 0].predict(test.input / 255)


def test_a_student_of_numbers_predicts(tmp_path):
    config = kdjax.load_config(str(ROOT / "configs/diabetes.py"), "epochs=1", "teacher.epochs=1")
    experiment = kdjax.run(config, tmp_path, only="student", seeds=[0], quiet=True)
    from kdjax import data, tasks

    task = tasks.named(config.task)
    test = data.load(config.data, task=task).test
    (student,) = (experiment[method, 0] for method in experiment.methods if method == "student")
    measured = task.report(student.predict(test.input), test.target, None)
    assert measured[task.primary] == pytest.approx(student.result["last"][task.primary])


def test_what_is_not_there_is_said(commanded, tmp_path):
    experiment = kdjax.load_experiment(commanded)
    with pytest.raises(KeyError, match="no method 'statelss'; did you mean 'stateless'"):
        experiment["statelss", 0]
    with pytest.raises(KeyError, match="no seed 7 of stateless, only 0"):
        experiment["stateless", 7]
    with pytest.raises(ValueError, match=r"load one of them: .*tiny"):
        kdjax.load_experiment(commanded.parent)
    with pytest.raises(ValueError, match="sets no field"):
        kdjax.load_config(str(CONFIG), "epochs")
    with pytest.raises(ValueError, match="did you mean 'stateless'"):
        next(kdjax.steps(kdjax.load_config(str(CONFIG)), "statelss", out=tmp_path))
    published = kdjax.load_experiment(ROOT / "results/digits")
    with pytest.raises(ValueError, match="holds no run"):
        _ = published["kd", 0].variables


def test_a_notebook_sees_table_and_picture():
    experiment = kdjax.load_experiment(ROOT / "results/digits")
    html = experiment._repr_html_()
    assert html.count("<table>") == 2
    assert html.count("data:image/svg+xml;base64,") == 1
    assert "Protocol" in html
    assert experiment.forest().svg() == experiment.forest()._repr_svg_()  # each laid out once
    grid = kdjax.grid(experiment, ROOT / "results/digits_fewshot10")
    assert "digits_fewshot10" in grid.table(width=200) or "10" in grid.table(width=200)
    assert "<table>" in grid._repr_html_()
    assert len(grid.rows()) > len(experiment.methods)
    said = " ".join(experiment.doctor(width=80).split())
    for line in (ROOT / "results/digits/doctor.md").read_text().splitlines():
        if line.startswith("- "):
            assert line.split(": ", 1)[1].replace("\\", "") in said


def test_a_frame_has_the_numbers_of_the_csv():
    pandas = pytest.importorskip("pandas", reason="frames need pandas, the extra notebook")
    experiment = kdjax.load_experiment(ROOT / "results/digits")
    frame = experiment.frame()
    written = pandas.read_csv(ROOT / "results/digits/table.csv")
    assert list(frame["method"]) == list(written["method"])
    assert np.allclose(frame["top1"].astype(float), written["top1"], equal_nan=True)


def test_without_pandas_an_error_says_what_does_without(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    results._pandas.cache_clear()
    with pytest.raises(ImportError, match=r"pip install 'kdjax\[notebook\]'; rows\(\)"):
        kdjax.load_experiment(ROOT / "results/digits").frame()


def test_a_stop_leaves_checkpoints_and_continues(tmp_path):
    config = tiny.config(methods=("student",), epochs=3)
    config.teacher.model = ""
    config.seeds = (0,)

    def stop(event):
        if (event.epoch, event.step) == (2, 1):
            os.kill(os.getpid(), signal.SIGINT)  # a second one would end the process

    with pytest.raises(KeyboardInterrupt, match="continues"):
        kdjax.run(config, tmp_path, on_step=stop, quiet=True)
    assert not (tmp_path / "tiny/student/seed0/result.json").exists()
    assert kdjax.run(config, tmp_path, quiet=True)["student", 0].result["status"] == "done"


def test_an_error_in_a_callback_is_the_callers(tmp_path):
    config = tiny.config(methods=("student",), epochs=1)
    config.teacher.model = ""

    def fails(event):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        kdjax.run(config, tmp_path, on_epoch=fails, quiet=True)


def test_too_late_a_setup_is_said():
    code = (
        "import os, jax, warnings; os.environ.pop('XLA_FLAGS', None); jax.devices(); import kdjax\n"
        "with warnings.catch_warnings(record=True) as said:\n"
        "    warnings.simplefilter('always'); kdjax.setup()\n"
        "assert 'Call kdjax.setup() before' in str(said[0].message), said\n"
        "assert 'XLA_FLAGS' not in os.environ"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kdjax.setup()  # where it was done in time, again is nothing


def test_importing_kdjax_imports_no_jax():
    code = "import sys, kdjax; kdjax.load_experiment('results/digits').table(); assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    assert {"run", "steps", "load_experiment", "grid"} <= set(dir(kdjax))
    assert json.loads(json.dumps(kdjax.load_experiment(ROOT / "results/digits").rows()))
