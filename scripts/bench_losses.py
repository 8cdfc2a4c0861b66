"""Time and memory of every loss, beside the student's own training step: what a method adds to training.

Each loss alone (its value, its gradient with respect to the student's Outputs, its own layers and memory included) is
measured on Outputs of ResNet-32x4 and ResNet-8x4; the student's step is the forward and backward pass with
cross-entropy. All are compiled first, then run in turns; figures are medians over the rounds. `ratio` is
(student's step + loss) / (student's step + kd), to be compared with the ratios published for training steps.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import kdjax.losses
from kdjax import models, parallel
from kdjax.experiment import revision, versions
from kdjax.objective import context_names, lift
from kdjax.run import write_json, write_text

PUBLISHED = {"crd": 2.6, "reviewkd": 2.4, "rkd": 2.3, "overhaul": 1.7, "fitnet": 1.3}
"""Training step with the method over one with kd, from published timings of PyTorch code; no method may exceed it."""
CLASSES, EXAMPLES = 100, 50_000
OUT = Path(__file__).resolve().parent.parent / "results" / "bench"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", default="64,256")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--losses", default="", help="all but those without a teacher when left out")
    args = parser.parse_args()
    parallel.setup()
    rows = [row for batch in args.batches.split(",") for row in bench(int(batch), args.rounds, args.losses)]
    record = {"rows": rows, "rounds": args.rounds, "device": parallel.describe()}
    write_json(OUT / "losses.json", {**record, "versions": versions(), "revision": revision()})
    write_text(OUT / "losses.md", markdown(json.loads((OUT / "losses.json").read_text())))
    print((OUT / "losses.md").read_text())


def bench(batch: int, rounds: int, only: str) -> list[dict]:
    """Rows {"batch", "name", "ms", "megabytes"}: the student's step first, then each loss."""
    student, teacher = models.resnet8x4(num_classes=CLASSES), models.resnet32x4(num_classes=CLASSES)
    image = jax.random.normal(jax.random.key(0), (batch, 32, 32, 3))
    labels = jnp.arange(batch) % CLASSES
    taught = jax.jit(teacher.init_with_output)(jax.random.key(1), image)
    learned = jax.jit(student.init_with_output)(jax.random.key(2), image)
    calls = {"student": student_step(student, learned[1], image, labels)}
    for fn in chosen(only):
        calls[fn.__name__] = loss_call(fn, learned[0], taught, labels)
    times = {name: [] for name in calls}
    for _ in range(rounds):  # in turns, so that what disturbs the machine disturbs all
        for name, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            times[name].append(1e3 * (time.perf_counter() - start))
    return [
        {"batch": batch, "name": name, "ms": float(np.median(times[name])), "megabytes": call.megabytes}
        for name, call in calls.items()
    ]


def chosen(only: str):
    losses = [fn for family, fns in kdjax.losses.FAMILIES.items() if family != "without a teacher" for fn in fns]
    return [fn for fn in losses if not only or fn.__name__ in only.split(",")]


class Call:
    """A compiled function with its arguments; `megabytes` is the memory that it needs beside them, as XLA says."""

    def __init__(self, fn, *arguments):
        self.compiled, self.arguments = jax.jit(fn).lower(*arguments).compile(), arguments
        self.megabytes = self.compiled.memory_analysis().temp_size_in_bytes / 2**20
        jax.block_until_ready(self())

    def __call__(self):
        return self.compiled(*self.arguments)


def student_step(model, variables, image, labels) -> Call:
    def loss(params, stats, image, labels):
        outputs, _ = model.apply({"params": params, "batch_stats": stats}, image, train=True, mutable=["batch_stats"])
        return kdjax.losses.cross_entropy(outputs, None, labels)

    return Call(jax.grad(loss), variables["params"], variables["batch_stats"], image, labels)


def loss_call(fn, learned, taught, labels) -> Call:
    """The loss with gradients for the student's Outputs and the loss's own parameters."""
    module, (outputs, variables) = lift(fn), taught
    everything = {
        "step": jnp.zeros((), jnp.int32),
        "key": jax.random.key(3),
        "index": jnp.arange(len(labels)),
        "teacher_params": variables,
        "train_labels": jnp.arange(EXAMPLES) % CLASSES,
    }
    context = {name: everything[name] for name in context_names(fn)}
    student = match(fn, learned, outputs)
    held = dict(jax.jit(module.init)(jax.random.key(4), student, outputs, labels, **context))
    params = held.pop("params", {})

    def value(trained, held, teacher, labels, context):
        state = {"params": trained["params"], **held}
        return module.apply(state, trained["student"], teacher, labels, **context, mutable=list(held))

    grad = jax.grad(value, has_aux=True)
    return Call(grad, {"params": params, "student": student}, held, outputs, labels, context)


def match(fn, learned, taught):
    """The student's Outputs; for simkd, whose student projects, Outputs of the teacher's shapes."""
    return taught if fn is kdjax.losses.simkd else learned


def markdown(record: dict) -> str:
    lines = [
        "| loss | batch | loss alone, ms | memory, MB | step with it / step with kd | published |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    rows = {(row["batch"], row["name"]): row for row in record["rows"]}
    for (batch, name), row in rows.items():
        step, kd = rows[batch, "student"]["ms"], rows.get((batch, "kd"))
        ratio = f"{(step + row['ms']) / (step + kd['ms']):.2f}" if kd and name != "student" else "–"
        label = "student's own step" if name == "student" else name
        known = PUBLISHED.get(name)
        lines.append(f"| {label} | {batch} | {row['ms']:.2f} | {row['megabytes']:.0f} | {ratio} | {known or ''} |")
    text = " ".join(__doc__.split("\n\n")[1].split())
    text += " The step is without optimizer, augmentation and teacher, which would bring the ratio nearer to 1."
    made = f"jax {record['versions']['jax']}, revision {record['revision']}"
    where = f"{record['device']}, {record['rounds']} rounds, {made}."
    return "\n".join([*lines, "", text, "", where, ""])


if __name__ == "__main__":
    main()
