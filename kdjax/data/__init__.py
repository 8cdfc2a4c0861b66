"""Data sets: what a source returns, subsets of it, the order of batches, and what is done to a batch."""

import importlib

PUBLIC = {
    "Arrays": "kdjax.data.arrays",
    "Dataset": "kdjax.data.arrays",
    "load": "kdjax.data.loading",
    "subset": "kdjax.data.subsets",
}


def __getattr__(name: str):
    """A public name, imported when it is asked for: what reads photographs alone starts without JAX."""
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(PUBLIC[name]), name)
