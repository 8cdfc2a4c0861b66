"""Post-training quantization: an exported ONNX file with 8-bit weights and activations, calibrated on examples.

ONNX Runtime's own quantizer, because its files are int8 on the disk and run in int8 where a student ships; XLA has no
fast int8 convolutions on the CPU. Weights symmetrically, a scale for each output channel, as in `models.compress.Int8`:
a student that was trained with it loses little here.
"""

import contextlib
import logging
from pathlib import Path

import numpy as np

from kdjax.files import replacing
from kdjax.ship import serve

LAYERS = ("Conv", "Gemm", "MatMul")
"""Operators that are computed in int8, where they multiply by weights; the others stay in float."""
TABLES = ("Gather",)
"""Operators that look vectors of words up: the greatest part of a small network for texts, on the disk in int8."""
ACTIVATIONS = ("Clip", "Relu")
"""Operators that are merged with the layer before them; sums of branches and pooling stay in float."""


def quantize(source, target, inputs, batch: int = 32) -> None:
    """Writes the exported ONNX file `source` with its layers in int8 to `target`; its preprocessing stays as it is.

    Accuracy and latency in its description are those of the float file and left out: `sizes.measure` has its own.

    Activations are unsigned, weights signed: so it runs fastest, 4 times as fast as float on processors with VNNI. On
    x86 without it ONNX Runtime adds products in 16 bits, which may saturate: measure accuracy there anew.

    Args:
      inputs: a pytree of [N, ...] as `kdjax.ship.inference.predictor` takes it, or a list of those: training examples
        that the ranges of activations are measured on (minimum, maximum).
      batch: how many of them go through the network at once.

    Raises:
      ValueError: a package is missing, there are no examples, or nothing in the file can be quantized.
    """
    target = Path(target)
    onnx = serve.needs("onnx", target)
    serve.needs("onnxruntime", target)
    from onnxruntime import quantization

    description = serve.description(source)
    noun, given = serve.of(description).noun, inputs if isinstance(inputs, dict | list) else {"image": inputs}
    parts = given if isinstance(given, list) else [given]
    examples = sum(len(next(iter(part.values()))) for part in parts)
    if not examples:
        raise ValueError(f"{source}: int8 needs {noun} to measure the ranges of activations on")
    model = onnx.load(source)
    names, lookups = [node.name for node, _ in layers(model)], [node.name for node in _lookups(model)]
    if description.get("form") in ("pairs", "lists"):
        names = names[:-1]  # the layer of scores: of those beyond what the examples reach int8 would make ties
    if not names and not lookups:
        raise ValueError(f"{source}: has no layer with weights that could be quantized")
    if names:
        first = next(number for number, node in enumerate(model.graph.node) if node.name == names[0])
        names += [node.name for node in list(model.graph.node)[first:] if node.op_type in ACTIVATIONS]
    names += lookups
    with replacing(target) as part, _quiet():
        quantization.quantize_static(
            model,
            str(part),
            Examples(parts, batch),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=[*LAYERS, *ACTIVATIONS, *TABLES],
            nodes_to_quantize=names,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )
        method = f"ONNX Runtime, static, calibrated on {examples} training {noun}"
        serve.describe(part, described(description, target, method))


def described(description: dict, target: Path, method: str) -> dict:
    """The description of a file in float as that of one in int8, without what was measured of the float."""
    kept = {key: value for key, value in description.items() if key not in ("verified", "latency_1")}
    accuracy = {key: value for key, value in kept["accuracy"].items() if key in ("split", "epoch")}
    return {**kept, "accuracy": accuracy, "weights": target.name, "int8": method}


@contextlib.contextmanager
def _quiet():
    """Without the advice on preprocessing that the quantizer logs: an exported graph has nothing left to fold."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


class Examples:
    """What ONNX Runtime calibrates on: batches of examples, arrays [B, ...] by the names of inputs, then None."""

    def __init__(self, parts: list[dict[str, np.ndarray]], batch: int):
        self.batches = iter(
            {name: leaf[i : i + batch] for name, leaf in inputs.items()}
            for inputs in parts
            for i in range(0, len(next(iter(inputs.values()))), batch)
        )

    def get_next(self):
        return next(self.batches, None)


def _lookups(model) -> list:
    """The nodes that look up rows of a constant table."""
    tables = {tensor.name for tensor in model.graph.initializer if tensor.data_type == 1}  # float32
    return [node for node in model.graph.node if node.op_type in TABLES and node.input[0] in tables]


def layers(model) -> list[tuple]:
    """(node, weights) of every layer of an ONNX model that multiplies by constant weights, int8 ones included."""
    return _weighted(model.graph.node, _constants(model))


def loops(model) -> list[tuple]:
    """(loop, weights) of every product with constant weights in a turn of a loop; they stay in float."""
    constants = _constants(model)
    scans = [node for node in model.graph.node if node.op_type == "Scan"]
    return [(scan, weights) for scan in scans for _, weights in _weighted(_body(scan).node, constants)]


def _constants(model) -> dict:
    """Name -> tensor, of what is dequantized too: symmetric, what is 0 there is 0."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
    return constants


def _weighted(nodes, constants: dict) -> list[tuple]:
    from onnx import numpy_helper

    found = [node for node in nodes if node.op_type in LAYERS and node.input[1] in constants]
    return [(node, numpy_helper.to_array(constants[node.input[1]])) for node in found]


def _body(scan):
    return next(attribute.g for attribute in scan.attribute if attribute.name == "body")


def operations(path, one) -> tuple[int, int]:
    """(multiplications by a weight, those by one that is not 0) of an ONNX file for one example.

    Counted in convolutions and matrix products, at every position, padding included, and at every turn of a loop.

    Args:
      one: the example, a pytree of [1, ...] as `kdjax.ship.inference.predictor` takes it.
    """
    onnx, onnxruntime = (serve.needs(package, path) for package in ("onnx", "onnxruntime"))
    model = onnx.load(path)
    found, repeated = layers(model), loops(model)
    given = one if isinstance(one, dict) else {model.graph.input[0].name: one}
    outputs = [*(node.output[0] for node, _ in found), *(loop.output[-1] for loop, _ in repeated)]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(outputs))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    shapes = [out.shape for out in session.run(outputs, given)]
    positions = [
        int(np.prod(shape[2:]) if node.op_type == "Conv" else np.prod(shape) // shape[-1])
        for (node, _), shape in zip(found, shapes, strict=False)
    ]
    positions += [shape[0] for shape in shapes[len(found) :]]  # a turn for each of what is stacked
    weights = [array for _, array in (*found, *repeated)]
    dense = sum(p * array.size for p, array in zip(positions, weights, strict=True))
    left = sum(p * np.count_nonzero(array) for p, array in zip(positions, weights, strict=True))
    return int(dense), int(left)


def zeros(path) -> float:
    """The fraction of zeros among the weights of an ONNX file's layers."""
    model = serve.needs("onnx", path).load(path)
    weights = [array for _, array in (*layers(model), *loops(model))]
    return 1 - sum(map(np.count_nonzero, weights)) / sum(array.size for array in weights)
