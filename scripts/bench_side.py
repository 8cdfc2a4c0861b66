"""One side of a comparison in a process of its own, and `turns`, which has several of them do a round each in turn.

A side is started with a description (JSON: its kind and what it is given), warms up, says so, then does a round for
every line that it reads. Sides warm up at the same time, compile with flags of their own, and when one of them fails
the others go on. A round is `steps` steps of every method.
"""

import json
import os
import subprocess
import sys
import threading
import time

from bench_kdjax import Others

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


# ---- the process of a side


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever else is printed goes to the log
    description = json.loads(sys.argv[1])
    run, about = KINDS[description.pop("kind")](**description)
    begin, cpu = time.perf_counter(), time.process_time()
    run(0)
    took = {"warm_seconds": time.perf_counter() - begin, "warm_cpu_seconds": time.process_time() - cpu}
    warm = {**took, **about()}
    print(json.dumps(warm), file=answers)
    for number, _ in enumerate(sys.stdin, 1):
        before, others, cpu = time.perf_counter(), Others(), time.process_time()
        run(number)
        row = {"round": number, "seconds": time.perf_counter() - before, "cpu_seconds": time.process_time() - cpu}
        print(json.dumps({**row, "others": others.share()}), file=answers)


def kdjax(pair: str, methods, steps: int, batch: int, classes: int = 100, augment: bool = True, **given):
    """A cohort as `kdjax run` drives it; `given`: dtype and fields of config.execution."""
    import jax
    from bench_kdjax import make

    from kdjax.training import parallel

    parallel.setup()
    compiled = []
    heard = lambda event, seconds, **_: compiled.append(seconds) if event.endswith("backend_compile_duration") else 0  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(heard)
    teacher, student = pair.split(",")
    bench = make(teacher, student, methods, steps=steps, batch=batch, classes=classes, augmented=augment, **given)

    def about():
        from bench_step import cohort_gflop

        compiling = {"compile_seconds": sum(compiled), "longest_compile_seconds": max(compiled, default=0.0)}
        return {"gflop": cohort_gflop(bench), "device": parallel.describe(), "peak_bytes": peak_bytes(), **compiling}

    return bench.epoch, about


def torch(
    pair: str, methods, steps: int, batch: int, classes: int = 100, augment: bool = True, schedule="plain", **given
):
    """A PyTorch loop over the methods, each a Training of its own that goes on where it was; `given` are Options."""
    import bench_repdistiller
    import bench_torch as plain
    import torch
    from bench_kdjax import images

    torch.set_float32_matmul_precision("high")  # as XLA does where it may; on a CPU it means nothing
    torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    options = plain.Options(**given)
    image, label = images(max(1024, batch * min(steps, 16)), classes)
    data = plain.Images(image, label, MEAN, STD, 4 if augment else 0, augment)
    batches = plain.loader(data, batch, options)
    teacher, student = (lambda name=name: plain.build(name, classes) for name in pair.split(","))
    taught = teacher()
    training = {"plain": plain.training, "repdistiller": bench_repdistiller.training}[schedule]
    trainings = [training(name, student(), taught, options) for name in methods]

    def run(number: int) -> None:
        for one in trainings:
            plain.train(one, batches, steps)

    def about():
        peak = torch.cuda.max_memory_allocated() if options.device == "cuda" else None
        return {"threads": torch.get_num_threads(), "torch": torch.__version__, "peak_bytes": peak}

    return run, about


WARM = 0.75
"""Share of the time of `turns` that is for warming up at most."""
KINDS = {"kdjax": kdjax, "torch": torch}


def peak_bytes() -> int | None:
    """The most memory that JAX has had on the first device; None where it does not say."""
    import jax

    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


# ---- the process that has them take turns


class Side:
    """A side's process: `answer` waits for what it says next."""

    def __init__(self, name: str, description: dict, environment=None, log=None):
        self.name, self.failed = name, ""
        self.process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(description)],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )

    def answer(self, seconds: float) -> dict | None:
        """What it said, or None: it has ended, or had no more time and was ended."""
        late = threading.Event()
        timer = threading.Timer(max(seconds, 0.1), lambda: (late.set(), self.process.kill()))
        timer.start()
        try:
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        if line:
            return json.loads(line)
        status = self.process.wait()
        self.failed = (
            f"had no answer after {seconds:.0f} s and was ended" if late.is_set() else f"ended with status {status}"
        )
        return None

    def ask(self, seconds: float) -> dict | None:
        try:
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self.failed = self.failed or f"ended with status {self.process.wait()}"
            return None
        return self.answer(seconds)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def rotated(sides: list, number: int) -> list:
    """The order of a round: each comes after each of the others in its turn."""
    first = number % max(len(sides), 1)
    return [*sides[first:], *sides[:first]]


def turns(sides: dict, rounds: int, seconds: float, log=None, enough=None, warm: float = WARM) -> dict:
    """Warms all sides up, has them do a round each in turn, and returns what they measured.


    Args:
      sides: name -> (description, environment variables that differ).
      rounds: at most so many.
      seconds: for all of it.
      enough: enough(rows) ends it too.
      warm: share of the time after which sides that are not warm are ended, so that the others are measured.

    Returns:
      {"warm": {side: what it says of itself}, "rows": [{"side", "round", "seconds", ...}], "ended": {side: why}}.
    """
    warm_end, end = (time.monotonic() + share * seconds for share in (warm, 1.0))
    started = [Side(name, *given, log=log) for name, given in sides.items()]
    try:
        answers = [(side, side.answer(warm_end - time.monotonic())) for side in started]
        told = {side.name: said for side, said in answers if said}
        rows, ready = [], [side for side, said in answers if said]
        for number in range(rounds):
            for side in rotated(ready, number):
                row = side.ask(end - time.monotonic()) if not side.failed else None
                rows += [{"side": side.name, **row}] if row else []
                if not row and time.monotonic() >= end:
                    side.failed = ""  # its round was cut short: it had done nothing wrong
            if time.monotonic() > end or (enough and enough(rows)):
                break
    finally:
        for side in started:
            side.end()
    return {"warm": told, "rows": rows, "ended": {side.name: side.failed for side in started if side.failed}}


if __name__ == "__main__":
    main()
