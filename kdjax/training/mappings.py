"""How many more programs this process can hold: Linux gives a process 65,530 memory mappings (vm.max_map_count).

A program compiled for the CPU takes some three a kernel, 230 for the train step of a small ResNet, until it is let go.
Where none is left XLA does not raise: loading the next one from the compilation cache is a segmentation fault.
"""

import sys
from pathlib import Path

METHOD = 1000
"""Mappings set aside for a method: its initializations, train steps and evaluation. A small ResNet's take 500."""


def left() -> int:
    """Mappings that this process may still make; where the system does not count them, sys.maxsize."""
    try:
        limit = int(Path("/proc/sys/vm/max_map_count").read_text())
        return limit - Path("/proc/self/maps").read_bytes().count(b"\n")
    except FileNotFoundError:
        return sys.maxsize


def room(places: int) -> int:
    """The number of methods for whose programs there is room at each of so many places; at least one."""
    return max(1, left() // (METHOD * places))
