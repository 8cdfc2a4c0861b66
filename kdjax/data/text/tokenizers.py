"""From texts to numbers: words, characters or trigrams of the training split, or the tokenizer in a folder."""

import functools
import hashlib
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""The first tokens of a vocabulary of one's own, as BERT names them: padding is 0."""
PAD, UNKNOWN, BEGIN, END, MASK = range(len(SPECIAL))

MULTIPLE = 8
"""Lengths to which texts are padded are multiples of it."""


def rounded(length: float) -> int:
    """The next multiple of MULTIPLE."""
    return MULTIPLE * math.ceil(length / MULTIPLE)


_WORD = re.compile(r"\w+|[^\w\s]")


def _trigrams(text: str) -> list[str]:
    """The letter trigrams of words between marks, "#tv" and "tv#" of "tv": Huang et al. 2013 (DSSM)."""
    marked = (f"#{word}#" for word in _WORD.findall(text.lower()))
    return [word[at : at + 3] for word in marked for at in range(len(word) - 2)]


KINDS = {
    "words": lambda text: _WORD.findall(text.lower()),
    "characters": lambda text: [character for character in text.lower() if not character.isspace()],
    "trigrams": _trigrams,
}
"""What a vocabulary of one's own consists of -> text to tokens."""


class Special(NamedTuple):
    """Tokens of a tokenizer that are no words."""

    padding: int
    mask: int  # what stands for any word; -1: there is none
    front: int  # how many stand before every text, as [CLS]
    back: int  # and after it, as [SEP]; between the texts of a pair stand others
    numbers: tuple[int, ...]  # of all of these


@dataclass(frozen=True)
class Learned:
    """A vocabulary of words (runs of letters and digits, or one sign), characters or trigrams, in lower case."""

    kind: str
    tokens: tuple[str, ...]  # SPECIAL, then the others from the most to the least frequent

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return len(self.tokens)

    padding = PAD
    special = Special(PAD, MASK, 1, 1, (PAD, BEGIN, END, MASK))

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens)}

    def text(self) -> str:
        """What a file of it holds; `loaded` reads it."""
        return json.dumps({"kdjax": self.kind, "tokens": self.tokens}, ensure_ascii=False)

    def encode(self, first: Sequence[str], second: Sequence[str] | None, longest: int) -> list[tuple]:
        """[(ids [t], segments [t])] of each text: [CLS] text [SEP], and of pairs second [SEP]; at most `longest`.

        What is too long loses its end, of a pair the longer of both texts. 0: nothing is cut.
        """
        place, split = self._places, KINDS[self.kind]
        numbers = lambda text: [place.get(token, UNKNOWN) for token in split(text)]  # noqa: E731
        rows = []
        for at, text in enumerate(first):
            parts = [numbers(text), *([numbers(second[at])] if second is not None else [])]
            room = longest - 1 - len(parts)
            while longest and sum(map(len, parts)) > room:
                longer = max(range(len(parts)), key=lambda i: (len(parts[i]), i))
                over = sum(map(len, parts)) - room
                shorter = min(map(len, parts)) if len(parts) > 1 else 0
                cut = max(1, min(over, len(parts[longer]) - shorter))
                parts[longer] = parts[longer][:-cut]
            ids, segments = [BEGIN], [0]
            for number, part in enumerate(parts):
                ids += [*part, END]
                segments += [number] * (len(part) + 1)
            rows.append((ids, segments))
        return rows

    def decode(self, numbers: Sequence[int]) -> str:
        """The words of a text, or its characters, without special tokens: what a network reads of it."""
        joint = "" if self.kind == "characters" else " "
        return joint.join(self.tokens[number] for number in numbers if number not in self.special.numbers)


@dataclass(frozen=True)
class Folder:
    """The tokenizer of a Hugging Face folder: WordPiece, BPE or what else `tokenizers` knows."""

    serialized: str  # what tokenizer.json holds, without padding and truncation

    @functools.cached_property
    def size(self) -> int:
        return _made(self.serialized, 0).get_vocab_size()

    @functools.cached_property
    def padding(self) -> int:
        """The number of the padding token."""
        made = _made(self.serialized, 0)
        found = (made.token_to_id(name) for name in ("[PAD]", "<pad>", "<|endoftext|>"))
        return next((number for number in found if number is not None), 0)

    @functools.cached_property
    def special(self) -> Special:
        made = _made(self.serialized, 0)
        numbers = lambda names: [n for n in map(made.token_to_id, names) if n is not None]  # noqa: E731
        around = made.encode("a").special_tokens_mask
        front, back = (len(list(itertools.takewhile(bool, marks))) for marks in (around, around[::-1]))
        mask = next(iter(numbers(("[MASK]", "<mask>"))), -1)
        others = numbers(("[PAD]", "[CLS]", "[SEP]", "[MASK]", "<pad>", "<s>", "</s>", "<mask>", "<|endoftext|>"))
        return Special(self.padding, mask, front, back, tuple(dict.fromkeys([self.padding, *others])))

    def names(self) -> list[str]:
        """The tokens by their numbers; a number that none has is ""."""
        numbers = _made(self.serialized, 0).get_vocab()
        named = {number: name for name, number in numbers.items()}
        return [named.get(number, "") for number in range(max(named) + 1)]

    def text(self) -> str:
        return self.serialized

    def encode(self, first: Sequence[str], second: Sequence[str] | None, longest: int) -> list[tuple]:
        """As `Learned.encode`, with the special tokens that the folder says."""
        made = _made(self.serialized, longest)
        given = list(first) if second is None else list(zip(first, second, strict=True))
        return [(row.ids, row.type_ids) for row in made.encode_batch(given)]

    def decode(self, numbers: Sequence[int]) -> str:
        """As `Learned.decode`."""
        return _made(self.serialized, 0).decode([int(number) for number in numbers])


@functools.lru_cache(maxsize=4)  # reading a large vocabulary takes a tenth of a second
def _made(serialized: str, longest: int):
    """The tokenizer of a `Folder`, which cuts texts at so many tokens; 0: it cuts none."""
    made = library().Tokenizer.from_str(serialized)
    if longest:
        made.enable_truncation(longest)
    return made


def learn(kind: str, texts: Iterable[str], at_least: int, at_most: int) -> Learned:
    """The vocabulary of some texts.

    Args:
      kind: "words", "characters" or "trigrams".
      at_least: how often a token stands in the texts; at_most: tokens of the vocabulary, SPECIAL included; 0: all.
    """
    counts = Counter()
    for text in texts:
        counts.update(KINDS[kind](text))
    kept = sorted((token for token, count in counts.items() if count >= at_least), key=lambda t: (-counts[t], t))
    return Learned(kind, (*SPECIAL, *kept)[: at_most or None])


def of_folder(path: str) -> Folder:
    """The tokenizer in a Hugging Face folder: tokenizer.json, or vocab.txt (WordPiece).

    Raises:
      ValueError: neither is there or can be read, or `tokenizers` is not installed.
    """
    folder, tokenizers = Path(path).expanduser(), library()
    try:
        if (file := folder / "tokenizer.json").is_file():
            made = tokenizers.Tokenizer.from_file(str(file))
        elif (file := folder / "vocab.txt").is_file():
            made = _wordpiece(tokenizers, file)
        else:
            raise ValueError(
                f"config.data.tokenizer {path!r}: a folder must hold tokenizer.json or vocab.txt; "
                f"valid are {', '.join(KINDS)} and such folders"
            )
    except OSError as error:
        raise ValueError(f"config.data.tokenizer: cannot read {str(file)!r}: {error}") from error
    except Exception as error:  # `tokenizers` raises Exception itself
        if isinstance(error, ValueError):
            raise
        raise ValueError(f"config.data.tokenizer: {str(file)!r} is no tokenizer: {error}") from error
    made.no_padding()
    made.no_truncation()
    return Folder(made.to_str())


def _wordpiece(tokenizers, file: Path):
    """BERT's tokenizer of a vocab.txt; tokenizer_config.json beside it says whether case counts."""
    settings = file.with_name("tokenizer_config.json")
    said = json.loads(settings.read_text("utf-8")) if settings.is_file() else {}
    made = tokenizers.BertWordPieceTokenizer(str(file), lowercase=said.get("do_lower_case", True))
    return made._tokenizer


def library():
    """The package `tokenizers`."""
    try:
        import tokenizers
    except ImportError as error:
        raise ValueError(
            "config.data.tokenizer: the tokenizer of a Hugging Face folder needs pip install 'kdjax[text]'"
        ) from error
    return tokenizers


def loaded(text: str) -> Learned | Folder:
    """The tokenizer that `text` was made from by its method of that name.

    Raises:
      ValueError: it is none.
    """
    try:
        said = json.loads(text)
        if not isinstance(said, dict):
            raise ValueError(f"but {text[:40]!r}")
        if "kdjax" not in said:
            return Folder(text)
        if said["kdjax"] not in KINDS or said["tokens"][: len(SPECIAL)] != list(SPECIAL):
            raise ValueError(f"of the kind {said['kdjax']!r}; valid are {', '.join(KINDS)}")
        return Learned(said["kdjax"], tuple(said["tokens"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"tokenizer.json holds no tokenizer: {error}") from error


def of_run(path: Path) -> Learned | Folder | None:
    """The tokenizer that a run keeps; None: its examples are no texts.

    Raises:
      ValueError: the file cannot be read, or holds none.
    """
    file = path / "tokenizer.json"
    try:
        return loaded(file.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error


def digest(tokenizer: Learned | Folder) -> str:
    """SHA-256 of what a file of it holds."""
    return hashlib.sha256(tokenizer.text().encode()).hexdigest()


def padded(rows: list[tuple], length: int, padding: int, pairs: bool) -> dict[str, np.ndarray]:
    """{"tokens": [N, length] int32, "mask": [N, length] bool, true where no padding is}, of pairs "segments", too."""
    tokens = np.full((len(rows), length), padding, np.int32)
    mask, segments = np.zeros((len(rows), length), bool), np.zeros((len(rows), length), np.int32)
    for at, (ids, kinds) in enumerate(rows):
        tokens[at, : len(ids)], mask[at, : len(ids)], segments[at, : len(ids)] = ids, True, kinds
    return {"tokens": tokens, "mask": mask, **({"segments": segments} if pairs else {})}
