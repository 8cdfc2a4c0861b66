"""Parts of scripts/gpu that measure: the machine, seeds vmapped, the longest kernels of a step, the digits demo."""

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from bench_kdjax import make
from bench_step import cohort_gflop
from gpu_forms import Options

from kdjax.experiment.provenance import revision, versions
from kdjax.training import parallel
from kdjax.training.step import make_train_step

ROOT = Path(__file__).resolve().parent.parent


def clock(call, rounds: int) -> float:
    """Seconds of a call, the median of so many after one that compiles."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))


# ---- the machine


def machine(options: Options, save) -> dict:
    """What it is; the rate of a product of two random matrices, and of copying a large array (read and written)."""
    n = options.size.matrix
    device = jax.devices()[0]
    found = {
        "device": parallel.describe(),
        "backend": jax.default_backend(),
        "memory_bytes": (device.memory_stats() or {}).get("bytes_limit"),
        "versions": versions(),
        "revision": revision(),
        "processors": os.cpu_count(),
        "tflops": {},
    }
    kinds = {
        "float32": (jnp.float32, "highest"),
        "tf32": (jnp.float32, "tensorfloat32"),
        "bfloat16": (jnp.bfloat16, None),
    }
    for kind, (dtype, precision) in kinds.items():
        x, y = (jax.random.normal(jax.random.key(i), (n, n), dtype) for i in range(2))
        product = jax.jit(lambda x, y, precision=precision: jnp.matmul(x, y, precision=precision))
        found["tflops"][kind] = 2e-12 * n**3 / clock(lambda product=product, x=x, y=y: product(x, y), 10)
        save(found)
    large = jax.random.normal(jax.random.key(0), (max(n * n, 2**20) * (1 if options.form == "tiny" else 16),))
    copy = jax.jit(lambda x: x + 1)
    found["copy_gb_per_second"] = 2e-9 * large.nbytes / clock(lambda: copy(large), 10)
    return found


# ---- seeds


def seeds(options: Options, save) -> dict:
    """Method-images a second of kd on several seeds: trained one after another, and vmapped as one program."""
    size, number = options.size, options.size.seeds
    teacher, student = size.pairs[-1].split(",")
    dtype = "float32" if options.form == "tiny" else "bfloat16"
    steps = parallel.steps_per_call(0)
    benches = [
        make(teacher, student, ["kd"], steps=steps, batch=size.batch, seed=seed, dtype=dtype, devices="one")
        for seed in range(number)
    ]
    images = number * steps * size.batch

    def one_after_another():
        for bench in benches:
            bench.cohort._epoch(0, bench.learners)

    rates = {"one after another": images / clock(one_after_another, 2 * size.rounds)}
    save({"rates": rates})
    rates["vmapped"] = images / clock(_vmapped(benches, steps), 2 * size.rounds)
    return {"rates": rates, "seeds": number, "steps_per_call": steps, "pair": size.pairs[-1], "dtype": dtype}


def _vmapped(benches, steps: int):
    """A call that takes `steps` steps of all seeds at once, their batches made and their losses fetched likewise."""
    feeds, stage = [bench.cohort.feed for bench in benches], benches[0].learners[0].program.stages[-1]
    variables, train = benches[0].cohort.teacher_variables, make_train_step(stage.objective, stage.optimizer)
    teach = jax.jit(jax.vmap(benches[0].teach, in_axes=(None, 0)))
    stack = lambda *leaves: jnp.stack(leaves)  # noqa: E731

    def many(state, batch, taught, labels):
        if steps == 1:
            return train(state, *parallel.first((batch, taught)), variables, labels)
        return jax.lax.scan(lambda state, xs: train(state, *xs, variables, labels), state, (batch, taught))

    advance = jax.jit(jax.vmap(many, in_axes=(0, 0, 0, None)), donate_argnums=0)
    held = [jax.tree.map(stack, *(bench.learners[0].state for bench in benches))]

    def call():
        batches = [batch for feed in feeds for _, _, batch in feed.calls(0, 0)]
        together = jax.tree.map(stack, *batches)
        held[0], losses = advance(held[0], together, teach(variables, together["input"]), feeds[0].targets)
        return jax.device_get(losses)

    return call


# ---- where the time goes


def profile(options: Options, save) -> dict:
    """The kernels that take longest while kd trains, in a trace of one epoch, and how many calls it dispatches."""
    size = options.size
    dtype = "float32" if options.form == "tiny" else "bfloat16"
    found = {"dtype": dtype, "steps": size.steps, "pairs": {}}
    for pair in size.pairs:
        bench = make(*pair.split(","), ["kd"], steps=size.steps, batch=size.batch, dtype=dtype, devices="one")
        bench.epoch(0)
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            with jax.profiler.trace(folder):
                bench.epoch(1)
            traced = time.perf_counter() - begin
            kernels, dispatched, lines = _events(next(Path(folder).rglob("*.xplane.pb")))
        if not kernels:
            raise RuntimeError(f"the trace has no kernels; it has {lines}")
        total = sum(seconds for seconds, _ in kernels.values())
        top = sorted(kernels.items(), key=lambda item: -item[1][0])[:15]
        found["pairs"][pair] = {
            "seconds": traced,
            "busy": total / traced,
            "kernels_per_step": sum(count for _, count in kernels.values()) / size.steps,
            "dispatches_per_step": dispatched / size.steps,
            "gflop_per_step": cohort_gflop(bench),
            "top": [{"kernel": name, "share": seconds / total, "count": n} for name, (seconds, n) in top],
        }
        save(found)
    return found


def _events(path: Path) -> tuple[dict, int, list[str]]:
    """({kernel: (seconds, how often)} on the devices, computations dispatched by the host, names of lines) of a trace.

    A CPU's kernels are found among the host's own events.
    """
    data = jax.profiler.ProfileData.from_file(str(path))
    planes = [plane for plane in data.planes if "/device:" in plane.name]
    seconds, counts, dispatched = Counter(), Counter(), 0
    for plane in data.planes:
        for line in plane.lines:
            device = plane in planes and line.name.startswith("Stream")
            for event in line.events:
                dispatched += event.name.endswith("Execute") and "PjRt" in event.name
                if device or (not planes and not event.name.startswith(("Pjit", "PjRt", "$", "end: ", "Thread"))):
                    seconds[event.name[:120]] += 1e-9 * event.duration_ns
                    counts[event.name[:120]] += 1
    lines = [f"{plane.name}: {', '.join(line.name for line in plane.lines)}" for plane in data.planes]
    return {name: (seconds[name], counts[name]) for name in seconds}, dispatched, lines


# ---- the digits demo


def digits(options: Options, save) -> dict:
    """Seconds of `kdjax run --config=configs/digits.py` as a command, its compilation cache empty, then filled."""
    found = {"arguments": options.size.demo, "took": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("empty cache", "filled cache"):
            command = [
                "-m",
                "kdjax.cli",
                "run",
                "--config=configs/digits.py",
                f"--out={folder}/{name}",
                *found["arguments"],
            ]
            environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": f"{folder}/xla"}
            start = time.perf_counter()
            subprocess.run([sys.executable, *command], env=environment, cwd=ROOT, check=True)
            found["took"][name] = time.perf_counter() - start
            save(found)
    return found
