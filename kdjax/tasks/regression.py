"""Regression: one number an example, which the network's one logit is meant to be."""

import numpy as np

from kdjax.tasks.task import Task


def scores(logits, target) -> dict:
    """{"mae": absolute error, "mse": its square}, each [B] float32, in the target's unit; target [B] float32."""
    error = logits[:, 0] - target
    return {"mae": abs(error), "mse": error * error}


def report(logits: np.ndarray, target: np.ndarray, teacher_logits: np.ndarray | None = None) -> dict:
    """What result.json says of a model on a split.

    Args:
      logits: [N, 1]; target: [N]; teacher_logits: [N, 1] of the teacher on the same examples, or None.

    Returns:
      mae and rmse, in the target's unit; spearman, the rank correlation of predictions and targets (None where either
      is constant); agreement, the mean absolute difference of student and teacher (None without a teacher).
    """
    from scipy.stats import spearmanr  # slow to import

    predicted, target = logits[:, 0].astype(np.float64), target.astype(np.float64)
    varies = len(np.unique(predicted)) > 1 and len(np.unique(target)) > 1
    return {
        "mae": float(np.mean(np.abs(predicted - target))),
        "rmse": float(np.sqrt(np.mean(np.square(predicted - target)))),
        "spearman": float(spearmanr(predicted, target).statistic) if varies else None,
        "agreement": None if teacher_logits is None else float(np.mean(agreement(logits, teacher_logits, target))),
    }


def agreement(student: np.ndarray, teacher: np.ndarray, target) -> np.ndarray:
    """[N] how far student and teacher, [N, 1], are apart."""
    return np.abs(student[:, 0].astype(np.float64) - teacher[:, 0])


def check_data(dataset) -> None:
    """Raises a ValueError unless every example of a kdjax.data.Dataset has one finite number, and no classes."""
    if dataset.classes:
        raise ValueError(f"{dataset.name} has classes; config.task='regression' is for data with a number an example")
    for name, arrays in dataset.splits.items():
        target = np.asarray(arrays.target)
        if target.ndim != 1 or not len(target) or target.dtype != np.float32 or not np.isfinite(target).all():
            raise ValueError(
                f"{dataset.name}, {name}: there must be one finite float32 number [N] an example, and at least one; "
                f"got {target.dtype} {list(target.shape)}"
            )


TASK = Task(
    name="regression",
    primary="mae",
    higher_is_better=False,
    unit="",
    columns=(
        ("mae", "MAE", ""),
        ("rmse", "RMSE", ""),
        ("spearman", "Spearman", ""),
        ("agreement", "MAE to teacher", ""),
    ),
    loss="squared_error",
    outputs=lambda classes: 1,
    scores=scores,
    report=report,
    agreement=agreement,
    check_data=check_data,
    less_is_better=("rmse", "agreement"),
)
