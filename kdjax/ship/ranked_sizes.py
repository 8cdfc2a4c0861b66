"""`kdjax sizes` of rankers: each exported, in float and int8, and the score of the test split, bytes and time of it."""

import json
from pathlib import Path

import numpy as np

from kdjax import tables, tasks
from kdjax.cores import cores
from kdjax.data.arrays import Dataset
from kdjax.runs import task
from kdjax.ship import catalogue, export, int8, measured, ranked, serve

COLUMNS = (
    *("student", "file", "n", "primary", "score", "score_std", "bytes", "tables", "catalogue"),
    *("ms", "ms_iqr", "ms_100", "ms_100_iqr"),
)
"""Of sizes.csv: the primary score and its name, bytes and milliseconds; see `measure`."""

MANY = 100
"""Candidates whose time is measured beside that of one."""

NOTES = """\
- **{title}** of the whole test split, by the file; mean ± sample standard deviation over {n} seeds.
- **KB**: the files (ONNX, description included); **of tables**: what they hold for each token, item or user, of it.
  **Catalogue**: the embeddings of all documents, in int8 where the file is, by which the score of that row is, too.
- **Int8**: ONNX Runtime's static quantization of weights and activations, calibrated on examples of the training.
- **ms**: {one} at a time through the file, and {many} at once, median ± interquartile range; ONNX Runtime {runtime},
  CPU cores: {cpus}."""


def sizes(runs: dict, images: int, say=lambda message: None) -> list[dict]:
    """Exports finished runs beside their results, student.onnx and student-int8.onnx, and measures the files.

    Args:
      runs: directory -> (config.json, result.json) of rankers of one task; those of several seeds share a row.
      images: training examples to calibrate int8 on.
      say: told of each file.

    Returns:
      A dictionary with COLUMNS a row, and how the score is shown.

    Raises:
      ValueError: data that is not here or others now; runs of several tasks; a student that cannot be exported.
    """
    found, loaded = {}, {}
    first = {task.of(result).primary: path for path, (_, result) in runs.items()}
    if len(first) > 1:
        told = ", ".join(f"{path} by {score.title}" for score, path in first.items())
        raise ValueError(f"a table of sizes is of one task, and these are scored differently: {told}")
    several = len({config["experiment"] for config, _ in runs.values()}) > 1
    for path, (config, result) in runs.items():
        key = json.dumps(config["data"])
        if key not in loaded:
            loaded[key] = export.dataset(config)
        for file in exported(path, loaded[key], images):
            row = measure(file, loaded[key], tasks.named(config["task"]))
            shown = task.of(result).primary
            say(f"{file}: {shown.title} {shown.number(row['score'])}, {row['bytes']:,} bytes, {row['ms']:.2f} ms")
            name = f"{config['experiment']}: {config['row']}" if several else config["row"]
            found.setdefault((name, row["file"]), []).append({**row, "primary": shown.key, "shown": shown})
    return [{"student": name, **_summary(rows)} for (name, _), rows in found.items()]


def exported(path: Path, dataset: Dataset, images: int) -> list[Path]:
    """The files of a run, in float and in int8; of two towers that of the documents lies beside each."""
    plain, small = path / "student.onnx", path / "student-int8.onnx"
    description = export.export(path, plain)
    for (source, told), (target, _) in zip(
        ranked.files(plain, description), ranked.files(small, description), strict=True
    ):
        int8.quantize(source, target, _examples(told, dataset, images))
    return [plain, small]


def _examples(description: dict, dataset: Dataset, images: int):
    if "form" in description:
        return ranked.taken(description, dataset, dataset.train, images)
    return export.spread(dataset.train, images)


def measure(path: Path, dataset: Dataset, scored) -> dict:
    """The primary score of a task on the test split, bytes (of the files, of their tables, of a catalogue) and ms.

    What is measured takes the place of what the file's description said.

    Args:
      path: of a .onnx file, of two towers the queries'; scored: a kdjax.tasks.task.Task.
    """
    served = serve.load(path)
    kind = "int8" if "int8" in served.description else "float32"
    files = [file for file, _ in ranked.files(path, served.description)]
    documents, size = None, 0
    if serve.form(served.description) == "towers":
        arrays = catalogue.stored(measured.embedded(serve.load(files[-1]), dataset.documents), kind)
        documents, size = catalogue.restored(arrays), sum(array.nbytes for array in arrays.values())
    one, many = serve.latency(served), serve.latency(served, MANY)
    score = measured.score(served, dataset, scored, documents)
    accuracy = {**served.description["accuracy"], scored.primary: score, "computed_in": kind}
    told = {"accuracy": accuracy, "latency_1": one, f"latency_{MANY}": many}
    serve.describe(path, {**served.description, **told})
    return {
        "file": kind,
        "noun": served.noun.removesuffix("s"),
        "score": score,
        "bytes": sum(file.stat().st_size for file in files),
        "tables": sum(_tables(file, served.description) for file in files),
        "catalogue": size,
        "ms": one["median_ms"],
        "ms_iqr": one["spread_ms"],
        "ms_100": many["median_ms"],
        "ms_100_iqr": many["spread_ms"],
    }


def _tables(path: Path, description: dict) -> int:
    """Bytes of what a file holds for each token, item or user."""
    onnx = serve.needs("onnx", path)
    rows = {description.get("vocabulary"), *(len(description[of]) for of in ("items", "users") if of in description)}
    held = (onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer)
    return sum(array.nbytes for array in held if array.ndim > 1 and rows & {*array.shape})


def _summary(rows: list[dict]) -> dict:
    """The files of one method's seeds as one row: means, and the spread of the score."""
    fixed = {name: rows[0][name] for name in ("file", "noun", "primary", "shown")}
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0] if name not in fixed}
    std = float(np.std([row["score"] for row in rows], ddof=1)) if len(rows) > 1 else None
    return {**fixed, "n": len(rows), **means, "score_std": std}


def markdown(rows: list[dict]) -> str:
    """The table and what its columns mean."""
    noun, shown = rows[0]["noun"], rows[0]["shown"]
    head = ["student", "file", shown.header, "KB", "of tables", "KB catalogue", f"ms, 1 {noun}", f"ms, {MANY} {noun}s"]
    cells = [
        [
            row["student"],
            row["file"],
            shown.spread(row["score"], row["score_std"]),
            *(f"{row[name] / 1000:,.1f}" if row[name] else task.DASH for name in ("bytes", "tables", "catalogue")),
            *(tables.milliseconds(row[name], row[f"{name}_iqr"]) for name in ("ms", "ms_100")),
        ]
        for row in rows
    ]
    notes = NOTES.format(
        title=shown.sentence,
        n=" or ".join(map(str, sorted({row["n"] for row in rows}))),
        one=f"one {noun}",
        many=f"{MANY} {noun}s",
        runtime=serve.needs("onnxruntime", "sizes").__version__,
        cpus=cores(),
    )
    return f"{tables.markdown([head, *cells], texts=2, padded=False)}\n\n{notes}\n"


def to_csv(rows: list[dict]) -> str:
    """The rows in full precision."""
    return tables.csv({name: row[name] for name in COLUMNS} for row in rows)
