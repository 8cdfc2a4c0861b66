"""Parts of scripts/gpu that compare speeds: kdjax against PyTorch, and calls of one step against calls of many."""

import jax
import numpy as np
from bench_side import turns
from gpu_forms import Options, absent

TARGETS = {"compiled bfloat16": 2.0, "eager float32": 5.0}
"""What kdjax in bfloat16 is to be times PyTorch: the first compiled in bfloat16, the second as a loop comes."""


def compiling(options: Options, save) -> dict:
    """Seconds until kdjax's sides of `table` are warm: kd alone, then all methods; what compiles is cached for others.

    The time of a GPU's compiler is most of a short run's, and what it has timed for one program it uses for the next.
    """
    size, found = options.size, {"methods": options.size.methods, "pairs": {}}
    for pair in size.pairs:
        rows = found["pairs"][pair] = {}
        for number, methods in enumerate((size.methods[:1], size.methods)):
            shared = {"kind": "kdjax", "pair": pair, "methods": methods, "steps": size.steps, "batch": size.batch}
            sides = {f"{dtype}, {', '.join(methods)}": ({"dtype": dtype, **shared}, None) for dtype in _dtypes(options)}
            share = options.seconds / len(size.pairs) * (0.35, 0.6)[number]
            told = turns(sides, 0, share, warm=1.0)
            rows |= told["warm"] | {name: {"ended": why} for name, why in told["ended"].items()}
            save(found)
    return found


def table(options: Options, save) -> dict:
    """Method-images a second of six methods, both sides in float32 (products in tf32) and bfloat16, in turns."""
    size, device = options.size, "cpu" if jax.default_backend() == "cpu" else "cuda"
    found = {"batch": size.batch, "steps": size.steps, "methods": size.methods, "targets": TARGETS, "pairs": {}}
    for pair in size.pairs:
        shared = {"pair": pair, "methods": size.methods, "steps": size.steps, "batch": size.batch}
        sides = {f"kdjax {dtype}": ({"kind": "kdjax", "dtype": dtype, **shared}, None) for dtype in _dtypes(options)}
        if not absent("torch"):
            for name, own in _torch(options).items():
                sides[f"torch {name}"] = ({"kind": "torch", "device": device, **own, **shared}, None)
        measured = turns(sides, size.rounds, options.seconds / len(size.pairs) - 5)
        found["pairs"][pair] = {**measured, "summary": _summary(measured, size)}
        save(found)
    return found


def _dtypes(options: Options) -> tuple[str, ...]:
    return ("float32",) if options.form == "tiny" else ("float32", "bfloat16")


def _torch(options: Options) -> dict[str, dict]:
    """PyTorch's sides: images on the device but for one, which loads them in processes as the repositories do."""
    here = {"resident": True}
    fast = {**here, "channels_last": True, "mixed": True}
    compiled = {"compiled": "inductor", "watched": False}
    if options.form == "tiny":  # traced as for the compiler, without one
        return {"eager float32": here, "compiled bfloat16": {**fast, **compiled, "compiled": "aot_eager"}}
    chosen = {"eager float32": here, "compiled bfloat16": {**fast, **compiled}}
    if options.form == "full":
        chosen["eager float32, loader"] = {"workers": 8}
        chosen["eager bfloat16"] = fast
        chosen["compiled float32"] = {**here, **compiled}
    return chosen


def _summary(measured: dict, size) -> dict:
    """Of each side: its best half of rounds' median rate, its share of it, memory, seconds to warm up."""
    count = size.steps * size.batch * len(size.methods)
    rows = {}
    for side, warm in measured["warm"].items():
        seconds = [row["seconds"] for row in measured["rows"] if row["side"] == side]
        if seconds:
            median = float(np.median(seconds))
            rows[side] = {"rate": count / median, "spread": max(seconds) / min(seconds), "rounds": len(seconds)}
            rows[side] |= {key: warm.get(key) for key in ("warm_seconds", "peak_bytes")}
            if "gflop" in warm:
                rows[side]["gflops"] = warm["gflop"] * size.steps / median
    best = rows.get("kdjax bfloat16", rows.get("kdjax float32"))
    for side, row in rows.items():
        if best and side.startswith("torch"):
            own = rows.get("kdjax float32" if "float32" in side else "kdjax bfloat16", best)
            row |= {"kdjax_same": own["rate"] / row["rate"], "kdjax_bfloat16": best["rate"] / row["rate"]}
    return rows


def calls(options: Options, save) -> dict:
    """Method-images a second of kd and attention by steps a call."""
    size = options.size
    names = ("kd", "attention")[: len(size.methods)]
    steps = size.steps if options.form == "tiny" else max(256, size.steps)
    shared = {"kind": "kdjax", "pair": size.pairs[-1], "methods": names, "steps": steps, "batch": size.batch}
    sides = {str(number): ({**shared, "steps_per_call": number}, None) for number in size.calls}
    measured = turns(sides, size.rounds, options.seconds - 5)
    rates = {}
    for name in sides:
        seconds = [row["seconds"] for row in measured["rows"] if row["side"] == name]
        rates[name] = steps * size.batch * len(names) / float(np.median(seconds)) if seconds else None
    return {**measured, "pair": size.pairs[-1], "methods": names, "steps": steps, "rates": rates}
