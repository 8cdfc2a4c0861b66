"""What is reported of a model. On the device (sum, count) pairs, divided once; on the host whole predictions."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

BINS = 15
"""Bins of the expected calibration error, as in Guo et al. 2017."""

ROWS = 1024
"""Examples whose probabilities are in memory at a time."""


def counts(logits, labels, mask) -> dict[str, tuple[jax.Array, jax.Array]]:
    """{"top1": (sum, count), "nll": (sum, count)} of a batch, each [] float32.

    Args:
      logits: [B, K].
      labels: [B] int32 in 0..K-1; what stands at masked places does not matter.
      mask: [B] bool, False for padding.
    """
    hits = logits.argmax(-1) == labels
    nll = optax.losses.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), labels)
    total = mask.sum(dtype=jnp.float32)
    return {"top1": ((hits & mask).sum(dtype=jnp.float32), total), "nll": (jnp.where(mask, nll, 0.0).sum(), total)}


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
    from sklearn.metrics import precision_recall_fscore_support  # slow to import

    predicted = logits.argmax(-1)
    present = np.unique(labels)
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predicted, labels=present, average="macro", zero_division=0.0
    )
    nll, confidence = _likelihoods(logits, labels)
    return {
        "top1": float(np.mean(predicted == labels)),
        "nll": float(np.mean(nll)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "ece": calibration_error(confidence, predicted == labels),
        "agreement": None if teacher_logits is None else float(np.mean(predicted == teacher_logits.argmax(-1))),
        "confusion": confusion(labels, predicted),
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


def confusion(labels: np.ndarray, predicted: np.ndarray) -> list[list[int]]:
    """[[true class, predicted class, examples], ...], sorted, without zeros."""
    pairs, examples = np.unique(np.stack([labels, predicted]), axis=1, return_counts=True)
    return [[int(t), int(p), int(n)] for (t, p), n in zip(pairs.T, examples, strict=True)]
