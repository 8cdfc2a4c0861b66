"""What makes a number doubtful, in sentences: said in the log when it is noticed, and under the table."""

import statistics

from kdjax.runs.task import CLASSIFICATION, Task

APART = 30.0
"""Gradients of two terms are told of when one is at least so many times the other."""


def learned_nothing(classes: int) -> tuple[float, str]:
    """(the accuracy that a classifier of so many classes has at most if it has learned nothing, that in words).

    1.5 times that of a guess; of five classes and fewer a tenth of the way from there to all: 75 % of two is no guess.
    """
    guess = 1 / max(classes, 1)
    tenth = guess + 0.1 * (1 - guess)
    return (1.5 * guess, "at most 1.5 times chance") if 1.5 * guess <= tenth else (tenth, "hardly above chance")


def larger(student: dict | None, teacher: dict | None) -> str:
    """A student with more parameters than what teaches it, both as in result.json; "" if it is not."""
    sizes = [(model or {}).get("parameters") for model in (student, teacher)]
    if None in sizes or sizes[0] <= sizes[1]:
        return ""
    return f"The student is larger than its teacher: {sizes[0]:,} parameters against {sizes[1]:,}."


def better(value: float | None, teacher: float | None, task: Task = CLASSIFICATION) -> str:
    """A student, by the primary score of its task, that is better than what teaches it; "" if it is not."""
    if value is None or teacher is None or task.sign * value <= task.sign * teacher:
        return ""
    score = task.primary
    unit = f" {score.unit}" if score.unit else ""
    shown = f"{score.title} {score.number(teacher)} against {score.number(value)}{unit}"
    return f"The teacher is worse than this student: {shown}."


def gradients(ratios: list[dict | None]) -> list[str]:
    """Terms far from cross-entropy, of what `training.gradients` measured in the runs of a row: {term: ratio} each."""
    terms = {}
    for of_run in ratios:
        for term, ratio in (of_run or {}).items():
            terms.setdefault(term, []).append(ratio)
    return [sentence for term, values in terms.items() if (sentence := _apart(term, statistics.median(values)))]


def _apart(term: str, ratio: float) -> str:
    if ratio == 0:
        return f"Its term {term} has no gradient at the first step."
    if 1 / APART < ratio < APART:
        return ""
    times = f"{ratio:,.0f} times" if ratio > 1 else f"1/{1 / ratio:,.0f} of"
    return f"At the first step the gradient of its term {term} is {times} that of cross-entropy, weights included."
