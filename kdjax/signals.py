"""Signals that ask a program to stop, which may be compiling in its main thread."""

import contextlib
import os
import signal
import sys
import threading


@contextlib.contextmanager
def received_signals():
    """Yields a list that gets the number of the first SIGTERM or SIGINT; the second ends the process at once.

    A thread reads them from the pipe that the interpreter's C handler writes to: handlers in Python run in the main
    thread alone, and not while XLA compiles there.
    """
    received, (reader, writer) = [], os.pipe()

    def watch():
        while signum := os.read(reader, 1)[0]:
            if signum in handlers and received:
                print(
                    "\x1b[?25h" if sys.stdout.isatty() else "", end="", flush=True
                )  # the progress bar hides the cursor
                os._exit(128 + signum)
            if signum in handlers:
                received.append(signum)
                name = signal.Signals(signum).name
                print(f"kdjax: {name}: stopping after this step; once more to stop at once", file=sys.stderr)

    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer)
    handlers = {signum: signal.signal(signum, lambda *_: None) for signum in (signal.SIGTERM, signal.SIGINT)}
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)
        signal.set_wakeup_fd(before)
        os.write(writer, b"\0")
        thread.join()
        os.close(reader)
        os.close(writer)
