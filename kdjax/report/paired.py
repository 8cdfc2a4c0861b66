"""The second test of a table: over test examples, such as queries, where results keep the score of each."""

import numpy as np

from kdjax.report import statistics
from kdjax.runs.gather import done

COLUMN = "p, examples"
"""The header of its p value."""


def over_examples(lines: list[dict], baseline: list[dict]) -> dict:
    """A row's comparison with the baseline's that pairs test examples; {} without their scores.

    Each example has its mean over the seeds that both rows have.

    Returns:
      examples, their number; low_examples, high_examples and p_examples, of `kdjax.report.statistics.paired`.
    """
    of_seeds = [
        {result["seed"]: result["last"]["examples"] for result in done(of) if result["last"].get("examples")}
        for of in (lines, baseline)
    ]
    seeds = sorted(set.intersection(*map(set, of_seeds)))
    if len({len(of[seed]) for of in of_seeds for seed in seeds}) != 1:
        return {}
    means = (np.mean([of[seed] for seed in seeds], axis=0) for of in of_seeds)
    test = statistics.paired(*(dict(enumerate(mean)) for mean in means))
    return {"examples": test["n"], **{f"{name}_examples": test[name] for name in ("low", "high", "p")}}


def sentence(records: list[dict], columns) -> str:
    """What stands in its column."""
    count = next((record["examples"] for record in records if record.get("examples")), 0)
    if COLUMN not in columns:
        return ""
    return (
        f"{COLUMN}: of a two-sided paired t-test over the {count:,} test examples, each with its mean over the seeds: "
        "whether these students differ on other examples of the kind, where p asks about other seeds."
    )
