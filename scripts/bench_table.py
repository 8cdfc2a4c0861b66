"""A table of several methods: kdjax's cohort against PyTorch loops, one method after another, on one machine.

Every side is a process of its own; they take turns, a round each, after a round that compiles. A method-image is an
image that one method's student was trained on. PyTorch has all threads of the machine. `plain` is the loop of
scripts/bench_torch.py with six methods, each image cropped and flipped; `repdistiller` has the schedule of work of
RepDistiller's train_distill (scripts/bench_repdistiller.py) with five methods and no augmentation on either side.
"""

import argparse
import csv
import os

import numpy as np
from bench_kdjax import MALLOC, OUT, where, write
from bench_side import turns

PAIRS = ("resnet32x4,resnet8x4", "resnet56,resnet20")
LOOPS = {
    "plain": ("kd", "attention", "similarity", "rkd", "dkd", "fitnet"),
    "repdistiller": ("kd", "fitnet", "attention", "similarity", "rkd"),
}
SIDES = ("kdjax", "torch")
QUIET = 0.03
"""A round in which other processes took more of the processors than this does not count."""
TARGETS = {("plain", "resnet32x4,resnet8x4"): 1.8, ("plain", "resnet56,resnet20"): 1.5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", default=";".join(PAIRS), help="teacher,student;teacher,student")
    parser.add_argument("--loops", default=",".join(LOOPS), help="what kdjax is compared with")
    parser.add_argument("--rounds", type=int, default=7, help="quiet ones")
    parser.add_argument("--steps", type=int, default=4, help="of a round")
    parser.add_argument("--minutes", type=float, default=5.0, help="at most, for a pair and a loop")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--only-kdjax", action="store_true")
    parser.add_argument("--quick", action="store_true", help="the smallest networks, to see that it runs; no figures")
    args = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # scripts/gpu measures accelerators
    if args.quick:
        args.pairs, args.rounds, args.steps, args.batch = "convnet,convnet", 1, 1, 8
    measured = {
        (pair, loop): bench(pair, loop, args) for pair in args.pairs.split(";") for loop in args.loops.split(",")
    }
    if args.quick or args.only_kdjax:
        print([row for found in measured.values() for row in found["rows"]])
        return
    save(measured, args)


def bench(pair: str, loop: str, args) -> dict:
    """What `turns` measures of one pair against one loop.

    Raises:
      RuntimeError: one of the sides has failed: then there is nothing to compare.
    """
    names = LOOPS[loop]
    shared = {"pair": pair, "methods": names, "steps": args.steps, "batch": args.batch, "augment": loop == "plain"}
    sides = {"kdjax": ({"kind": "kdjax", **shared}, None)}
    if not args.only_kdjax:
        sides["torch"] = ({"kind": "torch", "schedule": loop, **shared}, None)
    most = 10_000 if not args.quick else args.rounds

    def enough(rows):
        return sum(map(quiet, rows)) >= args.rounds * len(sides)

    found = turns(sides, most, 600 if args.quick else 60 * args.minutes, enough=enough)
    if found["ended"]:
        raise RuntimeError(f"{pair}, {loop}: {found['ended']}; --minutes={args.minutes:g} are for warming up, too")
    print(f"{pair}, {loop}: {len(found['rows'])} rounds", flush=True)
    return found


def quiet(row: dict) -> bool:
    """Whether other processes left the machine alone in this round."""
    return (row["others"] or 0.0) <= QUIET


def save(measured: dict, args) -> None:
    kdjax, torch = (next(iter(measured.values()))["warm"][side] for side in SIDES)
    record = {
        "device": kdjax["device"],
        "rows": [
            {"pair": pair, "loop": loop, **row} for (pair, loop), found in measured.items() for row in found["rows"]
        ],
        "pairs": [summary(pair, loop, found["rows"], args) for (pair, loop), found in measured.items()],
        "methods": {loop: LOOPS[loop] for loop in args.loops.split(",")},
        "batch": args.batch,
        "steps": args.steps,
        "torch": torch["torch"],
        "threads": torch["threads"],
    }
    name = f"table{'_kept' if MALLOC else ''}"
    write(name, record, markdown)
    with open(OUT / f"{name}.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, record["rows"][0])
        writer.writeheader()
        writer.writerows(record["rows"])


def summary(pair: str, loop: str, rows: list[dict], args) -> dict:
    """Medians over the quiet rounds, in method-images per second; over all if none was quiet, and `quiet` says so."""
    count = args.steps * args.batch * len(LOOPS[loop])
    calm = [row for row in rows if quiet(row)]
    rows = calm if {row["side"] for row in calm} == set(SIDES) else rows
    rates = {side: [count / row["seconds"] for row in rows if row["side"] == side] for side in SIDES}
    medians = {side: float(np.median(rate)) for side, rate in rates.items()}
    return {
        "pair": pair,
        "loop": loop,
        **medians,
        "ratio": medians["kdjax"] / medians["torch"],
        "target": TARGETS.get((loop, pair), "none"),
        "quiet": {side: sum(quiet(row) for row in rows if row["side"] == side) for side in SIDES},
    }


def markdown(record: dict) -> str:
    lines = [
        "| teacher, student | loop | kdjax | PyTorch | ratio | target | rounds |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in record["pairs"]:
        lines.append(
            f"| {row['pair'].replace(',', ', ')} | {row['loop']} | {row['kdjax']:.1f} | {row['torch']:.1f} | "
            f"{row['ratio']:.2f} | {row['target']} | {' and '.join(map(str, row['quiet'].values()))} |"
        )
    methods = "; ".join(f"{loop}: {', '.join(names)}" for loop, names in record["methods"].items())
    text = (
        "Method-images per second, medians of the rounds in which other processes took at most "
        f"{100 * QUIET:.0f} % of the processors (*rounds*: how many, of kdjax and PyTorch). A round is "
        f"{record['steps']} steps of every method, both sides in turns. {methods}. Batch {record['batch']}, images of "
        f"32 x 32. PyTorch {record['torch']}, eager, {record['threads']} threads. " + where(record)
    )
    return "\n".join([*lines, "", text, ""])


if __name__ == "__main__":
    main()
