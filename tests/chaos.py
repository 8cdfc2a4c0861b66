"""Kills a small experiment again and again, continues it, and compares what it ends with to an undisturbed run.

`scripts/chaos` runs it in full and writes results/reliability/; tests/experiment/test_chaos.py runs a short form.
"""

import argparse
import collections
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree
from pathlib import Path

from kdjax.experiment import provenance
from kdjax.files import read_json, write_json, write_text
from kdjax.runs.directory import Run
from kdjax.training import checkpoint

ROOT = Path(__file__).resolve().parent.parent
COMMAND = (sys.executable, "-m", "kdjax.cli", "run", "--config=tests/tiny_config.py:methods=")
STEPS = 4  # an epoch of tests/tiny.py
TIMES = ("seconds", "latency", "revision")
"""Beginnings of fields of a result that differ between equal runs (the revision, where a commit came between)."""


def start(out: Path, methods: str, epochs: int) -> subprocess.Popen:
    """`kdjax run` of the tiny experiment, with a checkpoint after every step."""
    *command, config = COMMAND
    command += [f"{config}{methods},epochs={epochs}", f"--out={out}", "--config.execution.checkpoint_seconds=0"]
    environment = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", **os.environ}
    with open(out.parent / f"{out.name}.log", "a") as log:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)


def count(out: Path, pattern: str) -> int:
    return sum(1 for _ in out.glob(f"tiny/*/seed*/{pattern}"))


def rows(out: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in out.glob("tiny/*/seed*/metrics.jsonl"))


AIMS = {
    "any time": None,
    "writing a checkpoint": lambda out: count(out, "checkpoints/*tmp*"),
    "after an epoch's row": rows,
    "writing result.json": lambda out: count(out, ".result.json.*") + count(out, "result.json"),
}
"""When to kill: after a random time, or at a random one of the moments at which this number changes."""


def kill(process: subprocess.Popen, out: Path, aim: str, seconds: float, rng: random.Random) -> bool:
    """Kills the process at a moment of the kind `aim`; False if it ended before."""
    watched = AIMS[aim]
    deadline = time.monotonic() + (rng.uniform(0, seconds) if watched is None else 600)
    before, left = watched and watched(out), rng.randint(1, 8 if aim == "writing a checkpoint" else 2)
    while process.poll() is None:
        if watched is not None and (now := watched(out)) != before:
            left, before = left - (now > before), now
        if left == 0 or time.monotonic() >= deadline:
            process.kill()
            process.wait()
            return True
        time.sleep(0.0002 if watched else 0.005)
    return False


def debris(out: Path, began: float) -> str:
    """In the middle of what the process was killed, as far as its files tell."""
    runs = list(out.glob("tiny/*/seed*"))
    if count(out, ".result.json.*"):
        return "while result.json was written"
    if count(out, "checkpoints/*tmp*"):
        return "while a checkpoint was written"
    if count(out, ".*.tmp"):
        return "while another file was written"
    if any(path.stat().st_mtime > began for path in out.glob("tiny/*/seed*/result.json")):
        return "after a run's result.json, other runs unfinished"
    for run in runs:
        saved = max(checkpoint.numbers(run / "checkpoints"), default=0)
        if any(row["epoch"] > saved // STEPS for row in Run(run).history()):
            return "between an epoch's row and its checkpoint"
    written = [*runs, *(run / "checkpoints" for run in runs if (run / "checkpoints").exists())]
    touched = any(path.stat().st_mtime > began for path in written)
    return "during steps and evaluation" if touched else "at the start: import, tracing, compilation"


def ended(out: Path) -> dict:
    """All that an experiment has measured, times left out: result, history, and the student's parameters."""

    def timeless(value):
        if isinstance(value, dict):
            return {key: timeless(v) for key, v in value.items() if not key.startswith(TIMES)}
        return value

    found = {}
    for path in sorted(out.glob("tiny/*/seed*")):
        run = Run(path)
        variables = checkpoint.student(run.checkpoints)
        found[f"{path.parent.name}/{path.name}"] = {
            "result": timeless(run.result()),
            "metrics.jsonl": (path / "metrics.jsonl").read_text(),
            "parameters": checkpoint.fingerprint(variables),
            "left over": [p.name for p in path.rglob("*") if "tmp" in p.name],
        }
    return found


def different(found: dict, expected: dict) -> list[str]:
    """What is not the same in two experiments, "kd/seed0 parameters: ... instead of ..."."""
    nothing = dict.fromkeys(next(iter(expected.values())))
    return [
        f"{name} {what}: {found.get(name, nothing)[what]} instead of {expected.get(name, nothing)[what]}"
        for name in {**expected, **found}
        for what in nothing
        if found.get(name, nothing)[what] != expected.get(name, nothing)[what]
    ]


def finish(process: subprocess.Popen, out: Path) -> None:
    if process.wait() != 0:
        raise RuntimeError(f"kdjax run failed:\n{(out.parent / f'{out.name}.log').read_text()[-3000:]}")


def chaos(folder: Path, kills: int, methods: str, epochs: int, seed: int) -> dict:
    """Runs the experiment, disturbed, until its process has been killed so many times; what happened, as JSON.

    Raises:
      AssertionError: a disturbed run ended with other bits.
    """
    rng, folder = random.Random(seed), Path(folder)
    for number in range(2):  # the second one finds everything compiled
        began = time.monotonic()
        finish(start(folder / f"undisturbed{number}", methods, epochs), folder / f"undisturbed{number}")
        seconds = time.monotonic() - began
    expected = ended(folder / "undisturbed0")
    assert not different(ended(folder / "undisturbed1"), expected)
    moments, experiments, compared = collections.Counter(), 0, 0
    while sum(moments.values()) < kills:
        out = folder / f"disturbed{experiments}"
        while True:
            process, began = start(out, methods, epochs), time.time()
            if sum(moments.values()) >= kills:
                finish(process, out)
                break
            aim = list(AIMS)[sum(moments.values()) % len(AIMS)]
            if not kill(process, out, aim, seconds, rng):
                finish(process, out)
                break
            moments[debris(out, began)] += 1
        found = ended(out)
        assert not different(found, expected), f"{out}: {different(found, expected)}"
        experiments, compared = experiments + 1, compared + len(found)
    return {
        "kills": sum(moments.values()),
        "moments": dict(moments.most_common()),
        "experiments": experiments,
        "runs_compared": compared,
        "runs_different": 0,
        "methods": methods.split("+"),
        "steps": STEPS * epochs,
        "seed": seed,
        "undisturbed_seconds": round(seconds, 1),
        "versions": provenance.versions(),
        "device": next(iter(expected.values()))["result"]["device"],
        "revision": provenance.revision(),
    }


def counted(folder: Path) -> dict:
    """Runs tests/experiment/test_faults.py and tests/experiment/test_fuzz.py: how many faults and configs they had.

    Raises:
      RuntimeError: a test failed.
    """
    report = Path(folder) / "report.xml"
    tests = ["tests/experiment/test_faults.py", "tests/experiment/test_fuzz.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", "--override-ini=junit_family=xunit1", *tests],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stdout[-5000:])
    totals = collections.Counter()
    for element in xml.etree.ElementTree.parse(report).iter("property"):
        totals[element.get("name")] += int(element.get("value"))
    return dict(totals)


def section(measured: dict) -> str:
    """What docs/how-to/resume.md says of reliability, of what was measured."""
    killed, counts = measured["killed"], measured["counts"]
    moments = "; ".join(f"{number} {moment}" for moment, number in killed["moments"].items())
    lines = [
        f"- **Killed** with SIGKILL {killed['kills']} times in {killed['experiments']} experiments, and continued each "
        f"time by the same command: {killed['runs_compared']} finished runs compared with undisturbed ones, "
        f"{killed['runs_different']} differ in a bit of the parameters, the learning curve or the result "
        f"({moments}).",
        f"- **Damaged**: {counts['damaged_files']} times a file of a checkpoint was truncated, emptied, changed in a "
        "bit or removed; each time that was seen and the older checkpoint taken. "
        f"{counts['damages']} experiments with damaged checkpoints, metrics.jsonl, config.json or result.json were "
        "continued: the damage was told, the result had the same bits.",
        f"- **Failures of the system** injected: {counts['failures']} (full disk, files in the way, no permission, no "
        "locks): one message, what was finished readable, the same command continued.",
        f"- **Signals and rivals**: {counts['processes']} scenes with real processes (SIGTERM, Ctrl-C, twice, while "
        "the teacher trains; two processes on one experiment).",
        f"- **Configs fuzzed**: {counts['configs']}, of which {counts['refused']} were refused with a message that "
        f"names the field and {counts['trained']} trained a step.",
        "",
        f"Measured by `scripts/chaos` at revision {killed['revision']} on {killed['device']}, JAX "
        f"{killed['versions']['jax']}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", default=str(ROOT / "results/reliability"))
    parser.add_argument("--only", choices=("kills", "counts"), help="measure this, take the rest from --out")
    args = parser.parse_args()
    path = Path(args.out) / "chaos.json"
    measured = read_json(path) or {}
    with tempfile.TemporaryDirectory() as folder:
        if args.only != "counts":
            killed = chaos(Path(folder), args.kills, "student+remembered+noisy", epochs=2, seed=args.seed)
            measured["killed"] = killed
            write_json(path, measured)
            print(json.dumps(killed, indent=1))
        if args.only != "kills":
            measured["counts"] = counted(Path(folder))
            write_json(path, measured)
    if {"killed", "counts"} <= measured.keys():
        write_text(path.with_name("reliability.md"), section(measured))


if __name__ == "__main__":
    main()
