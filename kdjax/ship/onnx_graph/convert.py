"""A JAX function as an ONNX graph: its jaxpr, primitive by primitive.

Networks of JAX keep channels last, ONNX and its runtimes first. A tensor of the graph is therefore stored in an order
of axes of its own (`Value.axes`): transpositions cost nothing, arithmetic follows its operands, and no axis moves
between two convolutions. What depends on weights alone is computed here, and what scales and shifts the channels of a
convolution, such as BatchNorm in evaluation mode, is folded into its weights.

jax2onnx was tried first (0.13.0 and 0.17.1, with jax 0.10.2 and flax 0.12.8): it fails on max-pooling, its newest
version on ResNets too, and that version needs an older Orbax.
"""

from collections.abc import Callable

import jax
import numpy as np
import onnx
from onnx import helper, numpy_helper

from kdjax.ship.onnx_graph.fold import fold
from kdjax.ship.onnx_graph.graph import Graph, Value
from kdjax.ship.onnx_graph.rules import RULES

OPSET = 18
"""Of 2022: the runtimes of phones know it."""


def convert(function: Callable, shape: tuple[str | int, ...], dtype, input_name: str, output_name: str):
    """The ONNX model that computes function(array [shape]) -> array.

    Args:
      shape: of the argument; a string is the name of a dimension of any size.

    Raises:
      ValueError: the function does what cannot be converted; the message names it.
    """
    symbols = dict(zip(_names(shape), jax.export.symbolic_shape(",".join(_names(shape))), strict=True))
    argument = jax.ShapeDtypeStruct(tuple(symbols.get(size, size) for size in shape), dtype)
    closed = jax.make_jaxpr(function)(argument)
    graph = Graph({name: shape.index(name) for name in symbols}, input_name, RULES)
    image = Value(input_name, argument.shape, tuple(range(len(shape))))
    (result,) = graph.run(closed.jaxpr, [graph.constant(c) for c in closed.consts], [image])
    (out,) = closed.out_avals
    graph.nodes.append(helper.make_node("Identity", [graph.plain(result, out.shape)], [output_name]))
    info = lambda name, shape, dtype: helper.make_tensor_value_info(  # noqa: E731
        name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), [s if isinstance(s, int) else str(s) for s in shape]
    )
    nodes, tensors = fold(graph.nodes, graph.tensors)
    made = helper.make_graph(
        nodes,
        "kdjax",
        [info(input_name, argument.shape, dtype)],
        [info(output_name, out.shape, out.dtype)],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="kdjax")
    onnx.checker.check_model(model, full_check=True)
    return model


def _names(shape) -> list[str]:
    return [size for size in shape if isinstance(size, str)]
