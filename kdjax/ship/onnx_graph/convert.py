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
import onnx
from onnx import helper, numpy_helper

from kdjax.ship.onnx_graph.fold import fold
from kdjax.ship.onnx_graph.graph import Graph, Value, described
from kdjax.ship.onnx_graph.rules import RULES

OPSET = 18
"""Of 2022: the runtimes of phones know it."""


def convert(function: Callable, inputs: dict[str, tuple], output_name: str, limits: tuple[str, ...] = ()):
    """The ONNX model that computes function(*arrays) -> array.

    Args:
      inputs: name -> (shape, dtype) of each argument, in order; a string in a shape is the name of a dimension of any
        size, which is read off the first input.
      limits: what is known of such dimensions, "length <= 64".

    Raises:
      ValueError: the function does what cannot be converted; the message names it.
    """
    shapes = {name: shape for name, (shape, _) in inputs.items()}
    first = next(iter(inputs))
    names = [size for size in shapes[first] if isinstance(size, str)]
    symbols = dict(zip(names, jax.export.symbolic_shape(",".join(names), constraints=limits), strict=True))
    arguments = [
        jax.ShapeDtypeStruct(tuple(symbols.get(size, size) for size in shape), dtype)
        for shape, dtype in inputs.values()
    ]
    closed = jax.make_jaxpr(function)(*arguments)
    graph = Graph({name: shapes[first].index(name) for name in symbols}, first, RULES)
    given = [
        Value(name, argument.shape, tuple(range(len(argument.shape))))
        for name, argument in zip(inputs, arguments, strict=True)
    ]
    (result,) = graph.run(closed.jaxpr, [graph.constant(c) for c in closed.consts], given)
    (out,) = closed.out_avals
    graph.nodes.append(helper.make_node("Identity", [graph.plain(result, out.shape)], [output_name]))
    nodes, tensors = fold(graph.nodes, graph.tensors)
    made = helper.make_graph(
        nodes,
        "kdjax",
        [described(name, argument) for name, argument in zip(inputs, arguments, strict=True)],
        [described(output_name, out)],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="kdjax")
    onnx.checker.check_model(model, full_check=True)
    return model
