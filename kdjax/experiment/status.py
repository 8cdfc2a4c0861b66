"""`kdjax status`: what of an experiment is finished, what trains, what waits in a cluster's queue, what is left."""

import time
from collections import Counter
from pathlib import Path

from kdjax.experiment.launch import record, scheduler
from kdjax.files import megabytes, size
from kdjax.runs.directory import Run
from kdjax.runs.gather import gather
from kdjax.runs.lock import Lock


def lines(directory: Path) -> list[str]:
    """The state of every run of an experiment that is neither finished nor untouched, and of its jobs on a cluster.

    Raises:
      ValueError: the directory is no experiment's.
    """
    directory = Path(directory)
    runs = gather(directory)
    states = [state(directory, run) for run in runs]
    counts = Counter(kind for kind, _ in states)
    summary = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind])
    told = [
        f"{run['run']}: {kind}{more}"
        for run, (kind, more) in zip(runs, states, strict=True)
        if kind not in ("finished", "to do")
    ]
    whole = f"{directory}: {len(runs)} runs, {summary}; {megabytes(size(directory))} on disk"
    return [whole, *(f"  {text}" for text in (*told, *jobs(directory)))]


KINDS = ("finished", "diverged", "in training", "stopped", "damaged", "to do")
"""In the order of the summary. A run is stopped when it has begun, and nobody is at work on it."""
CONTINUED = 60.0
"""A lock so many seconds younger than its run is of a process that continues it, or of a lease that was renewed."""


def state(directory: Path, line: dict) -> tuple[str, str]:
    """(one of KINDS, what is known besides) of a line of `kdjax.runs.gather.gather`."""
    if line["result"]:
        return ("diverged", "") if line["result"]["status"] == "diverged" else ("finished", "")
    run, problem = Run(directory / line["run"]), line.get("problem", "")
    if problem.startswith("damaged"):
        return "damaged", f" ({problem.removeprefix('damaged: ')}); the command that made it repairs it"
    holder = Lock(run.path / "lock").holder()
    done = f", epoch {line['history'][-1]['epoch']} of {line['config'].get('epochs', '?')}" if line["history"] else ""
    if holder:
        return "in training", f"{done}{_left(run, line)} ({holder})"
    return ("stopped", done) if run.path.is_dir() else ("to do", "")


def _left(run: Run, line: dict) -> str:
    """How long a run still trains at the pace of its epochs until now; "" for one that was continued: its is not known.

    The pace follows from when its files were written: config.json at its beginning, metrics.jsonl after each epoch.
    """
    epochs, history = line["config"].get("epochs"), line["history"]
    try:
        began, ended, held = ((run.path / name).stat().st_mtime for name in ("config.json", "metrics.jsonl", "lock"))
    except FileNotFoundError:  # it has just ended
        return ""
    if not history or not epochs or held > began + CONTINUED:
        return ""
    pace = (ended - began) / (history[-1]["epoch"] - history[0]["epoch"] + 1)
    seconds = max(0.0, (epochs - history[-1]["epoch"]) * pace - (time.time() - ended))
    return f", some {seconds:,.0f} s left" if seconds < 120 else f", some {seconds / 60:,.0f} min left"


def jobs(directory: Path) -> list[str]:
    """What the queue says of jobs of the experiment that have not ended."""
    submitted = record.read(directory)
    if not submitted:
        return []
    live = scheduler.queue()
    if live is None:
        return [f"{len(submitted)} jobs were submitted to a cluster; squeue does not answer here"]
    return [
        f"job {job.job}: {at.state.lower()}{f' ({at.reason})' if at.state == 'PENDING' else ''}, {job.what}"
        for job in submitted
        if (at := live.get(job.job))
    ]
