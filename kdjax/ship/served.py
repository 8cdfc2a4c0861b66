"""What a file predicts, by what it takes: photographs or texts; `kdjax.ship.rankers` has lists, users and towers.

None of this needs JAX.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kdjax.data.text import tokenizers


@dataclass(frozen=True)
class Served:
    """A model ready to predict. `description` is what `kdjax.ship.export.export` says of it."""

    description: dict
    run: Callable  # input as `kdjax.ship.inference.predictor` takes it -> logits [B, K]

    @classmethod
    def one(cls, description: dict) -> str:
        """What one example is, in words."""
        return f"a {cls.noun.removesuffix('s')}"

    @property
    def classes(self) -> list[str]:
        return self.description["classes"]


class Images(Served):
    """A model of photographs."""

    noun, needs = "images", ("classes", "image_shape")

    @classmethod
    def one(cls, description: dict) -> str:
        return "an image"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the images it was trained on; `predict` takes any H and W."""
        return tuple(self.description["image_shape"])

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Logits [B, K] float32 of images [B, H, W, C] uint8 of any height and width, which must not be normalised.

        Raises:
          ValueError: the images are of another type, rank or number of channels.
        """
        channels = self.image_shape[-1]
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != channels:
            raise ValueError(
                f"the model takes images uint8 [B, H, W, {channels}], got {images.dtype} {list(images.shape)}"
            )
        return np.asarray(self.run(images))

    def drawn(self, examples: int, generator: np.random.Generator):
        """So many random ones of the training size, as `run` takes them."""
        return generator.integers(0, 256, (examples, *self.image_shape), np.uint8)


class Texts(Served):
    """A model of texts, or of pairs of texts, with the tokenizer that it was trained with."""

    noun, needs = "texts", ("classes", "tokenizer", "length", "pairs", "vocabulary")

    @classmethod
    def one(cls, description: dict) -> str:
        return f"a text of {description['length']} tokens"

    @functools.cached_property
    def tokenizer(self) -> tokenizers.Learned | tokenizers.Folder:
        return tokenizers.loaded(self.description["tokenizer"])

    def predict(self, texts: Sequence[str], seconds: Sequence[str] | None = None) -> np.ndarray:
        """Logits [B, K] float32 of texts, with `seconds` of pairs; what is too long loses its end, as in the training.

        Raises:
          ValueError: as `encode`.
        """
        return np.asarray(self.run(self.encode(texts, seconds)))

    def encode(self, texts: Sequence[str], seconds: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """What `run` takes of them: as long as the longest, in steps, as each length may have a program of its own.

        Raises:
          ValueError: there are no texts, one is empty or no str, or pairs are given to a model of texts, or texts to
            one of pairs.
        """
        if self.description["pairs"] != (seconds is not None):
            raise ValueError(f"the model takes {'pairs of texts' if seconds is None else 'single texts, no pairs'}")
        wrong_texts(texts, *([] if seconds is None else [seconds]))
        length = self.description["length"]
        return self.padded(self.tokenizer.encode(texts, seconds, length), length)

    def padded(self, rows: list[tuple], most: int) -> dict[str, np.ndarray]:
        """Rows of a tokenizer as arrays, as long as the longest, in steps, and `most` at most."""
        longest = max(len(ids) for ids, _ in rows)
        length = min(most, tokenizers.rounded(longest))
        return tokenizers.padded(rows, length, self.tokenizer.padding, self.description["pairs"])

    def drawn(self, examples: int, generator: np.random.Generator):
        """So many of random tokens and of the whole length, as `run` takes them."""
        shape = examples, self.description["length"]
        tokens = generator.integers(0, self.description["vocabulary"], shape).astype(np.int32)
        second = {"segments": np.zeros(shape, np.int32)} if self.description["pairs"] else {}
        return {"tokens": tokens, "mask": np.ones(shape, bool), **second}


def wrong_texts(*columns: Sequence[str]) -> None:
    """Raises a ValueError where there are no texts, one is empty or no str, or columns of them differ in length."""
    for column in columns:
        if isinstance(column, str) or not len(column) or len(column) != len(columns[0]):
            raise ValueError(f"the model takes lists of texts, of pairs two as long as each other; got {column!r}")
        for text in column:
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"the model takes texts, none of them empty, got {text!r}")
