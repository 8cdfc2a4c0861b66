"""What the flags are worth that kdjax gives XLA on a CPU: compiling and training with all of them, and without each.

Two things, sides in turns:

  demo    `kdjax run --config=configs/digits.py` of one seed, a process of its own with an empty compilation cache:
          mostly compiling
  table   a cohort that trains: each side compiles it, with nothing kept, then takes a round of steps in its turn

Processor time is what other processes disturb least. Ratios are without a flag over with all.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import jaxlib
from bench_kdjax import ROOT, where, write
from bench_side import rotated, turns

from kdjax.training import flags, parallel

METHODS = ("kd", "attention", "rkd")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30, help="of the demo")
    parser.add_argument("--only", default="", help="names of methods of the demo; all when left out")
    parser.add_argument("--pairs", default="resnet56,resnet20", help="teacher,student;teacher,student")
    parser.add_argument("--steps", type=int, default=2, help="of a round of the table")
    parser.add_argument("--minutes", type=float, default=5.0, help="at most, for a pair")
    parser.add_argument("--quick", action="store_true", help="the smallest sizes, to see that it runs; no figures")
    args = parser.parse_args()
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ.pop("XLA_FLAGS", None)
    if args.quick:
        args.rounds, args.epochs, args.only, args.pairs, args.steps = 1, 1, "student", "convnet,convnet", 1
    sides = choices()
    demos = [
        {"side": name, **demo(sides[name], args)}
        for number in range(args.rounds)
        for name in rotated(list(sides), number)
    ]
    tables = {pair: table(pair, sides, args) for pair in args.pairs.split(";")}
    if args.quick:
        print([*demos, *tables.values()])
        return
    parallel.setup()
    write("flags", {"flags": sides, "demo": demos, "table": tables, **vars(args)}, markdown)


def choices() -> dict[str, str]:
    """Name of a side -> XLA_FLAGS."""
    every = flags.default(jaxlib.__version__, cpus_alone=True).split()
    name = lambda flag: flag.lstrip("-").partition("=")[0]  # noqa: E731
    without = {f"without {name(flag)}": " ".join(other for other in every if other != flag) for flag in every}
    return {"all": " ".join(every), **without}


def demo(told: str, args) -> dict[str, float]:
    """Seconds and processor seconds of the command, with an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": told, "JAX_COMPILATION_CACHE_DIR": folder}
        config = [f"--config={ROOT / 'configs/digits.py'}", "--seeds=0", f"--config.epochs={args.epochs}"]
        config += [f"--only={args.only}"] if args.only else []
        command = [sys.executable, "-m", "kdjax.cli", "run", *config, f"--out={folder}/runs"]
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "cpu_seconds": used}


def table(pair: str, sides: dict, args) -> dict:
    """What `turns` measures of a cohort of METHODS."""
    described = {"kind": "kdjax", "pair": pair, "methods": METHODS, "steps": args.steps, "batch": 64}
    with tempfile.TemporaryFile() as log:
        given = {
            name: (described, {"XLA_FLAGS": told, "JAX_ENABLE_COMPILATION_CACHE": "0"}) for name, told in sides.items()
        }
        found = turns(given, args.rounds, 60 * args.minutes, log=log)
        log.seek(0)
        if found["ended"]:
            raise RuntimeError(f"{found['ended']}\n{log.read().decode(errors='replace')}")
    return found


def markdown(record: dict) -> str:
    names = list(record["flags"])
    lines = ["| what | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    lines += row("demo, empty cache", {name: of(record["demo"], name) for name in names})
    for pair, found in record["table"].items():
        warm = {name: (found["warm"][name]["warm_seconds"], found["warm"][name]["warm_cpu_seconds"]) for name in names}
        lines += row(f"{pair}: compiling and a first round", warm)
        lines += row(f"{pair}: a round of {record['steps']} steps", {name: of(found["rows"], name) for name in names})
    methods = record["only"] or "twelve methods"
    notes = (
        f"Seconds (processor seconds, their ratio to those of all), medians of {record['rounds']} rounds. Demo: "
        f"digits, {methods}, one seed, {record['epochs']} epochs; table: {', '.join(METHODS)}, batch 64. "
    )
    told = " ".join(__doc__.split("\n\n")[-1].split())
    return "\n".join(lines) + f"\n\n{notes}{told} jaxlib {jaxlib.__version__}. {where(record)}\n"


def of(rows: list[dict], name: str) -> tuple[float, float]:
    """Median seconds and processor seconds of a side."""
    own = [row for row in rows if row["side"] == name]
    return tuple(statistics.median(row[key] for row in own) for key in ("seconds", "cpu_seconds"))


def row(what: str, cells: dict[str, tuple[float, float]]) -> list[str]:
    base = cells["all"][1]
    shown = [f"{seconds:.3g} ({cpu:.3g}, {cpu / base:.2f})" for seconds, cpu in cells.values()]
    return [f"| {what} | " + " | ".join(shown) + " |"]


if __name__ == "__main__":
    main()
