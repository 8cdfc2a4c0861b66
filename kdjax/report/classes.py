"""What a finished run says of single classes, and of those with few, medium and many training images."""

import math

import numpy as np

from kdjax import confusion as cells
from kdjax.runs.task import example

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


def totals(result: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """([K] test images of each class, [K] predictions of it, [K] right ones)."""
    return cells.totals(result["last"]["confusion"], len(result["classes"]))


def class_scores(result: dict) -> dict[str, np.ndarray]:
    """{"recall", "precision", "f1"}: [K] fractions on the test split; nan for classes without test images."""
    return cells.class_scores(result["last"]["confusion"], len(result["classes"]))


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
    recall = class_scores(result)["recall"][group(result) == number]
    return float(np.nanmean(recall)) if np.isfinite(recall).any() else math.nan


def group_sizes(results: list[dict], number: int) -> str:
    """Training images of a group's classes and how many classes these are, over all results: "16 to 24, 27"."""
    members = [np.array(result["train_counts"])[group(result) == number] for result in results]
    counts = np.concatenate(members)
    if not len(counts):
        return "no class"
    sizes = [len(member) for member in members]
    one, class_ = example(results), ("class" if max(sizes) == 1 else "classes")
    return f"{between(counts)} {one if max(counts) == 1 else f'{one}s'}, {between(sizes)} {class_}"


def between(numbers) -> str:
    """ "3", or "3 to 5" for numbers that differ."""
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"
