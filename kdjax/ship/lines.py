"""Texts that `kdjax predict` is given: as they are, in files with one a line, or on standard input."""

import itertools
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdjax.data.text.files import SUFFIXES
from kdjax.data.text.texts import wrong_text
from kdjax.ship import serve

STANDARD_INPUT = "-"
SHOWN = 60
"""Characters of a text that its line shows."""

_FILE = re.compile(r"\S+\.(txt|csv|tsv|jsonl|ndjson|parquet|md|log|gz|zip)", re.IGNORECASE)
"""What is a file's name, even if there is no such file."""


@dataclass(frozen=True)
class Line:
    """A text, or a pair of them."""

    place: str  # "reviews.txt, line 3"
    first: str
    second: str | None = None

    @property
    def shown(self) -> str:
        whole = self.first if self.second is None else f"{self.first} | {self.second}"
        plain = " ".join(whole.split())
        return plain if len(plain) <= SHOWN else f"{plain[: SHOWN - 1]}…"

    @property
    def said(self) -> dict:
        """What JSON says of it."""
        return {"text": self.first, **({} if self.second is None else {"second": self.second}), "place": self.place}


def read(arguments: Iterable[str], pairs: bool) -> Iterator[Line | ValueError]:
    """The texts that arguments give; in place of one that is none an error.

    Args:
      arguments: texts; names of files with a text a line, empty lines left out; "-": standard input, the same way.
      pairs: whether each is two texts with a tab between.
    """
    for argument in arguments:
        if argument == STANDARD_INPUT:
            yield from _lines(sys.stdin.buffer, "standard input", pairs)
        elif _exists(argument):
            try:
                with open(argument, "rb") as file:
                    yield from _file(argument, file, pairs)
            except OSError as error:
                yield ValueError(f"cannot read {argument!r}: {error.strerror}")
        elif _FILE.fullmatch(argument):
            yield ValueError(f"{argument}: there is no such file")
        else:
            yield _line(repr(argument), argument, pairs)


def _exists(argument: str) -> bool:
    try:
        return bool(argument) and Path(argument).exists()
    except (OSError, ValueError):  # too long for a name, or a NUL in it
        return False


def _file(argument: str, file, pairs: bool) -> Iterator[Line | ValueError]:
    suffix = Path(argument).suffix.lower()
    tables = [kind for kind, known in SUFFIXES.items() if suffix in known and suffix not in (".txt", ".tsv")]
    if tables:
        yield ValueError(f"{argument}: {tables[0]} has columns; give a file with one text a line")
        return
    lines = _lines(file, argument, pairs)
    yield next(lines, ValueError(f"{argument}: there is no text in this file"))
    yield from lines


def _lines(file, name: str, pairs: bool) -> Iterator[Line | ValueError]:
    for number, content in enumerate(file, 1):
        place = f"{name}, line {number}"
        if b"\0" in content:
            yield ValueError(f"{place}: holds a byte 0, which no file of texts does")
            return
        try:
            text = content.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            yield ValueError(f"{place}: byte {content[error.start]:#04x} at place {error.start + 1} is no UTF-8")
            continue
        if text.strip():
            yield _line(place, text, pairs)


def _line(place: str, text: str, pairs: bool) -> Line | ValueError:
    parts = text.split("\t") if pairs else [text]
    if pairs and len(parts) != 2:
        return ValueError(f"{place}: the model takes pairs, two texts with one tab between; got {len(parts) - 1} tabs")
    wrong = next(filter(None, (wrong_text(part, "the text") for part in parts)), "")
    return ValueError(f"{place}: {wrong.replace(repr('the text'), 'the text')}") if wrong else Line(place, *parts)


def predict(model: serve.Texts, texts: Iterable[Line | ValueError], batch_size: int = 32) -> Iterator[tuple]:
    """(text, probabilities [K], or a ValueError that says why there are none) for each text, in order."""
    pairs = model.description["pairs"]
    told = lambda first, second: probabilities(model.predict(first, second if pairs else None))  # noqa: E731
    return answered(texts, batch_size, told)


def embedded(
    model: serve.Served, texts: Iterable[Line | ValueError], batch_size: int = 32, of: str = "query"
) -> Iterator[tuple]:
    """(text, embedding [D], or the ValueError in its place) for each text, in order; `of`: see `rankers.Towers`."""
    which = (of,) if serve.form(model.description) == "towers" else ()
    return answered(texts, batch_size, lambda first, _: model.predict(first, *which))


def answered(texts: Iterable[Line | ValueError], batch_size: int, ask: Callable) -> Iterator[tuple]:
    """(text, its answer, or the ValueError in its place) for each text, in order.

    Args:
      ask: (the first text of each, the second of each) -> their answers [B, ...]; not called without any.
    """
    for chunk in chunks(texts, batch_size):
        good = [text for text in chunk if isinstance(text, Line)]
        answers = iter(ask([text.first for text in good], [text.second for text in good]) if good else ())
        for text in chunk:
            yield text, text if isinstance(text, ValueError) else next(answers)


def chunks(items: Iterable, size: int) -> Iterator[list]:
    items = iter(items)
    while chunk := list(itertools.islice(items, size)):
        yield chunk


def probabilities(logits: np.ndarray) -> np.ndarray:
    """[B, K]: the softmax of logits."""
    logits = logits.astype(np.float64)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
