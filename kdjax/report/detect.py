"""kdjax plan --detect: how many seeds it takes to see a difference, by the spread of the seeds that are there."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kdjax import tables
from kdjax.report import power
from kdjax.report.power import Spread
from kdjax.report.records import Experiment, selected
from kdjax.report.wording import DASH, clean, counted, listed
from kdjax.runs.schema import TEACHER
from kdjax.runs.task import Score

MEANING = (
    f"Of a paired t-test, two-sided at 5 %, uncorrected, with {100 * power.POWER:.0f} % power; in {{unit}}. n: seeds "
    "that both have; std: of the paired differences to the baseline, with its 95 % interval by chi-square; "
    "detects: the smallest difference that n seeds detect; seeds: how many it takes, by std and by the ends of its "
    "interval. The median std is taken to be known no better than that of one method, as all share the baseline's runs."
)


def show(runs: list[dict], difference: float, shown: list[dict] | None = None) -> None:
    """Prints a table an experiment: of each method, and of the experiment as a whole, the seeds that it takes.

    Args:
      runs, shown: lines of runs.jsonl, and of the rows to show (`kdjax.report.records.selected`).
      difference: the true difference that is to be seen, a fraction where scores are shares.
    """
    console = Console(highlight=False)
    found = selected(runs, shown)
    for experiment in found:
        console.print(_table(experiment, difference))
    units = dict.fromkeys(_unit(experiment.task.primary) for experiment in found)
    console.print(Text(MEANING.format(unit=listed(units)), "dim"))


def _unit(score: Score) -> str:
    """ "percentage points of top-1", "eV of MAE", "units of Spearman"."""
    return f"{score.difference_unit.strip() or 'units'} of {score.title}"


def _table(experiment: Experiment, difference: float) -> Table:
    baseline = next(
        (line["config"]["baseline"] for line in experiment.lines if line["config"].get("baseline")), "student"
    )
    score = experiment.task.primary
    points = counted(100 * difference, "point") if score.unit == "%" else score.difference(difference)
    title = Text(clean(f"{experiment.name}: seeds to see a difference of {points} to {baseline}"))
    table = tables.terminal(["method", "n", "std [95 %]", "detects", "seeds [95 %]"], [], title)
    for row in experiment.records:
        if row["method"] not in (TEACHER, baseline):
            spread = Spread(row["pairs"], row["difference_std"], 1) if row["difference_std"] is not None else None
            table.add_row(*map(Text, _cells(row["row"], row["pairs"], spread, difference, score)))
    whole = experiment.spread
    name = f"median of {counted(whole.methods, 'method')}" if whole else "median"
    table.add_section()
    table.add_row(*map(Text, _cells(name, whole.n if whole else None, whole, difference, score)))
    return table


def _cells(name: str, n: int | None, spread: Spread | None, difference: float, score: Score) -> list[str]:
    count = DASH if n is None else str(n)
    if spread is None:
        return [clean(name), count, DASH, DASH, DASH]
    stds = (spread.std, *power.interval(spread.n, spread.std))
    needed = [f"{power.seeds(difference, std):,}" for std in stds]
    std, low, high = map(score.number, stds)
    detects = score.number(power.detectable(spread.n, spread.std))
    return [clean(name), count, f"{std} [{low}, {high}]", detects, f"{needed[0]} [{needed[1]}, {needed[2]}]"]
