"""kdjax run: its options, what it trains, what it prints in the end."""

import os
import shlex
import sys

from kdjax.arguments import PROGRAM, integers, names
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
    sub.add_argument("--seeds", default="", help="seeds to run, 0,1,2 or 0-2; those of the config when left out")
    sub.add_argument("--dry-run", action="store_true", help="check all, print what would be trained, train nothing")
    sub.add_argument("--out", default="runs", help="where experiments have their directories (default: runs)")
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
    from kdjax import experiment
    from kdjax.config.fields import resolve
    from kdjax.report import table
    from kdjax.training import cohort

    options = [name.replace("_", "-") for name in vars(args).keys() - {"command", "command_line", "debug", "function"}]
    file, overrides, given = split(rest, options)
    if bool(file) == bool(args.config):
        raise ValueError("give one config, kdjax run configs/digits.py" if file else NO_CONFIG)
    config = load_config(file or args.config, overrides)
    chosen = (config, args.out, names(args.only), integers(args.seeds, "--seeds"))
    if (given or args.wait) and not args.launcher:
        raise ValueError(f"{given[0] if given else '--wait'} is an option of --launcher=slurm or local")
    if args.launcher and (args.coordinator or args.processes or args.process >= 0):
        raise ValueError(
            "--coordinator, --processes and --process join processes that are there; --launcher starts its own"
        )
    several = bool(resolve(config).pairs)
    _check_pairs(args, several)
    if args.dry_run:
        from kdjax.experiment import dry_run

        return dry_run.show_all(*chosen, names(args.pairs)) if several else dry_run.show(*chosen)
    status = 0
    if not args.launcher:
        mode = resolve(config).execution.devices
        processes.join(args.coordinator, args.processes, args.process, mode)
    try:
        with received_signals() as received:
            asked = lambda: received[0] if received else 0  # noqa: E731
            if args.launcher:
                from kdjax.experiment.launch import launcher

                status, directory = launcher.main(args.launcher, *chosen, given, args.wait, asked)
            elif several:
                from kdjax.experiment import pairs

                print_grid(pairs.run(*chosen, names(args.pairs), stop_signal=asked))
                return 0
            else:
                directory = experiment.run(*chosen, stop_signal=asked)
    except cohort.Stopped as stopped:
        print(
            f"{PROGRAM}: stopped by {stopped}, every run is checkpointed; to continue: {args.command_line}",
            file=sys.stderr,
        )
        return 128 + stopped.signum
    except experiment.Held as held:
        print(f"{PROGRAM}: {held}; when they are done: {args.command_line}", file=sys.stderr)
        return os.EX_TEMPFAIL
    if (args.wait or args.launcher != "slurm") and processes.first() and (directory / "config.json").is_file():
        lines = table.gather(directory)
        print_table(lines, _asked(lines, *chosen[2:]))
    return status


def _check_pairs(args, several: bool) -> None:
    """Raises a ValueError where an option does not go with a config of one, or of several, experiments."""
    if args.pairs and not several:
        raise ValueError("--pairs chooses among config.pairs, and this config has none")
    if several and args.launcher:
        raise ValueError(
            "config.pairs runs here, one experiment after another; submit each by a config of its own, "
            "configs/cifar100.py:teacher=resnet56,student=resnet20, with config.teacher.run where they share a teacher"
        )


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
