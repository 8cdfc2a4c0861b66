"""What a model costs: parameters, FLOPs, bytes, and measured time, alone and beside a teacher."""

import time

import flax.linen as nn
import jax
import jax.extend.core
import numpy as np

import kdjax.models
from kdjax import tables
from kdjax.find import find
from kdjax.models import compose, compress, convolve
from kdjax.models.capture import bare
from kdjax.types import as_outputs, batch_of, image_spec, text_spec

WIDTHS = {"float32": 4, "bfloat16": 2, "int8": 1}
"""Bytes of one parameter."""


def cost(model: nn.Module, spec, variables=None) -> dict:
    """What one forward pass in evaluation mode costs, on the default device.

    Args:
      model: a Linen module.
      spec: the shapes of one example, see `kdjax.types.batch_of`; `kdjax.types.image_spec` has those of an image.
      variables: of the model; None: drawn at random, as time does not depend on their values.

    Returns:
      parameters; flops of one example (see `flops`); bytes, of the parameters in float32; latency_1_ms and
      latency_64_ms, medians in milliseconds for a batch of 1 and of 64; latency_1_spread_ms and latency_64_spread_ms,
      the interquartile ranges.
    """
    shapes = _shapes(model, spec)
    size = _size(shapes)
    row = {"parameters": size, "flops": _flops(model, spec, shapes), "bytes": size * WIDTHS["float32"]}
    variables = jax.device_put(_random(shapes) if variables is None else variables)
    for batch in (1, 64):
        times = _measure(model, variables, batch_of(spec, batch))
        low, median, high = np.percentile(times, (25, 50, 75))
        row[f"latency_{batch}_ms"] = float(median)
        row[f"latency_{batch}_spread_ms"] = float(high - low)
    return row


def shipped(model: nn.Module) -> nn.Module:
    """Of what a method trains, the network that ships: the first of peers, and without rounding while it trains."""
    model = bare(compress.unquantized(model))
    return shipped(model.members[0]) if isinstance(model, compose.Peers) else model


def parameters(model: nn.Module, spec) -> int:
    return _size(_shapes(model, spec))


def embeddings(model: nn.Module, spec) -> int:
    """How many of the parameters are rows of tables, of which a text uses a few: vectors of words, places, segments."""
    leaves = jax.tree_util.tree_leaves_with_path(_shapes(model, spec)["params"])
    return sum(leaf.size for path, leaf in leaves if path[-1].key == "embedding")


def _size(shapes) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))


def _shapes(model, spec):
    return jax.eval_shape(model.init, jax.random.key(0), batch_of(spec, 1))


def flops(model: nn.Module, spec) -> int:
    """FLOPs of the logits of one example, an addition and a multiplication counted each.

    XLA counts them on the program before its backends replace convolutions by calls of their own libraries, which hides
    the operations inside: so the figure is the same on every machine. Unlike twice the multiply-adds that papers quote,
    it leaves out products with padding (4 % of a 3x3 convolution on 32x32 positions, 31 % on 4x4) and contains
    normalisation, activations and pooling. Of a loop XLA counts one turn; here are all of a scan's.
    """
    return _flops(model, spec, _shapes(model, spec))


def _flops(model, spec, shapes) -> int:
    given = shapes, batch_of(spec, 1)
    forward = _forward(model)
    return round(count(forward, *given) + _more_turns(jax.make_jaxpr(forward)(*given).jaxpr))


def count(fn, *given) -> float:
    """XLA's count of the FLOPs of a call of a jitted function, of each loop one turn; `given` may be shapes.

    It is that of the CPU's compiler, wherever JAX computes: the plugins for GPUs and TPUs have none.
    """
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        return fn.lower(*given).cost_analysis().get("flops", 0.0)  # none where nothing is computed


def _more_turns(jaxpr) -> float:
    """FLOPs of all turns but the first of the scans in a jaxpr."""
    total = 0.0
    for equation in jaxpr.eqns:
        inner = equation.params.get("jaxpr")
        if equation.primitive.name == "scan":
            shapes = [jax.ShapeDtypeStruct(var.aval.shape, var.aval.dtype) for var in inner.jaxpr.invars]
            turn = count(jax.jit(jax.extend.core.jaxpr_as_fun(inner)), *shapes)
            total += (equation.params["length"] - 1) * turn
            total += equation.params["length"] * _more_turns(inner.jaxpr)
        elif hasattr(inner, "jaxpr"):
            total += _more_turns(inner.jaxpr)
    return total


def _forward(model):
    return jax.jit(lambda variables, inputs: as_outputs(model.apply(variables, inputs)).logits)


def _random(shapes):
    """Normal parameters of scale 0.05, and ones for all else, such as BatchNorm's statistics."""
    generator = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), dict(shapes))
    normal = lambda leaf: (0.05 * generator.standard_normal(leaf.shape)).astype(leaf.dtype)  # noqa: E731
    return {**variables, "params": jax.tree.map(normal, shapes["params"])}


def _drawn(generator: np.random.Generator, leaf) -> np.ndarray:
    """Numbers of a shape; where they are whole zeros, and where something is or is not ones: tokens, no padding."""
    if leaf.dtype == bool:
        return np.ones(leaf.shape, bool)
    if np.issubdtype(leaf.dtype, np.integer):
        return np.zeros(leaf.shape, leaf.dtype)
    return generator.standard_normal(leaf.shape).astype(leaf.dtype)


def _measure(model, variables, shapes, seconds: float = 0.5) -> list[float]:
    """Milliseconds of single forward passes, compilation and two first ones left out: 5 to 50, for about `seconds`."""
    generator = np.random.default_rng(1)
    drawn = jax.tree.map(lambda leaf: _drawn(generator, leaf), shapes)
    inputs = jax.device_put(drawn)
    with convolve.fast():
        forward = _forward(model).lower(variables, inputs).compile()
    for _ in range(2):
        forward(variables, inputs).block_until_ready()
    times = []
    while len(times) < 5 or (len(times) < 50 and sum(times) < 1000 * seconds):
        start = time.perf_counter()
        forward(variables, inputs).block_until_ready()
        times.append(1000 * (time.perf_counter() - start))
    return times


def main(args) -> None:
    """`kdjax cost MODEL... [--teacher=MODEL] [--image-size=32] [--tokens=64] [--classes=100] ...`: prints the table.

    Args:
      args: models (names or import paths), teacher ("": none), image_size in pixels, tokens a text, classes, channels,
        vocabulary (of networks for texts).

    Raises:
      ValueError: an unknown model, one that needs more than num_classes, or a size that it cannot take.
    """
    for option in ("image_size", "channels", "classes", "tokens", "vocabulary"):
        if getattr(args, option) < 1:
            raise ValueError(f"--{option.replace('_', '-')} must be at least 1, got {getattr(args, option)}")
    names = list(dict.fromkeys([*([args.teacher] if args.teacher else []), *args.models]))
    shape = (args.image_size, args.image_size, args.channels)
    rows = {name: _row(name, args) for name in names}
    texts = f"texts of {args.tokens} tokens out of {args.vocabulary:,}, " if any(map(_is_text, names)) else ""
    images = "" if all(map(_is_text, names)) else f"images {shape[0]}x{shape[1]}x{shape[2]}, "
    print(table(rows, args.teacher))
    print(
        f"\nOne forward pass on {jax.devices()[0].device_kind}, {images}{texts}"
        f"{args.classes} classes; median ± interquartile range. Bytes are those of the parameters."
        + (f" ÷ is the compression ratio: {args.teacher}'s figure over the model's." if args.teacher else "")
    )


def _is_text(name: str) -> bool:
    return name in [fn.__name__ for fn in kdjax.models.FAMILIES["texts"]]


def _row(name: str, args) -> dict:
    if not _is_text(name):
        return cost(_model(name, args.classes), image_spec(args.image_size, args.image_size, args.channels))
    model, spec = _model(name, args.classes, vocabulary=args.vocabulary), text_spec(args.tokens)
    row = cost(model, spec)
    return row | {"without_embeddings": row["parameters"] - embeddings(model, spec)}


def _model(name: str, classes: int, **fields) -> nn.Module:
    try:
        return find(name, kdjax.models, "model")(num_classes=classes, **fields)
    except TypeError as error:
        raise ValueError(f"model {name!r} cannot be made from num_classes alone: {error}") from error


def table(rows: dict[str, dict], teacher: str = "") -> str:
    """Costs by model name as an aligned markdown table; with a teacher, how many times smaller and faster than it."""
    texts = ["without embeddings"] if any("without_embeddings" in row for row in rows.values()) else []
    per_second = (
        "texts/s, batch 64" if all("without_embeddings" in row for row in rows.values()) else "images/s, batch 64"
    )
    head = ["model", "parameters", *texts, "MFLOPs", *(f"MB {name}" for name in WIDTHS), "ms, batch 1", per_second]
    head += ["parameters ÷", "FLOPs ÷", "time at 64 ÷"] if teacher else []
    cells = [head, *(_cells(name, row, rows[teacher] if teacher else None, texts) for name, row in rows.items())]
    return tables.markdown(cells)


def _cells(name: str, row: dict, teacher: dict | None, texts: list) -> list[str]:
    median, spread = row["latency_64_ms"], row["latency_64_spread_ms"]
    per_second = 64_000 / median
    cells = [name, f"{row['parameters']:,}"]
    cells += [f"{row['without_embeddings']:,}" if "without_embeddings" in row else "-" for _ in texts]
    cells += [f"{row['flops'] / 1e6:,.1f}"]
    cells += [f"{row['parameters'] * width / 1e6:.2f}" for width in WIDTHS.values()]
    cells += [f"{row['latency_1_ms']:.2f} ± {row['latency_1_spread_ms']:.2f}"]
    cells += [f"{per_second:,.0f} ± {per_second * spread / median:,.0f}"]
    if teacher:
        cells += [f"{teacher[key] / row[key]:.1f}" for key in ("parameters", "flops", "latency_64_ms")]
    return cells
