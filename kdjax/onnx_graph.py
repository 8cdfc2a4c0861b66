"""A JAX function as an ONNX graph: its jaxpr, primitive by primitive.

Networks of JAX keep channels last, ONNX and its runtimes first. A tensor of the graph is therefore stored in an order
of axes of its own (`Value.axes`): transpositions cost nothing, arithmetic follows its operands, and no axis moves
between two convolutions. What depends on weights alone is computed here, and what scales and shifts the channels of a
convolution, such as BatchNorm in evaluation mode, is folded into its weights.

jax2onnx was tried first (0.13.0 and 0.17.1, with jax 0.10.2 and flax 0.12.8): it fails on max-pooling, its newest
version on ResNets too, and that version needs an older Orbax.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 18
"""Of 2022: the runtimes of phones know it."""


@dataclass(frozen=True)
class Value:
    """What a variable of the jaxpr is in the graph."""

    data: np.ndarray | str  # a constant, or the name of a tensor
    shape: tuple  # of the variable, 1 where it is to be broadcast; numbers, or symbolic dimensions
    axes: tuple[int, ...]  # axis k of the tensor is axis axes[k] of the variable; in order for a constant

    @property
    def constant(self) -> bool:
        return isinstance(self.data, np.ndarray)


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
    graph = Graph({name: shape.index(name) for name in symbols}, input_name)
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


class Graph:
    """Nodes and constant tensors of a graph that is being made."""

    def __init__(self, symbols: dict[str, int], input_name: str):
        """`symbols`: name of a dimension of any size -> the axis of the input that has it."""
        self.nodes, self.tensors, self.count = [], {}, 0
        self.symbols, self.input_name, self.made = symbols, input_name, {}

    def run(self, jaxpr, constants: list[Value], arguments: list[Value]) -> list[Value]:
        """The results of a jaxpr, its equations appended to the graph."""
        known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *arguments], strict=True))
        read = lambda atom: self.constant(atom.val, atom.aval.dtype) if hasattr(atom, "val") else known[atom]  # noqa: E731
        for equation in jaxpr.eqns:
            inner = next((equation.params[key] for key in _CALLS if key in equation.params), None)
            values = [read(atom) for atom in equation.invars]
            if inner is not None and equation.primitive.name in _CALLERS:
                closed = inner if hasattr(inner, "consts") else jax.extend.core.ClosedJaxpr(inner, ())
                results = self.run(closed.jaxpr, [self.constant(c) for c in closed.consts], values)
            else:
                results = self.apply(equation, values)
            known.update(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def apply(self, equation, values: list[Value]) -> list[Value]:
        name = equation.primitive.name
        if name in _ELEMENTWISE:
            return [self.elementwise(equation, values)]
        if name != "broadcast_in_dim" and values and self.known(equation, values):
            results = equation.primitive.bind(*[value.data for value in values], **equation.params)
            results = results if equation.primitive.multiple_results else [results]
            return [self.constant(result) for result in results]
        if name in _RULES:
            return _RULES[name](self, equation, values)
        raise ValueError(f"ONNX export: the network uses {name} of JAX, for which kdjax knows no ONNX")

    def known(self, equation, values) -> bool:
        """Whether everything about an equation is constant, so that JAX can compute it now."""
        sizes = [size for var in equation.outvars for size in var.aval.shape]
        whole = (v.constant and v.shape == a.aval.shape for v, a in zip(values, equation.invars, strict=True))
        return all(isinstance(size, int) for size in sizes) and all(whole)

    # ---- tensors

    def constant(self, array, dtype=None) -> Value:
        array = np.asarray(array, dtype)
        return Value(array, array.shape, tuple(range(array.ndim)))

    def tensor(self, array: np.ndarray) -> str:
        """The name of a constant tensor."""
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.made:
            self.made[key] = f"constant_{len(self.tensors)}"
            self.tensors[self.made[key]] = np.ascontiguousarray(array).reshape(array.shape)
        return self.made[key]

    def integers(self, *values: int) -> str:
        return self.tensor(np.array(values, np.int64))

    def node(self, op: str, *inputs: str, outputs: int = 0, **attributes):
        """Appends a node; the name of its output, or, where `outputs` is given, the names of so many."""
        self.count += 1
        names = [f"{op}_{self.count}" + (f"_{i}" if outputs else "") for i in range(outputs or 1)]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"{op}_{self.count}", **attributes))
        return names if outputs else names[0]

    def stored(self, value: Value, axes: tuple[int, ...]) -> str:
        """The name of the tensor with its axes in that order, not yet broadcast."""
        if value.constant:
            return self.tensor(value.data.transpose(axes))
        if value.axes == axes:
            return value.data
        return self.node("Transpose", value.data, perm=[value.axes.index(axis) for axis in axes])

    def whole(self, value: Value, shape, axes=None) -> str:
        """The name of the tensor, broadcast to its shape, with its axes in that order; None: as they are."""
        axes = value.axes if axes is None else axes
        name = self.stored(value, axes)
        if value.shape != tuple(shape):
            name = self.node("Expand", name, self.shape([shape[axis] for axis in axes]))
        return name

    def plain(self, value: Value, shape) -> str:
        return self.whole(value, shape, tuple(range(len(shape))))

    def shape(self, sizes) -> str:
        """The name of a tensor that holds these sizes."""
        if all(isinstance(size, int) for size in sizes):
            return self.integers(*sizes)
        parts = [self.integers(size) if isinstance(size, int) else self.size(size) for size in sizes]
        return self.node("Concat", *parts, axis=0)

    def size(self, size) -> str:
        """The name of a tensor [1] int64 with the value of a symbolic dimension."""
        if str(size) not in self.symbols:
            raise ValueError(
                f"ONNX export: the network needs a dimension of size {size}, for which kdjax knows no ONNX"
            )
        axis = self.symbols[str(size)]
        return self.node("Shape", self.input_name, start=axis, end=axis + 1)

    def reshaped(self, name: str, sizes) -> str:
        """Reshape; one size that is not known is left to the runtime."""
        unknown = [size for size in sizes if not isinstance(size, int)]
        if len(unknown) > 1:
            return self.node("Reshape", name, self.shape(sizes))
        return self.node("Reshape", name, self.integers(*[size if isinstance(size, int) else -1 for size in sizes]))

    def cut(self, value: Value, before, starts, ends, strides) -> str:
        """The name of a slice of a tensor of the shape `before`, given axis by axis of the variable."""
        chosen = [
            (value.axes.index(axis), *part)
            for axis, part in enumerate(zip(starts, ends, strides, strict=True))
            if part[1] != before[axis] or (part[0], part[2]) != (0, 1)
        ]
        name = self.whole(value, before)
        if not chosen:
            return name
        places, starts, ends, strides = zip(*chosen, strict=True)
        return self.node("Slice", name, *(self.integers(*part) for part in (starts, ends, places, strides)))

    # ---- arithmetic

    def elementwise(self, equation, values: list[Value]) -> Value:
        out, (compute, emit) = equation.outvars[0].aval, _ELEMENTWISE[equation.primitive.name]
        ranked = [value for value in values if len(value.shape) == len(out.shape)]
        shape = tuple(size if any(v.shape[axis] != 1 for v in ranked) else 1 for axis, size in enumerate(out.shape))
        if all(value.constant for value in values):
            with np.errstate(all="ignore"):
                return self.constant(np.broadcast_to(compute(*[v.data for v in values]), shape), out.dtype)
        axes = next((v.axes for v in ranked if not v.constant), tuple(range(len(out.shape))))
        if equation.primitive.name == "sub" and values[1].constant and out.dtype == np.float32:  # so that it folds
            values, emit = [values[0], self.constant(-values[1].data)], "Add"
        names = [self.stored(value, axes if len(value.shape) == len(axes) else ()) for value in values]
        zero = values[-1].constant and not values[-1].data.any()
        if emit == "Cast":
            name = self.node("Cast", *names, to=_type(out))
        elif emit == "Max" and zero and out.dtype == np.float32:  # what runtimes join with a convolution
            name = self.node("Relu", names[0])
        else:
            name = emit(self, *names) if callable(emit) else self.node(emit, *names)
        return Value(name, shape, axes)


def _type(array) -> int:
    """ONNX's number for the dtype of an array or of what has a dtype."""
    return helper.np_dtype_to_tensor_dtype(np.dtype(array.dtype))


_CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_CALLERS = ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "remat", "checkpoint")


def _same(x):
    return x


def _erf(x):
    return np.vectorize(math.erf)(x)


_ELEMENTWISE = {
    "add": (np.add, "Add"),
    "sub": (np.subtract, "Sub"),
    "mul": (np.multiply, "Mul"),
    "div": (lambda x, y: x / y if np.result_type(x).kind == "f" else (x - np.fmod(x, y)) // y, "Div"),  # to zero
    "rem": (np.fmod, lambda g, x, y: g.node("Mod", x, y, fmod=1)),
    "pow": (np.power, "Pow"),
    "max": (np.maximum, "Max"),
    "min": (np.minimum, "Min"),
    "eq": (np.equal, "Equal"),
    "ne": (np.not_equal, lambda g, x, y: g.node("Not", g.node("Equal", x, y))),
    "ge": (np.greater_equal, "GreaterOrEqual"),
    "gt": (np.greater, "Greater"),
    "le": (np.less_equal, "LessOrEqual"),
    "lt": (np.less, "Less"),
    "and": (np.logical_and, "And"),
    "or": (np.logical_or, "Or"),
    "not": (np.logical_not, "Not"),
    "neg": (np.negative, "Neg"),
    "abs": (np.abs, "Abs"),
    "sign": (np.sign, "Sign"),
    "exp": (np.exp, "Exp"),
    "log": (np.log, "Log"),
    "sqrt": (np.sqrt, "Sqrt"),
    "rsqrt": (lambda x: 1 / np.sqrt(x), lambda g, x: g.node("Reciprocal", g.node("Sqrt", x))),
    "square": (np.square, lambda g, x: g.node("Mul", x, x)),
    "tanh": (np.tanh, "Tanh"),
    "logistic": (lambda x: 1 / (1 + np.exp(-x)), "Sigmoid"),
    "erf": (_erf, "Erf"),
    "erfc": (lambda x: 1 - _erf(x), lambda g, x: g.node("Sub", g.tensor(np.float32(1)), g.node("Erf", x))),
    "floor": (np.floor, "Floor"),
    "ceil": (np.ceil, "Ceil"),
    "sin": (np.sin, "Sin"),
    "cos": (np.cos, "Cos"),
    "is_finite": (np.isfinite, lambda g, x: g.node("Equal", g.node("Sub", x, x), g.tensor(np.float32(0)))),
    "select_n": (lambda c, x, y: np.where(c, y, x), lambda g, c, x, y: g.node("Where", c, y, x)),
    "clamp": (lambda low, x, high: np.clip(x, low, high), lambda g, low, x, high: g.node("Clip", x, low, high)),
    "convert_element_type": (_same, "Cast"),
    "stop_gradient": (_same, "Identity"),
    "copy": (_same, "Identity"),
    "copy_p": (_same, "Identity"),
    "optimization_barrier": (_same, "Identity"),
}
"""Primitive -> (the same in numpy, for constants; the ONNX operator, or what emits it: fn(graph, names))."""


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
    name = graph.node("Cast", name, to=_type(out))
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
    """A window at a place that is known: what JAX makes of x[:, 2:] and x[:, 0] while the batch size has no value."""
    value, place = values
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    before, out = equation.invars[0].aval.shape, _shape(equation)
    if not place.constant or len(place.shape) != 1 or numbers.operand_batching_dims:
        raise ValueError("ONNX export: of gather, only slices at places that are known are supported")
    starts = [0] * len(before)
    for axis, start in zip(numbers.start_index_map, place.data, strict=True):
        starts[axis] = int(start)
    ends = [before[a] if sizes[a] == before[a] else starts[a] + sizes[a] for a in range(len(before))]
    plain = Value(graph.plain(value, before), before, tuple(range(len(before))))
    name = graph.cut(plain, before, starts, ends, (1,) * len(before))
    return [Value(graph.reshaped(name, out), out, tuple(range(len(out))))]


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
    name = graph.node("Cast", name, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    return [Value(graph.reshaped(name, sizes), sizes, tuple(range(len(shape))))]


def _dimension(graph, equation, values):
    name = graph.node("Squeeze", graph.size(equation.params["dim"]))
    out = equation.outvars[0].aval
    return [Value(graph.node("Cast", name, to=_type(out)), (), ())]


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


_RULES = {
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
}
"""Primitive -> rule(graph, equation, values) -> the values of its results."""


def fold(nodes: list, tensors: dict) -> tuple[list, dict]:
    """The nodes and tensors in use, constants per channel after a convolution folded into its weights and bias."""
    nodes = _used(_with_relus(nodes, tensors))
    readers = Counter(name for node in nodes for name in node.input)
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
    used = {name for node in kept for name in node.input}
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
            needed.update(node.input)
            kept.append(node)
    return kept[::-1]


def _per_channel(constant: np.ndarray, channels: int) -> np.ndarray | None:
    """[channels] of a constant that has one value a channel of [B, C, H, W], or one for all; else None."""
    if constant.size == 1:
        return np.full(channels, constant.reshape(()), constant.dtype)
    fits = constant.ndim == 4 and constant.shape == (1, channels, 1, 1)
    return constant.reshape(channels) if fits else None


def _absorb(convolution, op: str, values: np.ndarray, tensors: dict) -> None:
    """Makes a convolution add to its channels, or multiply them by, `values` [channels]; its tensors become its own."""
    weight = tensors[convolution.input[1]]
    bias = tensors[convolution.input[2]] if len(convolution.input) > 2 else np.zeros(len(values), weight.dtype)
    if op == "Mul":
        weight, bias = weight * values[:, None, None, None], bias * values
    else:
        bias = bias + values
    names = f"{convolution.name}_weight", f"{convolution.name}_bias"
    tensors.update(zip(names, (weight, bias), strict=True))
    del convolution.input[1:]
    convolution.input.extend(names)
