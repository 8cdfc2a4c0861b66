"""What tables and pictures say of tuning: its paragraph of the protocol, the best of k trials."""

from collections.abc import Sequence

import numpy as np

from kdjax.report.wording import counted, listed
from kdjax.runs.task import Task


def paragraph(shared: dict, task: Task) -> list[tuple[str, str]]:
    """How hyperparameters were chosen, of rows that kdjax run --tuned has trained; [] for others."""
    tuned = shared.get("tuned") or {}
    if not tuned.get("trials") or not tuned.get("seeds"):
        return []
    seeds, best = tuned["seeds"], "highest" if task.higher_is_better else "lowest"
    text = (
        f"The hyperparameters of every method, the learning rate of each among them, are the best of "
        f"{counted(tuned['trials'], 'trial')} of its own, as many for all: the config's own values, then Sobol points "
        f"of log ranges around them (kdjax/config/spaces.py). Each trial was trained with seed{'s' * (len(seeds) > 1)} "
        f"{listed(seeds)}, none of which is in this table; chosen: the {best} mean {task.primary.title} on the "
        f"validation split at the last epoch.{f' {rule}' if (rule := halved(tuned)) else ''} No trial has seen the "
        "test split."
    )
    return [("Tuning", text)]


def halved(tuned: dict) -> str:
    """How trials were stopped, a sentence; "" where all were trained to the end."""
    if not tuned.get("halve"):
        return ""
    rungs = [f"{n} after epoch {epoch}" for epoch, n in zip(tuned["halve"], tuned["kept"], strict=True)]
    return (
        f"Of each method's {tuned['trials']} trials went on {listed(rungs)}, the best by that score there and always "
        "the config's own values; the others were stopped. Learning rates followed the schedule of all epochs."
    )


def expected_best(values: Sequence[float], higher_is_better: bool = True) -> np.ndarray:
    """[n] the expected best score of k = 1 .. n trials, drawn with replacement from the n that there are.

    Dodge et al. 2019 (arXiv:1909.03004), equation 4: the mean of the maximum of k draws from the empirical
    distribution, sum over sorted values v_i of v_i ((i / n)^k - ((i - 1) / n)^k).
    """
    sign = 1 if higher_is_better else -1
    ordered = np.sort(sign * np.asarray(values, float))
    n = len(ordered)
    shares = (np.arange(n + 1) / n)[None] ** np.arange(1, n + 1)[:, None]
    return sign * (np.diff(shares, axis=1) @ ordered)
