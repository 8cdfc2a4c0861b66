"""A table of six methods: kdjax's cohort against a plain PyTorch loop, one method after another, on one machine.

Both sides take turns, a round each, after a round that compiles. A method-image is an image that one method's student
was trained on. PyTorch has all threads of the machine.
"""

import argparse
import csv
import time

import jax
import numpy as np
from bench_kdjax import MALLOC, MEAN, OUT, STD, Others, images, make, where, write

from kdjax import parallel

PAIRS = ("resnet32x4,resnet8x4", "resnet56,resnet20")
METHODS = ("kd", "attention", "similarity", "rkd", "dkd", "fitnet")
CLASSES = 100
SIDES = ("kdjax", "torch")
QUIET = 0.03
"""A round in which other processes took more of the processors than this does not count."""
TARGETS = {
    ("cpu", "resnet32x4,resnet8x4"): 1.5,
    ("cpu", "resnet56,resnet20"): 1.0,
    ("gpu", "eager"): 5.0,
    ("gpu", "compiled"): 2.0,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", default=";".join(PAIRS), help="teacher,student;teacher,student")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=0, help="a round; 0: 4 on a CPU, 320 on an accelerator")
    parser.add_argument("--minutes", type=float, default=5.0, help="at most, for the rounds of a pair")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--compile", action="store_true", help="PyTorch compiled, channels last, bfloat16, data there")
    parser.add_argument("--only-kdjax", action="store_true")
    parser.add_argument("--quick", action="store_true", help="the smallest networks, to see that it runs; no figures")
    args = parser.parse_args()
    parallel.setup()
    if args.quick:
        args.pairs, args.rounds, args.minutes, args.steps, args.batch = "resnet8,resnet8", 1, 0.0, 1, 8
    accelerated = jax.default_backend() != "cpu"
    args.steps = args.steps or (320 if accelerated else 4)
    rows = [row for pair in args.pairs.split(";") for row in bench(pair, args, accelerated)]
    if args.quick or args.only_kdjax:
        print(rows)
        return
    save(rows, args, accelerated)


def bench(pair: str, args, accelerated: bool) -> list[dict]:
    """Rows {"pair", "side", "round", "seconds", "others"}: of a round, all methods together."""
    teacher, student = pair.split(",")
    names = args.methods.split(",")
    cohort = make(teacher, student, names, steps=args.steps, batch=args.batch, classes=CLASSES)
    sides = {"kdjax": cohort.epoch}
    if not args.only_kdjax:
        sides["torch"] = torch_side(teacher, student, names, args, accelerated)
    rows, end = [], time.monotonic() + 60 * args.minutes
    for number in range(10_000):
        turn = [timed(run, number, pair, side) for side, run in sides.items()]
        print(turn, flush=True)
        if number:  # the first round compiles
            rows += turn
        if sum(map(quiet, rows)) >= args.rounds * len(sides) or (rows and time.monotonic() > end):
            return rows


def timed(run, number: int, pair: str, side: str) -> dict:
    start, others = time.perf_counter(), Others()
    run(number)
    return {
        "pair": pair,
        "side": side,
        "round": number,
        "seconds": time.perf_counter() - start,
        "others": others.share(),
    }


def quiet(row: dict) -> bool:
    """Whether other processes left the machine alone in this round."""
    return (row["others"] or 0.0) <= QUIET


def torch_side(teacher: str, student: str, names, args, accelerated: bool):
    """run(round): the loop over methods, each a Training of its own that goes on where it was."""
    import bench_torch as plain  # PyTorch is an extra

    fast = dict(compiled=True, channels_last=True, mixed=True, resident=True) if args.compile else {}
    options = plain.Options("cuda" if accelerated else "cpu", workers=8 if accelerated and not fast else 0, **fast)
    image, label = images(max(1024, args.batch * min(args.steps, 16)), CLASSES)
    data = plain.loader(plain.Images(image, label, MEAN, STD, 4, True), args.batch, options)
    taught = plain.build(teacher, CLASSES)
    trainings = [plain.training(name, plain.build(student, CLASSES), taught, options) for name in names]

    def run(number: int) -> None:
        for training in trainings:
            plain.train(training, data, args.steps)

    return run


def save(rows: list[dict], args, accelerated: bool) -> None:
    import torch

    suffix = "_gpu" if accelerated else ""
    name = f"table{suffix}{'_compiled' if args.compile else ''}{'_kept' if MALLOC else ''}"
    record = {"rows": rows, "methods": args.methods.split(","), "batch": args.batch, "steps": args.steps}
    record |= {"compiled": args.compile, "torch": torch.__version__, "threads": torch.get_num_threads()}
    record["pairs"] = [summary(rows, pair, args, accelerated) for pair in args.pairs.split(";")]
    write(name, record, markdown)
    with open(OUT / f"{name}.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def summary(rows, pair: str, args, accelerated: bool) -> dict:
    """Medians over the quiet rounds, in method-images per second; over all if none was quiet, and `quiet` says so."""
    count = args.steps * args.batch * len(args.methods.split(","))
    calm = [row for row in rows if row["pair"] == pair and quiet(row)] or [row for row in rows if row["pair"] == pair]
    rates = {side: [count / row["seconds"] for row in calm if row["side"] == side] for side in SIDES}
    key = ("gpu", "compiled" if args.compile else "eager") if accelerated else ("cpu", pair)
    medians = {side: float(np.median(rate)) for side, rate in rates.items()}
    return {
        "pair": pair,
        **medians,
        "ratio": medians["kdjax"] / medians["torch"],
        "target": TARGETS.get(key, "none"),
        "quiet": {side: sum(map(quiet, (row for row in calm if row["side"] == side))) for side in SIDES},
    }


def markdown(record: dict) -> str:
    lines = ["| teacher, student | kdjax | PyTorch | ratio | target | rounds |", "|---|---:|---:|---:|---:|---:|"]
    for row in record["pairs"]:
        lines.append(
            f"| {row['pair'].replace(',', ', ')} | {row['kdjax']:.1f} | {row['torch']:.1f} | {row['ratio']:.2f} | "
            f"{row['target']} | {' and '.join(map(str, row['quiet'].values()))} |"
        )
    how = "compiled, channels last, bfloat16, images on the device" if record["compiled"] else "eager"
    text = (
        "Method-images per second, medians of the rounds in which other processes took at most "
        f"{100 * QUIET:.0f} % of the processors (*rounds*: how many, of kdjax and PyTorch). A round is "
        f"{record['steps']} steps, both sides in turns: {', '.join(record['methods'])}; batch {record['batch']}, "
        f"images of 32 x 32. PyTorch {record['torch']}, {how}, {record['threads']} threads. " + where(record)
    )
    return "\n".join([*lines, "", text, ""])


if __name__ == "__main__":
    main()
