"""--seeds=until:0.5,max=20: how many seeds a difference takes, decided from the spread of seeds of their own.

A design in two stages with an external pilot: the first stage's seeds tell the spread of paired differences and are
compared in no table, the second's are as many as a paired t-test over fresh seeds needs. What decides the number is
independent of what is tested, so the test keeps its error rate whatever the number; were the pilot's seeds compared
too (Stein 1945 and Wittes and Brittain 1990 discuss what then must be corrected), up to 9 % of true null hypotheses
would be rejected at 5 %, results/pilot/README.md.
"""

from kdjax.report import power
from kdjax.report.records import selected
from kdjax.report.wording import counted
from kdjax.runs.task import Task


def needed(lines: list[dict], difference: float, most: int) -> int:
    """How many seeds the comparison takes, at most so many.

    Args:
      lines: those of the pilot's experiment, as `kdjax.runs.gather` has them.
      difference: that is to be seen with `power.POWER`, a fraction where scores are shares.

    Raises:
      ValueError: it has no spread, as no method stands beside the baseline with two seeds or more.
    """
    spread = selected(lines)[0].spread if lines else None
    if spread is None:
        raise ValueError(
            "--seeds=until: asks how much differences to the baseline vary over seeds, and the pilot does not tell: no "
            "method stands beside the baseline with two seeds that differ"
        )
    return min(power.seeds(difference, spread.std), most)


def paragraph(shared: dict, task: Task) -> list[tuple[str, str]]:
    """How the number of seeds was decided, of rows that --seeds=until: has trained; [] for others."""
    told = shared.get("pilot") or {}
    if not told.get("seeds") or not told.get("difference"):
        return []
    score = task.primary
    wanted = counted(100 * told["difference"], "point") if score.unit == "%" else score.difference(told["difference"])
    text = (
        f"The number of seeds is what a difference of {wanted} in {score.title} takes to be seen with "
        f"{100 * power.POWER:.0f} % power, at most {told['most']}: {told['needed']}, by the median spread of paired "
        f"differences over the {told['seeds']} seeds of a pilot, none of which is in this table."
    )
    return [("Seeds", text)]
