"""What a student predicts of each test example, kept beside its result: kdjax.runs.predictions reads it."""

import io
from pathlib import Path

import numpy as np

from kdjax.files import write_bytes
from kdjax.runs.predictions import NAME
from kdjax.training.evaluate import Evaluation


def write(run: Path, evaluation: Evaluation, target: np.ndarray, kept: str = "logits") -> None:
    """Writes predictions.npz whole: logits [N, K] float16, target [N], index [N], and score/<name> [N] of the task.

    Two bytes a logit: a megabyte for 10,000 examples of 50 classes. Scores are those of the logits before rounding.
    What a task keeps in place of logits stands there as it is, under the name `kept`.
    """
    logits = evaluation.logits
    if kept == "logits":
        logits = np.clip(logits, -65504, 65504).astype(np.float16)
    arrays = {kept: logits, "target": target}
    arrays |= {"index": np.arange(len(target), dtype=np.int32)}
    arrays |= {f"score/{name}": values for name, values in evaluation.scores.items()}
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_bytes(run / NAME, content.getvalue())
