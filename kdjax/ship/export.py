"""A finished run's student as a file that ships: a function from photographs or texts to logits, and what it is.

Of rankers, which give embeddings or scores, `kdjax.ship.ranked` says what they are.
"""

from pathlib import Path

import flax.linen as nn
import jax
import jax.export
import numpy as np
from ml_collections import ConfigDict

from kdjax import config as configs
from kdjax import data, tasks
from kdjax.data.images.encoded import Encoded
from kdjax.data.text import tokenizers
from kdjax.files import replacing
from kdjax.find import nearest
from kdjax.models import convolve, weights
from kdjax.runs import task
from kdjax.runs.directory import Run
from kdjax.ship import forms, found, inference, litert, ranked, serve
from kdjax.training import checkpoint

TOLERANCE = 1e-4
"""Largest difference of logits that lie within +-1, and of larger ones in proportion, between file and network."""

SAMPLE = 256
"""Examples of the test split that a file is checked with, evenly spaced."""


def export(
    run, target="", format: str = "", say=lambda message: None, catalogue: str = "", dtype: str = "float32"
) -> dict:
    """Writes the student of a finished run to `target`, runs the file, and describes it.

    The file computes fn(image [B, H, W, C] uint8) -> logits [B, K] float32 for any B, H and W: resizing, cropping and
    normalisation are inside (`inference.predictor`; .safetensors holds the weights alone, and kdjax the rest). Of texts
    it is fn(tokens [B, T] int32, mask [B, T] bool), of pairs with segments [B, T] int32, for any B and any T up to the
    length of the training; what makes tokens of texts stands in the description. A .tflite file takes one example of
    the training's shape at a time.
    It is loaded again and must predict what the network does before it takes its place; an earlier export to the same
    name is replaced then. Its description travels in the metadata of .onnx, each entry as JSON, at the end of .tflite,
    see `kdjax.ship.litert`, and beside others, in student.json for student.safetensors and in student.stablehlo.json
    for student.stablehlo: model and kwargs (the architecture), dtype (of the training; exports compute in float32),
    classes, of images image_shape and normalisation (of pixels scaled to 0..1), of texts length (the most tokens),
    pairs (whether an example is one), vocabulary (how many tokens there are) and tokenizer (what tokenizer.json holds),
    dataset, accuracy (measured after the last epoch, and what it was computed in, which may be coarser than the file),
    parameters, run (where they come from), versions, weights (the file's name), verified and latency_1 (see
    `serve.latency`). Rankers take and give what `kdjax.ship.forms` says, and describe it by `kdjax.ship.ranked`.

    Args:
      run: a run's directory, runs/<experiment>/<method>/seed<k>.
      target: the file to write, in a folder that exists; "": <experiment>-<method>-seed<k>.<format> here.
      format: a key of FORMATS, and the suffix of the file; "": what the target's name says, or else safetensors.
      say: told why the file is not checked on the test split, if it is not.
      catalogue: a .npz file for the embeddings of a search's documents, or of a recommender's items, whose file then
        gives the embeddings of users in place of scores; "": none; dtype: theirs, "float32" or "int8".

    Returns:
      The description.

    Raises:
      ValueError: unknown format; no run, or one that is unfinished, diverged or damaged; a target that cannot be
        written or that is a file of something else; a network that the format cannot express, or a file that
        predicts otherwise.
    """
    format = format.lower() or _format(Path(target))
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}{nearest(format, FORMATS)}")
    run = Run(run)
    config, result = run.finished()
    form = _form(run, config, result, format, catalogue, dtype)
    loaded = None if form in ("images", "texts") else dataset(config)
    try:
        target = Path(target or "{experiment}-{method}-seed{seed}.".format(**result) + format)
        description = {**description_of(run, config, result, loaded), "weights": target.name}
        fingerprint = result["student_sha256"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{run.path} is damaged or older than this kdjax: its JSON files lack {error}") from error
    variables = ranked.shipped(config, checkpoint.student(run.checkpoints, fingerprint), loaded)
    if catalogue and form == "users":
        description |= found.of_users(variables, fingerprint)
    for part, told in reversed(_files(target, description, format)):
        inputs, source = _inputs(config, told, loaded, say)
        written = write(part, format, variables, told, inputs, source)
    if catalogue:
        written["catalogue"] = found.write(target, catalogue, dtype, loaded, tasks.named(config["task"]), variables)
    return written


def _files(target: Path, description: dict, format: str) -> list[tuple[Path, dict]]:
    """`ranked.files`, each of a name that can be written."""
    files = ranked.files(target, description)
    for path, _ in files:
        _check_target(path, f".{format}")
    return files


def _form(run: Run, config: dict, result: dict, format: str, catalogue: str, dtype: str) -> str:
    form = ranked.form(run, config, result)
    if catalogue:
        found.check(run.path, catalogue, dtype, form)
    if format == "tflite" and form not in ("images", "texts"):
        raise ValueError(f"{run.path}: a .tflite file holds networks of images and of texts; this takes {form}")
    return form


def write(target: Path, format: str, variables, description: dict, inputs: list, source: str) -> dict:
    """Writes a model file that passes its check, see `check`, or none; the description as completed.

    Args:
      variables, description: of the network, see `inference.predictor`.
      inputs, source: what to check it with, as `inference.predictor` takes it, and what that is.
    """
    try:
        with replacing(target) as part:
            FORMATS[format](part, variables, description)
            serve.describe(part, description)
            with jax.default_device(jax.local_devices(backend="cpu")[0]):
                served = serve.load(part)
                reference = jax.jit(inference.predictor(description, variables))
                difference = check(target, served, reference, inputs)
                latency = serve.latency(served)
            verified = {served.noun: source, "largest_difference": difference}
            description = {**description, "verified": verified, "latency_1": latency}
            serve.describe(part, description)
    except OSError as error:
        raise ValueError(f"{target}: cannot be written: {error.strerror or error}") from error
    return description


def check(target, served: serve.Served, reference, inputs: list, batch_size: int = 64) -> float:
    """The largest difference of the logits of a model file to the network's own.

    Args:
      served: the file.
      reference: fn(input) -> logits, the network.
      inputs: pytrees of arrays [B, ...], as `inference.predictor` takes them.

    Raises:
      ValueError: it exceeds TOLERANCE, or the file names another class where the network's choice is no tie.
    """
    largest = 0.0
    for batch in (part for each in inputs for part in batches(each, batch_size)):
        expected, found = (np.asarray(run(batch)) for run in (reference, served.run))
        expected, found = expected.reshape(len(expected), -1), found.reshape(len(found), -1)
        difference, allowed = np.abs(found - expected).max(), TOLERANCE * max(1.0, np.abs(expected).max())
        lost = expected.max(axis=1) - np.take_along_axis(expected, found.argmax(axis=1)[:, None], 1)[:, 0]
        if not difference <= allowed or lost.max() > 2 * allowed:
            raise ValueError(
                f"{target}: not written, the file would predict otherwise than the network: logits differ by "
                f"{difference:.2g} where {allowed:.2g} is allowed"
            )
        largest = max(largest, float(difference))
    return largest


def batches(inputs, size: int = 64):
    """Yields a pytree of arrays [N, ...] in parts of at most so many examples."""
    for start in range(0, len(jax.tree.leaves(inputs)[0]), size):
        yield jax.tree.map(lambda leaf, start=start: leaf[start : start + size], inputs)


def _stablehlo(target: Path, variables, description: dict) -> None:
    serve.needs("flatbuffers", target.name)

    @jax.jit
    def function(inputs):  # the variables are arguments, or each branch would hold them all
        plain = lambda variables, inputs: inference.predictor(description, variables)(inputs)  # noqa: E731
        return jax.lax.platform_dependent(variables, inputs, cpu=convolve.fast("cpu")(plain), default=plain)

    taken, limits = forms.signature(description)
    names = dict.fromkeys(size for shape, _ in taken.values() for size in shape if isinstance(size, str))
    symbols = dict(zip(names, jax.export.symbolic_shape(",".join(names), constraints=limits), strict=True))
    shapes = {
        name: jax.ShapeDtypeStruct([symbols.get(size, size) for size in shape], dtype)
        for name, (shape, dtype) in taken.items()
    }
    exported = jax.export.export(function, platforms=("cpu", "cuda", "tpu"))(inference.as_input(shapes))
    target.write_bytes(exported.serialize())


def _onnx(target: Path, variables, description: dict) -> None:
    onnx = serve.needs("onnx", target.name)
    serve.needs("onnxruntime", target.name)
    from kdjax.ship.onnx_graph import convert as graph

    taken, limits = forms.signature(description)

    def convert(predict):
        named = lambda *arrays: predict(inference.as_input(dict(zip(taken, arrays, strict=True))))  # noqa: E731
        return graph.convert(named, taken, description.get("gives", "logits"), limits)

    try:
        model = convert(inference.predictor(description, variables))
    except ValueError:  # a slice, say, is a gather while the batch size is a symbol
        model = convert(inference.predictor(description, variables, singly=True))
    onnx.save(model, target)


def _tflite(target: Path, variables, description: dict) -> None:
    taken, _ = forms.signature(description)
    sizes, predict = litert.sizes(description), inference.predictor(description, variables)
    named = lambda *arrays: predict(inference.as_input(dict(zip(taken, arrays, strict=True))))  # noqa: E731
    shapes = {
        name: jax.ShapeDtypeStruct([sizes.get(size, size) for size in shape], dtype)
        for name, (shape, dtype) in taken.items()
    }
    with nn.intercept_methods(_in_rows):
        target.write_bytes(litert.convert(named, shapes, target.name))


def _in_rows(call, args, kwargs, context):
    """nn.Dense of [..., C] as of [N, C]: litert-converter has no product of [B, H, W, C] and a matrix."""
    if not isinstance(context.module, nn.Dense) or context.method_name != "__call__":
        return call(*args, **kwargs)
    (x,) = args
    return call(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], context.module.features)


FORMATS = {"onnx": _onnx, "safetensors": weights.save, "stablehlo": _stablehlo, "tflite": _tflite}
"""Format, which is also the suffix of its files -> what writes (target, variables, description)."""


def _format(target: Path) -> str:
    if target.name and target.suffix[1:] not in FORMATS:
        raise ValueError(f"{target}: the name must end in {', '.join(f'.{name}' for name in FORMATS)}")
    return target.suffix[1:] or "safetensors"


def _inputs(config: dict, description: dict, loaded, say) -> tuple[list, str]:
    """Inputs to check a file with, and what they are: noise, some of another size, and the test split if it is here."""
    generator = np.random.default_rng(0)
    if "image_shape" in description:
        height, width, channels = description["image_shape"]
        shapes = (16, height, width), (2, 2 * height + 3, 3 * width + 1)
        inputs, noise = [generator.integers(0, 256, (*shape, channels), np.uint8) for shape in shapes], "random images"
    elif description.get("form") is None:
        texts = serve.Texts(description, None).drawn(16, generator)
        shorter = {name: leaf[:2, : description["length"] // 2] for name, leaf in texts.items()}
        inputs, noise = [texts, shorter], "random texts"
    else:
        return ranked.inputs(description, loaded, SAMPLE)
    try:
        split = _same_data(config, description).test
    except (ValueError, OSError) as error:
        say(f"not checked on the test split: {error}")
        return inputs, f"18 {noise}"
    chosen = split.take(np.linspace(0, len(split) - 1, min(SAMPLE, len(split))).round().astype(int)).input
    return [*inputs, chosen], f"18 {noise}, {min(SAMPLE, len(split))} of the test split"


def _same_data(config: dict, description: dict) -> data.Dataset:
    """The data set that a run's config.json names; a ValueError if it gives tokens other numbers now."""
    found = dataset(config)
    if "tokenizer" in description and description["tokenizer"] != found.tokenizer.text():
        raise ValueError(f"{found.name} has another vocabulary than it was trained on; is it other data now?")
    return found


def dataset(config: dict) -> data.Dataset:
    """The data set that a run's config.json names, whichever kdjax wrote it; training images on disk where they can."""
    config = configs.completed(config)
    return data.load(ConfigDict(config["data"]), in_memory=None, task=tasks.named(config["task"]))


def _check_target(target: Path, suffix: str) -> None:
    """Raises a ValueError if the name is wrong or a file stands there that no earlier export to this name wrote."""
    if target.suffix != suffix:
        raise ValueError(f"{target}: the name must end in {suffix}")
    if not target.parent.is_dir():
        raise ValueError(f"{target}: there is no directory {target.parent}")
    for path in filter(None, (target, serve.description_path(target))):
        if path.exists() and not _exported(target):
            raise ValueError(
                f"{path} exists and was not written by an export to this name; remove it or give another name"
            )


def _exported(target: Path) -> bool:
    try:
        name = serve.description(target).get("weights")
        return name == target.name or (name is not None and target.suffix in (".onnx", ".tflite"))  # each one file
    except ValueError:
        return False


def text_shape(path: Path, result: dict) -> dict | None:
    """What `serve.Texts` needs to know of a run: length, pairs, vocabulary and tokenizer; None: it has no texts.

    Raises:
      ValueError: its files are damaged, or of a kdjax that did not write the length down; its examples are searches.
    """
    tokenizer = tokenizers.of_run(path)
    if tokenizer is None:
        return None
    if task.of(result).name in ("search", "ranking"):
        raise ValueError(f"{path}: its examples are queries with their documents, and no texts of their own")
    if "length" not in result:
        raise ValueError(f"{path}: an older kdjax wrote its result.json, without the length of texts; run it anew")
    shape = {"length": result["length"], "pairs": result["pairs"]}
    return {**shape, "vocabulary": tokenizer.size, "tokenizer": tokenizer.text()}


def spread(split: data.Arrays, count: int):
    """The inputs of `count` examples of a split, evenly spaced, images decoded; of all if there are fewer."""
    inputs = split.take(np.unique(np.linspace(0, len(split) - 1, count).round().astype(int))).input
    return inputs.decode() if isinstance(inputs, Encoded) else inputs


def description_of(run: Run, config: dict, result: dict, loaded: data.Dataset | None = None) -> dict:
    """What a file of a run's student says of it, before anything is written; see `export`.

    Args:
      loaded: its data, where the form of its student is that of a ranker.
    """
    form = ranked.form(run, config, result)
    plain = form in ("images", "texts")
    shape = text_shape(run.path, result) if plain else ranked.shape(run.path, config, loaded, form)
    made = _description(config, result, form, shape)
    return made | ({"student_sha256": result["student_sha256"]} if made.get("gives") == "embedding" else {})


def _description(config: dict, result: dict, form: str, shape: dict | None) -> dict:
    if form in ("images", "texts"):
        normalisation = {"mean": config["data"]["mean"], "std": config["data"]["std"]}
        shape = shape or {"image_shape": result["image_shape"], "normalisation": normalisation}
        shape = {"classes": result["classes"], **shape}
        if tasks.named(config.get("task", task.CLASSIFICATION.name)).reads == "embedding":
            shape["gives"] = "embedding"
    told = task.of(result)
    known = {} if told.name == task.CLASSIFICATION.name else {"task": ranked.task_of(result)}
    return {
        "model": config["student"]["model"],
        "kwargs": config["student"]["kwargs"],
        "dtype": config["dtype"],
        **shape,
        **known,
        "dataset": result["dataset"],
        "accuracy": {
            told.primary.key: result["last"][told.primary.key],
            "split": "test",
            "epoch": result["last"]["epoch"],
            "computed_in": config["spec"].get("quantize") or config["dtype"],
        },
        "parameters": result["student"]["parameters"],
        "run": {key: result[key] for key in ("experiment", "method", "seed", "revision")},
        "versions": result["versions"],
    }


def told(written: dict) -> str:
    """A line that says of a description what was written and how it was checked."""
    kind, accuracy = serve.of(written), written["accuracy"]
    primary = _primary(written)
    score = primary.number(accuracy[primary.key])
    score = f"{score} %" if primary.unit == "%" else f"{primary.title} {score}"
    measured = f"{score} on the test split of {written['dataset']}"
    if accuracy["computed_in"] != "float32":
        measured += f" in {accuracy['computed_in']}, while this file computes in float32"
    verified, gives = written["verified"], written.get("gives", "logits").removesuffix("s")
    return (
        f"{written['model']}, {written['parameters']:,} parameters, {measured}; {gives}s differ from the network's by "
        f"at most {verified['largest_difference']:.2g} ({verified[kind.noun]}); "
        f"{written['latency_1']['median_ms']:.2f} ms {kind.one(written)} on this CPU, one at a time"
    )


def told_catalogue(written: dict) -> str:
    """A line that says what the catalogue of an export is, and how well it is searched."""
    of, primary = written["catalogue"], _primary(written)
    noun = "items" if serve.form(written) == "users" else "documents"
    return (
        f"{of['rows']:,} {noun} in {of['dtype']}, {of['bytes']:,} bytes; {primary.title} "
        f"{primary.number(of[primary.key])} on the test split, of these files"
    )


def _primary(description: dict) -> task.Score:
    """The score that a description has of the test split."""
    told = description.get("task")
    return task.CLASSIFICATION.primary if told is None else task.Score(told["primary"], told["title"], told["unit"])
