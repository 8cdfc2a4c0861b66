"""How time and memory grow with methods, seeds, batch and devices; small networks.

Every point is a process of its own, so that its peak memory is its own. Seconds are those of an epoch of training
after the first one, which compiles. Devices are virtual ones on the CPU.
"""

import argparse
import json
import os
import subprocess
import sys
import time

import jax
from bench_kdjax import make, where, write

from kdjax import cores
from kdjax.training import parallel

METHODS = (
    *("kd", "attention", "similarity", "rkd", "dkd", "fitnet", "student"),
    *("hard_target", "binary_kd", "logit_mse", "dist", "pkt", "nkd"),
)
BASE = {"methods": 2, "seeds": 1, "batch": 64, "devices": 1}
SWEEPS = {
    "methods": (1, 2, 4, 8, 13),
    "seeds": (1, 2, 3, 4, 5),
    "batch": (32, 64, 128, 256, 512),
    "devices": (1, 2, 4),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", default="resnet14")
    parser.add_argument("--student", default="resnet8")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--quick", action="store_true", help="two points, to see that it runs; no figures")
    parser.add_argument("--point", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.point:
        print(json.dumps(measure(args, **json.loads(args.point))))
        return
    if args.quick:
        args.teacher = args.student = "convnet"
    sweeps = {"batch": (4, 8)} if args.quick else SWEEPS
    rows = [{"sweep": name, **run(args, {**BASE, name: value})} for name, values in sweeps.items() for value in values]
    if args.quick:
        print(rows)
        return
    parallel.setup()
    write("growth", {"rows": rows, "teacher": args.teacher, "student": args.student, "steps": args.steps}, markdown)


def run(args, point: dict) -> dict:
    """A point, measured by a process of its own."""
    own = ("--teacher", args.teacher, "--student", args.student, "--steps", str(args.steps))
    devices = max(point["devices"], 1)
    done = subprocess.run(
        [sys.executable, __file__, *own, "--point", json.dumps(point)],
        env={**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)},
        capture_output=True,
        text=True,
        check=True,
    )
    row = json.loads(done.stdout.splitlines()[-1])
    print(row, flush=True)
    return row


def measure(args, methods: int, seeds: int, batch: int, devices: int) -> dict:
    parallel.setup()
    names = METHODS[:methods]
    cohorts = [
        make(args.teacher, args.student, names, steps=args.steps, batch=batch, seed=seed) for seed in range(seeds)
    ]
    seconds = []
    for number in range(4):
        start = time.perf_counter()
        for cohort in cohorts:  # as a run does: one seed after the other
            cohort.epoch(number)
        seconds.append(time.perf_counter() - start)
    statistics = jax.local_devices()[0].memory_stats() or {}
    return {
        **dict(methods=methods, seeds=seeds, batch=batch, devices=devices),
        "seconds": sorted(seconds[1:])[1],
        "megabytes": statistics.get("peak_bytes_in_use", cores.peak()) / 2**20,
    }


def markdown(record: dict) -> str:
    lines = ["| varied | methods | seeds | batch | devices | ms a step | per method-image, µs | peak memory, MB |"]
    lines.append("|---|" + "---:|" * 7)
    for row in record["rows"]:
        count = record["steps"] * row["methods"] * row["seeds"] * row["batch"]
        lines.append(
            f"| {row['sweep']} | {row['methods']} | {row['seeds']} | {row['batch']} | {row['devices']} | "
            f"{1e3 * row['seconds'] / record['steps']:.0f} | {1e6 * row['seconds'] / count:.0f} | "
            f"{row['megabytes']:.0f} |"
        )
    text = (
        " ".join(__doc__.split("\n\n")[1].split())
        + f" Teacher {record['teacher']}, student {record['student']}, images of 32 x 32, medians of 3 epochs of "
        f"{record['steps']} steps. " + where(record)
    )
    return "\n".join([*lines, "", text, ""])


if __name__ == "__main__":
    main()
