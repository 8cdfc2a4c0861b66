"""What other forms of convolutions and of max-pooling's gradient are worth on a CPU: whole networks with and without.

The forms are those of kdjax/models/convolve.py and of `max_pool` in kdjax/models/layers.py. Both sides take turns,
after a call that compiles. Forward is evaluation mode; a gradient is that of the sum of the logits, in training mode,
by the parameters. Medians.
"""

import argparse
import functools
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from bench_kdjax import median, where, write

import kdjax.models
from kdjax.models import convolve, layers
from kdjax.training import parallel

MODELS = ("resnet18", "resnet50", "mobilenetv2", "shufflenetv2", "squeezenet", "vgg8", "lenet", "resnet20")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one small network, to see that it runs; no figures")
    args = parser.parse_args()
    parallel.setup()
    if args.quick:
        args.models, args.size, args.batch, args.rounds = "lenet", 32, 2, 1
    rows = [measure(name, what, args) for name in args.models.split(",") for what in ("forward", "gradient")]
    if args.quick:
        print(rows)
        return
    write("convolve", {"rows": rows, "size": args.size, "batch": args.batch, "rounds": args.rounds}, markdown)


def measure(name: str, what: str, args) -> dict:
    """{"name", "what", "xla", "kdjax"}: the last two in milliseconds."""
    model = getattr(kdjax.models, name)(num_classes=81)
    image = jnp.asarray(np.random.default_rng(0).standard_normal((args.batch, args.size, args.size, 3)), jnp.float32)
    variables = jax.jit(model.init)(jax.random.key(0), image[:1])

    def forward(variables):
        return model.apply(variables, image).logits

    def loss(params):
        return model.apply({**variables, "params": params}, image, train=True, mutable=["batch_stats"])[0].logits.sum()

    function, argument = (forward, variables) if what == "forward" else (jax.grad(loss), variables["params"])
    sides = {"xla": jax.jit(function), "kdjax": jax.jit(convolve.fast("cpu")(function))}
    with mock.patch.object(layers, "_max_pool", plain_max_pool):
        sides["xla"](argument)  # traced once and for all
    calls = {side: functools.partial(call, argument) for side, call in sides.items()}
    row = {"name": name, "what": what, **median(calls, args.rounds)}
    print(row, flush=True)
    return row


def plain_max_pool(x, size, stride, padding):
    return nn.max_pool(x, (size, size), (stride, stride), padding)


def markdown(record: dict) -> str:
    lines = ["| network | | XLA's own forms, ms | these forms, ms | ratio |", "|---|---|---:|---:|---:|"]
    for row in record["rows"]:
        ratio = row["xla"] / row["kdjax"]
        lines.append(f"| {row['name']} | {row['what']} | {row['xla']:.0f} | {row['kdjax']:.0f} | {ratio:.1f} |")
    text = (
        " ".join(__doc__.split("\n\n")[1].split())
        + f" Batch {record['batch']}, images of {record['size']} x {record['size']}, {record['rounds']} rounds. "
        + where(record)
    )
    return "\n".join([*lines, "", text, ""])


if __name__ == "__main__":
    main()
