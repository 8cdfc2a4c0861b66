"""Where a training step's time goes: the student alone and with `kd`, and how near to the machine's arithmetic.

Each part is compiled alone, and the whole step as it is in a run; the share called "waiting" is what the whole
takes longer than its parts: dispatch, copies, the host. FLOPs are XLA's count; the machine's rate is that of a
product of two square float32 matrices.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from bench_kdjax import make, median, where, write

from kdjax.models.cost import count
from kdjax.training import parallel

CLASSES = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", default="resnet32x4,resnet8x4;resnet56,resnet20")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="the smallest networks, to see that it runs; no figures")
    args = parser.parse_args()
    parallel.setup()
    if args.quick:
        args.pairs, args.batch, args.rounds = "convnet,convnet", 8, 1
    rate = matmul_rate(256 if args.quick else 2048, args.rounds)
    rows = [row for pair in args.pairs.split(";") for row in bench(pair, args, rate)]
    record = {"rows": rows, "batch": args.batch, "rounds": args.rounds, "gflops_matmul": rate}
    print(rows) if args.quick else write("step", record, markdown)


def matmul_rate(size: int, rounds: int) -> float:
    """GFLOP/s of a product of two matrices."""
    x, product = jnp.ones((size, size)), jax.jit(jnp.matmul)
    return 2e-6 * size**3 / median({"it": lambda: product(x, x)}, rounds)["it"]


def bench(pair: str, args, rate: float) -> list[dict]:
    """Rows {"pair", "method", "whole", "teacher", ... in ms, "gflops"} of the student alone and with kd."""
    teacher, student = pair.split(",")
    return [
        row(pair, make(teacher, student, [name], steps=1, batch=args.batch, classes=CLASSES, devices="one"), args)
        for name in ("student", "kd")
    ]


def row(pair: str, bench, args) -> dict:
    feed, (learner,), cohort = bench.cohort.feed, bench.learners, bench.cohort
    stage, method = learner.program.stages[-1], learner.program.method.name
    with_teacher = method != "student"
    indices, key = feed._order(0)[:1], feed._key(0)
    batch = feed.example()
    variables = cohort.teacher_variables
    taught = cohort.teach(variables, batch["input"]) if with_teacher else None
    step, state = learner.program.steps[-1], learner.state
    kept = jax.tree.map(jnp.copy, (state.params, state.opt_state))
    update = jax.jit(lambda grads, opt, params: stage.optimizer.update(grads, opt, params))
    held = {"state": state}

    def train(batch, taught):
        held["state"], losses = step(held["state"], batch, taught, variables, feed.targets)
        return losses

    def whole():
        made = feed.make_batch(feed.inputs, feed.targets, indices, key, np.zeros(1, np.int32))
        return train(made, cohort.teach(variables, made["input"]) if with_teacher else None)

    calls = {
        "whole": whole,
        "augmentation": lambda: feed.make_batch(feed.inputs, feed.targets, indices, key, np.zeros(1, np.int32)),
        "step": lambda: train(batch, taught),
        "optimizer": lambda: update(kept[0], kept[1], kept[0]),
    }
    if with_teacher:
        calls["teacher"] = lambda: cohort.teach(variables, batch["input"])
    times = {"teacher": 0.0, **median(calls, args.rounds)}
    times["student"] = times.pop("step") - times["optimizer"]
    parts = ("teacher", "augmentation", "student", "optimizer")
    times["waiting"] = times["whole"] - sum(times[part] for part in parts)
    flops = count(step, *shapes((held["state"], batch, taught, variables, feed.targets)))
    flops += count(cohort.teach, *shapes((variables, batch["input"]))) if with_teacher else 0.0
    return {"pair": pair, "method": method, **times, "gflop": 1e-9 * flops, "gflops": 1e-6 * flops / times["whole"]}


def shapes(tree):
    """Of a tree of arrays, whatever device they are on."""
    return jax.eval_shape(lambda: tree)


def cohort_gflop(bench) -> float:
    """GFLOP of a step of all methods of a cohort and of the teacher's pass that they share."""
    feed, variables = bench.cohort.feed, shapes(bench.cohort.teacher_variables)
    batch, labels = shapes(feed.example()), shapes(feed.targets)
    taught = jax.eval_shape(bench.teach, variables, batch["input"])
    steps = [
        count(one.program.steps[-1], shapes(one.state), batch, taught, variables, labels) for one in bench.learners
    ]
    return 1e-9 * (sum(steps) + count(bench.teach, variables, batch["input"]))


def markdown(record: dict) -> str:
    parts = ("teacher", "augmentation", "student", "optimizer", "waiting")
    lines = [
        f"| teacher, student | method | step, ms | {' | '.join(parts)} | GFLOP | GFLOP/s | of a matrix product |",
        "|---|---|---:|" + "---:|" * (len(parts) + 3),
    ]
    for row in record["rows"]:
        shares = " | ".join(f"{100 * row[part] / row['whole']:.1f} %" for part in parts)
        lines.append(
            f"| {row['pair'].replace(',', ', ')} | {row['method']} | {row['whole']:.0f} | {shares} | "
            f"{row['gflop']:.1f} | {row['gflops']:.0f} | {100 * row['gflops'] / record['gflops_matmul']:.0f} % |"
        )
    text = (
        " ".join(__doc__.split("\n\n")[1].split())
        + f" Here that rate is {record['gflops_matmul']:.0f} GFLOP/s. One student on one device, "
        f"batch {record['batch']}, medians of {record['rounds']} rounds. " + where(record)
    )
    return "\n".join([*lines, "", text, ""])


if __name__ == "__main__":
    main()
