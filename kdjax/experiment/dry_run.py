"""kdjax run --dry-run: what would be trained, for how many steps, and what is there already. Nothing is written.

How many seeds a comparison takes, `kdjax plan --detect`, is kdjax.report.detect.
"""

from pathlib import Path

from ml_collections import ConfigDict
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kdjax import config as configs
from kdjax.config import pairs
from kdjax.config.rows import expand
from kdjax.experiment import pairs as sharing
from kdjax.experiment.lab import Lab, named
from kdjax.experiment.plan import missing, run_path
from kdjax.experiment.progress import Display
from kdjax.experiment.runner import plan
from kdjax.find import chosen
from kdjax.runs.directory import Run
from kdjax.runs.schema import TEACHER, damage
from kdjax.training import checkpoint


def show(config: ConfigDict, root="runs", only=(), seeds=(), taught_elsewhere=False) -> int:
    """Checks an experiment as before training, and prints its plan; the exit status.

    Args:
      config, root, only, seeds: as in `kdjax.experiment.run`.
      taught_elsewhere: its teacher is one that another experiment will train.

    Raises:
      ValueError: what a run would raise before any training.
    """
    config = configs.resolve(config)
    rows, seeds = expand(config), tuple(seeds) or config.seeds
    asked = chosen([row.name for row in rows], only)
    directory = Path(root) / config.experiment
    wanted = missing(config, directory, rows, only, seeds)
    console = Console(highlight=False)
    lab = Lab(config, directory, Display(console), lambda: 0)
    if wanted:
        plan(lab, wanted, len(seeds))
    console.print(_table(lab, config, [row for row in rows if row.name in asked], seeds))
    count = len(wanted) + (not taught_elsewhere and _trains_teacher(lab, config))
    runs = f"{count} run{'s' * (count != 1)} to train"
    console.print(f"{directory}: {runs if wanted else 'everything is finished'}", soft_wrap=True)
    return 0


def show_all(config: ConfigDict, root="runs", only=(), seeds=(), pair_names=()) -> int:
    """The same of every experiment of config.pairs, and whose teacher it shares."""
    found = pairs.experiments(config, pair_names)
    for own, shared in zip(found, sharing.shared(found, root), strict=True):
        there = shared.teacher.run and Run(Path(shared.teacher.run)).config()
        elsewhere = shared.teacher.run != own.teacher.run
        with named(own.experiment):  # what is not trained yet has no shapes on the disk
            show(shared if there else own, root, only, seeds, elsewhere)
        if elsewhere:
            print(f"  its teacher is that of {shared.teacher.run}, trained once")
    return 0


def _table(lab, config, rows, seeds) -> Table:
    """A row a method: epochs, steps of a run, and the state of each seed's."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name, side in (("method", "left"), ("epochs", "right"), ("steps", "right"), ("seeds", "left")):
        table.add_column(name, justify=side)
    teacher = _teacher(lab, config)
    if teacher:
        table.add_row(*map(Text, teacher))
    for row in rows:
        first = f"{-row.first_epoch} + " if row.first_epoch else ""
        steps = lab.steps(row, seeds[0])
        states = [_state(lab, row.name, seed, steps) for seed in seeds]
        table.add_row(*map(Text, (row.row, f"{first}{config.epochs}", f"{steps:,}", _grouped(seeds, states))))
    return table


def _teacher(lab, config) -> tuple[str, str, str, str] | None:
    spec = config.teacher
    if origin := configs.origin(spec):
        return TEACHER, "-", "-", f"from {spec[origin]}"
    if not spec.model:
        return None
    steps, epochs = lab.teacher_steps(), spec.epochs or config.epochs
    return TEACHER, str(epochs), f"{steps:,}", _grouped([spec.seed], [_state(lab, TEACHER, spec.seed, steps)])


def _trains_teacher(lab, config) -> bool:
    """Whether the experiment's own teacher is a run that is to be trained, too."""
    spec = config.teacher
    own = spec.model and not configs.origin(spec)
    return bool(own) and _state(lab, TEACHER, spec.seed, lab.teacher_steps()).startswith("to ")


def _state(lab, name: str, seed: int, steps: int) -> str:
    """What is there of a run."""
    run = Run(run_path(lab.directory, name, seed))
    result = run.result()
    if result is not None and not damage(result):
        return result["status"]
    begun = max(checkpoint.numbers(run.checkpoints), default=0)
    return f"to continue after step {begun:,} of {steps:,}" if begun else "to train"


def _grouped(seeds, states) -> str:
    """ "0, 1: done; 2: to train"."""
    found = {}
    for seed, state in zip(seeds, states, strict=True):
        found.setdefault(state, []).append(str(seed))
    return "; ".join(f"{', '.join(numbers)}: {state}" for state, numbers in found.items())
