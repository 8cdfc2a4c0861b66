"""Searches as networks take them: queries and documents tokenized, each document once, and lists of their numbers."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from kdjax.data.arrays import Arrays, Dataset
from kdjax.data.text import prepare as text
from kdjax.data.text import tokenizers
from kdjax.data.text.texts import Texts


def prepare(dataset: Dataset, config, in_memory: bool | None) -> Dataset:
    """The splits as {"query": {"tokens", "mask"} [N, T], "items": [N, L]}, `documents` as {"tokens", "mask"} [M, T'].

    A vocabulary of one's own is learned from the training queries and the documents of their lists, each once. T and
    T' are what holds 99 % of these texts whole, each at most config.data.length.

    Raises:
      ValueError: what config.data asks for that searches do not have; no tokenizer; inputs that are none.
    """
    _check(dataset, config, in_memory)
    queries, items = dataset.train.input["query"], dataset.train.input["items"]
    seen = dataset.documents.first[np.unique(items[items >= 0])]
    tokenizer = text.tokenizer_of([*queries.first, *seen], config)
    lengths = {
        name: min(config.length or text.MOST, text.holds_most(_lengths(tokenizer, texts)))
        for name, texts in (("query", queries.first), ("document", seen))
    }
    splits = {
        name: Arrays(
            {**split.input, "query": _encoded(tokenizer, split.input["query"].first, lengths["query"])}, split.target
        )
        for name, split in dataset.splits.items()
    }
    documents = _encoded(tokenizer, dataset.documents.first, lengths["document"])
    cut = sum(length > lengths["document"] for length in _lengths(tokenizer, dataset.documents.first))
    told = text.told_cut(cut, len(dataset.documents), lengths["document"], "documents")
    texts = {name: split.input["query"].first for name, split in dataset.splits.items()}
    ids = np.array([place.removeprefix("document ") for place in dataset.documents.places], object)
    return replace(
        dataset,
        **splits,
        documents=documents,
        texts=texts | {"documents": dataset.documents.first, "ids": ids},
        warnings=(*dataset.warnings, *told),
        tokenizer=tokenizer,
        fingerprint={**dataset.fingerprint, "tokenizer": tokenizers.digest(tokenizer)},
        relevant=_relevant(dataset),
    )


def _relevant(dataset: Dataset) -> np.ndarray:
    """[N, R] int32 of each training query what is relevant to it, in its list or not, -1 at padding."""
    train, known = dataset.train, dataset.relevant or {}
    given = zip(train.input["query"].places, train.input["items"], train.target, strict=True)
    found = [np.union1d(items[grades > 0], known.get(place, items[:0])) for place, items, grades in given]
    made = np.full((len(found), max(map(len, found))), -1, np.int32)
    for row, documents in zip(made, found, strict=True):
        row[: len(documents)] = documents
    return made


def _lengths(tokenizer, texts: np.ndarray) -> list[int]:
    return [len(ids) for ids, _ in tokenizer.encode(texts, None, 0)]


def _encoded(tokenizer, texts: np.ndarray, length: int) -> dict[str, np.ndarray]:
    return tokenizers.padded(tokenizer.encode(texts, None, length), length, tokenizer.padding, pairs=False)


def _check(dataset: Dataset, config, in_memory: bool | None) -> None:
    text.check_config(dataset, config, in_memory)
    if len(config.augment):
        raise ValueError(f"config.data.augment: there is no augmentation for searches, as {dataset.name} is one")
    for name, split in {**dataset.splits, "documents": dataset.documents}.items():
        found = split.input.get("query") if isinstance(split, Arrays) and isinstance(split.input, dict) else split
        if not isinstance(found, Texts):
            raise ValueError(
                f"{dataset.name}, {name}: a source with kind='search' returns {{'query': Texts, 'items': [N, L]}} as "
                f"inputs and Texts as documents, kdjax.data.text.texts.Texts; got {type(found).__name__}"
            )


def transform(config, dataset: Dataset):
    """fn({"query", "items" [B, L]}) -> {"query", "documents": {"tokens", "mask"} [B, L, T], "mask": [B, L]}."""
    documents = dataset.documents

    def gathered(inputs):
        there = inputs["items"] >= 0
        tokens, mask = (jnp.asarray(documents[name])[jnp.maximum(inputs["items"], 0)] for name in ("tokens", "mask"))
        return {
            "query": inputs["query"],
            "documents": {"tokens": tokens, "mask": mask & there[..., None]},
            "mask": there,
        }

    return gathered


def augment(config, dataset: Dataset, seen, second):
    """fn(key, inputs, target) -> (the inputs as networks take them for each of `seen`, target): nothing is changed."""
    taken = transform(config, dataset)
    return lambda key, inputs, target: (dict.fromkeys(seen, taken(inputs)), target)
