"""What Slurm says, through squeue and scontrol alone: many clusters keep no accounts that sacct could tell of."""

import os
import re
import subprocess
from dataclasses import dataclass

NEVER = "DependencyNeverSatisfied"
"""The reason for which a job that waits for a failed one is pending."""


@dataclass(frozen=True)
class State:
    """A job that is in the queue."""

    state: str  # PENDING, RUNNING, COMPLETING, SUSPENDED, ...
    reason: str  # why it is pending


def queue() -> dict[str, State] | None:
    """Every job of this user that has not ended, {"12_0": State}, or None when Slurm does not answer."""
    form = "--format=%i|%T|%r"
    text = _ask("squeue", "--noheader", "--array", f"--user={os.getuid()}", form)
    if text is None:
        return None
    rows = (line.strip().split("|") for line in text.splitlines() if line.count("|") == 2)
    return {number: State(state, reason) for number, state, reason in rows}


def ended(number: str) -> str:
    """How a job ended, "FAILED (exit status 1)", as long as Slurm remembers it; else ""."""
    text = _ask("scontrol", "show", "job", number, "--oneliner") or ""
    state, status = re.search(r"\bJobState=(\S+)", text), re.search(r"\bExitCode=(\d+):(\d+)", text)
    if not state:
        return ""
    code, signum = status.groups() if status else ("0", "0")
    more = f" (signal {signum})" if signum != "0" else f" (exit status {code})" if code != "0" else ""
    return state[1] + more


def settings() -> dict[str, int]:
    """Whole numbers of the cluster's configuration, {"MaxArraySize": 1001, "KillWait": 30}; {} if it is not told."""
    text = _ask("scontrol", "show", "config") or ""
    return {name: int(value) for name, value in re.findall(r"^(\w+)\s*=\s*(\d+)\b", text, re.MULTILINE)}


def cancel(numbers) -> None:
    _ask("scancel", *sorted({*numbers}))


def _ask(*command: str) -> str | None:
    """What a command of Slurm prints, None when it fails or is not there."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return None
