"""predictions.npz beside a result: what a student predicts of each test example, read without JAX."""

from pathlib import Path

import numpy as np

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
