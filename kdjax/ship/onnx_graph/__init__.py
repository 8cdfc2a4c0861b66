"""A JAX function as an ONNX graph: `convert`, the graph as it grows, a rule for each primitive, and what is folded."""
