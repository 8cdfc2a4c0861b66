"""What single test examples of a run look like, read again from the source that its config names."""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from kdjax.data.images.encoded import Encoded
from kdjax.runs import identity, predictions
from kdjax.runs.directory import Run
from kdjax.ship.export import dataset


def shown(run: Path, examples: Sequence[int]) -> dict[int, np.ndarray | str]:
    """Number -> its image [H, W, C], from 0 to 1, or its text as the network reads it, of examples of the test split.

    Raises:
      ValueError: the data are not here, are others than the run kept predictions of, or neither images nor texts.
      OSError: they cannot be read.
    """
    config, _ = Run(run).finished()
    data = dataset(config)
    seen, here = identity.stored(config).get("data") or {}, data.fingerprint
    digests = [
        [split["sha256"] for split in each.get("splits", ()) if split["split"] == "test"] for each in (seen, here)
    ]
    same = np.array_equal(np.asarray(data.test.target), predictions.read(run)["target"])
    if not same or (digests[0] and digests[0] != digests[1]):
        raise ValueError(f"the test split of {data.name} is another now than {run} has seen")
    inputs = data.test.take(np.asarray(examples, int)).input
    if data.kind == "text":
        rows = zip(inputs["tokens"], inputs["mask"], strict=True)
        return dict(zip(examples, (data.tokenizer.decode(tokens[mask]) for tokens, mask in rows), strict=True))
    if data.kind != "images":
        raise ValueError(f"{data.name} has neither images nor texts")
    images = np.asarray(inputs.decode() if isinstance(inputs, Encoded) else jax.device_get(inputs))
    return dict(zip(examples, map(_fractions, images), strict=True))


def _fractions(image: np.ndarray) -> np.ndarray:
    if image.dtype == np.uint8:
        return image / 255
    low, high = image.min(), image.max()
    return (image - low) / (high - low) if high > low else np.zeros_like(image)
