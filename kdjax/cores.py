"""What of this machine a process may use and has used: cores, memory; on Linux and on macOS."""

import os
import resource
import sys


def cores() -> int:
    """At least 1: those that its affinity allows, and under Slurm no more than its task was given.

    os.cpu_count() tells of the whole machine, also where a job has four cores of sixty-four.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # Linux has it
    given = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(allowed, int(given)) if given.isdecimal() and int(given) > 0 else allowed


def memory() -> int | None:
    """Bytes of memory that this machine has; None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def peak() -> int:
    """The most bytes of memory that this process has held: Linux counts them in KB, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
