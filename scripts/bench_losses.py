"""Time and memory of every loss, beside the teacher's and the student's step: what a method adds to training.

Each loss alone (its value, its gradient with respect to the student's Outputs, its own layers and memory included) is
measured on Outputs of ResNet-32x4 and ResNet-8x4; the student's step is the forward and backward pass with
cross-entropy, the teacher's its forward pass. All are compiled first, then run in turns; figures are medians over the
rounds. The ratio is (teacher + student's step + loss) / (teacher + student's step + kd), to be compared with the ratios
published for training steps, which hold the teacher too. Optimizer and augmentation are left out.
"""

import argparse

import jax
import jax.numpy as jnp
from bench_kdjax import median, where, write

import kdjax.losses
from kdjax import models
from kdjax.losses.lift import context_names, lift
from kdjax.training import parallel
from kdjax.training.step import make_teach

PUBLISHED = {"crd": 2.6, "reviewkd": 2.4, "rkd": 2.3, "overhaul": 1.7, "fitnet": 1.3}
"""Training step with the method over one with kd, from published timings of PyTorch code; no method may exceed it."""
CLASSES, EXAMPLES = 100, 50_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", default="64,256")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--losses", default="", help="all but those without a teacher when left out")
    parser.add_argument("--quick", action="store_true", help="batch 4, two losses, to see that it runs; no figures")
    args = parser.parse_args()
    parallel.setup()
    if args.quick:
        args.batches, args.rounds, args.losses = "4", 1, "kd,rkd"
    rows = [row for batch in args.batches.split(",") for row in bench(int(batch), args.rounds, args.losses)]
    if args.quick:
        print(rows)
        return
    write("losses", {"rows": rows, "rounds": args.rounds}, markdown)


def bench(batch: int, rounds: int, only: str) -> list[dict]:
    """Rows {"batch", "name", "ms", "megabytes"}: teacher and student's step first, then each loss."""
    student, teacher = models.resnet8x4(num_classes=CLASSES), models.resnet32x4(num_classes=CLASSES)
    image = jax.random.normal(jax.random.key(0), (batch, 32, 32, 3))
    labels = jnp.arange(batch) % CLASSES
    taught = jax.jit(teacher.init_with_output)(jax.random.key(1), image)
    learned = jax.jit(student.init_with_output)(jax.random.key(2), image)
    calls = {
        "teacher": Call(make_teach(teacher), taught[1], image),
        "student": student_step(student, learned[1], image, labels),
    }
    for fn in chosen(only):
        calls[fn.__name__] = loss_call(fn, learned, taught, labels)
    times = median(calls, rounds)
    return [
        {"batch": batch, "name": name, "ms": times[name], "megabytes": call.megabytes} for name, call in calls.items()
    ]


OTHERS = ("without a teacher", "recommendation")
"""Families of losses that want other Outputs, or other targets, than those here."""


def chosen(only: str):
    losses = [fn for family, fns in kdjax.losses.FAMILIES.items() if family not in OTHERS for fn in fns]
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
    student = match(fn, learned[0], outputs)
    everything = {
        "step": jnp.zeros((), jnp.int32),
        "key": jax.random.key(3),
        "index": jnp.arange(len(labels)),
        "second": (student, outputs),
        "student_params": learned[1],
        "teacher_params": variables,
        "train_labels": jnp.arange(EXAMPLES) % CLASSES,
    }
    context = {name: everything[name] for name in context_names(fn)}
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
        step, kd = rows[batch, "teacher"]["ms"] + rows[batch, "student"]["ms"], rows.get((batch, "kd"))
        label = {"student": "student's own step", "teacher": "teacher's forward pass"}.get(name, name)
        ratio = f"{(step + row['ms']) / (step + kd['ms']):.2f}" if kd and label == name else "–"
        known = PUBLISHED.get(name)
        lines.append(f"| {label} | {batch} | {row['ms']:.2f} | {row['megabytes']:.0f} | {ratio} | {known or ''} |")
    text = " ".join(__doc__.split("\n\n")[1].split())
    return "\n".join([*lines, "", f"{text} {record['rounds']} rounds. {where(record)}", ""])


if __name__ == "__main__":
    main()
