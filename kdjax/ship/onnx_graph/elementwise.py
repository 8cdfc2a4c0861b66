"""Primitives that compute each element by itself: (operator of ONNX, the same for constants)."""

import math

import numpy as np


def _same(x):
    return x


def _erf(x):
    return np.vectorize(math.erf)(x)


ELEMENTWISE = {
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
