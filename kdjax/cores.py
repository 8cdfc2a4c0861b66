"""How many processor cores this process may use."""

import os


def cores() -> int:
    """At least 1: those that its affinity allows, and under Slurm no more than its task was given.

    os.cpu_count() tells of the whole machine, also where a job has four cores of sixty-four.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # Linux has it
    given = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(allowed, int(given)) if given.isdecimal() and int(given) > 0 else allowed
