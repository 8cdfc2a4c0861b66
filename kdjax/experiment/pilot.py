"""The first stage of --seeds=until: an experiment of its own, <experiment>-pilot, with the same teacher and methods."""

from collections.abc import Callable
from pathlib import Path

from ml_collections import ConfigDict

from kdjax import config as configs
from kdjax.experiment import runner, tune


def run(
    config: ConfigDict, seeds, compared, root="runs", only=(), stop_signal: Callable = lambda: 0, display=None
) -> Path:
    """Runs what is missing of the pilot; returns its directory.

    Args:
      seeds: the pilot's; compared: all that the comparison may have, none of which is one of these.
      only: names of methods, () for all; the baseline runs in any case. The rest is as in `kdjax.experiment.run`.

    Raises:
      ValueError: one of the seeds is the comparison's too; and what `kdjax.experiment.run` raises, as Stopped, Held and
        OSError are.
    """
    if both := sorted({*seeds} & {*compared}):
        raise ValueError(
            f"the comparison's seeds and the pilot's both have {', '.join(map(str, both))}: a pilot compares nothing; "
            "give config.seeds others"
        )
    made = configs.resolve(config)
    made.experiment, made.seeds = f"{config.experiment}-pilot", tuple(seeds)
    only = tuple(dict.fromkeys((config.baseline, *only))) if only else ()
    return runner.run(tune.taught(config, made, root, stop_signal, display), root, only, (), display, stop_signal)
