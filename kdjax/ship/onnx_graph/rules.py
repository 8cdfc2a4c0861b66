"""What each primitive of a jaxpr is in ONNX: rule(graph, equation, values) -> the value of its result."""

import math
from collections import Counter
from collections.abc import Callable

import numpy as np

from kdjax.ship.onnx_graph.graph import Value, onnx_type
from kdjax.ship.onnx_graph.loops import scan


def _shape(equation):
    return equation.outvars[0].aval.shape


def _broadcast(graph, equation, values):
    """Only the axes: sizes are left to what needs them."""
    value, shape, places = values[0], _shape(equation), equation.params["broadcast_dimensions"]
    sizes = tuple(value.shape[places.index(axis)] if axis in places else 1 for axis in range(len(shape)))
    if value.constant:
        return [graph.constant(value.data.reshape(sizes))]
    new = [axis for axis in range(len(shape)) if axis not in places]
    if not new:
        return [Value(value.data, sizes, value.axes)]
    name = graph.stored(value, tuple(range(len(value.shape))))
    return [Value(graph.node("Unsqueeze", name, graph.integers(*new)), sizes, tuple(range(len(shape))))]


def _reshape(graph, equation, values):
    shape, before = _shape(equation), equation.invars[0].aval.shape
    if values[0].constant and all(isinstance(size, int) for size in (*shape, *before)):
        return [graph.constant(np.broadcast_to(values[0].data, before).reshape(shape))]
    return [Value(graph.reshaped(graph.plain(values[0], before), shape), shape, tuple(range(len(shape))))]


def _transpose(graph, equation, values):
    value, order = values[0], equation.params["permutation"]
    if value.constant:
        return [graph.constant(value.data.transpose(order))]
    shape = tuple(value.shape[axis] for axis in order)
    return [Value(value.data, shape, tuple(order.index(axis) for axis in value.axes))]


def _tile(graph, equation, values):
    value, repeats, before = values[0], equation.params["reps"], equation.invars[0].aval.shape
    if all(size == 1 or repeat == 1 for size, repeat in zip(before, repeats, strict=True)):
        return [value]  # it will be broadcast
    name = graph.node("Tile", graph.plain(value, before), graph.shape(repeats))
    return [Value(name, _shape(equation), tuple(range(len(before))))]


def _reduce(op: str, compute: Callable):
    def rule(graph, equation, values):
        value, before, reduced = values[0], equation.invars[0].aval.shape, equation.params["axes"]
        out = equation.outvars[0].aval
        if value.constant and all(isinstance(size, int) for size in before):
            return [graph.constant(compute(np.broadcast_to(value.data, before), axis=tuple(reduced)), out.dtype)]
        left = [axis for axis in range(len(before)) if axis not in reduced]
        places = sorted(value.axes.index(axis) for axis in reduced)
        name = graph.node(op, graph.whole(value, before), graph.integers(*places), keepdims=0)
        return [Value(name, out.shape, tuple(left.index(axis) for axis in value.axes if axis in left))]

    return rule


def _argmax(graph, equation, values):
    (axis,), out = equation.params["axes"], equation.outvars[0].aval
    name = graph.node("ArgMax", graph.plain(values[0], equation.invars[0].aval.shape), axis=axis, keepdims=0)
    name = graph.node("Cast", name, to=onnx_type(out))
    return [Value(name, out.shape, tuple(range(len(out.shape))))]


def _common(values) -> tuple[int, ...]:
    """The order of axes that most of the tensors of a node have already."""
    orders = Counter(value.axes for value in values if not value.constant)
    return orders.most_common(1)[0][0] if orders else values[0].axes


def _concatenate(graph, equation, values):
    shape, axes = _shape(equation), _common(values)
    names = [graph.whole(v, atom.aval.shape, axes) for v, atom in zip(values, equation.invars, strict=True)]
    name = graph.node("Concat", *names, axis=axes.index(equation.params["dimension"]))
    return [Value(name, shape, axes)]


def _slice(graph, equation, values):
    params, before = equation.params, equation.invars[0].aval.shape
    strides = params["strides"] or (1,) * len(before)
    name = graph.cut(values[0], before, params["start_indices"], params["limit_indices"], strides)
    return [Value(name, _shape(equation), values[0].axes)]


def _gather(graph, equation, values):
    """Rows of a table, x[tokens], or a window at a place that is known.

    The latter is what JAX makes of x[:, 2:] and x[:, 0] while the batch size has no value.
    """
    value, place = values
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    before, out = equation.invars[0].aval.shape, _shape(equation)
    if _is_lookup(equation):
        places = graph.plain(place, equation.invars[1].aval.shape)
        name = graph.node("Gather", graph.plain(value, before), graph.node("Squeeze", places, graph.integers(-1)))
        return [Value(name, out, tuple(range(len(out))))]
    if not place.constant or len(place.shape) != 1 or numbers.operand_batching_dims:
        raise ValueError(
            "ONNX export: of gather, only slices at places that are known and rows of a table are supported"
        )
    starts = [0] * len(before)
    for axis, start in zip(numbers.start_index_map, place.data, strict=True):
        starts[axis] = int(start)
    ends = [before[a] if sizes[a] == before[a] else starts[a] + sizes[a] for a in range(len(before))]
    plain = Value(graph.plain(value, before), before, tuple(range(len(before))))
    name = graph.cut(plain, before, starts, ends, (1,) * len(before))
    return [Value(graph.reshaped(name, out), out, tuple(range(len(out))))]


def _is_lookup(equation) -> bool:
    """Whether a gather takes whole rows along the first axis, as vectors of words; their numbers are within range."""
    table, places = (atom.aval.shape for atom in equation.invars)
    numbers, out = equation.params["dimension_numbers"], _shape(equation)
    rows = tuple(range(len(places) - 1, len(out)))
    whole = equation.params["slice_sizes"] == (1, *table[1:]) and numbers.offset_dims == rows
    return whole and numbers.start_index_map == numbers.collapsed_slice_dims == (0,)


def _split(graph, equation, values):
    (value,), sizes = values, equation.params["sizes"]
    whole, axis = graph.whole(value, equation.invars[0].aval.shape), value.axes.index(equation.params["axis"])
    names = graph.node("Split", whole, graph.integers(*sizes), outputs=len(sizes), axis=axis)
    return [Value(name, var.aval.shape, value.axes) for name, var in zip(names, equation.outvars, strict=True)]


def _pad(graph, equation, values):
    value, config = values[0], equation.params["padding_config"]
    if any(between for _, _, between in config):
        raise ValueError("ONNX export: padding between elements has no ONNX")
    low, high = ([config[axis][side] for axis in value.axes] for side in (0, 1))
    name = graph.whole(value, equation.invars[0].aval.shape)
    return [
        Value(
            graph.node("Pad", name, graph.integers(*low, *high), graph.stored(values[1], ())),
            _shape(equation),
            value.axes,
        )
    ]


def _iota(graph, equation, values):
    shape, dtype, axis = _shape(equation), equation.params["dtype"], equation.params["dimension"]
    sizes = tuple(size if i == axis else 1 for i, size in enumerate(shape))
    if isinstance(shape[axis], int):
        return [graph.constant(np.arange(shape[axis]).reshape(sizes), dtype)]
    scalar = lambda number: graph.tensor(np.array(number, np.int64))  # noqa: E731
    end = graph.node("Squeeze", graph.size(shape[axis]))
    name = graph.node("Range", scalar(0), end, scalar(1))
    name = graph.node("Cast", name, to=onnx_type(np.empty(0, dtype)))
    return [Value(graph.reshaped(name, sizes), sizes, tuple(range(len(shape))))]


def _dimension(graph, equation, values):
    name = graph.node("Squeeze", graph.size(equation.params["dim"]))
    out = equation.outvars[0].aval
    return [Value(graph.node("Cast", name, to=onnx_type(out)), (), ())]


def _dot(graph, equation, values):
    """Both sides as [batch..., free, contracted] and [batch..., contracted, free]."""
    (left_sum, right_sum), (left_batch, right_batch) = equation.params["dimension_numbers"]
    shapes = [atom.aval.shape for atom in equation.invars]
    free = [
        [axis for axis in range(len(shape)) if axis not in (*summed, *batch)]
        for shape, summed, batch in zip(shapes, (left_sum, right_sum), (left_batch, right_batch), strict=True)
    ]
    out = _shape(equation)
    left = graph.whole(values[0], shapes[0], (*left_batch, *free[0], *left_sum))
    right = graph.whole(values[1], shapes[1], (*right_batch, *right_sum, *free[1]))
    batch, summed = [shapes[1][axis] for axis in right_batch], math.prod(shapes[1][axis] for axis in right_sum)
    columns = math.prod(shapes[1][axis] for axis in free[1])
    simple = len(left_sum) == 1 and len(free[1]) == 1 and (not batch or len(free[0]) == 1)
    if not simple:
        rows = math.prod(shapes[0][axis] for axis in free[0]) if batch else -1
        left = graph.reshaped(left, [*batch, rows, summed])
        right = graph.reshaped(right, [*batch, summed, columns])
    name = graph.node("MatMul", left, right)
    if not simple:
        name = graph.reshaped(name, out)
    return [Value(name, out, tuple(range(len(out))))]


def _convolution(graph, equation, values):
    params, numbers = equation.params, equation.params["dimension_numbers"]
    if params["batch_group_count"] != 1 or any(step != 1 for step in params["lhs_dilation"]):
        raise ValueError("ONNX export: transposed convolutions and those grouped over the batch are not supported")
    shapes = [atom.aval.shape for atom in equation.invars]
    name = graph.node(
        "Conv",
        graph.whole(values[0], shapes[0], numbers.lhs_spec),
        graph.whole(values[1], shapes[1], numbers.rhs_spec),
        strides=params["window_strides"],
        pads=[side[0] for side in params["padding"]] + [side[1] for side in params["padding"]],
        dilations=params["rhs_dilation"],
        group=params["feature_group_count"],
    )
    return [Value(name, _shape(equation), tuple(numbers.out_spec))]


def _pool(op: str):
    def rule(graph, equation, values):
        (value,), before, out, params = values, equation.invars[0].aval.shape, _shape(equation), equation.params
        window, strides, padding = params["window_dimensions"], params["window_strides"], params["padding"]
        if any(step != 1 for step in (*params["base_dilation"], *params["window_dilation"])):
            raise ValueError("ONNX export: pooling with dilation is not supported")
        moved = [i for i in range(len(window)) if (window[i], strides[i], padding[i]) != (1, 1, (0, 0))]
        kept = [axis for axis in range(len(window)) if axis not in moved]
        if not moved:
            return [value]
        if len(kept) != 2:  # of a batch of batches: to one, of one channel
            axes = (*kept, *moved)
            name = graph.reshaped(graph.whole(value, before, axes), [-1, 1, *(before[axis] for axis in moved)])
        else:
            axes = (kept[0], kept[1], *moved)
            name = graph.whole(value, before, axes)
        options = {"count_include_pad": 1} if op == "AveragePool" else {}
        name = graph.node(
            op,
            name,
            kernel_shape=[window[axis] for axis in moved],
            strides=[strides[axis] for axis in moved],
            pads=[padding[axis][0] for axis in moved] + [padding[axis][1] for axis in moved],
            **options,
        )
        if op == "AveragePool":  # JAX has the sum
            name = graph.node("Mul", name, graph.tensor(np.float32(math.prod(window))))
        if len(kept) != 2:
            name = graph.reshaped(name, [out[axis] for axis in axes])
        return [Value(name, out, axes)]

    return rule


def _power(graph, equation, values):
    exponent = graph.constant(equation.params["y"], np.float32)
    name = graph.node("Pow", *[graph.stored(v, v.axes) for v in (values[0], exponent)])
    return [Value(name, values[0].shape, values[0].axes)]


RULES = {
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": _reshape,
    "expand_dims": _reshape,
    "transpose": _transpose,
    "tile": _tile,
    "reduce_sum": _reduce("ReduceSum", np.sum),
    "reduce_max": _reduce("ReduceMax", np.max),
    "reduce_min": _reduce("ReduceMin", np.min),
    "reduce_prod": _reduce("ReduceProd", np.prod),
    "argmax": _argmax,
    "concatenate": _concatenate,
    "slice": _slice,
    "gather": _gather,
    "split": _split,
    "pad": _pad,
    "iota": _iota,
    "dim_as_value": _dimension,
    "dot_general": _dot,
    "conv_general_dilated": _convolution,
    "reduce_window_max": _pool("MaxPool"),
    "reduce_window_sum": _pool("AveragePool"),
    "integer_pow": _power,
    "scan": scan,
}
"""Primitive -> rule(graph, equation, values) -> the values of its results."""
