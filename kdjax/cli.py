"""The command line: kdjax run | table | list | check | cost | export | predict | sizes."""

import argparse
import contextlib
import os
import shlex
import signal
import sys
import threading
from pathlib import Path

PROGRAM = "kdjax"


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Compare knowledge-distillation methods.", allow_abbrev=False
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    def command(name, function, help_, **kwargs):
        sub = commands.add_parser(name, help=help_, description=help_, allow_abbrev=False, **kwargs)
        sub.set_defaults(function=function)
        return sub

    sub = command(
        "run",
        _run,
        "train what is missing of an experiment and print its table",
        usage="kdjax run --config=FILE[:key=value,...] [--config.field=value ...] [options]",
    )
    sub.add_argument("--config", required=True, help="a Python file with get_config(), configs/digits.py")
    sub.add_argument("--only", default="", help="methods to run, kd,rkd; all when left out")
    sub.add_argument("--seeds", default="", help="seeds to run, 0,1,2; those of the config when left out")
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
    sub = command("table", _table, "make the table and the pictures of finished runs")
    sub.add_argument("runs", nargs="+", help="experiment directories, or a runs.jsonl")
    sub.add_argument("--only", default="", help="methods to show, student,kd; all when left out")
    sub.add_argument("--begun", action="store_true", help="leave out methods that have no result for any seed")
    sub.add_argument("--out", help="write runs.jsonl, table.md, table.csv, table.tex and pictures here")
    sub = command("list", _list, "name what there is")
    sub.add_argument("what", nargs="?", choices=("methods", "losses", "models", "datasets"), help="all when left out")
    sub = command("check", _check, "tell whether a loss keeps the contract")
    sub.add_argument("loss", help="a loss of kdjax or an import path, my_file.my_loss")
    sub = command("cost", _cost, "parameters, FLOPs, bytes and latency of models")
    sub.add_argument("models", nargs="+", help="names in kdjax.models or import paths")
    sub.add_argument("--teacher", help="the model that compression ratios refer to")
    sub.add_argument("--image-size", type=int, default=32, help="pixels a side (default: 32)")
    sub.add_argument("--channels", type=int, default=3)
    sub.add_argument("--classes", type=int, default=100)
    sub = command("export", _export, "write the student of a finished run to a file")
    sub.add_argument("run", help="the directory of a run, runs/digits/kd/seed0")
    sub.add_argument("target", nargs="?", default="", help="the file to write (default: digits-kd-seed0.FORMAT here)")
    sub.add_argument("--format", default="", help="onnx, stablehlo or safetensors (default: as the target's name ends)")
    sub = command("predict", _predict, "name the classes of images by an exported model")
    sub.add_argument("model", help="an exported .onnx, .stablehlo or .safetensors file")
    sub.add_argument("images", nargs="+", help="JPEG and PNG files, and folders of them")
    sub.add_argument("--top", type=int, default=3, help="classes to print for each image (default: 3)")
    sub.add_argument("--batch-size", type=int, default=32, help="images predicted at once (default: 32)")
    sub.add_argument("--json", action="store_true", help="print a JSON object for each image")
    sub = command("sizes", _sizes, "export runs in float and int8, measure accuracy, bytes, FLOPs and time")
    sub.add_argument("runs", nargs="+", help="directories of finished runs; seeds of one method share a row")
    sub.add_argument("--out", help="write sizes.md and sizes.csv here")
    sub.add_argument("--images", type=int, default=256, help="training images to calibrate int8 on (default: 256)")
    return parser


def load_config(file_and_arg: str, overrides: list[str]):
    """The config of "file.py:arg" after `--config.field=value` overrides, by ml_collections' own flag.

    Raises:
      ValueError: the file, its argument or an override is wrong.
    """
    from absl import flags
    from ml_collections.config_flags import config_flags

    path = Path(file_and_arg.partition(":")[0])
    if not path.is_file():
        raise ValueError(f"--config: there is no file {str(path)!r}")
    for folder in list(path.resolve().parents)[:2]:  # configs/ablations/x.py may import from configs/
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    values = flags.FlagValues()
    new_keys = {"lock_config": False, "accept_new_attributes": True}  # of a model's kwargs, say; config.resolve checks
    config_flags.DEFINE_config_file("config", flag_values=values, **new_keys)
    argv = [PROGRAM, f"--config={file_and_arg}", *overrides]
    before, sys.argv = sys.argv, argv  # config_flags looks for overrides there
    sys.modules.pop("config_config", None)  # where config_flags loads the file: what an earlier one defined stays there
    try:
        left = values(argv)
        config = values.config
    except KeyError as error:
        raise ValueError(f"--config: there is no field {error.args[0]}") from error
    except flags.UnrecognizedFlagError as error:
        raise ValueError(f"unknown argument --{error.flagname}; a field is set by --config.field=value") from error
    except (flags.Error, AttributeError, TypeError, SyntaxError) as error:
        raise ValueError(f"--config: {_last_words(error)}") from error
    finally:
        sys.argv = before
    if len(left) > 1:
        raise ValueError(f"unknown argument {left[1]!r}; a field of the config is set by --config.field=value")
    return config


def _last_words(error) -> str:
    """What an error says; of a traceback inside it, which ml_collections quotes, the exception alone."""
    text = str(error).strip()
    return text.splitlines()[-1].removeprefix("ValueError: ") if "Traceback" in text else text


def _run(args, rest) -> int:
    from kdjax import parallel, processes

    parallel.setup()
    from kdjax import experiment, table, train
    from kdjax.config import resolve

    status, given = 0, [argument for argument in rest if argument.startswith("--launcher.")]
    config = load_config(args.config, [argument for argument in rest if argument not in given])
    chosen = (config, args.out, _names(args.only), _integers(args.seeds, "--seeds"))
    if (given or args.wait) and not args.launcher:
        raise ValueError(f"{given[0] if given else '--wait'} is an option of --launcher=slurm or local")
    if args.launcher and (args.coordinator or args.processes or args.process >= 0):
        raise ValueError(
            "--coordinator, --processes and --process join processes that are there; --launcher starts its own"
        )
    if not args.launcher:
        mode = resolve(config).execution.devices
        processes.join(args.coordinator, args.processes, args.process, mode)
    try:
        with _signals() as received:
            asked = lambda: received[0] if received else 0  # noqa: E731
            if args.launcher:
                from kdjax import launch

                status, directory = launch.main(args.launcher, *chosen, given, args.wait, asked)
            else:
                directory = experiment.run(*chosen, stop_signal=asked)
    except train.Stopped as stopped:
        print(
            f"{PROGRAM}: stopped by {stopped}, every run is checkpointed; to continue: {args.command_line}",
            file=sys.stderr,
        )
        return 128 + stopped.signum
    except experiment.Held as held:
        print(f"{PROGRAM}: {held}; when they are done: {args.command_line}", file=sys.stderr)
        return os.EX_TEMPFAIL
    if (args.wait or args.launcher != "slurm") and processes.first() and (directory / "config.json").is_file():
        _print_table(table.gather(directory))
    return status


@contextlib.contextmanager
def _signals():
    """Yields a list that gets the number of the first SIGTERM or SIGINT; the second ends the process at once.

    A thread reads them from the pipe that the interpreter's C handler writes to: handlers in Python run in the main
    thread alone, and not while XLA compiles there.
    """
    received, (reader, writer) = [], os.pipe()

    def watch():
        while signum := os.read(reader, 1)[0]:
            if signum in handlers and received:
                print(
                    "\x1b[?25h" if sys.stdout.isatty() else "", end="", flush=True
                )  # the progress bar hides the cursor
                os._exit(128 + signum)
            if signum in handlers:
                received.append(signum)
                name = signal.Signals(signum).name
                print(f"{PROGRAM}: {name}: stopping after this step; once more to stop at once", file=sys.stderr)

    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer)
    handlers = {signum: signal.signal(signum, lambda *_: None) for signum in (signal.SIGTERM, signal.SIGINT)}
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)
        signal.set_wakeup_fd(before)
        os.write(writer, b"\0")
        thread.join()
        os.close(reader)
        os.close(writer)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _integers(text: str, option: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in _names(text))
    except ValueError:
        raise ValueError(f"{option} takes integers like 0,1,2, got {text!r}") from None


def _print_table(runs, shown=None) -> None:
    from rich.console import Console

    from kdjax import table

    Console(highlight=False).print(table.terminal(runs, shown))


def _table(args, _) -> None:
    from kdjax import gather, table

    runs = [line for path in args.runs for line in gather.read(path)]
    shown = gather.select(runs, _names(args.only))
    shown = gather.begun(shown) if args.begun else shown
    if args.out:
        table.write(runs, args.out, shown)
    _print_table(runs, shown)


def _list(args, _) -> None:
    from kdjax import catalogue

    catalogue.show(args.what)


def _check(args, _) -> int:
    from kdjax import check

    return check.main(args.loss)


def _cost(args, _) -> None:
    from kdjax import parallel

    parallel.setup()
    from kdjax import cost

    cost.main(args)


def _export(args, _) -> None:
    from kdjax import parallel

    parallel.setup()
    from kdjax import export

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
        from kdjax import parallel

        parallel.setup()
    from kdjax import predict

    return predict.main(args)


def _sizes(args, _) -> None:
    from kdjax import parallel

    parallel.setup()
    from kdjax import sizes

    sizes.main(args)


if __name__ == "__main__":
    main()
