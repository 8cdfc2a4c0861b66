"""The plan of scripts/gpu: its parts, the minutes that each may take, and what is written after each of them.

A part is a process of its own with a time limit, so that one that fails or hangs costs no other; parts of one stage
run side by side. A part that cannot run here says why, in the results.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gpu_forms import DETERMINISTIC, absent

ROOT = Path(__file__).resolve().parent.parent


@dataclasses.dataclass(frozen=True)
class Part:
    """`module`.`name`(form, options, save) does it; `minutes` at most, in full and in quick form."""

    name: str
    module: str
    stage: int
    minutes: tuple[float, float]
    what: str
    flags: str = ""  # of XLA


PLAN = (
    Part("machine", "gpu_measure", 0, (0.3, 0.2), "devices, rate of matrix products, of copies"),
    Part("goldens", "gpu_correct", 1, (1.5, 0.4), "losses against published values and gradients, tf32 off and on"),
    Part("devices", "gpu_correct", 1, (1.5, 0.4), "pmap on one device and several, against none", DETERMINISTIC),
    Part("precision", "gpu_correct", 1, (1.5, 0.4), "200 steps in bfloat16 and tf32 against float32"),
    Part("resume", "gpu_resume", 1, (1.5, 0.4), "a run that was stopped against one that was not, bit by bit; exports"),
    Part("compiling", "gpu_speed", 2, (1.5, 0.0), "seconds until six methods are warm; fills the compilation cache"),
    Part("table", "gpu_speed", 3, (2.8, 0.8), "six methods against PyTorch, eager and compiled; memory"),
    Part("calls", "gpu_speed", 4, (0.5, 0.0), "1, 4, 16 and 64 steps a call"),
    Part("seeds", "gpu_measure", 5, (0.5, 0.0), "seeds vmapped against one after another"),
    Part("profile", "gpu_measure", 5, (0.5, 0.2), "where a step's time goes: the longest kernels; dispatches"),
    Part("digits", "gpu_measure", 6, (0.5, 0.0), "the digits demo, compilation cache empty and filled"),
    Part("result", "gpu_result", 7, (0.0, 0.0), "CIFAR-10 (JPEG), seven methods, three seeds; --minutes as given"),
)
"""Stages follow each other: 0.3 + 1.5 + 1.5 + 2.8 + 0.5 + 0.5 + 0.5 minutes at most, 0.2 + 0.4 + 0.8 + 0.2 when quick.

With an empty compilation cache six methods need more: on an H200 with 16 slow processors they were not compiled after
76 seconds. There, give `compiling` and `table` calls and --minutes of their own.
"""

GRACE = 20
"""Seconds beyond its limit after which a part that should keep to it is ended."""

NEEDED = {  # module -> the wheel that has it
    "absl": "absl-py",
    "flax": "flax",
    "jax": "jax",
    "ml_collections": "ml_collections",
    "numpy": "numpy",
    "optax": "optax",
    "orbax.checkpoint": "orbax-checkpoint",
    "PIL": "pillow",
    "rich": "rich",
    "safetensors": "safetensors",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "yaml": "PyYAML",
}
OPTIONAL = {  # module -> (wheel, what is left out without it)
    "torch": ("torch", "PyTorch's side of `table`"),
    "onnx": ("onnx", "the ONNX export of `resume`"),
    "onnxruntime": ("onnxruntime", "the ONNX export of `resume`"),
    "flatbuffers": ("flatbuffers", "the StableHLO export of `resume`"),
    "matplotlib": ("matplotlib", "the pictures of `result`"),
    "tensorflow_datasets": ("tensorflow-datasets", "reading CIFAR-10 from TFDS; --data=FILE is read without it"),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/gpu", description="What a GPU has to answer about kdjax.")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(part.name for part in PLAN)}; all but `result`")
    parser.add_argument("--quick", action="store_true", help="the most important, under two minutes")
    parser.add_argument("--tiny", action="store_true", help="every part on the smallest sizes, on a CPU: a test")
    parser.add_argument("--list", action="store_true", help="show the plan, and which wheels are missing")
    parser.add_argument("--out", default=os.environ.get("OUT") or str(ROOT / "results" / "gpu"))
    parser.add_argument("--wheels", default=str(ROOT / ".whl"), help="a folder of pure wheels to import from")
    parser.add_argument("--goldens", default=str(ROOT / "tests" / "goldens"), help="a folder of public_*.npz")
    parser.add_argument("--data", default="", help="CIFAR-10 as --pack writes it; else TFDS_DATA_DIR is read")
    parser.add_argument("--pack", action="store_true", help="write --data from TFDS_DATA_DIR, and nothing else")
    parser.add_argument("--resume", default="", help="`result` goes on from what an earlier call left in this folder")
    parser.add_argument("--minutes", type=float, default=0.0, help="of each part; 0: the plan's, of `result` 5")
    parser.add_argument("--pairs", default="", help="of `table`, `profile` and others: TEACHER,STUDENT;...")
    parser.add_argument("--only", default="", help="`result`: methods; all when left out")
    parser.add_argument("--seeds", default="0,1,2", help="`result`: seeds")
    args = parser.parse_args()
    import_from(Path(args.wheels))
    lacking = missing()
    if args.list:
        print(listed(lacking))
        return
    if lacking["needed"]:
        sys.exit(needed(lacking["needed"], args.wheels))
    if args.pack:
        command = [sys.executable, str(ROOT / "scripts" / "gpu_result.py"), args.data]
        sys.exit(subprocess.run(command, env=environment(), check=False).returncode)
    go(chosen(args), args, lacking)


def import_from(wheels: Path) -> None:
    """Makes pure wheels importable, here and in every process that is started from here."""
    pure = [str(path) for path in sorted(wheels.glob("*-none-any.whl"))] if wheels.is_dir() else []
    sys.path[:0] = pure
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [*pure, os.environ.get("PYTHONPATH", "")]))


def missing() -> dict:
    return {
        "needed": [wheel for name, wheel in NEEDED.items() if absent(name)],
        "left out": {wheel: what for name, (wheel, what) in OPTIONAL.items() if absent(name)},
    }


def needed(wheels: list[str], folder: str) -> str:
    pure = " ".join(wheels)
    return (
        f"scripts/gpu: this Python ({sys.executable}) lacks {', '.join(wheels)}. Nothing is installed here. Where pip "
        f"reaches an index: python3 -m pip download --no-deps --only-binary=:all: -d {folder} {pure}; pure wheels are "
        "imported from there, others must be installed."
    )


def listed(lacking: dict) -> str:
    lines = [
        f"{part.stage}  {part.name:10} {part.minutes[0]:4} / {part.minutes[1]:3} min  {part.what}" for part in PLAN
    ]
    for wheel in lacking["needed"]:
        lines.append(f"missing wheel {wheel}: nothing runs without it")
    lines += [f"missing wheel {wheel}: without {what}" for wheel, what in lacking["left out"].items()]
    return "\n".join(["stage, part, minutes at most (full / --quick)", *lines])


def form(args) -> str:
    return "tiny" if args.tiny else "quick" if args.quick else "full"


def limit(part: Part, args) -> float:
    """Seconds."""
    if args.tiny:
        return 600.0
    planned = 5.0 if part.name == "result" else part.minutes[args.quick]
    return 60 * (args.minutes or planned)


def chosen(args) -> list[Part]:
    known = {part.name: part for part in PLAN}
    if unknown := [name for name in args.parts if name not in known]:
        sys.exit(f"scripts/gpu: there is no part {unknown[0]!r}; valid are {', '.join(known)}")
    default = [part for part in PLAN if args.tiny or part.minutes[args.quick]]
    parts = [known[name] for name in args.parts] or default
    for part in parts:
        if not limit(part, args):
            sys.exit(f"scripts/gpu: {part.name} has no quick form")
    return parts


def go(parts: list[Part], args, lacking: dict) -> None:
    from gpu_report import markdown  # after the wheels are importable

    out = Path(args.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    known = out / "gpu.json"
    results = json.loads(known.read_text()) if known.exists() else {}
    print(listed(lacking), flush=True)

    def do(part: Part) -> None:
        begin = time.monotonic()
        results[part.name] = {"form": form(args), **run(part, args, out)}
        results[part.name]["seconds"] = round(time.monotonic() - begin, 1)
        write(known, json.dumps(results, indent=1))
        write(out / "gpu.md", markdown(results))
        said = next(
            (f"{key}: {results[part.name][key]}" for key in ("failed", "skipped") if key in results[part.name]), ""
        )
        print(f"{part.name}: {results[part.name]['seconds']} s {said}", flush=True)

    for stage in sorted({part.stage for part in parts}):
        together = [part for part in parts if part.stage == stage]
        with ThreadPoolExecutor(1 if args.tiny else len(together)) as pool:
            list(pool.map(do, together))
    print((out / "gpu.md").read_text())
    if failed := [part.name for part in parts if "failed" in results[part.name]]:
        sys.exit(f"scripts/gpu: failed: {', '.join(failed)}")


def write(path: Path, text: str) -> None:
    """Whole or not at all, by a rename."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


def environment(flags: str = "") -> dict:
    """Of a part: this checkout's kdjax, memory as it is needed, one compilation cache for all; `flags`: XLA's."""
    own = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "PYTHONUNBUFFERED": "1"}
    own |= {"XLA_FLAGS": flags} if flags else {}
    path = os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "scripts"), os.environ.get("PYTHONPATH", "")]))
    return {**own, **os.environ, "PYTHONPATH": path}


def run(part: Part, args, out: Path) -> dict:
    """What a part has measured, or why it has not; when it is ended early, what it had written by then."""
    found = out / f".{part.name}.json"
    found.unlink(missing_ok=True)
    options = {name: getattr(args, name) for name in ("goldens", "data", "resume", "pairs", "only", "seeds")}
    options |= {"form": form(args), "seconds": limit(part, args), "out": str(out)}
    command = [sys.executable, str(ROOT / "scripts" / "gpu_part.py"), part.module, part.name, str(found)]
    problem = {}
    with open(out / "gpu.log", "a") as log:
        log.write(f"==== {part.name}\n")
        log.flush()
        process = subprocess.Popen(
            [*command, json.dumps(options)],
            env=environment(part.flags),
            stdout=log,
            stderr=log,
            cwd=ROOT,
            start_new_session=True,
        )
        try:
            if status := process.wait(limit(part, args) + GRACE):
                problem = {"failed": f"status {status}; see gpu.log"}
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            problem = {"failed": f"took longer than {limit(part, args):.0f} s"}
    record = json.loads(found.read_text()) if found.exists() else {}
    found.unlink(missing_ok=True)
    return {**record, **problem}


if __name__ == "__main__":
    main()
