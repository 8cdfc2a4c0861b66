"""What a finished run says of single classes, and of those with few, medium and many training images."""

import math

import numpy as np

GROUPS = ("few", "medium", "many")
"""The thirds of the classes by their number of labelled training images."""

UNEVEN = 1.5
"""Classes are grouped when the largest has at least so many times the training images of the smallest."""


def confusion(result: dict) -> np.ndarray:
    """[K, K] counts, true by predicted, on the test split after the last epoch."""
    counts = np.zeros([len(result["classes"])] * 2)
    for true, predicted, count in result["last"]["confusion"]:
        counts[true, predicted] += count
    return counts


def scores(counts: np.ndarray) -> dict[str, np.ndarray]:
    """{"recall", "precision", "f1"}: [K] fractions of a confusion matrix; nan for classes without test images.

    A class that is never predicted has precision and F1 of 0, as in the macro averages of kdjax.metrics.
    """
    hits, true, predicted = np.diag(counts), counts.sum(1), counts.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = {
            "recall": hits / true,
            "precision": np.where(predicted > 0, hits / predicted, 0.0),
            "f1": 2 * hits / (true + predicted),
        }
    return {name: np.where(true > 0, values, math.nan) for name, values in found.items()}


def uneven(result: dict) -> bool:
    """Whether the numbers of training images differ enough for groups to mean something."""
    counts = [count for count in result.get("train_counts") or () if count]
    return bool(result["last"].get("confusion") and counts) and max(counts) >= UNEVEN * min(counts)


def group(result: dict) -> np.ndarray:
    """[K] the place in GROUPS of each class; classes of equal numbers stay together."""
    counts = np.array(result["train_counts"])
    return np.searchsorted(np.quantile(counts, [1 / 3, 2 / 3]), counts)


def group_accuracy(result: dict, number: int) -> float:
    """Mean accuracy of a group's classes that have test images, each counting the same; nan when none has."""
    recall = scores(confusion(result))["recall"][group(result) == number]
    return float(np.nanmean(recall)) if np.isfinite(recall).any() else math.nan


def group_sizes(results: list[dict], number: int) -> str:
    """Training images of a group's classes and how many classes these are, over all results: "16 to 24, 27"."""
    members = [np.array(result["train_counts"])[group(result) == number] for result in results]
    images = np.concatenate(members)
    if not len(images):
        return "no class"
    return f"{between(images)} images, {between([len(member) for member in members])} classes"


def between(numbers) -> str:
    """ "3", or "3 to 5" for numbers that differ."""
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"
