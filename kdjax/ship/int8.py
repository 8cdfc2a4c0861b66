"""Post-training quantization: an exported ONNX file with 8-bit weights and activations, calibrated on images.

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
ACTIVATIONS = ("Clip", "Relu")
"""Operators that are merged with the layer before them; sums of branches and pooling stay in float."""


def quantize(source, target, images: np.ndarray, batch: int = 32) -> None:
    """Writes the exported ONNX file `source` with its layers in int8 to `target`; its preprocessing stays as it is.

    Accuracy and latency in its description are those of the float file and left out: `sizes.measure` has its own.

    Activations are unsigned, weights signed: so it runs fastest, 4 times as fast as float on processors with VNNI. On
    x86 without it ONNX Runtime adds products in 16 bits, which may saturate: measure accuracy there anew.

    Args:
      images: [N, H, W, C] uint8, training images that the ranges of activations are measured on (minimum, maximum).
      batch: how many of them go through the network at once.

    Raises:
      ValueError: a package is missing, there are no images, or nothing in the file can be quantized.
    """
    target = Path(target)
    onnx = serve.needs("onnx", target)
    serve.needs("onnxruntime", target)
    from onnxruntime import quantization

    if not len(images):
        raise ValueError(f"{source}: int8 needs images to measure the ranges of activations on")
    model = onnx.load(source)
    names = [node.name for node, _ in layers(model)]
    if not names:
        raise ValueError(f"{source}: has no layer with weights that could be quantized")
    first = next(number for number, node in enumerate(model.graph.node) if node.name == names[0])
    names += [node.name for node in list(model.graph.node)[first:] if node.op_type in ACTIVATIONS]
    with replacing(target) as part, _quiet():
        quantization.quantize_static(
            model,
            str(part),
            Images(model.graph.input[0].name, images, batch),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=[*LAYERS, *ACTIVATIONS],
            nodes_to_quantize=names,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )
        method = f"ONNX Runtime, static, calibrated on {len(images)} training images"
        kept = {key: value for key, value in serve.description(source).items() if key not in ("verified", "latency_1")}
        accuracy = {key: value for key, value in kept["accuracy"].items() if key not in ("top1", "computed_in")}
        serve.describe(part, {**kept, "accuracy": accuracy, "weights": target.name, "int8": method})


@contextlib.contextmanager
def _quiet():
    """Without the advice on preprocessing that the quantizer logs: an exported graph has nothing left to fold."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


class Images:
    """What ONNX Runtime calibrates on: batches of images, then None."""

    def __init__(self, name: str, images: np.ndarray, batch: int):
        self.batches = iter([{name: images[i : i + batch]} for i in range(0, len(images), batch)])

    def get_next(self):
        return next(self.batches, None)


def layers(model) -> list[tuple]:
    """(node, weights) of every layer of an ONNX model that multiplies by constant weights, int8 ones included."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]  # symmetric: what is 0 there is 0
    found = [node for node in model.graph.node if node.op_type in LAYERS and node.input[1] in constants]
    return [(node, numpy_helper.to_array(constants[node.input[1]])) for node in found]


def operations(path, image: np.ndarray) -> tuple[int, int]:
    """(multiplications by a weight, those by one that is not 0) of an ONNX file for one image [1, H, W, C] uint8.

    Counted in convolutions and matrix products, at every position, padding included.
    """
    onnx, onnxruntime = (serve.needs(package, path) for package in ("onnx", "onnxruntime"))
    model = onnx.load(path)
    found = layers(model)
    inputs = model.graph.input[0].name
    model.graph.output.extend(onnx.ValueInfoProto(name=node.output[0]) for node, _ in found)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    shapes = [out.shape for out in session.run([node.output[0] for node, _ in found], {inputs: image})]
    positions = [
        shape[2] * shape[3] if node.op_type == "Conv" else int(np.prod(shape)) // shape[-1]
        for (node, _), shape in zip(found, shapes, strict=True)
    ]
    dense = sum(p * weights.size for p, (_, weights) in zip(positions, found, strict=True))
    left = sum(p * np.count_nonzero(weights) for p, (_, weights) in zip(positions, found, strict=True))
    return int(dense), int(left)


def zeros(path) -> float:
    """The fraction of zeros among the weights of an ONNX file's layers."""
    weights = [array for _, array in layers(serve.needs("onnx", path).load(path))]
    return 1 - sum(map(np.count_nonzero, weights)) / sum(array.size for array in weights)
