"""kdjax tune: its options, what it prints in the end."""

import argparse
import functools
from pathlib import Path

from kdjax.arguments import integers, names
from kdjax.cli.run import check_pairs, config_here, until_stopped

ABOUT = """\
Gives every method the same number of trials, the student alone included, and chooses on the validation split.

Varied are the learning rate, the weight of each term that distils and its main hyperparameters, each on a log scale
around the value that the config has, mostly the paper's: kdjax/config/spaces.py has the factors. Trial 0 has the
config's own values, the others are quasi-random points, the same whenever they are asked for: the command resumes, and
--trials=32 goes on from 16. Trials are the rows of runs/<experiment>-tuning, and train with seeds of their own. None
sees the test split: validation stands in its place. With --halve=15, or 15,30, the better half of each method's trials
by the mean validation score at the end of that epoch goes on, trial 0 among them, and the others are stopped. The
choice, the best mean validation score at the last epoch, is frozen in tuned.json there, beside pictures of the best of
k trials and of what each hyperparameter did.

  kdjax tune --config=configs/digits_fewshot.py --trials=16 --halve=20
  kdjax run --config=configs/digits_fewshot.py --tuned      runs/<experiment>-tuned: the choice, on the config's seeds

The experiments of config.pairs are tuned one after another, each with a choice of its own, and --tuned runs them all.
"""


def add(command) -> None:
    sub = command("tune", _tune, "choose hyperparameters: as many trials for every method, on the validation split")
    sub.description, sub.formatter_class = ABOUT, argparse.RawDescriptionHelpFormatter
    sub.usage = "kdjax tune [--config=]FILE[:key=value,...] [--config.field=value ...] [options]"
    sub.add_argument("--config", default="", help="as for kdjax run; it needs a validation split")
    sub.add_argument("--trials", type=int, default=16, help="of each method (default: 16)")
    sub.add_argument(
        "--halve", default="", help="epochs at whose end half of each method's trials is stopped, 15,30 (default: none)"
    )
    sub.add_argument("--pairs", default="", help="of config.pairs those to tune, a,b; all when left out")
    sub.add_argument("--only", default="", help="methods to tune, student,kd; all when left out")
    sub.add_argument("--seeds", default="1000-1001", help="of every trial, none of the config's (default: 1000-1001)")
    sub.add_argument("--out", default="runs", help="where experiments have their directories (default: runs)")


def _tune(args, rest) -> int:
    from kdjax.training import parallel, processes

    parallel.setup()
    from kdjax.config import pairs
    from kdjax.config.fields import resolve
    from kdjax.experiment import tune

    config = config_here(args, rest)
    check_pairs(args, bool(resolve(config).pairs))
    processes.join("", 0, -1, resolve(config).execution.devices)
    chosen = (args.out, args.trials, integers(args.seeds, "--seeds"), names(args.only), integers(args.halve, "--halve"))
    siblings = pairs.experiments(config)
    for each in tune.experiments(config, names(args.pairs)):
        work = functools.partial(_one, each, chosen, siblings)
        status, file = until_stopped(args.command_line, work)
        if file is None:
            return status
        if processes.first():
            _show(file, tune.read(file))
    return status


def _one(config, chosen, siblings, asked) -> tuple[int, Path]:
    """(exit status, the tuned.json of an experiment)."""
    from kdjax.experiment import tune
    from kdjax.experiment.lab import named

    with named(config.experiment):
        return 0, tune.run(config, *chosen, stop_signal=asked, siblings=siblings)


def _show(file: Path, tuned: dict) -> None:
    """Draws the picture, and prints for each method what was chosen and what it gained on the validation split."""
    from rich.console import Console

    from kdjax import tables
    from kdjax.report import tuning
    from kdjax.report.plots import best_of, pictures, searched

    score, rows = best_of.score(tuned), []
    for name, method in tuned["methods"].items():
        own, best = (method["trials"][number]["mean"] for number in (0, method["trial"]))
        rows.append((name, str(method["trial"]), score.number(best), score.number(own)))
    header = ("method", "chosen trial", f"{score.header} on validation", "of trial 0")
    console = Console(highlight=False)
    console.print(tables.terminal(header, rows, wrapped=True))
    if rule := tuning.halved(tuned):
        console.print(rule, soft_wrap=True)
    for name, method in tuned["methods"].items():
        values = ", ".join(f"{path}={value:g}" for path, value in method["chosen"].items())
        console.print(f"{name}: {values}", soft_wrap=True, markup=False)
    drawn = [("best_of", best_of.best_of, tuned), ("searched", searched.searched, tuned)]
    for path in [file, *pictures.save(drawn, file.parent, [name for name, *_ in drawn])]:
        console.print(str(path), soft_wrap=True)
    console.print("on other seeds, and the test split: kdjax run --tuned, with the same --config", soft_wrap=True)
