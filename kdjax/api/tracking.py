"""Trackers that have each row of metrics.jsonl as it is written; what befalls a tracker never befalls a run."""

import queue
import sys
import threading
from collections.abc import Callable, Sequence

from kdjax.arguments import PROGRAM
from kdjax.experiment.callbacks import Callbacks, Event
from kdjax.report import track
from kdjax.runs.directory import Run

PATIENCE = 30.0
"""Seconds that the end of a command waits for a tracker to take what it has not taken yet."""


class Live:
    """Sends what runs write to trackers, each from a thread of its own: training waits for none of them.

        with Live(("tensorboard:logs", "wandb")) as live:
            experiment.run(config, callbacks=live.callbacks())

    A run that is continued is sent whole, its earlier rows first. A tracker that fails says so once, and is left alone.
    """

    def __init__(self, to: Sequence[str], say: Callable[[str], None] | None = None):
        """Raises a ValueError if there is no such tracker, or its package is not installed."""
        say = say or (lambda text: print(f"{PROGRAM}: {text}", file=sys.stderr, flush=True))
        self._trackers = [_Sender(each, say) for each in dict.fromkeys(to)]
        self._lines = {}  # directory of a run -> its line of runs.jsonl, as far as it has come

    def __enter__(self) -> "Live":
        return self

    def __exit__(self, *_) -> None:
        for tracker in self._trackers:
            tracker.close()

    def callbacks(self, own: Callbacks | None = None) -> Callbacks:
        """Those that feed the trackers, after one's own."""
        own = own or Callbacks()
        if not self._trackers:
            return own
        return Callbacks(own.on_step, _both(own.on_epoch, self._epoch), _both(own.on_finish, self._finish))

    def _epoch(self, event: Event) -> None:
        if not self._begun(event):
            self._send("rows", event, [event.values])

    def _finish(self, event: Event) -> None:
        self._begun(event)
        self._lines[event.path]["result"] = event.values
        self._send("end", event, [])

    def _begun(self, event: Event) -> bool:
        """Whether this is the first that is heard of a run, whose rows until now are then sent."""
        if event.path in self._lines:
            return False
        run, name = Run(event.path), "/".join(event.path.parts[-2:])
        self._lines[event.path] = {"run": name, "config": run.config(), "result": None, "history": run.history()}
        self._send("rows", event, self._lines[event.path]["history"])
        return True

    def _send(self, what: str, event: Event, rows: list[dict]) -> None:
        for tracker in self._trackers:
            tracker.queue.put((what, event.path, self._lines[event.path], rows))


def _both(first: Callable | None, second: Callable) -> Callable:
    def call(event: Event) -> None:
        if first is not None:
            first(event)
        second(event)

    return call


class _Sender:
    """One tracker, and the thread that talks to it."""

    def __init__(self, to: str, say: Callable[[str], None]):
        self.to, self.say, self.queue, self.opened, self.failed = to, say, queue.SimpleQueue(), {}, False
        self.open, self.place = track.tracker(to)
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def close(self) -> None:
        """Waits until it has all that was sent, but no longer than PATIENCE."""
        self.queue.put(None)
        self.thread.join(PATIENCE)
        if self.thread.is_alive():
            self.say(f"--track={self.to} has not taken everything in {PATIENCE:.0f} s; {self._later()}")

    def _work(self) -> None:
        while (sent := self.queue.get()) is not None:
            if not self.failed:
                self._attempt(self._take, *sent)
        for path in [*self.opened]:
            self._attempt(self._end, path)

    def _attempt(self, act: Callable, *given) -> None:
        try:
            act(*given)
        except (Exception, SystemExit) as error:  # a tracker may raise anything
            if not self.failed:
                told = str(error) or type(error).__name__
                self.say(f"--track={self.to}: {told}; training goes on without it; {self._later()}")
            self.failed = True

    def _take(self, what: str, path, line: dict, rows: list[dict]) -> None:
        if path not in self.opened:
            context = self.open(self.place, line)
            self.opened[path] = context, context.__enter__()
        for row in rows:
            self.opened[path][1](track.numbers(row))
        if what == "end":
            self._end(path)

    def _end(self, path) -> None:
        self.opened.pop(path)[0].__exit__(None, None, None)

    def _later(self) -> str:
        return f"afterwards, kdjax track DIRECTORY --to={self.to} sends what it lacks"
