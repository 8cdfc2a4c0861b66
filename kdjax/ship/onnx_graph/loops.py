"""jax.lax.scan as ONNX's Scan: a graph within the graph, which sees the tensors around it by their names."""

from onnx import helper

from kdjax.ship.onnx_graph.graph import Value, described


def scan(graph, equation, values):
    """The rule of the primitive: the carry's last values, then what each turn gives, stacked."""
    params, shapes = equation.params, [atom.aval.shape for atom in equation.invars]
    constants, carried = _parts(params)
    given = [graph.plain(v, shape) for v, shape in zip(values[constants:], shapes[constants:], strict=True)]
    body = _body(graph, params["jaxpr"], values[:constants])
    scanned, stacked = len(given) - carried, len(equation.outvars) - carried
    backwards = int(params["reverse"])
    names = graph.node(
        "Scan",
        *given,
        outputs=len(equation.outvars),
        body=body,
        num_scan_inputs=scanned,
        scan_input_directions=[backwards] * scanned,
        scan_output_directions=[backwards] * stacked,
    )
    outs = [var.aval.shape for var in equation.outvars]
    return [Value(name, shape, tuple(range(len(shape)))) for name, shape in zip(names, outs, strict=True)]


def _parts(params) -> tuple[int, int]:
    """How many of a scan's inputs are constants, and how many its carry: since JAX 0.12 a tree of inputs tells it."""
    if "ft_in" not in params:
        return params["num_consts"], params["num_carry"]
    constants, carry, _ = params["ft_in"].unpack()
    return len(constants), len(carry)


def _body(graph, closed, constants: list[Value]):
    """The graph of one turn: (carry..., what is scanned...) -> (carry..., what is stacked...)."""
    around, graph.nodes = graph.nodes, []
    try:
        own = closed.jaxpr.invars[len(constants) :]
        inputs = [described(graph.name("turn"), var.aval) for var in own]
        arguments = [
            Value(info.name, var.aval.shape, tuple(range(len(var.aval.shape))))
            for info, var in zip(inputs, own, strict=True)
        ]
        results = graph.run(closed.jaxpr, [graph.constant(c) for c in closed.consts], [*constants, *arguments])
        plain = [graph.plain(r, aval.shape) for r, aval in zip(results, closed.out_avals, strict=True)]
        names = [graph.node("Identity", name) for name in plain]  # one may be an input, or a constant around it
        outputs = [described(name, aval) for name, aval in zip(names, closed.out_avals, strict=True)]
        return helper.make_graph(graph.nodes, graph.name("body"), inputs, outputs)
    finally:
        graph.nodes = around


def captured(node) -> list[str]:
    """The names that a node reads: its inputs, and those that a graph within it reads, its own among them."""
    names = list(node.input)
    for attribute in node.attribute:
        for inner in attribute.g.node if attribute.HasField("g") else ():
            names += captured(inner)
    return names
