"""kdjax run --seeds=until:0.5,max=20: the pilot that decides how many seeds there are; see kdjax.report.pilot."""

import re
from typing import NamedTuple

from kdjax.arguments import difference

PREFIX = "until:"
FIRST = 2000
"""The first of the pilot's seeds, far from those of comparisons (0, ...) and of kdjax tune (1000, ...)."""
FORM = "until:DIFFERENCE[,max=20][,pilot=5], such as until:0.5,max=20"


class Design(NamedTuple):
    """What --seeds=until: asks for."""

    difference: float  # as `kdjax.arguments.difference` has it
    most: int  # seeds of the comparison
    pilot: int  # seeds of the pilot

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(range(FIRST, FIRST + self.pilot))


def design(text: str, unit: str) -> Design:
    """What "until:0.5,max=20,pilot=5" asks for, of scores in this unit, "%" for shares.

    Raises:
      ValueError: it is of another form, or its numbers cannot be.
    """
    wanted, *options = text.removeprefix(PREFIX).split(",")
    numbers = {"max": 20, "pilot": 5}
    for option in options:
        match = re.fullmatch(r"\s*(max|pilot)=(\d+)\s*", option)
        if not match:
            raise ValueError(f"--seeds={text}: {option!r} is not understood; the form is {FORM}")
        numbers[match[1]] = int(match[2])
    value = difference(wanted, "--seeds=until:", {unit})
    if not value:
        raise ValueError("--seeds=until:0: no number of seeds sees a difference of 0")
    for name, number in numbers.items():
        if not 2 <= number <= 1000:
            raise ValueError(f"--seeds={text}: {name} is from 2 to 1000, got {number}")
    return Design(value, numbers["max"], numbers["pilot"])


def check(args, several: bool) -> None:
    """Raises a ValueError where an option does not go with it."""
    others = {"--launcher": args.launcher, "--tuned": args.tuned is not None, "--dry-run": args.dry_run}
    others |= {"config.pairs": several, "--coordinator": args.coordinator, "--processes": args.processes}
    if given := [name for name, value in others.items() if value]:
        raise ValueError(
            f"--seeds=until: trains its pilot here, in one process, of one experiment: leave out {given[0]}"
        )


def decided(text: str, config, root, only, asked) -> tuple:
    """(config, root, only, seeds) of the comparison, once the pilot is there and has decided how many seeds.

    Args:
      text: of --seeds. The rest is as in `kdjax.experiment.run`; asked is its stop_signal.
    """
    from kdjax import tasks
    from kdjax.config.fields import resolve
    from kdjax.experiment import pilot as first
    from kdjax.report import pilot, table

    config = resolve(config)
    plan = design(text, tasks.named(config.task).unit)
    directory = first.run(config, plan.seeds, chosen(config.seeds, plan.most), root, only, asked)
    number = pilot.needed(table.gather(directory), plan.difference, plan.most)
    config.pilot = {"difference": plan.difference, "most": plan.most, "needed": number, "seeds": plan.pilot}
    seeds = chosen(config.seeds, number)
    print(f"by the pilot, {directory}, it takes {number} seeds (at most {plan.most}): {', '.join(map(str, seeds))}")
    return config, root, only, seeds


def chosen(own, number: int) -> tuple[int, ...]:
    """`number` seeds: the config's own, then the numbers that follow the largest of them."""
    own = tuple(own)
    return (*own, *range(max(own) + 1, max(own) + 1 + number))[:number]
