"""What a person sees while an experiment runs: a live line on a terminal, now and then a plain line in a log."""

import time
from collections import deque

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LOG_SECONDS = 20.0
WINDOW_SECONDS = 120.0
"""How far back the rate is measured from which the time that is left follows."""


class Display:
    """Counts steps of all students together; `message` prints a line that stays."""

    def __init__(self, console: Console | None = None):
        self.console = console or Console(highlight=False)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[status]}"),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self.task = None
        self.together = False  # several cohorts at once: their steps are counted together
        self.logged = time.monotonic()
        self.done = self.total = 0
        self.tokens = 0  # that students have seen, of texts
        self.samples = deque()  # (time, steps, tokens then), the oldest at the end of a first step: that is compiled

    def __enter__(self):
        self.progress.start()
        return self

    def __exit__(self, *_):
        self.progress.stop()

    def message(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)

    def start(self, what: str, steps: int) -> None:
        """Begins to count `steps` steps of `what`."""
        if self.together and self.done < self.total:
            self.total += steps
            self.what = f"{self.what}, {what}"
            self.progress.update(self.task, total=self.total, description=self.what)
            return
        if self.task is not None:
            self.progress.remove_task(self.task)
        self.task = self.progress.add_task(what, total=steps, status="")
        self.what, self.done, self.total = what, 0, steps
        self.logged = time.monotonic()
        self.samples.clear()

    def advance(self, steps: int) -> None:
        self.done += steps
        self.progress.advance(self.task, steps)
        now = time.monotonic()
        if len(self.samples) > 1 and now - self.samples[-2][0] < 0.1:
            self.samples.pop()  # fast steps: a sample in a tenth of a second is enough
        self.samples.append((now, self.done, self.tokens))
        while len(self.samples) > 2 and now - self.samples[1][0] > WINDOW_SECONDS:
            self.samples.popleft()

    def left(self) -> float | None:
        """Seconds that are left at the rate of late; None before a second step, as the first one was compiled."""
        if len(self.samples) < 2:
            return None
        (began, before, _), (now, done, _) = self.samples[0], self.samples[-1]
        return (now - began) / (done - before) * (self.total - done)

    def tokens_per_second(self) -> float | None:
        """Tokens, without padding, that all students together learn from in a second of late; None: no texts."""
        if len(self.samples) < 2 or not self.tokens:
            return None
        (began, _, before), (now, _, seen) = self.samples[0], self.samples[-1]
        return (seen - before) / (now - began)

    def status(self, text: str) -> None:
        """What is known now, "kd seed 2, epoch 13/30, 93.1 %": beside the bar, or now and then a line in the log."""
        rate = self.tokens_per_second()
        text += "" if rate is None else f", {rate:,.0f} tokens/s"
        self.progress.update(self.task, status=text)
        now = time.monotonic()
        if not self.console.is_terminal and now - self.logged >= LOG_SECONDS:
            self.logged = now
            left = "" if self.left() is None else f", {self.left():.0f} s left"
            self.message(f"{self.what}: {100 * self.done / max(self.total, 1):.0f} %, {text}{left}")
