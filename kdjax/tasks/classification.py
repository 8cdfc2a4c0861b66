"""Classification: one class an example, of which the largest logit is the guess."""

import unicodedata

import numpy as np

from kdjax import confusion
from kdjax.tasks.task import Task

BINS = 15
"""Bins of the expected calibration error, as in Guo et al. 2017."""

ROWS = 1024
"""Examples whose probabilities are in memory at a time."""


def scores(logits, target) -> dict:
    """{"top1": 1 where the largest logit is the target's, "nll": nats}, each [B] float32; target [B] in 0..K-1."""
    import optax  # not before it is asked for: what reads tables starts without JAX

    nll = optax.losses.softmax_cross_entropy_with_integer_labels(logits, target)
    return {"top1": (logits.argmax(-1) == target).astype(logits.dtype), "nll": nll}


def report(logits: np.ndarray, labels: np.ndarray, teacher_logits: np.ndarray | None = None) -> dict:
    """Everything that result.json says of a model on a split.

    Args:
      logits: [N, K]; labels: [N]; teacher_logits: [N, K] of the teacher on the same examples, or None.

    Returns:
      top1; nll (nats); precision, recall and f1, macro averages over the classes that the split has (a class never
      predicted counts 0); ece, the expected calibration error of Guo et al. 2017 (arXiv:1706.04599) with 15 bins of
      equal width; agreement, the share of examples on which teacher and student name the same class (None without a
      teacher); confusion [[true class, predicted class, examples], ...] without zeros. Shares are in 0..1.
    """
    predicted = logits.argmax(-1)
    cells = confusion.cells(labels, predicted)
    of_classes = confusion.class_scores(cells, logits.shape[-1])
    averages = {name: float(np.mean(values[~np.isnan(values)])) for name, values in of_classes.items()}
    nll, confidence = _likelihoods(logits, labels)
    return {
        "top1": float(np.mean(predicted == labels)),
        "nll": float(np.mean(nll)),
        **{name: averages[name] for name in ("precision", "recall", "f1")},
        "ece": calibration_error(confidence, predicted == labels),
        "agreement": None if teacher_logits is None else float(np.mean(agreement(logits, teacher_logits, labels))),
        "confusion": cells,
    }


def _likelihoods(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """([N] negative log-likelihood of the label, [N] largest probability), by parts of ROWS."""
    parts = []
    for start in range(0, len(labels), ROWS):
        log_p = log_softmax(logits[start : start + ROWS])
        own = labels[start : start + ROWS]
        parts.append((-log_p[np.arange(len(own)), own], np.exp(log_p.max(-1))))
    nll, confidence = zip(*parts, strict=True)
    return np.concatenate(nll), np.concatenate(confidence)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """[N, K] log probabilities in float64."""
    from scipy.special import log_softmax

    return log_softmax(logits.astype(np.float64), axis=-1)


def calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Mean over examples of |accuracy - mean confidence| of the bin ((b - 1) / 15, b / 15] that each lies in."""
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def agreement(student: np.ndarray, teacher: np.ndarray, target) -> np.ndarray:
    """[N] whether student and teacher, logits [N, K], name the same class."""
    return student.argmax(-1) == teacher.argmax(-1)


def check_data(dataset) -> None:
    """Raises a ValueError unless every example of a kdjax.data.Dataset has one class, which has a name."""
    classes = len(dataset.classes)
    if classes < 2:
        raise ValueError(f"{dataset.name} has {classes} classes; a classifier needs at least two")
    names = [unicodedata.normalize("NFC", name) for name in dataset.classes]
    if len(set(names)) < classes:
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{dataset.name} has two classes named {twice!r}, to the eye: in Unicode they may differ")
    for name, arrays in dataset.splits.items():
        label = np.asarray(arrays.target)
        if label.ndim != 1 or len(label) != _examples(arrays.input) or not len(label) or label.dtype != np.int32:
            raise ValueError(
                f"{dataset.name}, {name}: there must be one int32 label [N] an example, and at least one; got "
                f"{label.dtype} {list(label.shape)} for {_examples(arrays.input)} examples"
            )
        least = -1 if name == "train" else 0
        wrong = np.flatnonzero((label < least) | (label >= classes))
        if len(wrong):
            raise ValueError(
                f"{dataset.name}, {name}: label {label[wrong[0]]} of example {wrong[0]} is out of range; there are "
                f"{classes} classes, 0 to {classes - 1}" + (", and -1 for no label" if least else "")
            )


def _examples(inputs) -> int:
    """The number of examples in a pytree of arrays; -1 where its leaves differ."""
    import jax

    sizes = {len(leaf) for leaf in jax.tree.leaves(inputs)}
    return sizes.pop() if len(sizes) == 1 else -1


TASK = Task(
    name="classification",
    primary="top1",
    higher_is_better=True,
    unit="%",
    columns=(
        ("top1", "top-1", "%"),
        ("precision", "precision", "%"),
        ("recall", "recall", "%"),
        ("f1", "F1", "%"),
        ("agreement", "agreement", "%"),
    ),
    loss="cross_entropy",
    outputs=lambda classes: classes,
    scores=scores,
    report=report,
    agreement=agreement,
    check_data=check_data,
    less_is_better=("nll", "ece"),
    strata=lambda target: target,
)
