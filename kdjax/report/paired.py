"""Tests of a table over test examples, such as queries or images, where results keep the score of each."""

import numpy as np

from kdjax.report import statistics
from kdjax.runs.gather import done
from kdjax.runs.task import Task

COLUMN = "p, examples"
"""The header of its p value."""
BOTH = "[95 %], both"
"""The header of the interval that counts both."""
CHANGED = ("method and seed", "fixed", "broken", "McNemar's p")
"""The header of the table of single seeds."""
KEYS = ("examples", "low_examples", "high_examples", "p_examples", "p_holm_examples", "low_both", "high_both")
SEEDS = ("pair_seeds", "fixed", "broken", "p_mcnemar")
"""What a row may have besides KEYS: a list with an entry a seed, in the CSV joined by spaces."""


def over_examples(lines: list[dict], baseline: list[dict]) -> dict:
    """A row's comparison with the baseline's that pairs test examples; {} without their scores.

    Each example has its mean over the seeds that both rows have.

    Returns:
      examples, their number; low_examples, high_examples and p_examples, of `kdjax.report.statistics.paired`.
    """
    _, scores = _scores(lines, baseline)
    if scores is None:
        return {}
    test = statistics.paired(*(dict(enumerate(mean)) for mean in scores.mean(axis=1)))
    return {"examples": test["n"], **{f"{name}_examples": test[name] for name in ("low", "high", "p")}}


def of_classifiers(lines: list[dict], baseline: list[dict], task: Task, low: float | None, high: float | None) -> dict:
    """What else the examples of a classifier say of a row, beside its t interval over seeds; {} without their scores.

    Returns:
      low_both and high_both of `over_both`; pair_seeds, the seeds that both have, and for each of them fixed, broken
      and p_mcnemar, of `mcnemar`.
    """
    seeds, scores = _scores(lines, baseline) if task.name == "classification" else ([], None)
    if scores is None:
        return {}
    differences = scores[0] - scores[1]
    fixed, broken = (np.sum(differences * sign > 0, axis=1).tolist() for sign in (1, -1))
    tests = [mcnemar(*counts) for counts in zip(fixed, broken, strict=True)]
    bounds = over_both(differences, None if low is None else (low, high))
    return dict(zip(("low_both", "high_both", *SEEDS), (*bounds, seeds, fixed, broken, tests), strict=True))


def _scores(lines: list[dict], baseline: list[dict]) -> tuple[list[int], np.ndarray | None]:
    """(the seeds of which both rows have scores, [2, S, N] those of their examples; None without)."""
    of_seeds = [
        {result["seed"]: result["last"]["examples"] for result in done(of) if result["last"].get("examples")}
        for of in (lines, baseline)
    ]
    seeds = sorted(set.intersection(*map(set, of_seeds)))
    if len({len(of[seed]) for of in of_seeds for seed in seeds}) != 1:
        return [], None
    return seeds, np.array([[of[seed] for seed in seeds] for of in of_seeds], np.float64)


def over_both(differences: np.ndarray, seeds: tuple[float, float] | None = None) -> tuple[float | None, float | None]:
    """The 95 % interval of a mean difference over other seeds and other examples; (None, None) below two of either.

    The model has crossed random effects, d_si = δ + a_s + b_i + e_si: a_s is the luck of a seed on all examples, b_i
    how much an example tells the two methods apart whatever the seed. The variance of the mean, σ_a² / S + σ_b² / N +
    σ_e² / SN, is estimated from the mean squares of a two-way analysis of variance without repetition, σ_b² not below
    0, and Student's t has Satterthwaite's degrees of freedom (Searle, Casella and McCulloch 1992, Variance components,
    chapter 4). The t interval over seeds leaves out σ_b² / N.

    Args:
      differences: [S, N], paired by seed and example.
      seeds: the t interval over seeds alone: with few of them, and estimated degrees of freedom, it may be the wider
        one; what is returned holds it.
    """
    count, examples = differences.shape
    if count < 2 or examples < 2:
        return None, None
    mean, of_seed, of_example = differences.mean(), differences.mean(axis=1), differences.mean(axis=0)
    rest = differences - of_seed[:, None] - of_example + mean
    squares = np.array(
        [
            examples * np.sum((of_seed - mean) ** 2) / (count - 1),
            count * np.sum((of_example - mean) ** 2) / (examples - 1),
            np.sum(rest**2) / ((count - 1) * (examples - 1)),
        ]
    )
    signs = np.array([1, 1, -1] if squares[1] > squares[2] else [1, 0, 0])
    parts = signs * squares / (count * examples)
    freedom = np.array([count - 1, examples - 1, (count - 1) * (examples - 1)])
    if not parts.sum() > 0:
        return None, None
    from scipy import special  # slow to import

    half = special.stdtrit(parts.sum() ** 2 / np.sum(parts**2 / freedom), 0.5 + statistics.CONFIDENCE / 2)
    half *= np.sqrt(parts.sum())
    low, high = seeds or (mean, mean)
    return float(min(mean - half, low)), float(max(mean + half, high))


def mcnemar(fixed: int, broken: int) -> float:
    """McNemar's exact test, two-sided: p of so many examples that one of two classifiers alone has right, or wrong.

    McNemar 1947; Dietterich 1998 for classifiers. It is of two trained networks, not of the methods that made them.
    """
    if fixed == broken:
        return 1.0
    from scipy import special  # slow to import

    return float(min(1.0, 2 * special.bdtr(min(fixed, broken), fixed + broken, 0.5)))


def sentence(records: list[dict], columns) -> str:
    """What stands in their columns."""
    count, told = next((record["examples"] for record in records if record.get("examples")), 0), []
    if COLUMN in columns:
        told.append(
            f"{COLUMN}: of a two-sided paired t-test over the {count:,} test examples, each with its mean over the "
            "seeds: whether these students differ on other examples of the kind, where p asks about other seeds."
        )
    if BOTH in columns:
        told.append(
            f"{BOTH}: of the difference, over other seeds and other test examples, by a model with crossed random "
            "effects; it is not narrower than that over seeds."
        )
    if CHANGED[-1] in columns:
        told.append(
            "Fixed and broken: test examples that the method alone, or the baseline alone, has right, seed by seed, "
            "with McNemar's exact test of these two networks; not corrected for their number."
        )
    return " ".join(told)


def flat(record: dict) -> dict:
    """`record` with its lists of a number a seed as text, for the CSV."""
    return record | {name: " ".join(map(str, record[name])) for name in SEEDS if name in record}
