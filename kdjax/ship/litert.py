"""LiteRT: a student as a .tflite file, for phones; from StableHLO by litert-converter, without TensorFlow.

A file takes one example of the training's shape: an image uint8 [1, H, W, C], normalised inside, or the tokens of a
text of the whole length. Its description is a zip archive at its end, as the files are that TensorFlow Lite's metadata
attach: interpreters read the model before it, `unzip` and phones the archive.
"""

import contextlib
import io
import json
import os
import re
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from kdjax.cores import cores
from kdjax.files import replacing, write_bytes
from kdjax.ship import int8, serve

SIGNATURE = "serving_default"
ATTACHED = "kdjax.json"
"""The file in the archive that holds the description."""


def sizes(description: dict) -> dict[str, int]:
    """What a file is made for, by the names of dimensions in `kdjax.ship.forms.signature`."""
    if "image_shape" not in description:
        return {"batch": 1, "length": description["length"]}
    height, width, _ = description["image_shape"]
    return {"batch": 1, "height": height, "width": width}


def convert(function: Callable, taken: dict, target) -> bytes:
    """fn(*arrays) -> logits as a LiteRT model.

    Args:
      taken: name of each argument, in order -> jax.ShapeDtypeStruct.
      target: the file it is for, which errors name.

    Raises:
      ValueError: a package is missing, or LiteRT has no operation for what the function does.
    """
    import jax

    for package in ("litert_converter", "ai_edge_litert.interpreter"):
        serve.needs(package, target)
    text = jax.jit(function, keep_unused=True).lower(*taken.values()).as_text("stablehlo")
    with _stderr() as said:
        try:
            content, left = _converted(text, [*taken])
            if content and (not left or _runs(content)):
                return content
        except Exception as error:  # its errors share no base class
            raise ValueError(f"{target}: LiteRT cannot express the network: {_why(said, error)}") from error
    raise ValueError(f"{target}: LiteRT cannot express the network, which uses {' and '.join(left)} of StableHLO")


def _converted(text: str, names: list[str]) -> tuple[bytes, list[str]]:
    """A module of StableHLO, which takes inputs of these names, as a LiteRT model, and what is left of StableHLO in it:
    operations that few interpreters know, or, where there is no model then, none."""
    from litert_converter.mlir import ir, passmanager
    from litert_converter.mlir._mlir_libs import converter_api_ext as converter
    from litert_converter.mlir.dialects import stablehlo

    with ir.Context() as context:
        converter.prepare_mlir_context(context)
        stablehlo.register_dialect(context)
        module = ir.Module.parse(text)  # not the portable artifact: a module read from one ends the process
        converter.set_signature(module.operation, signature_name=SIGNATURE, input_names=names, output_names=["logits"])
        converter.run_convert_to_tfl_passes(module, passmanager.PassManager(), converter.ConvertToTFLConfig())
        try:
            return bytes(converter.export_flatbuffer_to_bytes(module.operation)), _left(module, ir)
        except Exception:  # its errors share no base class, and the operation says more
            if not (left := _left(module, ir)):
                raise
            return b"", left


def _left(module, ir) -> list[str]:
    found = set()

    def see(operation):
        dialect, _, name = operation.name.partition(".")
        if dialect in ("stablehlo", "vhlo", "chlo") or operation.name == "tfl.while":  # whose body stays where it is
            called = f" {operation.attributes['call_target_name'].value}" if name == "custom_call" else ""
            found.add(re.sub(r"_v\d+$", "", name) + called)
        return ir.WalkResult.ADVANCE

    module.operation.walk(see)
    return sorted(found - {"return"})


def _runs(content: bytes) -> bool:
    from ai_edge_litert.interpreter import Interpreter

    try:
        Interpreter(model_content=content).allocate_tensors()
        return True
    except (RuntimeError, ValueError):
        return False


def load(path: Path) -> tuple[dict, Callable]:
    """(description, fn(input as `kdjax.ship.inference.predictor` takes it) -> logits [B, K]) of a file.

    Examples go through one at a time; images of another size are resized and cropped by `inference.fit` before, texts
    are padded to the whole length, which changes nothing.
    """
    interpreter = serve.needs("ai_edge_litert.interpreter", path)
    told = description(path)
    with _stderr() as said:
        try:
            opened = interpreter.Interpreter(model_path=str(path))
            opened.allocate_tensors()
            model = opened.get_signature_runner(SIGNATURE)
        except Exception as error:  # its errors share no base class
            raise ValueError(f"{path}: LiteRT cannot run it: {_why(said, error)}") from error

    def run(inputs):
        return np.concatenate([model(**one)["logits"] for one in _singly(told, inputs)])

    return told, run


def _singly(description: dict, inputs) -> Iterator[dict[str, np.ndarray]]:
    """What a file takes of each example of a batch."""
    if isinstance(inputs, dict):
        missing = description["length"] - inputs["tokens"].shape[1]
        given = {name: np.pad(leaf, ((0, 0), (0, missing))) for name, leaf in inputs.items()}
    else:
        given = {"image": _fitted(np.asarray(inputs), *description["image_shape"][:2])}
    for i in range(len(next(iter(given.values())))):
        yield {name: leaf[i : i + 1] for name, leaf in given.items()}


def _fitted(images: np.ndarray, height: int, width: int) -> np.ndarray:
    if images.shape[1:3] == (height, width):
        return images
    import jax

    from kdjax.ship import inference  # not above: photographs that have the size already need no JAX

    return np.asarray(jax.jit(inference.fit, static_argnums=(1, 2))(images, height, width)).astype(np.uint8)


def quantize(source, target, inputs) -> None:
    """Writes the exported file `source` with weights and activations in int8 to `target`; it still takes uint8 images.

    By AI Edge Quantizer: weights symmetrically, a scale for each output channel, activations with a zero of their own
    between the least and the greatest value that examples gave them. What has no form in int8 stays in float.

    Args:
      inputs: a pytree of [N, ...] as `kdjax.ship.inference.predictor` takes it: training examples that the ranges of
        activations are measured on.

    Raises:
      ValueError: a package is missing, or there are no examples.
    """
    source, target = Path(source), Path(target)
    serve.needs("ai_edge_quantizer", target)
    told = description(source)
    examples = list(_singly(told, inputs))
    if not examples:
        raise ValueError(f"{source}: int8 needs examples to measure the ranges of activations on")
    with replacing(target) as part:
        with _stderr() as said:
            try:
                part.write_bytes(_quantized(_model(source), examples))
            except Exception as error:  # its errors share no base class
                raise ValueError(f"{target}: AI Edge Quantizer gave up: {_why(said, error)}") from error
        noun = serve.of(told).noun
        method = f"AI Edge Quantizer, static, calibrated on {len(examples)} training {noun}"
        describe(part, int8.described(told, target, method))


def _quantized(model: bytes, examples: list[dict]) -> bytes:
    from ai_edge_quantizer import calibrator, quantizer, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    recipe = recipe_manager.RecipeManager()
    recipe.add_static_config(".*", "*", activation_num_bits=8, weight_num_bits=8)
    recipe.add_quantization_config(".*", "OUTPUT", algorithm_key="no_quantize")  # logits stay float32
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*experimental_preserve_all_tensors")  # which they take
        # its own way is a moving average of what single examples reach, which clips half of them
        ranges = calibrator.Calibrator(model, cores(), qsv_update_func=qsv_utils.min_max_update)
        ranges.calibrate({SIGNATURE: examples}, recipe)
        made = quantizer.Quantizer(model, recipe.get_quantization_recipe())
        done = made.quantize(ranges.get_model_qsvs(), enable_progress_bar=False, enable_progress_report=False)
        return bytes(done.quantized_model)


def description(path) -> dict:
    """The description at the end of a file.

    Raises:
      ValueError: there is none.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(ATTACHED))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no export of kdjax, or damaged: no {ATTACHED} at its end ({error})") from error


def describe(path: Path, description: dict) -> None:
    """Makes this the description at the end of a file."""
    content = io.BytesIO(_model(path))
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr(zipfile.ZipInfo(ATTACHED), json.dumps(description, indent=2))  # ZipInfo: of no date
    write_bytes(path, content.getvalue())


def _model(path: Path) -> bytes:
    """A file without the archive at its end."""
    content = Path(path).read_bytes()
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return content[: min(entry.header_offset for entry in archive.infolist())]


@contextlib.contextmanager
def _stderr():
    """A file that takes what this process writes to stderr meanwhile: these libraries tell there which delegate they
    made, how far they are and why they failed."""
    with tempfile.TemporaryFile() as file:
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            with open(2, "w", closefd=False) as text, contextlib.redirect_stderr(text):
                yield file
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _why(said, error: Exception) -> str:
    """The first line of what was said that speaks of an error, or the first of the error itself."""
    said.seek(0)
    spoken = (line for line in said.read().decode(errors="replace").splitlines() if "error: " in line)
    return next(spoken, " ".join(str(error).split()) or type(error).__name__).strip()
