"""The command line: kdjax run | table | grid | plan | doctor | status | list | check | cost | ..., see `_parser`."""

import argparse
import os
import shlex
import signal
import sys

from kdjax.arguments import PROGRAM, difference, names
from kdjax.cli import cite, clean, diff, report, run, track
from kdjax.cli.run import print_table
from kdjax.config.overrides import load_config as load_config
from kdjax.experiment.provenance import version


def main(argv=None) -> None:
    """Runs one command and leaves with its exit status, after a failure with one message that says what to do.

    0 done, 1 a failure of a program (`--debug` before the command shows the traceback), 2 bad input or a directory
    that cannot be read or written, 75 other processes are at work on the rest, 130 and 143 stopped by Ctrl-C, SIGTERM.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = _parser()
    args, rest = parser.parse_known_args(argv)
    if rest and args.command != "run":
        parser.error(f"unknown argument {rest[0]}")
    args.command_line = shlex.join([PROGRAM, *argv])
    sys.path.insert(0, "")  # losses and models of one's own lie in the working directory
    try:
        status = args.function(args, rest)
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except BrokenPipeError:  # kdjax table ... | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + signal.SIGPIPE
    except Exception as error:
        if args.debug:
            raise
        message, status = _explained(error, args.command)
        print(f"{PROGRAM}: {message}", file=sys.stderr)
    sys.exit(status or 0)


def _explained(error: Exception, command: str) -> tuple[str, int]:
    """What to tell of an error, and the exit status."""
    if isinstance(error, OSError):
        path = error.filename2 or error.filename  # filename2: what a temporary file was to be renamed to
        message = f"{path}: {error.strerror}" if path and error.strerror else str(error)
        if command == "run":
            message += "; what is finished is whole, and the same command continues when this is mended"
        return message, 2
    if isinstance(error, ValueError):
        return str(error), 2
    return f"unexpected {type(error).__name__}: {error} ({PROGRAM} --debug {command} ... shows where)", 1


EXAMPLES = """examples:
  kdjax run --config=digits                            twelve methods on handwritten digits, in two minutes
  kdjax run --config=digits --only=student,kd --seeds=0-2 --config.epochs=10 --config.experiment=quick
  kdjax table runs/digits --out=results/digits         table.md, .csv, .tex and pictures
  kdjax report runs/digits --out=report.html           all of it as one file
  kdjax check my_losses.cosine                         does a loss of your own keep the contract?
  kdjax export runs/digits/kd/seed0 student.onnx       a file that ships
kdjax COMMAND --help has the options of each."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Compare knowledge-distillation methods.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {version(PROGRAM)}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    def command(name, function, help_, **kwargs):
        sub = commands.add_parser(name, help=help_, description=help_, allow_abbrev=False, **kwargs)
        sub.set_defaults(function=function)
        return sub

    run.add(command)
    sub = command("table", _table, "make the table and the pictures of finished runs")
    sub.add_argument("runs", nargs="+", help="experiment directories, or a runs.jsonl; a folder of them lists them")
    sub.add_argument("--only", default="", help="methods to show, with their ablated rows, kd,rkd; all when left out")
    sub.add_argument("--begun", action="store_true", help="leave out methods that have no result for any seed")
    sub.add_argument("--out", help="write runs.jsonl, table.md, table.csv, table.tex and pictures here")
    sub.add_argument("--bayes", action="store_true", help="show how probably each method is better, equal or worse")
    sub.add_argument("--rope", help="the same, where equal is up to so far apart (default: 1 percentage point)")
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
    _add_studies(command)
    sub = command("status", _status, "tell what of an experiment is finished, trains, waits and is left")
    sub.add_argument("runs", nargs="+", help="experiment directories")
    sub = command("list", _list, "name what there is")
    sub.add_argument("what", nargs="?", help="methods, losses, models, datasets, or the name of one; all when left out")
    sub = command("check", _check, "tell whether a loss keeps the contract")
    sub.add_argument("loss", help="a loss of kdjax or an import path, my_file.my_loss")
    sub.add_argument("--task", choices=("classification", "regression"), default="classification")
    _add_cost(command)
    for part in (report, diff, clean, track, cite):
        part.add(command)
    sub = command("export", _export, "write the student of a finished run to a file")
    sub.add_argument("run", help="the directory of a run, runs/digits/kd/seed0")
    sub.add_argument("target", nargs="?", default="", help="the file to write (default: digits-kd-seed0.FORMAT here)")
    sub.add_argument("--format", default="", help="onnx, stablehlo or safetensors (default: as the target's name ends)")
    _add_predict(command)
    sub = command("sizes", _sizes, "export runs in float and int8, measure accuracy, bytes, FLOPs and time")
    sub.add_argument("runs", nargs="+", help="directories of finished runs; seeds of one method share a row")
    sub.add_argument("--out", help="write sizes.md and sizes.csv here")
    sub.add_argument("--images", type=int, default=256, help="training images to calibrate int8 on (default: 256)")
    return parser


def _add_predict(command) -> None:
    sub = command("predict", _predict, "name the classes of images by an exported model")
    sub.add_argument("model", help="an exported .onnx, .stablehlo or .safetensors file")
    sub.add_argument("images", nargs="+", help="JPEG and PNG files, and folders of them")
    sub.add_argument("--top", type=int, default=3, help="classes to print for each image (default: 3)")
    sub.add_argument("--batch-size", type=int, default=32, help="images predicted at once (default: 32)")
    sub.add_argument("--json", action="store_true", help="print a JSON object for each image")


def _add_cost(command) -> None:
    sub = command("cost", _cost, "parameters, FLOPs, bytes and latency of models")
    sub.add_argument("models", nargs="+", help="names in kdjax.models or import paths")
    sub.add_argument("--teacher", help="the model that compression ratios refer to")
    sub.add_argument("--image-size", type=int, default=32, help="pixels a side (default: 32)")
    sub.add_argument("--channels", type=int, default=3)
    sub.add_argument("--tokens", type=int, default=64, help="of a text (default: 64)")
    sub.add_argument("--vocabulary", type=int, default=30_522, help="of networks for texts (default: 30522, BERT's)")
    sub.add_argument("--classes", type=int, default=100)


def _add_studies(command) -> None:
    sub = command("doctor", _doctor, "tell why distillation did not help: what explains it, and what to try")
    sub.add_argument("runs", nargs="+", help="experiment directories, or a runs.jsonl")
    sub.add_argument("--out", help="write doctor.md here")
    sub = command("explain", _explain, "tell what a method passed on: classes, examples, confidence, order, stages")
    sub.add_argument("run", help="the directory of an experiment, runs/digits")
    sub.add_argument("method", help="the row to explain, kd")
    sub.add_argument("--against", default="", help="the row to compare with (default: the baseline)")
    sub.add_argument("--out", help="where the page and its pictures go (default: RUN/explain-METHOD)")
    sub.add_argument("--no-stages", action="store_true", help="leave out how alike stages are, which needs checkpoints")
    sub = command(
        "choose", _choose, "find the smallest student that keeps enough of its teacher, and how it is exported"
    )
    sub.add_argument("runs", nargs="+", help="experiment directories, or a runs.jsonl")
    sub.add_argument("--keep", type=float, default=0.95, help="share of the teacher's score (default: 0.95)")
    sub.add_argument("--metric", default="", help="the score, f1 (default: what methods are compared by)")
    sub.add_argument("--max-kb", type=float, help="at most so many kilobytes, of 1000 bytes")
    sub.add_argument("--max-ms", type=float, help="at most so many milliseconds for one example")
    sub.add_argument("--max-mflops", type=float, help="at most so many million FLOPs for one example")
    sub.add_argument("--sizes", nargs="*", default=(), help="sizes.csv of kdjax sizes; one beside the runs is found")
    sub.add_argument("--out", help="write choose.md, choose.csv and the picture here")


def _table(args, _) -> None:
    from kdjax.report import table
    from kdjax.runs import gather

    inside = {path: gather.experiments(path) for path in args.runs if gather.is_folder(path)}
    if inside and (args.out or len(inside) < len(args.runs)):
        quoted = " ".join(shlex.quote(str(path)) for paths in inside.values() for path in paths)
        raise ValueError(f"{', '.join(inside)} holds experiments; a table is of single ones: {quoted}")
    if inside:
        return _print_experiments([path for paths in inside.values() for path in paths])
    runs = [line for path in args.runs for line in gather.read(path)]
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


def _doctor(args, _) -> None:
    from kdjax.report import doctor

    doctor.main(args)


def _explain(args, _) -> None:
    from kdjax.report import explain

    explain.main(args, None if args.no_stages else _similar)


def _similar(subject) -> dict | None:
    """How alike stages are; None where a run has left no checkpoint."""
    from kdjax.runs.directory import Run

    if not all(Run(path).checkpoints.is_dir() for path in subject.paths.values()):
        return None
    from kdjax.training import parallel

    parallel.setup()
    from kdjax.ship import similarity

    return similarity.similar(**subject.paths)


def _choose(args, _) -> None:
    from kdjax.report import choose

    choose.main(args)


def _status(args, _) -> None:
    from kdjax.experiment import status

    for directory in args.runs:
        print("\n".join(status.lines(directory)))


def _list(args, _) -> None:
    from kdjax.config import catalogue

    catalogue.show(args.what)


def _check(args, _) -> int:
    from kdjax.training import parallel

    parallel.setup()
    from kdjax.losses import check

    return check.main(args.loss, args.task)


def _cost(args, _) -> None:
    from kdjax.training import parallel

    parallel.setup()
    from kdjax.models import cost

    cost.main(args)


def _export(args, _) -> None:
    from kdjax.training import parallel

    parallel.setup()
    from kdjax.ship import export

    complain = lambda message: print(f"kdjax: {message}", file=sys.stderr)  # noqa: E731
    written = export.export(args.run, args.target, args.format, complain)
    accuracy = f"{100 * written['accuracy']['top1']:.2f} % on the test split of {written['dataset']}"
    if written["accuracy"]["computed_in"] != "float32":
        accuracy += f" in {written['accuracy']['computed_in']}, while this file computes in float32"
    verified, latency = written["verified"], written["latency_1"]
    print(
        f"{args.target or written['weights']}: {written['model']}, {written['parameters']:,} parameters, {accuracy}; "
        f"logits differ from the network's by at most {verified['largest_difference']:.2g} ({verified['images']}); "
        f"{latency['median_ms']:.2f} ms an image on this CPU, one at a time"
    )


def _predict(args, _) -> int:
    if not args.model.endswith(".onnx"):  # what runs without JAX starts without it
        from kdjax.training import parallel

        parallel.setup()
    from kdjax.ship import predict

    return predict.main(args)


def _sizes(args, _) -> None:
    from kdjax.training import parallel

    parallel.setup()
    from kdjax.ship import sizes

    sizes.main(args)
