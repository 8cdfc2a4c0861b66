"""Running experiments from Python with the devices, the flags and so the bits of `kdjax run`."""

import contextlib
import os
import signal
import threading
import warnings
from collections.abc import Callable, Sequence

from ml_collections import ConfigDict
from rich.console import Console

from kdjax import experiment
from kdjax.api.results import Experiment
from kdjax.api.tracking import Live
from kdjax.arguments import names
from kdjax.config import overrides
from kdjax.experiment.callbacks import Callbacks
from kdjax.experiment.progress import Display
from kdjax.signals import received_signals
from kdjax.training import parallel
from kdjax.training.cohort import Stopped


def load_config(file_and_arg: str, *fields: str) -> ConfigDict:
    """The config of a file as `kdjax run` reads it: load_config("configs/digits.py", "epochs=3").

    Args:
      file_and_arg: the file, or the name of one that comes with kdjax, "digits", with an argument of its get_config
        after a colon: "configs/cifar10.py:teacher=resnet56".
      fields: what is changed, as after --config. on the command line.

    Raises:
      ValueError: the file, its argument or a field is wrong.
    """
    for field in fields:
        if "=" not in field:
            raise ValueError(f"{field!r} sets no field; fields are set by name=value, like 'epochs=3'")
    return overrides.load_config(file_and_arg, [f"--config.{field.removeprefix('--config.')}" for field in fields])


def setup() -> None:
    """Prepares JAX as the command line does; `run` and `steps` call it.

    Call it yourself before anything is computed where JAX is used before them: a virtual device a core and XLA's flags
    can be set only then. Where that is too late it warns, and what is there is used.
    """
    before = os.environ.get("XLA_FLAGS")
    try:
        parallel.setup()
    except RuntimeError:  # JAX has started
        if before is None:  # what it has not read does not stand in any run's config.json either
            os.environ.pop("XLA_FLAGS", None)
        warnings.warn(
            f"JAX had started before kdjax, with {parallel.describe()} and without kdjax's flags of XLA: on a CPU this "
            "is slower than `kdjax run` and may round otherwise. Call kdjax.setup() before anything is computed",
            stacklevel=3,
        )


def run(
    config: ConfigDict,
    out="runs",
    only=(),
    seeds=(),
    *,
    on_step: Callable | None = None,
    on_epoch: Callable | None = None,
    on_finish: Callable | None = None,
    track: str | Sequence[str] = (),
    quiet: bool = False,
) -> Experiment:
    """Trains what is missing of an experiment, as `kdjax run` does, and returns it; again: continues, or finds it done.

    Args:
      config: see `load_config`, or kdjax.config.default() with some fields changed.
      out: the directory under which the experiment has its own.
      only: names of methods, "kd,rkd" or a list of them; () for all.
      seeds: those to run; () for those of the config.
      on_step, on_epoch, on_finish: called with a `kdjax.experiment.callbacks.Event` of a run after each call of its
        train step, each epoch, and when it is finished; they change no bit.
      track: trackers that have each epoch's row as it is written, "tensorboard:logs" or several.
      quiet: whether nothing is printed.

    Raises:
      ValueError: something in the config, the data or the directory is wrong; raised before any training.
      KeyboardInterrupt: Ctrl-C, or a notebook's stop button, when every run has been checkpointed.
      OSError, kdjax.experiment.Held, kdjax.training.cohort.Stopped: see `kdjax.experiment.run`.
    """
    setup()
    only = names(only) if isinstance(only, str) else tuple(only)
    callbacks = Callbacks(on_step, on_epoch, on_finish)
    display = Display(Console(quiet=True)) if quiet else None
    try:
        with Live((track,) if isinstance(track, str) else track) as live, _signals() as received:
            asked = lambda: received[0] if received else 0  # noqa: E731
            given = (config, out, only, tuple(seeds), display, asked)
            directory = experiment.run(*given, callbacks=live.callbacks(callbacks))
    except Stopped as stopped:
        if stopped.signum != signal.SIGINT:
            raise
        raise KeyboardInterrupt("every run is checkpointed; kdjax.run with the same config continues") from stopped
    return Experiment(directory)


def _signals():
    """Signals reach the main thread alone; elsewhere whoever has started the thread stops it."""
    main = threading.current_thread() is threading.main_thread()
    return received_signals() if main else contextlib.nullcontext([])
