"""A model file as it runs, whatever its format: `load(path).predict(images)`; imports only what the format needs."""

import importlib
import json
import time
from pathlib import Path

import numpy as np

from kdjax.files import read_description, write_bytes, write_text
from kdjax.ship.rankers import Lists, Pairs, Towers, Users
from kdjax.ship.served import Images, Served, Texts

FORMS = {"images": Images, "texts": Texts, "towers": Towers, "pairs": Pairs, "lists": Lists, "users": Users}
"""Form of a file -> what it predicts."""


def form(description: dict) -> str:
    """A key of FORMS. Descriptions name it but those of classifiers, which tell by what else they say."""
    return description.get("form") or ("texts" if "length" in description else "images")


def of(description: dict) -> type[Served]:
    """What is served by a model with this description."""
    return FORMS[form(description)]


def load(path, exact: bool = False) -> Served:
    """The model in a .onnx, .stablehlo, .tflite or .safetensors file that kdjax exported.

    Args:
      exact: whether an int8 file in ONNX computes its sums in float, slowly, as no processor adds them wrongly then:
        x86 without VNNI adds products of int8 in 16 bits, which may saturate.

    Raises:
      ValueError: the file cannot be read, is something else, or is damaged; or what reads it is not installed.
    """
    path = Path(path)
    if path.suffix not in LOADERS:
        raise ValueError(f"{path}: the name of a model must end in {', '.join(LOADERS)}")
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    if exact and path.suffix != ".onnx":
        raise ValueError(f"{path}: only a .onnx file can hold int8 layers")
    description, run = _onnx(path, exact) if exact else LOADERS[path.suffix](path)
    if description.get("form", "images") not in FORMS:
        raise ValueError(f"{path} is of the form {description['form']!r}, which this kdjax does not know; is it newer?")
    kind = of(description)
    missing = [key for key in kind.needs if key not in description]
    if missing:
        raise ValueError(f"{path} is no export of kdjax: its description lacks {' and '.join(missing)}")
    return kind(description, run)


def _onnx(path: Path, exact: bool = False):
    runtime = needs("onnxruntime", path)
    options = runtime.SessionOptions()
    if exact:  # it is an optimization that makes one operation in int8 of those that dequantize, multiply, quantize
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    try:
        session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no base class
        raise ValueError(f"{path}: not a readable ONNX model: {str(error).strip().splitlines()[0]}") from error
    names = [each.name for each in session.get_inputs()]
    description = _from_strings(path, session.get_modelmeta().custom_metadata_map)

    def run(inputs):
        return session.run(None, inputs if isinstance(inputs, dict) else {names[0]: inputs})[0]

    return description, run


def _stablehlo(path: Path):
    import jax
    import jax.export

    description = read_description(description_path(path), "the model")
    needs("flatbuffers", path)  # which jax.export imports without declaring it
    try:
        exported = jax.export.deserialize(bytearray(path.read_bytes()))
    except Exception as error:  # a flatbuffer that is none makes the reader raise anything
        raise ValueError(f"{path}: not a readable StableHLO export of JAX: {error}") from error
    return description, jax.jit(exported.call)


def _safetensors(path: Path):
    import jax

    from kdjax.models import convolve, pytorch, weights
    from kdjax.ship import forms, inference

    description = weights.describe(path)
    try:
        model = inference.network(description)
        variables = pytorch.load(path, model, forms.spec(description))
        return description, jax.jit(convolve.fast()(inference.predictor(description, variables)))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is no export of kdjax: {description_path(path)} lacks {error}") from error


def _tflite(path: Path):
    from kdjax.ship import litert

    return litert.load(path)


LOADERS = {".onnx": _onnx, ".stablehlo": _stablehlo, ".tflite": _tflite, ".safetensors": _safetensors}
"""Suffix -> fn(path) -> (description, fn(input) -> logits)."""


def description_path(path: Path) -> Path | None:
    """The file that holds the description of a model file; None: the model file itself."""
    beside = {".safetensors": path.with_suffix(".json"), ".stablehlo": path.with_name(f"{path.name}.json")}
    return beside.get(path.suffix)


def description(path) -> dict:
    """The description that travels with a model file.

    Raises:
      ValueError: there is none.
    """
    path = Path(path)
    beside = description_path(path)
    if path.suffix == ".tflite":
        from kdjax.ship import litert

        return litert.description(path)
    return read_description(beside, "the model") if beside is not None else _onnx(path)[0]


def describe(path, description: dict) -> None:
    """Makes this the description that travels with a model file: inside .onnx and .tflite, a JSON beside others."""
    path = Path(path)
    if path.suffix == ".tflite":
        from kdjax.ship import litert

        return litert.describe(path, description)
    beside = description_path(path)
    if beside is not None:
        write_text(beside, json.dumps(description, indent=2) + "\n")
        return
    onnx = needs("onnx", path)
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in description.items()})
    write_bytes(path, model.SerializeToString())


def latency(served: Served, examples: int = 1, seconds: float = 0.5) -> dict:
    """Milliseconds for so many examples at once: images of the training size, texts of the whole length, users, ...

    No other process should disturb it.

    Two calls go ahead, then 5 to 200 are timed for about `seconds`, with the threads that the runtime chooses.

    Returns:
      {"median_ms", "spread_ms" (interquartile range), "calls"}.
    """
    given = served.drawn(examples, np.random.default_rng(0))
    times = []
    while len(times) < 7 or (len(times) < 202 and sum(times[2:]) < 1000 * seconds):
        start = time.perf_counter()
        np.asarray(served.run(given))
        times.append(1000 * (time.perf_counter() - start))
    low, median, high = np.percentile(times[2:], (25, 50, 75))
    return {"median_ms": float(median), "spread_ms": float(high - low), "calls": len(times) - 2}


CONVERTER = "litert-converter==0.5.0"
"""Without its dependencies: it pins xdsl, for tools of its own that are not used here, and xdsl pins what JAX's friends
and Jupyter have newer."""
_INSTALLED = {
    "ai_edge_litert": "pip install 'kdjax[litert]'",
    "ai_edge_quantizer": "pip install 'kdjax[litert]'",
    "litert_converter": f"pip install --no-deps {CONVERTER} (for Linux on x86-64, macOS on ARM)",
}
"""What installs a package that is in no extra "export"."""


def needs(package: str, path):
    """A package of the extra "export" or "litert", or the converter to LiteRT.

    Raises:
      ValueError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        command = _INSTALLED.get(package.partition(".")[0], "pip install 'kdjax[export]'")
        raise ValueError(f"{path}: needs {error.name}, which comes with: {command}") from error


def _from_strings(path: Path, strings: dict) -> dict:
    try:
        return {key: json.loads(value) for key, value in strings.items()}
    except ValueError as error:
        raise ValueError(f"{path} is no export of kdjax: its metadata is not JSON") from error
