"""Compare knowledge-distillation methods in JAX. The public names are found when they are asked for."""

import pkgutil

PUBLIC = {
    "run": "kdjax.api.running:run",
    "load_config": "kdjax.api.running:load_config",
    "setup": "kdjax.api.running:setup",
    "steps": "kdjax.api.stepping:steps",
    "load_experiment": "kdjax.api.results:load_experiment",
    "grid": "kdjax.api.results:grid",
    "methods": "kdjax.config.recipes:",
    "losses": "kdjax.losses:",
    "models": "kdjax.models:",
    "Outputs": "kdjax.types:Outputs",
    "Memory": "kdjax.types:Memory",
}
"""Name -> where it stands: nothing is imported before it is used, so that `kdjax table` starts without JAX."""


def __getattr__(name: str):
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return pkgutil.resolve_name(PUBLIC[name])


def __dir__():
    return sorted({*globals(), *PUBLIC})
