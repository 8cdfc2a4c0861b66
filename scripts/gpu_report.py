"""gpu.json of scripts/gpu as a page to read."""


def markdown(results: dict) -> str:
    parts = []
    for name, record in results.items():
        seconds = f", {record['seconds']} s" if "seconds" in record else ""
        parts.append(f"## {name} ({record.get('form', '')}{seconds})")
        parts += [f"**{key}**: {record[key]}" for key in ("failed", "skipped") if key in record]
        try:
            parts.append(SECTIONS[name](record))
        except (KeyError, IndexError, TypeError):  # a part that was ended early has not written everything
            parts.append("Not finished; gpu.json has what there is.")
    return "\n\n".join(["# What a GPU had to answer", *parts, ""])


def table(head: list[str], rows: list[list]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(map(show, row))} |" for row in rows)])


def show(value) -> str:
    if isinstance(value, bool) or not isinstance(value, float):
        return "" if value is None else str(value).replace("|", "\\|")
    return f"{value:.2e}" if 0 < abs(value) < 0.01 else f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"


def machine(record: dict) -> str:
    versions = ", ".join(f"{name} {value}" for name, value in record["versions"].items())
    rates = table(["product of two random matrices", "TFLOP/s"], [list(row) for row in record["tflops"].items()])
    return (
        f"{record['device']}, {record['processors']} processors; {versions}; revision {record['revision']}. "
        f"Copies move {record['copy_gb_per_second']:.0f} GB/s, counting bytes read and written.\n\n{rates}"
    )


def goldens(record: dict) -> str:
    rows = [[row[key] for key in ("file", "case", "in", "value", "gradient")] for row in record["rows"]]
    return table(["file", "case", "products in", "value, relative error", "gradient, of the largest entry"], rows)


def devices(record: dict) -> str:
    kinds = ("first_loss", "first_parameters", "last_loss", "last_parameters")
    rows = [[row["method"], row["devices"], *(row[kind] for kind in kinds)] for row in record["rows"]]
    head = ["method", "devices", "loss of the first step", "parameters after it", "loss of the last", "parameters"]
    about = "Relative differences between pmap and one device without; of parameters together, by their norm."
    return f"{about} {record['steps']} steps.\n\n" + table(head, rows)


def precision(record: dict) -> str:
    rows = [[kind, row["first"], row["last"], row["largest"]] for kind, row in record["apart"].items()]
    head = ["arithmetic", "first", "last", "largest"]
    return f"Relative difference of the mean loss of {record['every']} steps from float32's.\n\n" + table(head, rows)


def resume(record: dict) -> str:
    rows = [[row["flags"], row["method"], row["equal"]] for row in record["rows"]]
    exports = [[row["format"], row.get("checked"), row.get("here"), row.get("skipped")] for row in record["exports"]]
    return (
        f"Deterministic: `{record['flags']}`.\n\n"
        + table(["flags", "method", "every bit equal after two stops"], rows)
        + "\n\n"
        + table(["export", "logits, kdjax's own check", "against safetensors, here", ""], exports)
    )


def speed(record: dict) -> str:
    found = []
    for pair, measured in record["pairs"].items():
        rows = [
            [side]
            + [row.get(key) for key in ("rate", "kdjax_same", "kdjax_bfloat16", "gflops", "spread", "warm_seconds")]
            + [row["peak_bytes"] / 2**20 if row.get("peak_bytes") else None]
            for side, row in measured["summary"].items()
        ]
        head = ["side", "method-images/s", "kdjax in the same over it", "kdjax in bfloat16 over it", "GFLOP/s"]
        found.append(f"{pair}\n\n" + table([*head, "slowest / fastest round", "s to warm up", "peak MiB"], rows))
        found += [f"ended: {side}: {why}" for side, why in measured["ended"].items()]
    about = f"{', '.join(record['methods'])}; batch {record['batch']}; a round is {record['steps']} steps of each."
    return "\n\n".join([about + f" Targets: {record['targets']}.", *found])


def compiling(record: dict) -> str:
    keys = ("warm_seconds", "compile_seconds", "longest_compile_seconds", "ended")
    rows = [[pair, side, *map(row.get, keys)] for pair, sides in record["pairs"].items() for side, row in sides.items()]
    return table(["pair", "side", "s until warm", "s of compiling, all threads", "longest program, s", "ended"], rows)


def calls(record: dict) -> str:
    rows = [[number, rate] for number, rate in record["rates"].items()]
    return f"{record['pair']}: {', '.join(record['methods'])}.\n\n" + table(["steps a call", "method-images/s"], rows)


def seeds(record: dict) -> str:
    rows = [[how, rate] for how, rate in record["rates"].items()]
    return f"{record['seeds']} seeds of kd, {record['pair']}, {record['dtype']}.\n\n" + table(
        ["trained", "method-images/s"], rows
    )


def profile(record: dict) -> str:
    found = []
    for pair, row in record["pairs"].items():
        found.append(
            f"{pair}, {record['dtype']}: {row['kernels_per_step']:.0f} kernels and {row['dispatches_per_step']:.2f} "
            f"dispatches a step; busy {100 * row['busy']:.0f} % of {row['seconds']:.3g} s."
        )
        found.append(table(["kernel", "share", "times"], [[k["kernel"], k["share"], k["count"]] for k in row["top"]]))
    return "\n\n".join(found)


def digits(record: dict) -> str:
    return table(["digits demo", "seconds"], [list(row) for row in record["took"].items()])


def result(record: dict) -> str:
    rows = [[row["run"], row["top1"]] for row in record["finished"]]
    unfinished, left = (", ".join(record[key]) or "none" for key in ("unfinished", "left"))
    return f"Unfinished: {unfinished}. Too large to travel: {left}.\n\n" + table(["run", "top-1"], rows)


SECTIONS = {
    "machine": machine,
    "goldens": goldens,
    "devices": devices,
    "precision": precision,
    "resume": resume,
    "compiling": compiling,
    "table": speed,
    "calls": calls,
    "seeds": seeds,
    "profile": profile,
    "digits": digits,
    "result": result,
}
