"""After a crash of the process (segmentation fault, bus error, illegal instruction, abort) the next one starts without
the compiled programs that may have caused it."""

import contextlib
import faulthandler
import os
from pathlib import Path

TRACE, ASIDE = "crash.txt", "crashed"
"""In a compilation cache: the stacks of a process that has crashed; what the cache held then, with the stacks."""


def watch(cache: Path) -> str:
    """Sets aside what a crashed process has left in its compilation cache, and lets a crash of this one be seen there.

    Python's fault handler writes the trace; where it is turned on already, to wherever, it stays as it is. A process
    that was killed from outside writes none, and its programs are good.

    Returns:
      What to tell of a crash, "" where there was none.
    """
    cache.mkdir(parents=True, exist_ok=True)
    told = _set_aside(cache)
    if not faulthandler.is_enabled():
        faulthandler.enable(open(cache / TRACE, "a"))  # noqa: SIM115  open for as long as the process lives
    return told


def _set_aside(cache: Path) -> str:
    trace, aside = cache / TRACE, cache / ASIDE
    if not trace.is_file() or not trace.stat().st_size:
        return ""
    aside.mkdir(exist_ok=True)
    (aside / TRACE).write_text(trace.read_text(errors="replace"))
    for entry in [*cache.glob("*-cache"), *cache.glob("*-atime")]:
        with contextlib.suppress(FileNotFoundError):  # another process sets them aside too
            entry.rename(aside / entry.name)
    os.truncate(trace, 0)  # not removed: processes that are alive have it open
    return (
        f"an earlier process has crashed (its stacks: {aside / TRACE}); the compiled programs of then are set aside, "
        "all are compiled anew"
    )
