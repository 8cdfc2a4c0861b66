"""What scales and shifts the channels of a convolution, folded into its weights; ReLUs where they are clipped."""

from collections import Counter

import numpy as np
from onnx import helper

from kdjax.ship.onnx_graph.loops import captured


def fold(nodes: list, tensors: dict) -> tuple[list, dict]:
    """The nodes and tensors in use, constants per channel after a convolution folded into its weights and bias."""
    nodes = _used(_with_relus(nodes, tensors))
    readers = Counter(name for node in nodes for name in captured(node))
    makers, kept, tensors = {}, [], dict(tensors)
    for node in nodes:
        source = next((makers[name] for name in node.input if name in makers), None)
        constant = next((tensors[name] for name in node.input if name in tensors), None)
        if (
            node.op_type in ("Add", "Mul")
            and source is not None
            and constant is not None
            and readers[source.output[0]] == 1
            and (per_channel := _per_channel(constant, len(tensors[source.input[1]]))) is not None
        ):
            _absorb(source, node.op_type, per_channel, tensors)
            del makers[source.output[0]]
            source.output[0] = node.output[0]
            makers[node.output[0]] = source
            continue
        kept.append(node)
        if node.op_type == "Conv" and node.input[1] in tensors:
            makers[node.output[0]] = node
    used = {name for node in kept for name in captured(node)}
    return kept, {name: array for name, array in tensors.items() if name in used}


def _with_relus(nodes: list, tensors: dict) -> list:
    """The nodes, Where(x <= 0, 0, x) as Relu(x): `kdjax.models.layers.relu`, as runtimes join it with a convolution."""
    zeros = {
        name for name, array in tensors.items() if array.size == 1 and array.dtype == np.float32 and not array.any()
    }
    negative = {n.output[0]: n.input[0] for n in nodes if n.op_type == "LessOrEqual" and n.input[1] in zeros}

    def replaced(node):
        if node.op_type != "Where" or node.input[1] not in zeros or negative.get(node.input[0]) != node.input[2]:
            return node
        return helper.make_node("Relu", [node.input[2]], node.output, name=node.name)

    return [replaced(node) for node in nodes]


def _used(nodes: list) -> list:
    """The nodes on which the last one depends."""
    needed, kept = set(nodes[-1].output), []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(captured(node))
            kept.append(node)
    return kept[::-1]


def _per_channel(constant: np.ndarray, channels: int) -> np.ndarray | None:
    """[channels] of a constant that has one value a channel of [B, C, ...], or one for all; else None."""
    if constant.size == 1:
        return np.full(channels, constant.reshape(()), constant.dtype)
    fits = constant.ndim > 2 and constant.shape == (1, channels, *(1,) * (constant.ndim - 2))
    return constant.reshape(channels) if fits else None


def _absorb(convolution, op: str, values: np.ndarray, tensors: dict) -> None:
    """Makes a convolution add to its channels, or multiply them by, `values` [channels]; its tensors become its own."""
    weight = tensors[convolution.input[1]]
    bias = tensors[convolution.input[2]] if len(convolution.input) > 2 else np.zeros(len(values), weight.dtype)
    if op == "Mul":
        weight, bias = weight * values.reshape(-1, *(1,) * (weight.ndim - 1)), bias * values
    else:
        bias = bias + values
    names = f"{convolution.name}_weight", f"{convolution.name}_bias"
    tensors.update(zip(names, (weight, bias), strict=True))
    del convolution.input[1:]
    convolution.input.extend(names)
