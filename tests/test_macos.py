"""What runs on macOS too: scripts of commands that it has, and a run that calls nothing which Linux alone has.

There is no Mac here: what is looked for is what is known to be missing there.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kdjax import cores

ROOT = Path(__file__).parent.parent
SCRIPTS = [
    path
    for path in (ROOT / ".ci/run", *sorted((ROOT / "scripts").iterdir()))
    if path.is_file() and (path.suffix == ".sh" or "bash" in path.read_text().partition("\n")[0])
]
GNU = {
    "sha256sum, md5sum": r"\b(sha\d+|md5)sum\b",  # shasum, md5; cksum is everywhere
    "nproc": r"\bnproc\b",
    "readlink -f, realpath": r"\breadlink\s+-f\b|\brealpath\b",
    "sed -i without a suffix": r"\bsed\s+(-\w+\s+)*-i(\s|$)",
    "sed -r": r"\bsed\s+-\w*r",
    "grep -P": r"\bgrep\s+(-\w+\s+)*-\w*P",
    "timeout": r"(^|[\s;&|(])timeout\s",
    "date -d, date -I, date +%N": r"\bdate\s+(-\w+\s+)*(-d|-I|--)|\bdate\s.*%N",
    "mktemp without a template": r"\bmktemp(\s+-d)?\s*($|[);|&])|\bmktemp\s+(-\w+\s+)*--",
    "cp --reflink and other long options": r"\b(cp|mv|ln|ls|rm|mkdir|du|df|stat|head|tail|sort|xargs)\s+(\S+\s+)*--\w",
    "cp -r --preserve, cp -d": r"\bcp\s+-\w*d",
    "stat -c": r"\bstat\s+-c\b",
    "xargs -d, xargs -r": r"\bxargs\s+-\w*[dr]\b",
    "tac, setsid, free, ionice": r"(^|[\s;&|(])(tac|setsid|free|ionice|taskset|numactl)(\s|$)",
    "find without a folder, find -printf": r"\bfind\s+-|\bfind\b.*-printf",
    "/proc and /dev/shm": r"/proc/|/dev/shm|/sys/",
    # of bash 3.2, which macOS has:
    "declare -A, mapfile, ${x,,}, ${x^^}, |&, &>>, wait -n": (
        r"\b(declare|local)\s+-\w*[An]\b|\b(mapfile|readarray)\b|\$\{\w+(,,|\^\^)|\|&|&>>|\bwait\s+-n|\bcoproc\b"
    ),
}


def code(path: Path) -> list[tuple[int, str]]:
    """(number, line) without comments."""
    return [(n, re.sub(r"(^|\s)#.*", "", line)) for n, line in enumerate(path.read_text().splitlines(), 1)]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_use_what_both_systems_have(path):
    if path.name == "loads":
        assert "Linux" in path.read_text()  # says that it is about Linux's memory mappings
    found = [
        f"line {n}: {what}: {line}" for n, line in code(path) for what, form in GNU.items() if re.search(form, line)
    ]
    assert not found, "\n".join([str(path), *found])


def test_the_forms_find_what_they_are_for():
    """One line that each must find, and some that none may."""
    bad = [
        "sha256sum x",
        "n=$(nproc)",
        'readlink -f "$0"',
        "sed -i s/a/b/ x",
        "sed -r s/a/b/",
        "grep -oP x",
        "timeout 5 x",
    ]
    bad += [
        "date -d yesterday",
        "date +%s%N",
        "d=$(mktemp -d)",
        "cp -r --reflink=auto a b",
        "cp -d a b",
        "stat -c %s x",
    ]
    bad += [
        "ls | xargs -r rm",
        "tac x",
        "find -name x",
        "cat /proc/cpuinfo",
        "declare -A x",
        "mapfile -t x",
        'echo "${x,,}"',
    ]
    missed = [line for line in bad if not any(re.search(form, line) for form in GNU.values())]
    assert not missed
    good = [
        "cksum x",
        'd=$(mktemp -d "${TMPDIR:-/tmp}/x.XXXXXX")',
        "sed -e s/a/b/ x",
        "grep -q x",
        "date +%s",
        "cp -R a b",
    ]
    good += [
        "find . -name x",
        'exec "$VENV/bin/python" -m pytest --timeout=1800 --timeout-method=thread',
        "local driver major",
    ]
    assert not [(line, what) for line in good for what, form in GNU.items() if re.search(form, line)]


LINUX = ("sched_getaffinity", "sched_setaffinity", "memfd_create", "posix_fadvise", "posix_fallocate", "pipe2")
LINUX += ("fdatasync", "getrandom", "getxattr", "listxattr", "setxattr", "removexattr", "copy_file_range", "splice")
LINUX += ("eventfd", "pidfd_open", "setns", "unshare", "O_DIRECT", "O_TMPFILE", "O_NOATIME", "O_PATH")
WITHOUT = f"""
import os, signal, sys
for name in {LINUX}:
    if hasattr(os, name):
        delattr(os, name)
os.process_cpu_count = os.cpu_count  # as it is where Python was built without sched_getaffinity
for name in ("SIGRTMIN", "SIGRTMAX", "SIGPWR", "SIGSTKFLT", "SIGPOLL", "SIGCLD"):
    if hasattr(signal, name):
        delattr(signal, name)

def closed(event, arguments):
    path = arguments[0] if event in ("open", "os.listdir", "os.scandir") and arguments else None
    if isinstance(path, str) and path.startswith(("/proc", "/sys", "/dev/shm")):
        raise FileNotFoundError(2, "there is no such folder on macOS", path)

sys.addaudithook(closed)
sysconf = os.sysconf
def of_mac(name):
    if name in ("SC_AVPHYS_PAGES",):
        raise ValueError("unrecognized configuration name")
    return sysconf(name)
os.sysconf = of_mac
from kdjax import cli
cli.main(sys.argv[1:])
"""
"""kdjax without what macOS lacks: functions of os, signals, /proc."""


def test_a_run_and_its_table_without_what_linux_alone_has(tmp_path):
    env = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    given = ("--config=tests/tiny_config.py", "--config.data.train_examples=64", "--config.execution.stream=False")
    for command in (
        ("run", *given, f"--out={tmp_path}/runs"),
        ("table", f"{tmp_path}/runs/tiny", f"--out={tmp_path}/out"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT, *command], cwd=ROOT, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
        assert "Δ student" in done.stdout
    assert (tmp_path / "out/table.md").is_file()


def test_what_a_system_does_not_say(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    assert cores.cores() == 1
    assert cores.memory() > 1e8
    held = cores.peak()
    assert 1e7 < held < 1e12
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cores.peak() * 1024 <= held * 1.1  # counted in bytes there

    def unknown(name):
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "sysconf", unknown)
    assert cores.memory() is None
