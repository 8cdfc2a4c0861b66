"""predictions.npz beside a result: what a student predicts of each test example, read without JAX."""

from pathlib import Path

import numpy as np

from kdjax.runs import task
from kdjax.runs.gather import done

NAME = "predictions.npz"


def read(run: Path) -> dict[str, np.ndarray]:
    """{"logits": [N, K] float16, "target": [N], "index": [N], "score/<name>": [N], ...} of a run's directory.

    Raises:
      ValueError: there is none, as of runs of older versions or with config.execution.keep_predictions off.
    """
    path = Path(run) / NAME
    try:
        with np.load(path) as file:
            return dict(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read, so nothing is known of single examples: {error}") from error


def with_scores(lines: list[dict], source) -> list[dict]:
    """Lines whose results have the primary score of every test example, at last.examples, as far as runs kept it.

    Args:
      source: what the lines were read from (kdjax.runs.gather.read); lines that have scores keep them.

    Raises:
      ValueError: no run has any.
    """
    directory, made = Path(source), []
    for line in lines:
        scores = None if not done([line]) or line["result"]["last"].get("examples") else _primary(directory, line)
        if scores is not None:
            last = {**line["result"]["last"], "examples": scores}
            line = {**line, "result": {**line["result"], "last": last}}
        made.append(line)
    if not any(line["result"]["last"].get("examples") for line in made if done([line])):
        raise ValueError(
            f"{source}: the scores of single test examples are in no result, and no {NAME} lies beside one: give the "
            "experiment's directory, of runs with config.execution.keep_predictions, or a runs.jsonl made by --examples"
        )
    return made


def _primary(directory: Path, line: dict) -> list[float] | None:
    """The primary score of each test example of a run, to four digits; None where it was not kept for all."""
    try:
        with np.load(directory / line["run"] / NAME) as file:
            scores = file[f"score/{task.of(line['result']).primary.key}"]
    except (OSError, ValueError, KeyError):
        return None
    return np.round(scores.astype(np.float64), 4).tolist() if np.isfinite(scores).all() else None
