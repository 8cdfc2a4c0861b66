"""Jobs of a real Slurm, started here for these tests: two virtual nodes, no accounts, no GPUs.

Needs root and Debian's slurm-client, slurmctld, slurmd and munge.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kdjax.runs.directory import Run

pytest.importorskip("submitit")
ROOT = Path(__file__).parents[2]
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "srun")
LACKS = [name for name in PROGRAMS if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(LACKS), reason=f"Slurm is not installed: {', '.join(LACKS)}"),
    pytest.mark.skipif(os.getuid() != 0, reason="only root can start Slurm's daemons"),
]
SETTINGS = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=bf_interval=2,sched_interval=2,batch_sched_delay=0,sched_min_interval=0
MaxArraySize=3
SlurmdParameters=config_overrides
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
SlurmctldPort={ports[0]}
NodeName=one NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2
NodeName=two NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE
"""


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The environment in which the commands of this Slurm work."""
    folder = tmp_path_factory.mktemp("slurm")
    for each in folder.parents:  # munged wants every folder above its socket to be passable
        if each.is_relative_to("/tmp"):
            each.chmod(each.stat().st_mode | 0o111)
    (folder / "key").write_bytes(os.urandom(1024))
    (folder / "key").chmod(0o400)
    (folder / "state").mkdir()
    settings = SETTINGS.format(folder=folder, host=socket.gethostname(), ports=free_ports(3))
    (folder / "slurm.conf").write_text(settings)
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    environment |= {"JAX_COMPILATION_CACHE_DIR": f"{folder}/cache", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    munge = ("munged", "--foreground", "--force", f"--key-file={folder}/key", f"--socket={folder}/munge.socket")
    munge += (f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/seed")
    daemons = [munge, ("slurmctld", "-D"), ("slurmd", "-D", "-N", "one"), ("slurmd", "-D", "-N", "two")]
    started = []
    try:
        for command in daemons:
            started.append(
                subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
            if command[0] == "munged":
                until(lambda: (folder / "munge.socket").exists(), folder)
        idle = ("sinfo", "--noheader", "--format=%T")
        until(lambda: {*ask(environment, *idle).split()} == {"idle"}, folder)
        yield environment
    finally:
        ask(environment, "scancel", f"--user={os.getuid()}")
        for process in reversed(started):
            process.terminate()
            process.wait(300)


def ask(environment, *command) -> str:
    return subprocess.run(command, env=environment, capture_output=True, text=True).stdout


def until(holds, folder: Path, seconds: float = 600.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            logs = "\n".join(path.read_text(errors="replace")[-2000:] for path in folder.glob("*.log"))
            pytest.fail(f"not within {seconds:g} s; logs:\n{logs}")
        time.sleep(0.2)


def start(cluster, out: Path, *more, config="tests/tiny_config.py:epochs=1", prefix=()):
    command = [
        *prefix,
        sys.executable,
        "-m",
        "kdjax.cli",
        "run",
        f"--config={config}",
        f"--out={out}",
        "--launcher=slurm",
    ]
    options = ["--launcher.gpus_per_node=0", "--launcher.cpus_per_task=1", "--launcher.time=10", *more]
    environment = cluster | {"JAX_NUM_CPU_DEVICES": "1"}
    return subprocess.Popen(
        [*command, *options], env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def launch(cluster, out: Path, *more, **options) -> tuple[int, str, str]:
    process = start(cluster, out, *more, **options)
    printed, complained = process.communicate(timeout=900)
    return process.returncode, printed, complained


def status_of(result: Path) -> str:
    return (Run(result).result() or {"status": "none"})["status"]


def test_a_table_from_inside_of_a_job_in_arrays_that_fit(cluster, tmp_path):
    """Submitted from within srun, whose variables are not for the jobs; nothing is submitted twice meanwhile."""
    more = ("--wait", "--seeds=0,1", "--launcher.methods_per_job=1")
    status, printed, complained = launch(cluster, tmp_path / "out", *more, prefix=("srun", "--cpus-per-task=1"))
    assert status == 0, complained
    numbers = {line.split()[1].partition("_")[0] for line in printed.splitlines() if line.startswith("job ")}
    assert len(numbers) == 3  # the teacher; four jobs, at most three in an array
    done = [status_of(tmp_path / f"out/tiny/{run}") for run in ("teacher/seed0", "student/seed0", "stateless/seed1")]
    assert done == ["done"] * 3
    assert "over 2 seeds (0, 1)" in printed


def test_a_teacher_that_is_cancelled(cluster, tmp_path):
    process = start(cluster, tmp_path / "out", "--wait", config="tests/tiny_config.py:epochs=100000")
    number = re.match(r"job (\d+)  teacher", process.stdout.readline())[1]
    again = launch(cluster, tmp_path / "out", config="tests/tiny_config.py:epochs=100000")
    assert f"job {number}  teacher (submitted earlier)" in again[1]
    assert len(ask(cluster, "squeue", "--noheader").splitlines()) == 2
    ask(cluster, "scancel", number)
    _, complained = process.communicate(timeout=900)
    assert process.returncode == 1
    assert f"job {number} (teacher) failed: CANCELLED" in complained
    assert "not started: the teacher's job failed" in complained
    assert not ask(cluster, "squeue", "--noheader")


def test_what_others_hold_is_left_to_them_and_not_called_done(cluster, tmp_path):
    out = tmp_path / "out"
    assert launch(cluster, out, "--wait", "--only=student")[0] == 0
    run = Run(out / "tiny/stateless/seed0")
    run.path.mkdir(parents=True)
    assert run.lock.acquire() == ""
    try:
        status, _, complained = launch(cluster, out, "--wait")
    finally:
        run.lock.release()
    assert status == os.EX_TEMPFAIL
    assert "left to others" in complained
    assert status_of(run.path) == "none"


def test_a_refused_array_leaves_nothing_in_the_queue(cluster, tmp_path):
    status, _, complained = launch(
        cluster, tmp_path / "out", "--launcher.partition=nowhere", "--launcher.teacher.partition=all"
    )
    assert status == 2
    assert "which it had taken, is cancelled" in complained
    assert not ask(cluster, "squeue", "--noheader", "--states=PENDING,RUNNING")
    assert not (tmp_path / "out").exists()
    status, _, complained = launch(cluster, tmp_path / "out", "--launcher.gpus_per_node=a100:1")
    assert (status, "--launcher.gpus_per_node=0" in complained) == (2, True)


def test_status_of_a_launched_experiment(cluster, tmp_path):
    long = "tests/tiny_config.py:epochs=100000"
    launch(cluster, tmp_path / "out", config=long)
    tell = [sys.executable, "-m", "kdjax.cli", "status", str(tmp_path / "out/tiny")]
    until(lambda: "teacher/seed0: in training" in ask(cluster, *tell), tmp_path)
    said = ask(cluster, *tell)
    assert re.search(r"job \d+: running, teacher\n", said)
    assert re.search(r"job \d+: pending \(Dependency\), seed 0: student, stateless", said)
    ask(cluster, "scancel", f"--user={os.getuid()}", f"--signal={signal.SIGKILL}")
    ask(cluster, "scancel", f"--user={os.getuid()}")
    until(lambda: "teacher/seed0: stopped" in ask(cluster, *tell), tmp_path)
