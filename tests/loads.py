"""Loads compiled programs again and again, in processes of their own, and counts the processes that crash.

`scripts/loads` runs it and writes results/reliability/loads.json and loads.md, a part for each version of JAX.
"""

import argparse
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.experimental import serialize_executable

from kdjax import models
from kdjax.files import read_json, write_json, write_text
from kdjax.training import mappings

ROOT = Path(__file__).resolve().parent.parent
STACKS = (64, 256, 1024, 8192, 65536)
"""KB a thread. Linux gives 8,192, 2,048 where `ulimit -s` is unlimited."""
SMALL = "resnet8"
"""The network whose programs are held until none can be loaded, 3 GB of them."""
COHORT = ("-m", "kdjax.cli", "run", "--config=tests/tiny_config.py:methods=student+layered")


def compiled(name: str):
    """The train step of a network, a step of gradient descent on 32-pixel images, compiled."""
    model, image = getattr(models, name)(num_classes=10), jax.ShapeDtypeStruct((4, 32, 32, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x), image)

    def loss(params, stats, image):
        outputs, _ = model.apply({"params": params, "batch_stats": stats}, image, train=True, mutable=["batch_stats"])
        return outputs.logits.mean()

    def step(variables, image):
        grads = jax.grad(loss)(variables["params"], variables["batch_stats"], image)
        return jax.tree.map(lambda p, g: p - g, variables["params"], grads)

    return jax.jit(step).lower(variables, image).compile()


def load(file: str, loads: int, stack: int, hold: bool) -> None:
    """Loads a program so many times in two threads; prints how many programs there have been after each."""
    program, held, devices = pickle.loads(Path(file).read_bytes()), [], jax.devices()
    threading.stack_size(1024 * stack)

    def once(number):
        loaded = serialize_executable.deserialize_and_load(*program, execution_devices=devices[:1])
        held.extend([loaded] * hold)
        print(number + 1, mappings.left(), flush=True)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(once, range(loads)))


def process(*arguments, cache="") -> tuple[str, list[str]]:
    """("done", or the signal or status that ended a process; the lines that it printed)."""
    environment = {**os.environ, **({"JAX_COMPILATION_CACHE_DIR": cache} if cache else {})}
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    how = signal.Signals(-done.returncode).name if done.returncode < 0 else f"status {done.returncode}"
    return how if done.returncode else "done", done.stdout.splitlines()


def measure(folder: Path, name: str, loads: int, cohorts: int) -> dict:
    """What became of the processes, by what they did."""
    for model in (name, SMALL):
        (folder / model).write_bytes(pickle.dumps(serialize_executable.serialize(compiled(model))))
    worker = ("-m", "tests.loads", "--file")
    measured = {"model": name, "loads": loads, "stacks": {}}
    for stack in STACKS:
        how, lines = process(*worker, str(folder / name), f"--loads={loads}", f"--stack={stack}")
        measured["stacks"][str(stack)] = {"ended": how, "loads": len(lines)}
        print(f"stacks of {stack} KB: {how} after {len(lines)} loads", flush=True)
    how, lines = process(*worker, str(folder / SMALL), "--loads=1000", "--stack=8192", "--hold")
    last = int(lines[-1].split()[1])
    measured["held"] = {"model": SMALL, "ended": how, "programs": len(lines), "mappings_left": last}
    print(f"all held: {how} after {len(lines)} programs with {last} mappings left", flush=True)
    cache, ended = str(folder / "cache"), []
    for number in range(cohorts):
        ended.append(process(*COHORT, f"--out={folder / str(number)}", cache=cache)[0])
        print(f"cohort, {'warm' if number else 'cold'}: {ended[-1]}", flush=True)
    return measured | {"cohorts": {"cold": ended[:1], "warm": ended[1:]}}


def section(measured: dict) -> str:
    """What was measured, in words."""
    lines = []
    for version, found in measured.items():
        stacks = ", ".join(f"{size} KB: {one['loads']} loads, {one['ended']}" for size, one in found["stacks"].items())
        held, warm = found["held"], found["cohorts"]["warm"]
        lines += [
            f"- **JAX {version}.** The train step of {found['model']} loaded by two threads and let go, by the size of "
            f"the threads' stacks: {stacks}.",
            f"  That of {held['model']} loaded and held: {held['ended']} after {held['programs']} programs, with "
            f"{held['mappings_left']} memory mappings left to the process.",
            f"  Whole experiments with a warm cache: {warm.count('done')} of {len(warm)} done.",
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet56")
    parser.add_argument("--loads", type=int, default=200, help="for each size of the stacks")
    parser.add_argument("--cohorts", type=int, default=20, help="experiments, the first with a cold cache")
    parser.add_argument("--out", default=str(ROOT / "results/reliability"))
    parser.add_argument("--file", help=argparse.SUPPRESS)
    parser.add_argument("--stack", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--hold", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.file:
        return load(args.file, args.loads, args.stack, args.hold)
    path = Path(args.out) / "loads.json"
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), args.model, args.loads, args.cohorts)
    measured = (read_json(path) or {}) | {jax.__version__: found}
    write_json(path, measured)
    write_text(path.with_suffix(".md"), section(measured))


if __name__ == "__main__":
    main()
