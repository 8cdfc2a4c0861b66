"""What a person sees while an experiment runs: a live line on a terminal, now and then a plain line in a log."""

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LOG_SECONDS = 20.0


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
        self.began = self.logged = time.monotonic()
        self.done = self.total = 0

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
        self.began = self.logged = time.monotonic()

    def advance(self, steps: int) -> None:
        self.done += steps
        self.progress.advance(self.task, steps)

    def status(self, text: str) -> None:
        """What is known now, "kd seed 2, epoch 13/30, 93.1 %": beside the bar, or now and then a line in the log."""
        self.progress.update(self.task, status=text)
        now = time.monotonic()
        if not self.console.is_terminal and now - self.logged >= LOG_SECONDS:
            self.logged = now
            left = (now - self.began) * (self.total - self.done) / max(self.done, 1)
            self.message(f"{self.what}: {100 * self.done / max(self.total, 1):.0f} %, {text}, {left:.0f} s left")
