"""An ONNX graph as it grows: tensors in an order of axes of their own, constants that are computed here."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
from onnx import helper

from kdjax.ship.onnx_graph.elementwise import ELEMENTWISE


@dataclass(frozen=True)
class Value:
    """What a variable of the jaxpr is in the graph."""

    data: np.ndarray | str  # a constant, or the name of a tensor
    shape: tuple  # of the variable, 1 where it is to be broadcast; numbers, or symbolic dimensions
    axes: tuple[int, ...]  # axis k of the tensor is axis axes[k] of the variable; in order for a constant

    @property
    def constant(self) -> bool:
        return isinstance(self.data, np.ndarray)


class Graph:
    """Nodes and constant tensors of a graph that is being made."""

    def __init__(self, symbols: dict[str, int], input_name: str, rules: dict[str, Callable]):
        """`symbols`: name of a dimension of any size -> the axis of `input_name` that has it; `rules`: as `RULES`."""
        self.rules = rules
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
        if name in ELEMENTWISE:
            return [self.elementwise(equation, values)]
        if name != "broadcast_in_dim" and values and self.known(equation, values):
            results = equation.primitive.bind(*[value.data for value in values], **equation.params)
            results = results if equation.primitive.multiple_results else [results]
            return [self.constant(result) for result in results]
        if name in self.rules:
            return self.rules[name](self, equation, values)
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
        name = self.name(op)
        names = [f"{name}_{i}" for i in range(outputs)] if outputs else [name]
        self.nodes.append(helper.make_node(op, inputs, names, name=name, **attributes))
        return names if outputs else name

    def name(self, of: str) -> str:
        """A name that nothing has yet."""
        self.count += 1
        return f"{of}_{self.count}"

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
        out, (compute, emit) = equation.outvars[0].aval, ELEMENTWISE[equation.primitive.name]
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
            name = self.node("Cast", *names, to=onnx_type(out))
        elif emit == "Max" and zero and out.dtype == np.float32:  # what runtimes join with a convolution
            name = self.node("Relu", names[0])
        else:
            name = emit(self, *names) if callable(emit) else self.node(emit, *names)
        return Value(name, shape, axes)


def described(name: str, array):
    """ONNX's description of an input or output: its name, and the type and shape of what has a dtype and a shape."""
    sizes = [size if isinstance(size, int) else str(size) for size in array.shape]
    return helper.make_tensor_value_info(name, onnx_type(array), sizes)


def onnx_type(array) -> int:
    """ONNX's number for the dtype of an array or of what has a dtype."""
    return helper.np_dtype_to_tensor_dtype(np.dtype(array.dtype))


_CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")


_CALLERS = ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "remat", "checkpoint")
