"""What XLA is told of how to compile, where nobody tells it anything, and what of it a run records."""

import os
import re
from importlib.metadata import entry_points
from importlib.util import find_spec

import jax

CONVOLUTIONS = "--xla_cpu_experimental_ynn_fusion_type=-LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION"
"""By itself XLA's CPU backend hands the gradient of a convolution's weights, a convolution whose window is a whole map,
to YNNPACK, which is slow there (results/bench/README.md)."""

KNOWN = ((0, 10, 2), (0, 13))
"""The versions of jaxlib, from and below, that know `CONVOLUTIONS`: at an unknown flag any other ends the process."""

LEVEL = "--xla_backend_optimization_level=2"
"""For CPUs alone; all versions know it. At XLA's own level, 3, the digits demo takes 1.8 times the processor time from
an empty cache, most of it in LLVM, and steps run no faster (results/bench/flags.md)."""


def cpus_alone(asked: str | None) -> bool:
    """Whether JAX finds nothing but CPUs: `asked`, its platforms, says so, or no plugin of another device is installed.

    That is asked before JAX starts, as XLA reads its flags once.
    """
    if asked:
        return set(asked.split(",")) == {"cpu"}
    plugins = (find_spec("jax_plugins"), find_spec("libtpu"))  # where JAX looks for them
    return not any(plugins) and not entry_points(group="jax_plugins")


def default(version: str, cpus_alone: bool) -> str:
    """What XLA_FLAGS is set to for a version of jaxlib."""
    low, high = KNOWN
    known = low <= tuple(map(int, re.findall(r"\d+", version)[:3])) < high
    return " ".join([CONVOLUTIONS] * known + [LEVEL] * cpus_alone)


def told() -> list[str]:
    """What XLA_FLAGS tells XLA about computations here, sorted: what may change how they are rounded.

    Where XLA writes what it compiles changes nothing, nor do the flags of another kind of device.
    """
    kinds = {"xla_cpu": "cpu", "xla_gpu": "gpu", "xla_tpu": "tpu"}
    given = os.environ.get("XLA_FLAGS", "").split()
    each = [(flag, kinds.get(flag.lstrip("-")[:7], jax.default_backend())) for flag in given]
    return sorted(f for f, kind in each if kind == jax.default_backend() and not f.startswith("--xla_dump"))
