"""What students cost as they ship: each exported, in float and in int8, and everything measured from the file."""

import json
import zlib
from pathlib import Path

import jax
import numpy as np

from kdjax import tables
from kdjax.cores import cores
from kdjax.files import write_text
from kdjax.runs import identity, task
from kdjax.runs.directory import Run
from kdjax.ship import export, int8, litert, ranked_sizes, serve

COLUMNS = (
    "student",
    "file",
    "n",
    "top1",
    "top1_std",
    "top1_exact",
    "bytes",
    "deflated",
    "zeros",
    "flops",
    "flops_left",
    "ms",
    "ms_iqr",
)
"""Of sizes.csv: fractions, bytes, floating-point operations and milliseconds; see `measure`."""

NOTES = """\
- **Top-1** of the whole test split, predicted by the file; mean ± sample standard deviation over {n} seeds.
- **KB**: the file (ONNX, preprocessing and description included); deflated: the same under zlib at level 9, where zeros
  pay. **Zeros**: among the weights of convolutions and linear layers, the depthwise ones included, which are not
  pruned. **MFLOPs**: two for each of their multiplications for one {noun} (at every position, padding included), in all
  and those by a weight that is not 0, which runtimes for dense arrays do not skip.
- **Int8**: ONNX Runtime's static quantization of weights and activations, calibrated on {images} training {noun}s, or
  all if there are fewer{tables}; a row in int8 alone was trained for it.
- **ms**: one {noun} at a time through the file, {included}, median ± interquartile range; ONNX Runtime
  {runtime}, CPU cores: {cpus}."""

LITERT = """\
- **LiteRT**: a .tflite file for phones, run by LiteRT {version}; int8 is AI Edge Quantizer's, static, calibrated on the
  same. It takes one {noun} of the training's shape. Zeros and MFLOPs are those of the ONNX file."""

QUANTIZE = {".onnx": int8.quantize, ".tflite": litert.quantize}
"""Suffix of files that are measured -> what makes one in int8 of one in float: (source, target, inputs)."""


def sizes(paths, images: int, say=lambda message: None, tflite: bool = False) -> list[dict]:
    """Exports finished runs beside their results, student.onnx and student-int8.onnx, and measures the files.

    A run that was trained with quantize="int8" is exported in int8 alone: that is what its accuracy was measured in.

    Args:
      paths: directories of runs; those of one experiment and method and of several seeds share a row.
      images: training examples to calibrate int8 on.
      say: told of each file.
      tflite: whether to do so with student.tflite and student-int8.tflite too.

    Returns:
      A dictionary with COLUMNS a row.

    Raises:
      ValueError: no finished run, data that is not here or has other classes now, or a student that cannot be
        exported.
    """
    return _sizes(_finished(paths, images), images, say, tflite)


def _sizes(runs: dict, images: int, say, tflite: bool) -> list[dict]:
    """`sizes` of path -> (config, result)."""
    several = len({config["experiment"] for config, _ in runs.values()}) > 1
    datasets, measured, suffixes = {}, {}, (".onnx", ".tflite") if tflite else (".onnx",)
    for path, (config, result) in runs.items():
        key = json.dumps(config["data"])
        if key not in datasets:
            datasets[key] = export.dataset(config)
        if list(datasets[key].classes) != result["classes"]:
            raise ValueError(f"{path}: the classes of {datasets[key].name} are no longer those that it was trained on")
        known = identity.stored(config).get("data", {})
        for line in identity.other_data(known, datasets[key].fingerprint):
            say(f"{path}: this is other data than it was trained on: {line}")
        for file in _export(path, config, datasets[key].train, images, suffixes):
            row = measure(file, datasets[key].test)
            say(f"{file}: {100 * row['top1']:.2f} %, {row['bytes']:,} bytes, {row['ms']:.2f} ms")
            name = f"{config['experiment']}: {config['row']}" if several else config["row"]
            measured.setdefault((name, row["file"]), []).append(row)
    return [{"student": name, **_summary(rows)} for (name, _), rows in measured.items()]


def _finished(paths, images: int) -> dict:
    """Path -> (config, result) of all runs, before the first is exported."""
    if images < 1:
        raise ValueError(f"--images is at least 1: int8 measures the ranges of activations on them; got {images}")
    runs = {Path(path): Run(path).finished() for path in paths}
    _check_rows(runs)
    return runs


def _check_rows(runs: dict) -> None:
    """Runs that share a row must be several seeds of one thing."""
    first, seeds = {}, {}
    for path, (config, _) in runs.items():
        row = config["experiment"], config["row"]
        other, same = first.setdefault(row, (path, config))
        if any(config[field] != same[field] for field in ("data", "student")):
            raise ValueError(f"{other} and {path} are both '{config['row']}', of other data or networks; name one")
        twice = seeds.setdefault((*row, config["seed"]), path)
        if twice != path:
            raise ValueError(f"{twice} and {path} are both '{config['row']}' with seed {config['seed']}; name one")


def _export(path: Path, config: dict, train, images: int, suffixes: tuple[str, ...]) -> list[Path]:
    inputs, files = export.spread(train, images), []
    for suffix in suffixes:
        plain, small = path / f"student{suffix}", path / f"student-int8{suffix}"
        export.export(path, plain)
        QUANTIZE[suffix](plain, small, inputs)
        if config["spec"].get("quantize"):
            plain.unlink()
            files.append(small)
        else:
            files += plain, small
    return files


def measure(path: Path, test, batch_size: int = 64) -> dict:
    """top1 on a split, bytes and deflated bytes, fraction of zeros, flops and flops_left, ms and ms_iqr of a file.

    top1_exact is that without sums that saturate on this processor; see `serve.load`. Zeros and operations of a .tflite
    file are those of the .onnx file beside it.

    The measured accuracy takes the place of that in the file's description.
    """
    served = serve.load(path)
    top1 = _top1(served, test, batch_size)
    exact = path.suffix == ".onnx" and "int8" in served.description
    dense, left = int8.operations(path.with_suffix(".onnx"), served.drawn(1, np.random.default_rng(0)))
    latency = serve.latency(served)
    kind = "int8" if "int8" in served.description else "float32"
    accuracy = {**served.description["accuracy"], "top1": top1, "computed_in": kind}
    serve.describe(path, {**served.description, "accuracy": accuracy, "latency_1": latency})
    content = path.read_bytes()
    return {
        "noun": served.noun.removesuffix("s"),
        "file": kind if path.suffix == ".onnx" else f"LiteRT {kind}",
        "top1": top1,
        "top1_exact": _top1(serve.load(path, exact=True), test, batch_size) if exact else top1,
        "bytes": len(content),
        "deflated": len(zlib.compress(content, 9)),
        "zeros": int8.zeros(path.with_suffix(".onnx")),
        "flops": 2 * dense,
        "flops_left": 2 * left,
        "ms": latency["median_ms"],
        "ms_iqr": latency["spread_ms"],
    }


def _top1(served, test, batch_size: int) -> float:
    parts = export.batches((test.input, test.target), batch_size)
    return sum(int((np.asarray(served.run(part)).argmax(axis=1) == target).sum()) for part, target in parts) / len(test)


def _summary(rows: list[dict]) -> dict:
    """The files of one method's seeds as one row: means, and the spread of the accuracy."""
    top1 = [row["top1"] for row in rows]
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0] if name not in ("file", "noun")}
    std = float(np.std(top1, ddof=1)) if len(rows) > 1 else None
    return {"file": rows[0]["file"], "noun": rows[0]["noun"], "n": len(rows), **means, "top1_std": std}


def markdown(rows: list[dict], images: int) -> str:
    """The table and what its columns mean."""
    head = ["student", "file", "top-1", "KB", "KB deflated", "zeros", "MFLOPs", "not by 0", f"ms, 1 {_noun(rows)}"]
    lines = [head]
    for row in rows:
        spread = f" ± {100 * row['top1_std']:.2f}" if row["top1_std"] is not None else ""
        lines.append(
            [
                row["student"],
                row["file"],
                f"{100 * row['top1']:.2f}{spread}",
                *(f"{row[name] / 1000:,.1f}" for name in ("bytes", "deflated")),
                f"{100 * row['zeros']:.1f} %",
                *(f"{row[name] / 1e6:,.2f}" for name in ("flops", "flops_left")),
                tables.milliseconds(row["ms"], row["ms_iqr"]),
            ]
        )
    seeds = sorted({row["n"] for row in rows})
    notes = NOTES.format(
        n=" or ".join(map(str, seeds)),
        images=images,
        noun=_noun(rows),
        included=_INCLUDED.get(_noun(rows), "what is done to it included"),
        tables="; vectors of words too" if _noun(rows) != "image" else "",
        runtime=serve.needs("onnxruntime", "sizes").__version__,
        cpus=cores(),
    )
    if any(row["file"].startswith("LiteRT") for row in rows):
        version = serve.needs("ai_edge_litert", "sizes").__version__
        notes += f"\n{LITERT.format(version=version, noun=_noun(rows))}"
    return f"{tables.markdown(lines, texts=2, padded=False)}\n\n{notes}{_saturated(rows)}\n"


_INCLUDED = {"image": "preprocessing included", "text": "of the whole length, without the tokenizer"}


def _noun(rows: list[dict]) -> str:
    """What one example is called, of all rows."""
    nouns = {row["noun"] for row in rows}
    return nouns.pop() if len(nouns) == 1 else "example"


def _saturated(rows: list[dict]) -> str:
    """What is to be known of files whose sums saturate on this processor."""
    wrong = [row for row in rows if abs(row["top1"] - row["top1_exact"]) > 0.005]
    if not wrong:
        return ""
    exact = ", ".join(f"{row['student']} {100 * row['top1_exact']:.2f} %" for row in wrong)
    return (
        "\n- **Saturation**: this processor adds products of int8 in 16 bits, which is too few (x86 without VNNI). "
        f"Where sums are exact (VNNI, ARM) the files have another top-1: {exact}."
    )


def to_csv(rows: list[dict]) -> str:
    """The rows in full precision."""
    return tables.csv({name: row[name] for name in COLUMNS} for row in rows)


def main(args) -> None:
    """`kdjax sizes RUN... [--out=DIR] [--images=256] [--tflite]`: prints the table, writes sizes.md and sizes.csv."""
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        runs = _finished(args.runs, args.images)
        table, csv = (_of_rankers if _rank(runs) else _of_classifiers)(runs, args)
    print(f"\n{table}")
    if args.out:
        write_text(Path(args.out) / "sizes.md", table)
        write_text(Path(args.out) / "sizes.csv", csv)


def _of_classifiers(runs: dict, args) -> tuple[str, str]:
    rows = _sizes(runs, args.images, print, args.tflite)
    return markdown(rows, args.images), to_csv(rows)


def _of_rankers(runs: dict, args) -> tuple[str, str]:
    if args.tflite:
        raise ValueError("--tflite: files for phones are measured of classifiers alone")
    rows = ranked_sizes.sizes(runs, args.images, print)
    return ranked_sizes.markdown(rows), ranked_sizes.to_csv(rows)


def _rank(runs: dict) -> bool:
    """Whether all are runs of rankers; one that is none beside others is refused where it is exported."""
    found = {path: task.of(result).name != task.CLASSIFICATION.name for path, (_, result) in runs.items()}
    if any(found.values()) and not all(found.values()):
        other = next(path for path, ranks in found.items() if not ranks)
        raise ValueError(f"{other} is a classifier, and others rank: name runs of one task")
    return all(found.values())
