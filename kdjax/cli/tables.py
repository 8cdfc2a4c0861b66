"""kdjax table, plan, grid and status: what finished runs say, and what is left."""

import shlex

from kdjax.arguments import difference, names
from kdjax.cli.run import print_table


def add(command) -> None:
    sub = command("table", _table, "make the table and the pictures of finished runs")
    sub.add_argument("runs", nargs="+", help="experiment directories, or a runs.jsonl; a folder of them lists them")
    sub.add_argument("--only", default="", help="methods to show, with their ablated rows, kd,rkd; all when left out")
    sub.add_argument("--begun", action="store_true", help="leave out methods that have no result for any seed")
    sub.add_argument("--out", help="write runs.jsonl, table.md, table.csv, table.tex and pictures here")
    sub.add_argument("--bayes", action="store_true", help="show how probably each method is better, equal or worse")
    sub.add_argument("--rope", help="the same, where equal is up to so far apart (default: 1 percentage point)")
    sub.add_argument(
        "--examples",
        action="store_true",
        help="count test examples too, from kept predictions: intervals over seeds and examples, McNemar seed by seed",
    )
    sub = command("plan", _plan, "tell how many seeds it takes to see a difference, by those that are finished")
    sub.add_argument("runs", nargs="+", help="experiment directories, a runs.jsonl, or a folder of experiments")
    sub.add_argument(
        "--detect", required=True, help="the difference to the baseline: percentage points where scores are shares"
    )
    sub.add_argument("--only", default="", help="methods to show, with their ablated rows, kd,rkd; all when left out")
    sub = command("grid", _grid, "put experiments side by side: pairs, data sets or shots as columns, methods as rows")
    sub.add_argument("runs", nargs="+", help="experiment directories, or a runs.jsonl")
    sub.add_argument("--against", default="", help="the row that differences are to (default: the baseline)")
    sub.add_argument("--out", help="write grid.md, grid.csv, grid.tex, macros.tex and pictures here")
    sub = command("status", _status, "tell what of an experiment is finished, trains, waits and is left")
    sub.add_argument("runs", nargs="+", help="experiment directories")


def _table(args, _) -> None:
    from kdjax.report import table
    from kdjax.runs import gather, predictions

    inside = {path: gather.experiments(path) for path in args.runs if gather.is_folder(path)}
    if inside and (args.out or len(inside) < len(args.runs)):
        quoted = " ".join(shlex.quote(str(path)) for paths in inside.values() for path in paths)
        raise ValueError(f"{', '.join(inside)} holds experiments; a table is of single ones: {quoted}")
    if inside:
        return _print_experiments([path for paths in inside.values() for path in paths])
    found = {path: gather.read(path) for path in args.runs}
    if args.examples:
        found = {path: predictions.with_scores(lines, path) for path, lines in found.items()}
    runs = [line for lines in found.values() for line in lines]
    rope = _rope(args, runs)
    shown = gather.select(runs, names(args.only))
    shown = gather.begun(shown) if args.begun else shown
    if args.out:
        table.write(runs, args.out, shown, rope)
    print_table(runs, shown, rope)


def _scores(runs) -> dict:
    """Unit -> score, of what the experiments of lines are compared by."""
    from kdjax.report import table
    from kdjax.runs import task

    found = [task.common(lines).primary for lines in table.experiments(runs).values()]
    return {score.unit: score for score in found}


def _rope(args, runs) -> float | None:
    """The region of practical equivalence that is asked for, if any: of shares a point where no other is given."""
    from kdjax.report import effects

    scores = _scores(runs)
    if args.rope is not None:
        return difference(args.rope, "--rope", scores)
    if not args.bayes:
        return None
    unknown = [score.title for unit, score in scores.items() if unit != "%"]
    if unknown:
        raise ValueError(f"--bayes needs --rope: up to which difference in {unknown[0]} methods are equal")
    return effects.ROPE


def _print_experiments(paths) -> None:
    """A line an experiment: how far it is, and the command for its table."""
    from kdjax.runs import gather
    from kdjax.runs.schema import TEACHER

    for path in paths:
        students = [line for line in gather.gather(path) if line["config"].get("method") != TEACHER]
        rows = {line["config"].get("row") for line in students}
        done = sum(1 for line in students if line["result"])
        counts = f"{len(rows)} method{'s' * (len(rows) != 1)}, {done} of {len(students)} runs finished"
        print(f"{path}: {counts}; kdjax table {shlex.quote(str(path))}")


def _plan(args, _) -> None:
    from kdjax.report import detect
    from kdjax.runs import gather

    inside = [gather.experiments(path) if gather.is_folder(path) else [path] for path in args.runs]
    runs = [line for paths in inside for path in paths for line in gather.read(path)]
    seen = difference(args.detect, "--detect", _scores(runs))
    if not seen:
        raise ValueError("--detect takes a difference above 0: none at all takes infinitely many seeds to see")
    detect.show(runs, seen, gather.select(runs, names(args.only)))


def _grid(args, _) -> None:
    from rich.console import Console

    from kdjax.report import grid
    from kdjax.report.grid.texts import Terminal

    comparison = grid.compare(grid.read(args.runs), args.against)
    if args.out:
        grid.write(comparison, args.out)
    Console(highlight=False).print(Terminal(comparison))


def _status(args, _) -> None:
    from kdjax.experiment import status

    for directory in args.runs:
        print("\n".join(status.lines(directory)))
