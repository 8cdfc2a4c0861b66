"""Jobs give the runs and the table of a plain `kdjax run`; what is submitted is checked without a cluster."""

import csv
import os
import pickle
import signal
import sys
import time
from pathlib import Path

import jax
import pytest

from kdjax import experiment, launch, table, train
from kdjax.config import resolve
from kdjax.progress import Display
from kdjax.run import Run
from tests import tiny
from tests.test_train import assert_same, results

submitit = pytest.importorskip("submitit")
CONFIG = f"--config={Path(__file__).with_name('tiny_config.py')}:epochs=2"
TIMES = ("seconds", "seconds_std", "latency_1_ms", "latency_64_ms")


def rows_of_table(directory: Path, out: Path) -> list[dict]:
    """table.csv without what a clock has measured."""
    table.write(table.gather(directory), out)
    with open(out / "table.csv", newline="", encoding="utf-8") as file:
        return [{key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The directory of tiny_config run by `kdjax run`."""
    from tests import tiny_config

    return experiment.run(tiny_config.get_config("epochs=2"), tmp_path_factory.mktemp("plain"))


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A cluster that takes every job, numbers it from 11 on and runs none: the folder with the scripts it was given."""
    for name, text in {"sbatch": FAKE_SBATCH, "srun": "#!/bin/sh\n"}.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "scripts").mkdir()
    monkeypatch.setenv("SCRIPTS", str(tmp_path / "scripts"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return tmp_path / "scripts"


FAKE_SBATCH = """#!/bin/sh
number=$((11 + $(ls "$SCRIPTS" | wc -l)))
cp "$1" "$SCRIPTS/$number"
echo "Submitted batch job $number"
"""


def parameters(script: Path) -> set[str]:
    """What a script asks of Slurm, without where its logs go."""
    lines = [line.removeprefix("#SBATCH --") for line in script.read_text().splitlines() if line.startswith("#SBATCH")]
    return {line for line in lines if not line.startswith(("output=", "open-mode=", "wckey="))}


def run_job(directory: Path, name: str) -> None:
    """Runs a submitted job in this process, as submitit would on its node."""
    submitit.core.utils.DelayedSubmission.load(directory / "jobs" / f"{name}_submitted.pkl").result()


def test_local_jobs_equal_a_plain_run(kdjax, plain, tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", str(jax.device_count()))
    status, out, err = kdjax("run", CONFIG, f"--out={tmp_path}", "--launcher=local")
    assert (status, err) == (0, "")
    assert [line.partition(":")[0] for line in out.splitlines()[:2]] == ["teacher", "seed 0"]
    assert "stateless" in out.partition("jobs")[2]
    assert_same(results(plain), results(tmp_path / "tiny"))
    assert rows_of_table(plain, tmp_path / "a") == rows_of_table(tmp_path / "tiny", tmp_path / "b")


def test_slurm_jobs_equal_a_plain_run(kdjax, slurm, plain, tmp_path):
    status, out, err = kdjax(
        *("run", CONFIG, f"--out={tmp_path}", "--launcher=slurm", "--launcher.methods_per_job=1"),
        *("--launcher.partition=gpu", "--launcher.time=1-02:30:00", "--launcher.mem=32GB"),
        *("--launcher.sbatch.reservation=mine", "--launcher.setup=module load cuda"),
    )
    assert (status, err) == (0, "")
    asked = {"partition=gpu", "time=1590", "mem=32GB", "gpus-per-node=1", "cpus-per-task=4", "nodes=1"}
    asked |= {"reservation=mine", "job-name=kdjax_tiny", "signal=USR2@90"}
    assert parameters(slurm / "11") == asked
    assert parameters(slurm / "12") == asked | {"array=0-1%2", "dependency=afterok:11", "kill-on-invalid-dep=yes"}
    assert "module load cuda" in (slurm / "12").read_text().splitlines()
    directory = tmp_path / "tiny"
    assert out.startswith("job 11  teacher\njob 12_0  seed 0: student\njob 12_1  seed 0: stateless\n")
    assert f"kdjax table {directory}" in out

    run_job(directory, "11")
    assert [path.parent.name for path in directory.glob("*/seed*")] == ["teacher"]
    run_job(directory, "12_1")
    assert Run(directory / "student/seed0").result() is None
    kdjax("run", CONFIG, f"--out={tmp_path}", "--launcher=slurm")  # what is finished is not submitted
    assert sorted(path.name for path in slurm.iterdir()) == ["11", "12", "13"]
    assert not [line for line in parameters(slurm / "13") if line.startswith(("array", "dependency"))]
    run_job(directory, "13")
    run_job(directory, "12_0")  # finds it finished
    assert_same(results(plain), results(directory))
    assert rows_of_table(plain, tmp_path / "a") == rows_of_table(directory, tmp_path / "b")
    status, out, _ = kdjax("run", CONFIG, f"--out={tmp_path}", "--launcher=slurm", "--wait")
    assert "everything is finished" in out
    assert len(list(slurm.iterdir())) == 3


def test_a_preempted_job_is_checkpointed_and_requeued(plain, tmp_path, monkeypatch):
    from tests import tiny_config

    _, job = launch.plan(tiny_config.get_config("epochs=2"), tmp_path, (), (), 0)
    requeued = []

    def requeue(signum, _):  # stands for submitit's handler
        requeued.append(sorted(path.name for path in tmp_path.glob("tiny/st*/seed0/checkpoints/*")))

    def preempt(display, steps, advance=Display.advance):
        advance(display, steps)
        if display.what != "teacher" and display.done == 6:
            os.kill(os.getpid(), signal.SIGUSR2)
            time.sleep(0.3)  # students train in another thread than the one that handles signals

    monkeypatch.setattr(Display, "advance", preempt)
    before = signal.signal(signal.SIGUSR2, requeue)
    try:
        with pytest.raises(train.Stopped):
            job()
        assert requeued == [["3", "3"]]  # both students, three steps each
        monkeypatch.undo()
        job.checkpoint().result()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert_same(results(plain), results(tmp_path / "tiny"))


def jobs(config, tmp_path, size=0, only=(), seeds=()) -> list:
    planned = launch.plan(config, tmp_path, only, seeds, size)
    return [("teacher" if job.teacher_only else job.only, job.seeds) for job in planned]


def test_cells(tmp_path):
    config = tiny.config(methods=("student", "stateless", "layered"))
    config.methods.pupil = {"cross_entropy": {"weight": 1.0}, "teacher": "stateless"}
    config.ablate["layered.layered.weight"] = (2.0,)
    ablated = "layered,layered.weight=2.0"
    whole = ("student", "stateless", "layered", ablated, "pupil")
    assert jobs(config, tmp_path) == [("teacher", (0, 1)), (whole, (0,)), (whole, (1,))]
    each = [("student",), ("stateless", "pupil"), ("layered",), (ablated,)]  # who teaches stands with whom he teaches
    assert jobs(config, tmp_path, size=1, seeds=(3,)) == [("teacher", (3,)), *((names, (3,)) for names in each)]
    three = [("student", "stateless", "pupil"), ("layered", ablated)]
    assert [names for names, _ in jobs(config, tmp_path, size=3, seeds=(3,))] == ["teacher", *three]
    assert jobs(config, tmp_path, only=("layered",), seeds=(0,))[1:] == [(("layered", ablated), (0,))]
    config.teacher.model = ""
    assert jobs(config, tmp_path, seeds=(0,)) == [(whole, (0,))]
    config.methods.longer = {"cross_entropy": {"weight": 1.0}, "start": "student"}
    assert (("student", "longer"), (0,)) in jobs(config, tmp_path, size=1, seeds=(0,))


def test_the_config_travels_whole(tmp_path):
    config = tiny.config(methods=("student", "noisy", "layered"))
    config.data.kwargs.shape = (4, 4, 1)
    job = launch.plan(config, tmp_path, (), (7,), 0)[-1]
    arrived = resolve(pickle.loads(pickle.dumps(job)).config)
    assert list(arrived.methods) == ["student", "noisy", "layered"]
    assert arrived.data.kwargs.shape == (4, 4, 1)
    assert arrived.seeds == (0, 1, 7)
    assert arrived.to_dict() == {**resolve(config).to_dict(), "seeds": (0, 1, 7)}


BAD = {
    "option": ("slurm", ("--launcher.partitoin=gpu",), "no such option; did you mean 'partition'"),
    "any option of sbatch": ("slurm", ("--launcher.zzz=1",), "--launcher.sbatch.name=value passes any option"),
    "local option": ("local", ("--launcher.partition=gpu",), "valid are array_parallelism, gpus, methods_per_job"),
    "form": ("slurm", ("--launcher.partition",), "--launcher.name=value"),
    "time": ("slurm", ("--launcher.time=soon",), "days-hours:minutes:seconds"),
    "number": ("slurm", ("--launcher.nodes=two",), "--launcher.nodes must be a whole number"),
    "no launcher": ("", ("--launcher.time=3",), "an option of --launcher=slurm or local"),
    "wait": ("", ("--wait",), "an option of --launcher=slurm or local"),
    "coordinator": ("local", ("--coordinator=a:1",), "--launcher starts its own"),
    "launcher": ("pbs", (), "invalid choice: 'pbs'"),
    "model": ("slurm", ("--config.student.model=tests.tiny.Nett",), "did you mean 'Net'"),
    "teacher": ("slurm", ("--config.teacher.kwargs.wdth=3",), "wdth"),
    "hyperparameter": ("slurm", ("--config.methods.student.cross_entropy.smothing=0.1",), "no such hyperparameter"),
    "method": ("slurm", ("--only=stateles",), "did you mean 'stateless'"),
    "weights": ("slurm", ("--config.teacher.weights=none.safetensors",), "there is no file 'none.safetensors'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_before_anything_is_submitted(kdjax, slurm, tmp_path, case):
    launcher, given, message = BAD[case]
    chosen = (f"--launcher={launcher}",) if launcher else ()
    status, _, err = kdjax("run", CONFIG, f"--out={tmp_path / 'out'}", *chosen, *given)
    assert (status, err.count("\n") if launcher != "pbs" else 1) == (2, 1)
    assert message in err
    assert not list(slurm.iterdir())
    assert not (tmp_path / "out").exists()


def test_what_a_machine_lacks(kdjax, slurm, tmp_path, monkeypatch):
    call = ("run", CONFIG, f"--out={tmp_path}", "--launcher=slurm")
    (slurm.parent / "bin/sbatch").write_text("#!/bin/sh\necho 'invalid partition specified' >&2; exit 1\n")
    status, _, err = kdjax(*call)
    assert (status, err.splitlines()[-1]) == (2, "kdjax: sbatch refuses the jobs: invalid partition specified")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no srun here" in kdjax(*call)[2]
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert kdjax(*call)[::2] == (2, "kdjax: --launcher=slurm needs submitit: pip install submitit\n")
