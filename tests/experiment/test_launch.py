"""Jobs give the runs and the table of a plain `kdjax run`; what is submitted is checked without a cluster."""

import csv
import os
import pickle
import re
import signal
import sys
import time
from pathlib import Path

import jax
import pytest

from kdjax import experiment
from kdjax.config import recipes, resolve
from kdjax.experiment.launch import jobs as launch
from kdjax.experiment.launch import local, options, record, scheduler, slurm
from kdjax.experiment.progress import Display
from kdjax.report import table
from kdjax.runs.directory import Run
from kdjax.training import cohort
from tests import tiny
from tests.training.test_cohort import assert_same, results

submitit = pytest.importorskip("submitit")
CONFIG = f"--config={Path(__file__).parents[1] / 'tiny_config.py'}:epochs=2"
TIMES = ("seconds_share", "seconds_share_std", "latency_1_ms", "latency_64_ms")


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


def test_every_recipe_can_be_submitted(tmp_path):
    """Its models are made before the data is there, with a guess for what the data says."""
    made = resolve(tiny.config(methods=()))
    made.student.model, made.teacher.model = "resnet8", "resnet14"
    made.student.kwargs, made.teacher.kwargs = {}, {}
    for name in recipes.RECIPES:
        made.methods[name] = recipes.recipe(name, "resnet14", "resnet8")
    jobs = launch.plan(made, tmp_path, (), (), 4)
    assert {name for job in jobs for _, name in job.runs} >= set(recipes.RECIPES)


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A cluster that takes every job, numbers it from 11 on and runs none: the folder with the scripts it was given.

    Its queue is what the file `queue` beside the folder says, its settings are in `settings`, what was cancelled in
    `cancelled`.
    """
    (tmp_path / "bin").mkdir()
    for name, text in FAKES.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "scripts").mkdir()
    (tmp_path / "queue").touch()
    monkeypatch.setenv("SCRIPTS", str(tmp_path / "scripts"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(slurm, "LATE_SECONDS", 0.0)
    return tmp_path / "scripts"


FAKES = {
    "srun": "#!/bin/sh\n",
    "squeue": '#!/bin/sh\ncat "$SCRIPTS/../queue"\n',
    "scancel": '#!/bin/sh\necho "$@" >> "$SCRIPTS/../cancelled"\n',
    "scontrol": """#!/bin/sh
case "$2" in
config) cat "$SCRIPTS/../settings" 2>/dev/null || echo "MaxArraySize            = 1001" ;;
job) echo "JobId=$3 JobState=FAILED Reason=NonZeroExitCode ExitCode=3:0" ;;
esac
""",
    "sbatch": """#!/bin/sh
number=$((11 + $(ls "$SCRIPTS" | wc -l)))
limit=$(cat "$SCRIPTS/../most" 2>/dev/null || echo 1000)
if [ $number -ge $((11 + limit)) ]; then echo "sbatch: error: Job violates accounting/QOS policy" >&2; exit 1; fi
cp "$1" "$SCRIPTS/$number"
env > "$SCRIPTS/../environment"
echo "Submitted batch job $number"
""",
}


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


def test_slurm_jobs_equal_a_plain_run(kdjax, cluster, plain, tmp_path):
    status, out, err = kdjax(
        *("run", CONFIG, f"--out={tmp_path}", "--launcher=slurm", "--launcher.methods_per_job=1"),
        *("--launcher.partition=gpu", "--launcher.time=1-02:30:00", "--launcher.mem=32GB"),
        *("--launcher.sbatch.reservation=mine", "--launcher.setup=module load cuda"),
    )
    assert (status, err) == (0, "")
    asked = {"partition=gpu", "time=1590", "mem=32GB", "gpus-per-node=1", "cpus-per-task=4", "nodes=1"}
    asked |= {"reservation=mine", "job-name=kdjax_tiny", "signal=USR2@90"}
    assert parameters(cluster / "11") == asked
    assert parameters(cluster / "12") == asked | {"array=0-1%2", "dependency=afterok:11", "kill-on-invalid-dep=yes"}
    assert "module load cuda" in (cluster / "12").read_text().splitlines()
    directory = tmp_path / "tiny"
    assert out.startswith("job 11  teacher\njob 12_0  seed 0: student\njob 12_1  seed 0: stateless\n")
    assert f"kdjax table {directory}" in out

    run_job(directory, "11")
    assert [path.parent.name for path in directory.glob("*/seed*")] == ["teacher"]
    run_job(directory, "12_1")
    assert Run(directory / "student/seed0").result() is None
    kdjax("run", CONFIG, f"--out={tmp_path}", "--launcher=slurm")  # what is finished is not submitted
    assert sorted(path.name for path in cluster.iterdir()) == ["11", "12", "13"]
    assert not [line for line in parameters(cluster / "13") if line.startswith(("array", "dependency"))]
    run_job(directory, "13")
    run_job(directory, "12_0")  # finds it finished
    assert_same(results(plain), results(directory))
    assert rows_of_table(plain, tmp_path / "a") == rows_of_table(directory, tmp_path / "b")
    status, out, _ = kdjax("run", CONFIG, f"--out={tmp_path}", "--launcher=slurm", "--wait")
    assert "everything is finished" in out
    assert len(list(cluster.iterdir())) == 3


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
        with pytest.raises(cohort.Stopped):
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
    "data": ("slurm", ("--config.data.path=nowhere",), "config.data.path: there is no 'nowhere' here"),
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
def test_bad_input_before_anything_is_submitted(kdjax, cluster, tmp_path, case):
    launcher, given, message = BAD[case]
    chosen = (f"--launcher={launcher}",) if launcher else ()
    status, _, err = kdjax("run", CONFIG, f"--out={tmp_path / 'out'}", *chosen, *given)
    assert (status, err.count("\n") if launcher != "pbs" else 1) == (2, 1)
    assert message in err
    assert not list(cluster.iterdir())
    assert not (tmp_path / "out").exists()


def test_what_a_machine_lacks(kdjax, cluster, tmp_path, monkeypatch):
    call = ("run", CONFIG, f"--out={tmp_path / 'out'}", "--launcher=slurm")
    (tmp_path / "most").write_text("0")
    status, _, err = kdjax(*call)
    assert (status, err.splitlines()[-1]) == (2, "kdjax: sbatch refuses the jobs: Job violates accounting/QOS policy")
    assert not (tmp_path / "out").exists()
    (cluster.parent / "bin/sbatch").write_text("#!/bin/sh\necho 'Invalid generic resource (gres)' >&2; exit 1\n")
    assert "on a cluster without GPUs: --launcher.gpus_per_node=0" in kdjax(*call)[2]
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert "there is no srun here" in kdjax(*call)[2]
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert kdjax(*call)[::2] == (2, "kdjax: --launcher=slurm needs submitit: pip install submitit\n")


# ---- submitting: all or none, never twice


def submit(kdjax, tmp_path, *more, config=CONFIG):
    return kdjax("run", config, f"--out={tmp_path / 'out'}", "--launcher=slurm", *more)


def test_what_is_in_the_queue_is_not_submitted_again(kdjax, cluster, tmp_path):
    assert submit(kdjax, tmp_path, "--only=student")[0] == 0
    assert sorted(path.name for path in cluster.iterdir()) == ["11", "12"]  # the teacher, one job
    (tmp_path / "queue").write_text("11|RUNNING|None\n12|PENDING|Dependency\n7|RUNNING|None\n")
    status, out, _ = submit(kdjax, tmp_path)
    assert (status, out.splitlines()[:3]) == (
        0,
        [
            "job 13  seed 0: stateless",
            "job 11  teacher (submitted earlier)",
            "job 12  seed 0: student (submitted earlier)",
        ],
    )
    assert "dependency=afterok:11" in parameters(cluster / "13")
    (tmp_path / "queue").write_text("13|PENDING|Dependency\n")  # what failed is submitted again, and waits for nothing
    _, out, _ = submit(kdjax, tmp_path)
    assert out.startswith("job 14  teacher\njob 15  seed 0: student\njob 13  seed 0: stateless (submitted earlier)")
    (cluster.parent / "bin/squeue").write_text("#!/bin/sh\nexit 1\n")
    assert "squeue does not answer, and 5 jobs" in submit(kdjax, tmp_path)[2]


def test_of_what_is_refused_nothing_is_left(kdjax, cluster, tmp_path):
    (tmp_path / "most").write_text("1")  # the teacher's job is taken, the array is not
    status, _, err = submit(kdjax, tmp_path)
    assert (status, "job 11, which it had taken, is cancelled" in err) == (2, True)
    assert (tmp_path / "cancelled").read_text() == "11\n"
    assert not (tmp_path / "out").exists()


def test_arrays_are_no_larger_than_the_cluster_takes(kdjax, cluster, tmp_path):
    (tmp_path / "settings").write_text("KillWait                = 5 sec\nMaxArraySize            = 2\n")
    more = ("--seeds=0,1,2", "--launcher.methods_per_job=1", "--launcher.array_parallelism=6")
    status, out, err = submit(kdjax, tmp_path, *more)
    assert (status, "kills a job 5 s (KillWait)" in err) == (0, True)
    arrays = [next(p for p in parameters(cluster / str(n)) if p.startswith("array")) for n in (12, 13, 14)]
    assert arrays == ["array=0-1%2"] * 3
    assert [line.split()[1] for line in out.splitlines() if line.startswith("job 1")][1:] == [
        f"{number}_{index}" for number in (12, 13, 14) for index in (0, 1)
    ]


def test_jobs_do_not_inherit_the_job_that_submits_them(kdjax, cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_CPU_BIND", "quiet,mask_cpu:0x1")
    monkeypatch.setenv("SLURM_CONF", "/somewhere/slurm.conf")
    submit(kdjax, tmp_path)
    seen = (tmp_path / "environment").read_text()
    assert "SLURM_CPU_BIND" not in seen
    assert "SLURM_CONF=/somewhere/slurm.conf" in seen
    assert os.environ["SLURM_CPU_BIND"] == "quiet,mask_cpu:0x1"


# ---- config.pairs: one submission, each teacher once


@pytest.fixture
def pairs(tmp_path):
    """A config file: a and b have one teacher, c another."""
    (tmp_path / "pairs.py").write_text(
        "from ml_collections import ConfigDict\nfrom tests import tiny\ndef get_config():\n"
        "    config = tiny.config(methods=('student', 'stateless'), epochs=1)\n"
        "    config.seeds, config.teacher.epochs, config.student.model = (0,), 1, 'tests.tiny.LogitsOnly'\n"
        "    config.pairs.c = ConfigDict({'teacher': {'kwargs': {'width': 2}}})\n"
        "    config.pairs.b, config.pairs.a = ConfigDict({'epochs': 2}), ConfigDict()\n"
        "    return config\n"
    )
    return f"--config={tmp_path / 'pairs.py'}"


def test_pairs_are_one_submission_with_each_teacher_once(kdjax, cluster, pairs, tmp_path):
    out = tmp_path / "out"
    status, printed, err = submit(kdjax, tmp_path, "--launcher.array_parallelism=6", config=pairs)
    assert (status, err) == (0, "")
    told = [line for line in printed.splitlines() if line.startswith("job ")]
    assert [line.partition("  ")[2] for line in told] == [
        *("tiny_c, teacher", "tiny_c, seed 0: student, stateless", "tiny_b, teacher"),
        *("tiny_b, seed 0: student, stateless", "tiny_a, seed 0: student, stateless"),
    ]
    assert f"kdjax grid {out}/tiny_c {out}/tiny_b {out}/tiny_a" in printed
    after = {
        n: [p for p in parameters(cluster / n) if p.startswith("dependency")] for n in ("11", "12", "13", "14", "15")
    }
    first, other = ["dependency=afterok:11"], ["dependency=afterok:13"]
    assert after == {"11": [], "12": first, "13": [], "14": other, "15": other}
    (submitted,) = record.read(out / "tiny_a")
    assert (submitted.after, submitted.directory) == ("13", out / "tiny_a")

    (tmp_path / "queue").write_text("13|RUNNING|None\n15|PENDING|Dependency\n")  # 11, 12 and 14 are gone
    status, printed, _ = submit(kdjax, tmp_path, config=pairs)
    assert (status, printed.count("submitted earlier"), len(list(cluster.iterdir()))) == (0, 2, 8)
    assert "dependency=afterok:13" in parameters(cluster / "18")  # those of b again


def test_of_pairs_that_are_refused_nothing_is_left(kdjax, cluster, pairs, tmp_path):
    (tmp_path / "most").write_text("4")  # all but the last
    status, _, err = submit(kdjax, tmp_path, config=pairs)
    assert (status, "job 11, 12, 13, 14, which it had taken, is cancelled" in err) == (2, True)
    assert not (tmp_path / "out").exists()
    (tmp_path / "most").unlink()
    assert "did you mean 'stateless'" in submit(kdjax, tmp_path, "--only=stateles", config=pairs)[2]
    status, printed, _ = submit(kdjax, tmp_path, "--pairs=a", config=pairs)
    assert (status, [line for line in printed.splitlines() if line.startswith("job 1")]) == (
        0,
        ["job 15  teacher", "job 16  seed 0: student, stateless"],
    )


def test_local_jobs_of_pairs_wait_for_their_own_teacher(pairs, tmp_path):
    from kdjax.config.overrides import load_config
    from kdjax.config.pairs import experiments
    from kdjax.experiment.pairs import in_order

    planned = []
    for each in in_order(experiments(load_config(pairs.removeprefix("--config="), [])), tmp_path):
        planned.append(launch.submission(each, tmp_path, (), (), 0, [], planned))
    waiting = [job for each in planned for job in each.jobs]
    names = [(job.experiment.name, job.teacher_only) for job in waiting]
    assert names == [("tiny_c", True), ("tiny_c", False), ("tiny_b", True), ("tiny_b", False), ("tiny_a", False)]
    assert local._ready(waiting, []) == 0
    assert local._ready(waiting[1:], waiting[:1]) == 1  # the other teacher
    assert local._ready([waiting[1], waiting[3], waiting[4]], [waiting[2]]) == 0  # c is taught
    assert local._ready(waiting[3:], [waiting[2]]) is None
    assert local._ready(waiting[4:], [waiting[3]]) == 0


def test_pairs_by_local_jobs_are_those_of_a_plain_run(kdjax, pairs, tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", str(jax.device_count()))
    out = tmp_path / "out"
    given = ("--pairs=b,a", "--only=student")
    status, printed, err = kdjax("run", pairs, f"--out={out}", "--launcher=local", *given)
    assert (status, err) == (0, "")
    assert f"kdjax grid {out}/tiny_b {out}/tiny_a" in printed
    assert not (out / "tiny_a/teacher").exists()
    assert Run(out / "tiny_a/student/seed0").config()["teacher"]["run"] == str(out / "tiny_b/teacher/seed0")
    kdjax("run", pairs, f"--out={tmp_path / 'plain'}", *given)
    for run in ("tiny_b/student/seed0", "tiny_a/student/seed0", "tiny_b/teacher/seed0"):
        digests = {Run(path / run).result()["student_sha256"] for path in (out, tmp_path / "plain")}
        assert len(digests) == 1


# ---- waiting


def known(directory: Path, job: str, *runs, teacher=False) -> record.Submitted:
    return record.Submitted(
        job, " ".join(name for _, name in runs), str(directory / f"jobs/{job}_0_log.out"), runs, teacher
    )


def finish(directory: Path, method: str) -> None:
    (directory / method / "seed0").mkdir(parents=True)
    (directory / method / "seed0/result.json").write_text('{"status": "done"}')


def log(directory: Path, job: str, text: str) -> None:
    (directory / "jobs").mkdir(parents=True, exist_ok=True)
    (directory / f"jobs/{job}_0_log.out").write_text(text)


def test_a_job_that_is_gone_without_a_result_has_failed(cluster, tmp_path, capsys):
    finish(tmp_path, "kd")
    log(tmp_path, "13", "Traceback\nValueError: no such thing\nsrun: error: node1: task 0: Exited with exit code 1\n")
    log(tmp_path, "14", "kdjax: left to others: 1 runs are being run elsewhere: rkd/seed0 (node1, process 3)\n")
    jobs = [known(tmp_path, "12", (0, "kd")), known(tmp_path, "13", (0, "dkd")), known(tmp_path, "14", (0, "rkd"))]
    jobs += [known(tmp_path, "15", (0, "vid"))]
    outcomes = slurm.wait(jobs, lambda: 0)
    assert [each.ok for each in outcomes] == [True, False, False, False]
    assert [each.why.partition(":")[0] for each in outcomes] == [
        "",
        "ValueError",
        "left to others",
        "FAILED (exit status 3)",
    ]
    assert launch.report(outcomes) == 1
    assert launch.report(outcomes[:1]) == 0
    assert launch.report([outcomes[0], outcomes[2]]) == os.EX_TEMPFAIL
    assert "job 13 (dkd) failed: ValueError: no such thing\n  log: " in capsys.readouterr().err


def test_what_waits_for_a_failed_teacher_is_cancelled_and_named(cluster, tmp_path, capsys):
    log(tmp_path, "11", "kdjax: config.data.path: no images\n")
    jobs = [known(tmp_path, "11", (0, "teacher"), teacher=True), known(tmp_path, "12", (0, "kd"))]
    (tmp_path / "queue").write_text("12|PENDING|DependencyNeverSatisfied\n")
    cancel = '#!/bin/sh\necho "$@" >> "$SCRIPTS/../cancelled"; : > "$SCRIPTS/../queue"\n'
    (cluster.parent / "bin/scancel").write_text(cancel)
    outcomes = slurm.wait(jobs, lambda: 0)
    assert [each.why for each in outcomes] == ["config.data.path: no images", "not started: the teacher's job failed"]
    assert (tmp_path / "cancelled").read_text() == "12\n"
    assert capsys.readouterr().out.splitlines() == ["1 pending (DependencyNeverSatisfied), 1 ended", "2 ended"]


def test_a_scheduler_that_is_silent_for_a_while(cluster, tmp_path, monkeypatch, capsys):
    finish(tmp_path, "kd")
    answers = iter(
        [
            None,
            None,
            {"12": scheduler.State("RUNNING", "None")},
            {},
            {"12": scheduler.State("PENDING", "BeginTime")},
            {},
            {},
        ]
    )
    monkeypatch.setattr(scheduler, "queue", lambda: next(answers))
    assert slurm.wait([known(tmp_path, "12", (0, "kd"))], lambda: 0)[0].ok
    assert next(answers, "all were asked") == "all were asked"
    assert capsys.readouterr().err.count("does not answer") == 1


# ---- options


@pytest.mark.parametrize(
    ("text", "expected"),
    {"90": 90, "90:30": 91, "1:30:00": 90, "2-12": 3600, "2-12:30": 3630, "1-02:30:01": 1591, "0:00:01": 1}.items(),
)
def test_times(text, expected):
    assert options.minutes(text) == expected


@pytest.mark.parametrize("text", ["soon", "1:2:3:4", "-3", "1h", ""])
def test_no_times(text):
    with pytest.raises(ValueError, match="days-hours:minutes:seconds"):
        options.minutes(text)


def parsed(*given) -> dict:
    return options.parse("slurm", [f"--launcher.{each}" for each in given], submitit)


def test_options_of_sbatch_take_the_place_of_defaults():
    assert parsed("gpus-per-node=a100:2")["gpus_per_node"] == "a100:2"
    assert parsed("sbatch.cpus-per-task=9", "sbatch.time=1-0")["cpus_per_task"] == 9
    assert "gpus_per_node" not in parsed("sbatch.gres=gpu:1")
    assert "gpus_per_node" not in parsed("sbatch.gpus=2")
    assert parsed("setup=module load a", "setup=module load b")["setup"] == ["module load a", "module load b"]
    assert parsed("python=apptainer exec x.sif python")["python"] == "apptainer exec x.sif python"
    assert parsed("sbatch.spread-job=yes")["additional_parameters"] == {"spread-job": "yes"}
    assert parsed("sbatch.mail-type=END")["mail_type"] == "END"
    teacher = parsed("partition=small", "teacher.time=600", "teacher.gpus_per_node=h100:1", "teacher.sbatch.x=1")
    assert {name: teacher["teacher"][name] for name in ("partition", "time", "gpus_per_node")} == {
        "partition": "small",
        "time": 600,
        "gpus_per_node": "h100:1",
    }
    assert (teacher["time"], teacher["additional_parameters"]) == (240, {})


@pytest.mark.parametrize(
    ("given", "message"),
    {
        "time=2": "would never get past its start. Ask for 5 minutes or more",
        "teacher.time=4": "--launcher.teacher.time: 4 minutes are too near",
        "signal=USR1@9": "is set by the launcher; use --launcher.signal_delay_s",
        "sbatch.array=3": "is set by the launcher; use --launcher.methods_per_job",
        "gpus_per_node=two": "or with their type, a100:2",
        "teacher.methods_per_job=2": "has no such option",
    }.items(),
)
def test_options_that_cannot_be(given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parsed(given)


def test_other_resources_for_the_teacher(kdjax, cluster, tmp_path):
    submit(kdjax, tmp_path, "--launcher.gpus_per_node=0", "--launcher.teacher.gpus_per_node=a100:1")
    assert "gpus-per-node=a100:1" in parameters(cluster / "11")
    assert not [line for line in parameters(cluster / "12") if line.startswith("gpus")]
