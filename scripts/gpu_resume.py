"""The part of scripts/gpu that stops a run, continues it in another process, and compares it bit by bit; exports.

With `DETERMINISTIC`, XLA is told to use no operation whose order of additions may change, and to choose its kernels
without timing them, which may choose others in another process.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from gpu_forms import DETERMINISTIC, Options


def resume(options: Options, save) -> dict:
    """Whether a run that was stopped ends as one that was not, with XLA's own choices and deterministic ones."""
    found = {"flags": DETERMINISTIC, "rows": []}
    with tempfile.TemporaryDirectory() as folder:
        for kind, flags in {"deterministic": DETERMINISTIC, "as it comes": ""}.items():
            root = Path(folder) / kind.replace(" ", "-")
            with ThreadPoolExecutor(2) as pool:
                whole = pool.submit(_pieces, options, root / "whole", flags, (0,))
                stopped = pool.submit(_pieces, options, root / "stopped", flags, (1, 3, 0))
                whole, stopped = whole.result(), stopped.result()
            for method, sha in whole.items():
                found["rows"].append({"flags": kind, "method": method, "equal": sha == stopped[method]})
            save(found)
            if options.form == "tiny":
                break
        found["exports"] = _exports(next((Path(folder) / "deterministic" / "whole" / "resume").glob("kd/seed*")))
    return found


def _pieces(options: Options, root: Path, flags: str, calls) -> dict[str, str]:
    """{method: fingerprint of its student} of the experiment, in processes that are stopped after so many calls."""
    environment = {**os.environ, "XLA_FLAGS": " ".join(filter(None, [os.environ.get("XLA_FLAGS"), flags]))}
    for number in calls:
        command = [sys.executable, __file__, str(root), options.form, str(number)]
        subprocess.run(command, env=environment, check=True)
    results = {path.parent.parent.name: json.loads(path.read_text()) for path in root.glob("*/*/seed*/result.json")}
    return {method: result["student_sha256"] for method, result in results.items() if method != "teacher"}


def piece(root: str, form: str, calls: int) -> None:
    """The experiment, or what is left of it; stopped after `calls` calls of the steps, if not 0."""
    from gpu_forms import FORMS
    from rich.console import Console

    from kdjax import experiment
    from kdjax.config import default, recipes
    from kdjax.experiment.progress import Display
    from kdjax.training import cohort, parallel

    parallel.setup()
    size = FORMS[form]
    config = default()
    config.experiment, config.seeds, config.epochs, config.batch_size = "resume", (0,), size.epochs, size.batch
    config.data.source = "generated"
    config.data.kwargs = {"shape": (32, 32, 3), "train": 4 * size.batch, "test": 64}
    config.data.augment.random_crop = {"padding": 4}
    config.teacher.model, config.student.model = size.small.split(",")
    config.execution.steps_per_call = 2 if form != "tiny" else 1
    for name in ("kd",) if form == "tiny" else ("kd", "attention", "crd"):
        config.methods[name] = recipes.recipe(name)
    if "crd" in config.methods:
        config.methods.crd.crd.negatives = 64
    config.baseline = "kd"
    with Display(Console(file=io.StringIO())) as display:
        taken = []
        display.advance = taken.append
        try:
            stop = lambda: 15 * bool(calls and len(taken) >= calls)  # noqa: E731
            experiment.run(config, root, display=display, stop_signal=stop)
        except cohort.Stopped:
            return


def _exports(run: Path) -> list[dict]:
    """Logits of each exported file on this device against those of the network, and how far kdjax's own check saw."""
    import jax

    from kdjax.ship import export, serve

    images = np.random.default_rng(1).integers(0, 256, (16, 32, 32, 3), np.uint8)
    rows, logits = [], {}
    with jax.default_matmul_precision("highest"), tempfile.TemporaryDirectory() as folder:
        for name in ("safetensors", "stablehlo", "onnx"):
            target = Path(folder) / f"student.{name}"
            try:
                written = export.export(run, target)
            except ValueError as error:  # a package that it needs is not here
                rows.append({"format": name, "skipped": str(error)})
                continue
            logits[name] = np.asarray(serve.LOADERS[f".{name}"](target)[1](images))
            here = float(np.abs(logits[name] - logits["safetensors"]).max())
            rows.append({"format": name, "checked": written["verified"]["largest_difference"], "here": here})
    return rows


if __name__ == "__main__":
    piece(sys.argv[1], sys.argv[2], int(sys.argv[3]))
