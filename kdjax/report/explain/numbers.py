"""What was passed on, from logits alone. Arrays: logits [N, K], labels [N]; each function is of one seed's runs."""

import numpy as np
from scipy.stats import rankdata

BINS = 15
"""Of reliability diagrams, as of the expected calibration error in kdjax.tasks.classification."""
MOST = 512
"""Up to so many classes Kendall's tau is computed: it compares all pairs of them."""
CELLS = 2**24
"""Entries of an array of pairs that is in memory at a time."""


def recall(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """[K] the share of each class's examples that is found; NaN for a class without examples."""
    classes = logits.shape[1]
    hits = np.bincount(labels, weights=logits.argmax(1) == labels, minlength=classes)
    total = np.bincount(labels, minlength=classes)
    return np.divide(hits, total, out=np.full(classes, np.nan), where=total > 0)


def changes(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """[N] 1 where distillation fixed an example, -1 where it broke one, 0 elsewhere."""
    return (after.argmax(1) == labels).astype(int) - (before.argmax(1) == labels)


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    """The share of examples on which two name the same class."""
    return float(np.mean(one.argmax(1) == other.argmax(1)))


def copied(student: np.ndarray, teacher: np.ndarray, labels: np.ndarray) -> float:
    """Of the examples on which the teacher is wrong, the share on which the student names the same wrong class."""
    wrong = teacher.argmax(1) != labels
    return float(np.mean(student.argmax(1)[wrong] == teacher.argmax(1)[wrong])) if wrong.any() else np.nan


def reliability(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """([BINS] examples, mean confidence and accuracy of each bin, NaN where empty; expected calibration error).

    Bins of equal width of the largest probability, and the mean over examples of |accuracy - confidence| of their bin:
    Guo et al. 2017, arXiv:1706.04599.
    """
    shifted = logits - logits.max(1, keepdims=True)
    confidence = 1 / np.exp(shifted).sum(1)
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    sums = [np.bincount(place, weights=each, minlength=BINS) for each in (confidence, logits.argmax(1) == labels)]
    means = [np.divide(each, counts, out=np.full(BINS, np.nan), where=counts > 0) for each in sums]
    error = float(np.abs(sums[0] - sums[1]).sum() / len(labels))
    return counts, *means, error


def others(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """[N, K - 1] the logits of the classes that an example is not of, in their order."""
    keep = np.arange(logits.shape[1]) != labels[:, None]
    return logits[keep].reshape(len(labels), -1)


def spearman(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """[N] rank correlations of rows [N, M]; ties share their mean rank; NaN where a row is constant."""
    ranks = [rankdata(each, axis=1) for each in (student, teacher)]
    centred = [each - each.mean(1, keepdims=True) for each in ranks]
    size = np.sqrt((centred[0] ** 2).sum(1) * (centred[1] ** 2).sum(1))
    return np.divide((centred[0] * centred[1]).sum(1), size, out=np.full(len(size), np.nan), where=size > 0)


def kendall(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """[N] Kendall's tau-b of rows [N, M]; NaN where a row is constant."""
    rows = max(1, CELLS // student.shape[1] ** 2)
    return np.concatenate(
        [_kendall(student[i : i + rows], teacher[i : i + rows]) for i in range(0, len(student), rows)]
    )


def _kendall(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    first, second = np.triu_indices(one.shape[1], 1)
    signs = [np.sign(each[:, first] - each[:, second]) for each in (one, other)]
    size = np.sqrt((signs[0] != 0).sum(1) * (signs[1] != 0).sum(1).astype(float))
    return np.divide((signs[0] * signs[1]).sum(1), size, out=np.full(len(size), np.nan), where=size > 0)


def order(student: np.ndarray, teacher: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """{"spearman", "kendall"}: how much of the teacher's order of the other classes a student has, mean over examples.

    NaN below three other classes, where an order says next to nothing, and Kendall's above MOST.
    """
    ours, theirs = others(student, labels), others(teacher, labels)
    if ours.shape[1] < 3:
        return {"spearman": np.nan, "kendall": np.nan}
    tau = _mean(kendall(ours, theirs)) if ours.shape[1] < MOST else np.nan
    return {"spearman": _mean(spearman(ours, theirs)), "kendall": tau}


def _mean(values: np.ndarray) -> float:
    """Over those that are known; NaN without any."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan
