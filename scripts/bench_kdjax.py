"""What the benchmarks share: a cohort of kdjax on generated images, driven as `kdjax run` drives it."""

import dataclasses
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from kdjax.config import default, recipes, resolve
from kdjax.config import rows as compiled
from kdjax.data import Arrays
from kdjax.data.images import augment
from kdjax.experiment.provenance import revision, versions
from kdjax.files import write_json, write_text
from kdjax.runs.directory import Run
from kdjax.training import parallel
from kdjax.training.cohort import Cohort, Feed, Learner, compile_program
from kdjax.training.step import make_teach

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "results" / "bench"
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


@dataclasses.dataclass(frozen=True)
class Bench:
    """A cohort without files: `epoch(i)` is an epoch of training, its losses fetched."""

    cohort: Cohort
    learners: list[Learner]
    teach: Callable  # the teacher's pass on one device, compiled when it is called

    def epoch(self, number: int) -> None:
        self.cohort._epoch(number, self.learners)


def images(examples: int, classes: int, size: int = 32, seed: int = 0):
    """(uint8 [N, size, size, 3], int32 [N]) of noise: what networks compute does not depend on what they see."""
    rng = np.random.default_rng(seed)
    return (
        rng.integers(0, 256, (examples, size, size, 3), np.uint8),
        rng.integers(0, classes, examples, dtype=np.int32),
    )


def make(
    teacher: str,
    student: str,
    names,
    *,
    steps: int,
    batch: int = 64,
    classes: int = 100,
    seed: int = 0,
    epochs: int = 1000,
    dtype: str = "float32",
    augmented: bool = True,
    data: Arrays | None = None,
    **fields,
) -> Bench:
    """A cohort of the methods `names`, compiled by its first epoch; `fields` are those of config.execution.

    It trains on `data`, or else on noise.
    """
    config = _config(teacher, student, names, steps, batch, epochs, dtype, fields)
    places = parallel.layout(config.execution.devices, 1)[0]
    image, label = (data.input, data.target) if data else images(max(1024, batch * min(steps, 16)), classes)
    model = compiled.build_model(config.teacher, classes, config.dtype, "config.teacher")
    variables = jax.jit(model.init)(jax.random.key(seed), image[:1].astype(np.float32))
    spec = {"random_crop": {"padding": 4}, "flip": {}} if augmented else {}
    make_batch = parallel.compile_batch(augment.compose(spec, {"input": config.data}, classes), places[0])
    teach = parallel.compile_teach(make_teach(model), places[0], places)
    feed = Feed(
        seed=seed,
        place=places[0],
        inputs=places[0].put(image),
        targets=places[0].put(label),
        steps=steps,
        batch_size=batch,
        make_batch=make_batch,
        make_batch_whole=make_batch,
        steps_per_call=parallel.steps_per_call(config.execution.steps_per_call),
    )
    cohort = Cohort(
        feed=feed,
        teach=teach,
        teach_whole=teach,
        teacher_variables=places[0].put(variables),
        epochs=epochs,
        checkpoint_seconds=1e9,
        on_epoch=lambda learner, losses: None,
        on_finish=lambda learner: None,
    )
    learners = _learners(config, classes, steps, seed, places)
    cohort._start(learners)
    return Bench(cohort, learners, parallel.compile_teach(make_teach(model), places[0]))


def _config(teacher: str, student: str, names, steps: int, batch: int, epochs: int, dtype: str, execution: dict):
    """The config of `make`, resolved."""
    config = default()
    config.dtype = dtype
    config.data.mean, config.data.std = MEAN, STD
    config.student.model, config.teacher.model = student, teacher
    config.batch_size, config.steps_per_epoch, config.epochs = batch, steps, epochs
    config.execution.update(execution)
    for name in names:
        config.methods[name] = recipes.recipe(name, teacher, student)
    return resolve(config)


def _learners(config, classes: int, steps: int, seed: int, places) -> list[Learner]:
    """One a method, spread over the places; their runs are never written."""
    nowhere = Path(tempfile.gettempdir()) / "kdjax-bench-writes-nothing"
    rows = [compiled.with_model(row, config, classes) for row in compiled.expand(config)]
    return [
        Learner(
            compile_program(row, compiled.stages(row, config, steps), None, places[i % len(places)]),
            Run(nowhere / row.name),
            seed,
            places[i % len(places)],
        )
        for i, row in enumerate(rows)
    ]


def median(calls: dict, rounds: int) -> dict[str, float]:
    """Milliseconds of each call, after a first round that compiles; in turns, so what disturbs one disturbs all."""
    times = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            times[name] += [1e3 * (time.perf_counter() - start)] if number else []
    return {name: float(np.median(values)) for name, values in times.items()}


class Others:
    """What other processes take of the processors from here on: with it, timings mean less."""

    def __init__(self):
        self.before = self._seconds()

    def share(self) -> float | None:
        """0..1 of all processors; None where the system does not say (no /proc/stat)."""
        if not self.before:
            return None
        elapsed, busy, own = (now - then for now, then in zip(self._seconds(), self.before, strict=True))
        return max(0.0, (busy - own) / (elapsed * (os.cpu_count() or 1)))

    @staticmethod
    def _seconds() -> tuple[float, float, float] | None:
        """Clock, busy time of all processors, time of this process and of its finished children."""
        if not Path("/proc/stat").exists():
            return None
        user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
        own = os.times()
        return time.monotonic(), (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK"), sum(own[:4])


STARTED = Others()
MALLOC = {name: value for name, value in os.environ.items() if name.startswith("MALLOC_")}
"""glibc's settings, with which XLA's memory stays with the process from step to step; see results/bench/README.md."""


def write(name: str, record: dict, markdown) -> None:
    """results/bench/<name>.json with what was measured on what, and <name>.md, which `markdown(record)` makes of it.

    The device is this process's, unless the record says which one the measured processes had.
    """
    record = {
        "device": parallel.describe(),
        **record,
        "others": STARTED.share(),
        "malloc": MALLOC,
        "versions": versions(),
        "revision": revision(),
    }
    write_json(OUT / f"{name}.json", record)
    write_text(OUT / f"{name}.md", markdown(record))
    print((OUT / f"{name}.md").read_text())


def where(record: dict) -> str:
    """A sentence on the machine and the versions."""
    shown = {name: record["versions"][name] for name in ("python", "jax", "torch") if name in record["versions"]}
    others = "" if record["others"] is None else f" Other processes took {100 * record['others']:.0f} % of the machine."
    set_ = ", ".join(f"{name}={value}" for name, value in record.get("malloc", {}).items())
    others += f" Set for all: {set_}." if set_ else ""
    return (
        f"{record['device']}; {', '.join(f'{k} {v}' for k, v in shown.items())}; revision {record['revision']}.{others}"
    )
