"""kdjax run: its options, what it trains, what it prints in the end."""

import functools
import os
import shlex
import sys

from kdjax.arguments import PROGRAM, integers, names
from kdjax.cli import until
from kdjax.config.overrides import load_config, split
from kdjax.signals import received_signals


def add(command) -> None:
    sub = command(
        "run",
        _run,
        "train what is missing of an experiment and print its table",
        usage="kdjax run [--config=]FILE[:key=value,...] [--config.field=value ...] [options]",
    )
    sub.add_argument(
        "--config",
        default="",
        help="a Python file with get_config(), configs/digits.py, or one that is installed, digits",
    )
    sub.add_argument("--only", default="", help="methods to run, with their ablated rows, kd,rkd; all when left out")
    sub.add_argument("--pairs", default="", help="of config.pairs those to run, a,b; all when left out")
    sub.add_argument(
        "--seeds",
        default="",
        help="seeds to run, 0,1,2 or 0-2; those of the config when "
        "left out; until:0.5,max=20: as many as a difference of 0.5 takes, by the spread of five others, the pilot",
    )
    sub.add_argument(
        "--tuned",
        nargs="?",
        const="",
        metavar="FILE",
        help="with what kdjax tune has chosen, as <experiment>-tuned; FILE: "
        "OUT/<experiment>-tuning/tuned.json when left out",
    )
    sub.add_argument("--dry-run", action="store_true", help="check all, print what would be trained, train nothing")
    sub.add_argument("--out", default="runs", help="where experiments have their directories (default: runs)")
    sub.add_argument(
        "--track",
        action="append",
        default=[],
        metavar="TRACKER[:PLACE]",
        help="show each epoch as it ends: tensorboard:logs, wandb, mlflow or trackio; may be given several times",
    )
    sub.add_argument(
        "--launcher",
        choices=("slurm", "local"),
        help="submit jobs to a cluster, or run them as processes here; --launcher.name=value sets their options",
    )
    sub.add_argument("--wait", action="store_true", help="with --launcher=slurm: wait for the jobs, print the table")
    sub.add_argument("--coordinator", default="", help="HOST:PORT of the first of several processes that share batches")
    sub.add_argument("--processes", type=int, default=0, help="how many there are; under srun these three are found")
    sub.add_argument("--process", type=int, default=-1, help="the number of this one, from 0")


def _run(args, rest) -> int:
    from kdjax.training import parallel, processes

    parallel.setup()
    from kdjax.config.fields import resolve
    from kdjax.report import table, track

    config, given = given_config(args, rest)
    _check_launcher(args, given)
    for each in args.track:
        track.tracker(each)
    piloted = args.seeds.startswith(until.PREFIX)
    chosen = (config, args.out, names(args.only), () if piloted else integers(args.seeds, "--seeds"))
    several = bool(resolve(config).pairs)
    check_pairs(args, several)
    if piloted:
        until.check(args, several)
    if args.tuned is not None:
        _check_tuned(args, several)
    if args.dry_run:
        from kdjax.experiment import dry_run

        if args.tuned is not None:
            return _dry_tuned(args, *chosen)
        return dry_run.show_all(*chosen, names(args.pairs)) if several else dry_run.show(*chosen)
    if not args.launcher:
        mode = resolve(config).execution.devices
        processes.join(args.coordinator, args.processes, args.process, mode)
    if piloted:
        first = lambda asked: (0, until.decided(args.seeds, *chosen[:3], asked))  # noqa: E731
        status, chosen = until_stopped(args.command_line, first)
        if chosen is None:
            return status
    work = functools.partial(_train, args, chosen, given, several)
    status, directory = until_stopped(args.command_line, work)
    if directory is None:
        return status
    here = args.wait or args.launcher != "slurm"
    if several:
        if here and all((path / "config.json").is_file() for path in directory):
            print_grid(directory)
        return status
    if here and processes.first() and (directory / "config.json").is_file():
        lines = table.gather(directory)
        print_table(lines, _asked(lines, *chosen[2:]))
    return status


def given_config(args, rest) -> tuple:
    """(the config that the arguments name, options of a launcher among those that were not parsed)."""
    options = [name.replace("_", "-") for name in vars(args).keys() - {"command", "command_line", "debug", "function"}]
    file, overrides, given = split(rest, options)
    if bool(file) == bool(args.config):
        raise ValueError(f"give one config, kdjax {args.command} configs/digits.py" if file else NO_CONFIG)
    return load_config(file or args.config, overrides), given


def config_here(args, rest):
    """The config that the arguments name, of a command that no launcher submits.

    Raises:
      ValueError: there is none, or an option is unknown or a launcher's.
    """
    config, given = given_config(args, rest)
    if given:
        raise ValueError(f"{given[0]} is an option of kdjax run --launcher; kdjax {args.command} works here")
    return config


def _train(args, chosen, given, several: bool, asked):
    """(exit status, the directory of the experiment, or those of config.pairs).

    Args:
      chosen: (config, root, only, seeds); given: options of the launcher.
      asked: returns the number of a signal that asks to stop, or 0.
    """
    if args.launcher:
        from kdjax.experiment.launch import launcher

        status, found = launcher.main(args.launcher, *chosen, given, args.wait, asked, names(args.pairs))
        return status, found if several else found[0]
    from kdjax.api.tracking import Live

    with Live(args.track) as live:
        if args.tuned is not None:
            from kdjax.experiment import tune

            config, *rest = chosen
            found = tune.run_chosen(config, args.tuned, *rest, names(args.pairs), asked, callbacks=live.callbacks())
            return 0, found if several else found[0]
        if several:
            from kdjax.experiment import pairs

            return 0, pairs.run(*chosen, names(args.pairs), stop_signal=asked, callbacks=live.callbacks())
        from kdjax import experiment

        return 0, experiment.run(*chosen, stop_signal=asked, callbacks=live.callbacks())


def until_stopped(command_line: str, work) -> tuple[int, object]:
    """(exit status, what there is) as `work(asked)` returns them; (exit status, None) where it was cut short."""
    from kdjax import experiment
    from kdjax.training import cohort

    try:
        with received_signals() as received:
            return work(lambda: received[0] if received else 0)
    except cohort.Stopped as stopped:
        print(
            f"{PROGRAM}: stopped by {stopped}, every run is checkpointed; to continue: {command_line}",
            file=sys.stderr,
        )
        return 128 + stopped.signum, None
    except experiment.Held as held:
        print(f"{PROGRAM}: {held}; when they are done: {command_line}", file=sys.stderr)
        return os.EX_TEMPFAIL, None


def _dry_tuned(args, config, root, only, seeds) -> int:
    """Shows what would be trained of what kdjax tune has chosen, of the config or of each of its pairs."""
    from kdjax.config import pairs
    from kdjax.experiment import dry_run, tune

    siblings, status = pairs.experiments(config), 0
    for own, made in tune.chosen(config, args.tuned, root, only, seeds, names(args.pairs)):
        _, made = tune.with_teacher(own, made, root, siblings)
        status = max(status, dry_run.show(made, root, only, seeds, taught_elsewhere=True))
    return status


def _check_launcher(args, given) -> None:
    """Raises a ValueError where an option needs a launcher, or does not go with one."""
    if (given or args.wait) and not args.launcher:
        raise ValueError(f"{given[0] if given else '--wait'} is an option of --launcher=slurm or local")
    if args.launcher and (args.coordinator or args.processes or args.process >= 0):
        raise ValueError(
            "--coordinator, --processes and --process join processes that are there; --launcher starts its own"
        )
    if args.track and args.launcher:
        raise ValueError(
            f"--track follows what is trained here, not jobs: kdjax track DIRECTORY --to={args.track[0]} sends their "
            "rows, as often as it is asked to"
        )


def _check_tuned(args, several: bool) -> None:
    """Raises a ValueError where an option does not go with --tuned."""
    if args.launcher:
        raise ValueError("--tuned runs here, not by --launcher: its teacher is trained first, and once for both tables")
    if args.tuned and several:
        raise ValueError(
            f"--tuned={args.tuned} is of one experiment: --tuned alone takes the choice of each of the pairs"
        )


def check_pairs(args, several: bool) -> None:
    """Raises a ValueError where an option does not go with a config of one, or of several, experiments."""
    if args.pairs and not several:
        raise ValueError("--pairs chooses among config.pairs, and this config has none")


def print_grid(directories) -> None:
    """The experiments of config.pairs side by side; the first process alone prints."""
    from kdjax.training import processes

    if processes.first():
        from rich.console import Console

        from kdjax.report import grid
        from kdjax.report.grid.texts import Terminal

        Console(highlight=False).print(Terminal(grid.compare(grid.read(directories))))
        print(f"kdjax grid {shlex.join(map(str, directories))} --out=DIRECTORY writes it, with pictures")


NO_CONFIG = "the following arguments are required: --config, a Python file with get_config(), configs/digits.py"


def _asked(lines: list[dict], only, seeds) -> list[dict]:
    """Of an experiment's lines those that a run with --only and --seeds is about, with the baseline."""
    from kdjax.runs import gather

    if not only and not seeds:
        return lines
    baseline = [line["config"]["baseline"] for line in lines if line["config"].get("baseline")][:1]
    known = {line["config"].get("row") for line in lines}
    return gather.begun(gather.select(lines, (*only, *known.intersection(baseline)) if only else ()), seeds)


def print_table(runs, shown=None, rope=None) -> None:
    from rich.console import Console

    from kdjax.report import table

    Console(highlight=False).print(table.terminal(runs, shown, rope))
