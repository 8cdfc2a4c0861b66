"""An experiment: config -> data -> teacher -> cohorts -> results, each run in its own directory.

    kdjax.experiment.run(config, "runs")

starts one, as `kdjax run` does. Where its parts are: `plan` (what is to be trained), `checks` (before it), `lab`
(what all runs share), `teachers`, `cohorts` (the runs of one seed), `results` (what is written of them), `launch` (on
a cluster).
"""


def __getattr__(name: str):
    if name not in ("run", "Held"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kdjax.experiment import runner  # not before it is asked for: `kdjax table` starts without JAX

    return getattr(runner, name)
