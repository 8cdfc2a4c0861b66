"""What it is worth that the teacher's pass returns only what the losses read: time, and memory of what it returns.

The forward pass of a teacher on one device, with everything that the network offers ("all"), and with what `kd` reads
of it, the logits ("read"). Both are compiled first, then run in turns; times are medians over the rounds, ratios the
medians of the rounds' ratios, of time and of processor time, which other processes disturb less. "Returned" is what a
cohort holds until its students have taken their step; "while it computes" is what XLA needs meanwhile, what is returned
included and weights left out. "Equal" says whether the logits have equal bits.
"""

import argparse
import os
import time

import jax
import jax.numpy as jnp
import numpy as np
from bench_kdjax import where, write

from kdjax import losses, models
from kdjax.training import parallel
from kdjax.training.objective import Term
from kdjax.training.reads import outputs_of, read
from kdjax.training.step import make_teach

TEACHERS = ("resnet32x4,32,64,100", "resnet34,224,64,1000")
"""Network, pixels a side, batch, classes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teachers", nargs="+", default=TEACHERS, metavar="NETWORK,SIDE,BATCH,CLASSES")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="one small network, to see that it runs; no figures")
    args = parser.parse_args()
    parallel.setup()
    if args.quick:
        args.teachers, args.rounds = ["resnet8x4,8,4,10"], 1
    rows = [bench(teacher, args.rounds) for teacher in args.teachers]
    if args.quick:
        print(rows)
        return
    write("teach", {"rows": rows, "rounds": args.rounds, "load": os.getloadavg()[1]}, markdown)


def bench(teacher: str, rounds: int) -> dict:
    """A row: milliseconds, megabytes and the ratio of the two."""
    network, (side, batch, classes) = teacher.split(",")[0], map(int, teacher.split(",")[1:])
    model = getattr(models, network)(num_classes=classes)
    image = jax.random.normal(jax.random.key(0), (1, batch, side, side, 3))
    variables = jax.jit(model.init)(jax.random.key(1), image[0, :1])
    passes = {
        "all": compiled(model, None, variables, image),
        "read": compiled(model, by_kd(model, image[0]), variables, image),
    }
    first = {name: call(variables, image) for name, call in passes.items()}
    row = {"network": network, "side": side, "batch": batch, "classes": classes}
    row["equal"] = np.array_equal(*(outputs.logits for outputs in first.values()))
    for name, call in passes.items():
        memory = call.memory_analysis()
        row[f"{name}_returned"] = sum(x.nbytes for x in jax.tree.leaves(first[name])) / 2**20
        row[f"{name}_computing"] = (memory.temp_size_in_bytes + memory.output_size_in_bytes) / 2**20
    del first
    times = np.array([[seconds(call, variables, image) for call in passes.values()] for _ in range(rounds)])
    for i, name in enumerate(passes):
        row[f"{name}_ms"], row[f"{name}_processor_ms"] = map(float, 1e3 * np.median(times[:, i], 0))
    row["ratio"], row["processor_ratio"] = map(float, np.median(times[:, 1] / times[:, 0], 0))
    return row


def compiled(model, paths: frozenset | None, variables, image):
    place = parallel.layout("one", 1)[0][0]
    return parallel.compile_teach(make_teach(model), place, (), paths).lower(variables, image).compile()


def by_kd(model, image) -> frozenset:
    """What kd reads of the Outputs of a teacher, of which the student is another."""
    outputs, labels = outputs_of(model, jax.eval_shape(lambda: image)), jax.ShapeDtypeStruct((len(image),), jnp.int32)
    return read([Term("kd", losses.kd, None)], outputs, outputs, labels, None, labels)


def seconds(call, *given) -> tuple[float, float]:
    """Seconds of a call, and of all processors."""
    start = time.perf_counter(), time.process_time()
    jax.block_until_ready(call(*given))
    return time.perf_counter() - start[0], time.process_time() - start[1]


def markdown(record: dict) -> str:
    lines = [
        "| teacher | pixels | batch | ms, all | read | read / all | processor ms, all | read | read / all | "
        "returned, MB: all | read | while it computes, MB: all | read | logits |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in record["rows"]:
        lines.append(
            f"| {row['network']} | {row['side']} | {row['batch']} | {row['all_ms']:.0f} | {row['read_ms']:.0f} | "
            f"{row['ratio']:.2f} | {row['all_processor_ms']:.0f} | {row['read_processor_ms']:.0f} | "
            f"{row['processor_ratio']:.2f} | {row['all_returned']:.1f} | {row['read_returned']:.3f} | "
            f"{row['all_computing']:.0f} | {row['read_computing']:.0f} | {'equal' if row['equal'] else 'differ'} |"
        )
    text = " ".join(__doc__.split("\n\n")[1].split())
    told = f"{text} {record['rounds']} rounds. Load over 5 minutes: {record['load']:.1f} on {os.cpu_count()} cores."
    return "\n".join([*lines, "", f"{told} {where(record)}", ""])


if __name__ == "__main__":
    main()
