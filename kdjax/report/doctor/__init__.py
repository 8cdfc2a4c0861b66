"""Why distillation did not help: what of an experiment explains it, a sentence each with its number and what to try.

    kdjax doctor runs/x
    kdjax doctor results/digits/runs.jsonl --out=results/digits     # doctor.md

It looks at what training has left (runs.jsonl; predictions.npz where an experiment's directory has it) and trains
nothing. Nothing here imports JAX.
"""

from pathlib import Path

from kdjax.files import write_text
from kdjax.report import forms
from kdjax.report.doctor.case import FINE, FOUND, UNKNOWN, Case, Verdict, cases
from kdjax.report.doctor.learning import CHECKS as OF_LEARNING
from kdjax.report.doctor.teaching import CHECKS as OF_TEACHING
from kdjax.report.wording import clean, counted
from kdjax.runs import gather

HEAD = "# What kdjax doctor says\n\n"
CHECKS = {**OF_TEACHING, **OF_LEARNING}
"""What is looked at -> a function of a Case that returns its Verdict."""


def examine(case: Case) -> dict[str, Verdict]:
    """Check -> what it says, what was found first."""
    said = {name: check(case) for name, check in CHECKS.items()}
    order = {state: number for number, state in enumerate((FOUND, FINE, UNKNOWN))}
    return dict(sorted(said.items(), key=lambda item: order[item[1].state]))


def read(path) -> list[Case]:
    """The experiments of a directory or a runs.jsonl.

    Raises:
      ValueError: it is neither, or a folder of experiments, or a run in it has no result of its task.
    """
    if gather.is_folder(path):
        inside = " ".join(map(str, gather.experiments(path)))
        raise ValueError(f"{path} holds experiments; the doctor looks at single ones: {inside}")
    found = cases(gather.read(path), Path(path) if Path(path).is_dir() else None)
    empty = [case.experiment.name for case in found if not case.students]
    if empty:
        raise ValueError(f"{path}: no run of {', '.join(empty)} is finished, so there is nothing to look at yet")
    return found


def markdown(found: list[Case]) -> str:
    """A list an experiment: what was found in bold, then what is in order and what is not known."""
    parts = []
    for case in found:
        lines = [f"## {forms.escape(clean(_title(case)))}\n"]
        for name, verdict in examine(case).items():
            mark = f"**{name}**" if verdict.state == FOUND else f"{name} ({verdict.state})"
            lines.append(f"- {mark}: {forms.escape(clean(' '.join(filter(None, verdict[1:]))))}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _title(case: Case) -> str:
    seeds = max(row["n"] for row in case.students)
    return f"{case.experiment.name}: {counted(len(case.students), 'method')}, {counted(seeds, 'seed')}"


def terminal(found: list[Case]):
    """What is found, in colours, then what is in order and what is not known: for a rich console."""
    from rich.console import Group
    from rich.text import Text

    parts = []
    for case in found:
        parts.append(Text(_title(case), "bold"))
        for name, verdict in examine(case).items():
            style = {FOUND: "bold red", FINE: "green", UNKNOWN: "dim"}[verdict.state]
            text = Text.assemble((f"{verdict.state}: ", style), (f"{name}. ", "bold"), clean(verdict.said))
            parts.append(text.append(f" {clean(verdict.advice)}" if verdict.advice else ""))
        parts.append(Text())
    return Group(*parts)


def main(args) -> None:
    """`kdjax doctor RUNS... [--out=DIR]`: prints what it finds, and writes doctor.md."""
    from rich.console import Console

    found = [case for path in args.runs for case in read(path)]
    Console(highlight=False).print(terminal(found))
    if args.out:
        write_text(Path(args.out) / "doctor.md", HEAD + markdown(found))
