#!/usr/bin/env python3
"""A table of the size that clusters make, without training: how submissions, files, locks and tables grow.

    .venv/bin/python scripts/cluster_simulation.py [--pairs=13] [--data-sets=3] [--out=results/cluster]

13 pairs x 34 methods x 5 seeds x 3 data sets are 6,630 students in 39 experiments with a teacher each. Jobs go through
the launcher to a queue that only numbers them; a made-up runner then takes each job's locks and writes what its runs
would have written, with numbers from a generator. Everything else is kdjax's own: planning, submission, record, locks,
the second submission, status, `kdjax table`, `kdjax grid` with its pictures. Sizes are doubled to tell what grows
faster than the number of runs.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import submitit
from rich.console import Console

from kdjax import config as configs
from kdjax import cores
from kdjax.config import recipes
from kdjax.config.rows import expand
from kdjax.experiment import status
from kdjax.experiment.launch import options, slurm
from kdjax.experiment.launch.jobs import Job, plan
from kdjax.experiment.plan import run_config, run_path
from kdjax.experiment.provenance import versions
from kdjax.files import write_json, write_text
from kdjax.report import grid, table
from kdjax.runs import gather
from kdjax.runs.directory import Run
from kdjax.runs.schema import TEACHER

EPOCHS, CLASSES, SEEDS = 240, 100, 5
QUEUE = {
    "srun": "#!/bin/sh\n",
    "squeue": "#!/bin/sh\n",
    "scontrol": "#!/bin/sh\necho 'MaxArraySize            = 1001'\n",
    "sbatch": """#!/bin/sh
number=$(($(cat "$KDJAX_QUEUE" 2>/dev/null || echo 0) + 1))
echo $number > "$KDJAX_QUEUE"
echo "Submitted batch job $number"
""",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=13)
    parser.add_argument("--data-sets", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/cluster"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        queue(Path(folder))
        rows = []
        for experiments in sizes(args.pairs * args.data_sets):
            rows.append(measure(Path(folder) / f"runs{experiments}", experiments))
            print(json.dumps(rows[-1]), flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    write_json(args.out / "cluster.json", {"rows": rows, "versions": versions()})
    write_text(args.out / "cluster.md", markdown(rows))


def sizes(most: int) -> list[int]:
    """Powers of two up to the number of experiments, and this itself."""
    return sorted({*(2**k for k in range(most.bit_length()) if 2**k < most), most})


def queue(folder: Path) -> None:
    """Commands of a Slurm that takes every job and runs none, before all others."""
    (folder / "bin").mkdir()
    for name, text in QUEUE.items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    os.environ["KDJAX_QUEUE"] = str(folder / "number")
    os.environ["PATH"] = f"{folder / 'bin'}:{os.environ['PATH']}"


def measure(root: Path, experiments: int) -> dict:
    """Processor seconds of each part for so many experiments."""
    names = [f"pair{number:02d}" for number in range(experiments)]
    took, jobs = {}, {}
    given = options.parse("slurm", ["--launcher.methods_per_job=4"], submitit)
    with timed(took, "plan"):
        for name in names:
            jobs[name] = plan(config(name), root, (), (), given["methods_per_job"])
    chosen = {key: value for key, value in given.items() if key != "methods_per_job"}
    with timed(took, "submit"):
        submitted = [slurm.submit(submitit, root / name, jobs[name], [], dict(chosen)) for name in names]
    with timed(took, "runs"):
        for name in names:
            for job in jobs.pop(name):
                run(job, root / name)
    with timed(took, "plan again"):
        left = [plan(config(name), root, (), (), given["methods_per_job"]) for name in names]
    with timed(took, "status"):
        for name in names:
            status.lines(root / name)
    students = []
    for name in names:
        with timed(took, "gather"):
            lines = gather.gather(root / name)
        with timed(took, "table"):
            Console(quiet=True).print(table.terminal(lines))
        students += [line["result"] is not None for line in lines if line["config"]["method"] != TEACHER]
        del lines
    with timed(took, "grid"):
        grid.write(grid.compare(grid.read(root / name for name in names)), root / "grid")
    if not all(students) or any(left):
        raise RuntimeError(f"{sum(students)} of {len(students)} have a result, {sum(map(len, left))} jobs are left")
    return {
        "experiments": experiments,
        "students": len(students),
        "jobs": sum(map(len, submitted)),
        "files": sum(len(files) for _, _, files in os.walk(root)),
        "peak_mb": cores.peak() // 2**20,
        "seconds": {name: round(seconds, 3) for name, seconds in took.items()},
    }


class timed:
    """Adds the processor seconds that its block takes to a dictionary: others on the machine disturb them little."""

    def __init__(self, took: dict, name: str):
        self.took, self.name = took, name

    def __enter__(self):
        self.began = time.process_time()

    def __exit__(self, *_):
        self.took[self.name] = self.took.get(self.name, 0.0) + time.process_time() - self.began


def config(name: str):
    """An experiment with all recipes, on made-up data."""
    made = configs.default()
    made.experiment, made.seeds, made.epochs = name, tuple(range(SEEDS)), EPOCHS
    made.data.source = "generated"
    made.student.model, made.teacher.model = "resnet20", "resnet56"
    for method in recipes.RECIPES:
        made.methods[method] = recipes.recipe(method, made.teacher.model, made.student.model)
    return made


def run(job: Job, directory: Path) -> None:
    """What the job's runs would have written."""
    resolved = configs.resolve(job.config)
    rows = {row.name: run_config(resolved, row, 0) for row in expand(resolved)}
    rows[TEACHER] = {"method": TEACHER, "row": TEACHER, "experiment": directory.name}
    for seed, method in job.runs:
        own = Run(run_path(directory, method, seed))
        own.path.mkdir(parents=True, exist_ok=True)
        if own.lock.acquire():
            raise RuntimeError(f"{own.path} is held")
        write(own, {**rows[method], "seed": seed}, method, seed)
        own.lock.release()


def write(own: Run, config: dict, method: str, seed: int) -> None:
    random = np.random.default_rng([seed, *method.encode()])
    top1 = float(np.clip(random.normal(0.7, 0.01), 0, 1))
    write_json(own.path / "config.json", config)
    history = [{"epoch": e + 1, "step": e, "loss": 1.0, "test_top1": top1} for e in range(EPOCHS)]
    write_text(own.path / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in history))
    true, predicted = random.integers(0, CLASSES, (2, 2000))
    cells = [[int(t), int(p), 1] for t, p in {*zip(true.tolist(), predicted.tolist(), strict=True)}]
    last = {
        "epoch": EPOCHS,
        "top1": top1,
        "nll": 1.0,
        "precision": top1,
        "recall": top1,
        "f1": top1,
        "confusion": cells,
    }
    write_json(
        own.path / "result.json",
        {
            "status": "done",
            "method": method,
            "seed": seed,
            "epochs": EPOCHS,
            "last": last,
            "classes": [str(k) for k in range(CLASSES)],
            "student": {"model": "resnet20", "parameters": 278324},
            "teacher": {"model": "resnet56", "top1": 0.73},
            "dataset": own.path.parts[-3],
        },
    )


def markdown(rows: list[dict]) -> str:
    parts = list(rows[0]["seconds"])
    head = ["experiments", "students", "jobs", "files", "peak MB", *(f"{part}, s" for part in parts)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---:|" * len(head)]
    for row in rows:
        cells = [f"{row[key]:,}" for key in ("experiments", "students", "jobs", "files", "peak_mb")]
        lines.append("| " + " | ".join([*cells, *(f"{row['seconds'][part]:.2f}" for part in parts)]) + " |")
    first, last = rows[-2], rows[-1]
    growth = last["students"] / first["students"]
    worse = [f"{part} {last['seconds'][part] / max(first['seconds'][part], 1e-9) / growth:.2f}" for part in parts]
    return "\n".join(lines) + (
        f"\n\nProcessor seconds of one process on a simulated queue. From {first['students']:,} to "
        f"{last['students']:,} students each part took so many times as long as the number of students says: "
        f"{', '.join(worse)}.\n"
    )


if __name__ == "__main__":
    main()
