"""The command line: kdjax run | tune | table | grid | plan | doctor | status | list | check | ..., see `parser`."""

import argparse
import os
import shlex
import signal
import sys

from kdjax.arguments import PROGRAM
from kdjax.cli import cite, clean, diff, listing, report, rewrite, run, ship, studies, tables, track, tune
from kdjax.config.overrides import load_config as load_config
from kdjax.experiment.provenance import version


def main(argv=None) -> None:
    """Runs one command and leaves with its exit status, after a failure with one message that says what to do.

    0 done, 1 a failure of a program (`--debug` before the command shows the traceback), 2 bad input or a directory
    that cannot be read or written, 75 other processes are at work on the rest, 130 and 143 stopped by Ctrl-C, SIGTERM.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    arguments = parser()
    args, rest = arguments.parse_known_args(argv)
    if rest and args.command not in ("run", "tune", "rewrite"):
        arguments.error(f"unknown argument {rest[0]}")
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
        if command in ("run", "tune"):
            message += "; what is finished is whole, and the same command continues when this is mended"
        return message, 2
    if isinstance(error, ValueError):
        return str(error), 2
    return f"unexpected {type(error).__name__}: {error} ({PROGRAM} --debug {command} ... shows where)", 1


EXAMPLES = """examples:
  kdjax run --config=digits                            twelve methods on handwritten digits, in two minutes
  kdjax run --config=digits --only=student,kd --seeds=0-2 --config.epochs=10 --config.experiment=quick
  kdjax run --config=my_config.py --dry-run            what would be trained; trains nothing
  kdjax table runs/digits --out=results/digits         table.md, .csv, .tex and pictures
  kdjax doctor runs/digits                             why a method did not help, and what to try
  kdjax tune --config=digits_fewshot --trials=16       as many trials for every method, chosen on validation
  kdjax report runs/digits --out=report.html           all of it as one file
  kdjax check my_losses.cosine                         does a loss of your own keep the contract?
  kdjax list kd                                        a method, loss, model or data set, with its numbers
  kdjax export runs/digits/kd/seed0 student.onnx       a file that ships
kdjax COMMAND --help has the options of each."""


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Compare knowledge-distillation methods.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--debug", action="store_true", help="show the traceback of an error")
    top.add_argument("--version", action="version", version=f"{PROGRAM} {version(PROGRAM)}")
    commands = top.add_subparsers(dest="command", required=True, metavar="command")

    def command(name, function, help_, **kwargs):
        sub = commands.add_parser(name, help=help_, description=help_, allow_abbrev=False, **kwargs)
        sub.set_defaults(function=function)
        return sub

    for part in (run, tune, rewrite, tables, studies, listing, report, diff, clean, track, cite, ship):
        part.add(command)
    return top
