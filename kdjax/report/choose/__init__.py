"""Which student to ship: the front of a metric against bytes, latency and FLOPs, and the smallest that is good enough.

    kdjax choose runs/digits_small --keep=0.95 --max-kb=100
    kdjax choose results/digits_small --sizes=results/digits_small/sizes.csv --out=results/digits_small

A candidate is a row of an experiment as a network, or, where `kdjax sizes` has measured its files, in each exported
form. Nothing here imports JAX.
"""

from pathlib import Path

from kdjax import tables
from kdjax.files import write_text
from kdjax.report.choose.candidates import offered, rated, score_of, teacher_of
from kdjax.report.choose.case import COSTS, Choice, Wanted, passes
from kdjax.report.choose.words import SAME, command, markdown, notes, table, verdict
from kdjax.report.grid import columns
from kdjax.report.wording import clean, counted, listed


def choose(paths, wanted: Wanted, metric: str = "", sizes=()) -> Choice:
    """The smallest student of experiments that keeps enough of the best teacher with 95 % confidence.

    Of the ratios r_s of a seed's score to the teacher's (of the teacher's to the score where less is better), n seeds:
    mean(r) - t(0.95, n - 1) std(r) / sqrt(n), the lower end of their one-sided t interval, is at least `wanted.keep`.

    Args:
      metric: a key of result["last"], "f1"; "": the task's primary.
      sizes: sizes.csv files of `kdjax sizes`; those beside the runs are read, too.

    Raises:
      ValueError: experiments of other data or tasks, no teacher, a metric that results do not have.
    """
    found = columns.read(paths)
    if len({each.settings["data"] for each in found}) > 1:
        told = listed(f"{each.name} on {each.settings['data']}" for each in found)
        raise ValueError(f"these experiments are of different data, and their students do not compare: {told}")
    score = score_of(found, metric)
    better = found[0].task.more_is_better(score.key)
    teacher = teacher_of(found, score, better)
    candidates, remarks = offered(found, score, sizes)
    candidates = rated(candidates, teacher[1], better)
    passing = [each for each in candidates if passes(each, wanted)]
    least = SAME * min((each.bytes for each in passing), default=0)
    chosen = max((each for each in passing if each.bytes <= least), key=lambda each: each.lowest, default=None)
    remarks.append(
        f"Each interval is its own, not corrected for the {counted(len(candidates), 'candidate')} looked at."
    )
    return Choice(score, better, teacher, candidates, wanted, chosen, remarks)


def write(choice: Choice, out) -> None:
    """choose.md, choose.csv and front.png, .svg, .pdf under `out`."""
    from kdjax.report.plots import front

    write_text(Path(out) / "choose.md", markdown(choice))
    keys = ("experiment", "row", "form", "n", "mean", "std", "kept", "lowest", *COSTS, "front")
    rows = [{key: getattr(each, key) for key in keys} | {"chosen": each == choice.chosen} for each in choice.candidates]
    write_text(Path(out) / "choose.csv", tables.csv(rows))
    front.write(choice, Path(out))


def main(args) -> None:
    """`kdjax choose RUNS... --keep=0.95`: prints the candidates, what is chosen and how it is exported."""
    from rich.console import Console
    from rich.text import Text

    limits = {"bytes": args.max_kb, "ms": args.max_ms, "flops": args.max_mflops}
    limits = {name: limit * COSTS[name][1] for name, limit in limits.items() if limit is not None}
    choice = choose(args.runs, Wanted(args.keep, limits), args.metric, args.sizes)
    if args.out:
        write(choice, args.out)
    console = Console(highlight=False)
    head, *lines = table(choice)
    console.print(tables.terminal(head, lines, wrapped=True))
    for note in notes(choice):
        console.print(Text(clean(note), "dim"))
    console.print(Text(clean(verdict(choice)), "bold"))
    if choice.chosen:
        console.print(command(choice.chosen), soft_wrap=True)
