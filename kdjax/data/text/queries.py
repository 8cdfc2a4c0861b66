"""Made up queries of a shop, for demonstrations and tests: nothing is downloaded, and the seed decides all of it.

A query holds two products, a brand, colours, materials, sizes and words that say nothing, and some words are
misspelt. Its category is that of the product that is bought, which the order says: the last one ("oak lamp table" is a
table), or the first before "for" ("table for lamp"). Some pairs belong elsewhere (PAIRS: a "dog jacket" is for pets).
A bag of words sees both products and not their order, windows of a few words see one of them, as others stand between;
who reads the whole query in order knows.
"""

import numpy as np

from kdjax.data.arrays import Arrays, Dataset
from kdjax.data.text.texts import Texts, objects

PRODUCTS = {
    "bags": ("bag", "backpack", "case", "pouch", "basket", "suitcase"),
    "clothing": ("jacket", "shirt", "coat", "gloves", "dress", "socks"),
    "electronics": ("phone", "camera", "laptop", "tablet", "speaker", "console"),
    "furniture": ("table", "shelf", "chair", "desk", "bench", "cabinet"),
    "kitchen": ("kettle", "pan", "knife", "cup", "toaster", "bottle"),
    "lighting": ("lamp", "lantern", "bulb", "torch", "candle", "spotlight"),
    "pets": ("dog", "cat", "rabbit", "hamster", "parrot", "horse"),
    "sports": ("bike", "tent", "ski", "racket", "football", "skate"),
}
"""Category -> its products; categories in the order of their labels."""

PAIRS = {
    ("pets", "clothing"): "pets",
    ("pets", "bags"): "pets",
    ("pets", "furniture"): "pets",
    ("sports", "bags"): "sports",
    ("sports", "clothing"): "sports",
    ("electronics", "bags"): "electronics",
    ("electronics", "furniture"): "electronics",
    ("kitchen", "furniture"): "kitchen",
    ("furniture", "kitchen"): "furniture",
    ("lighting", "electronics"): "lighting",
    ("clothing", "furniture"): "clothing",
}
"""(category of what describes, of what is bought) -> where the pair belongs; other pairs: to what is bought."""

BRANDS = ("acme", "norda", "velmo", "kirana", "ostro", "lumina", "batavia", "quint", "ferro", "solis", "mirko", "zenda")
COLOURS = ("black", "white", "red", "navy", "green", "grey", "pink", "beige")
MATERIALS = ("oak", "steel", "leather", "cotton", "plastic", "bamboo", "glass", "wool")
SIZES = ("xs", "xl", "20 cm", "35 cm", "1 l", "2 kg", "42", "7.5")
OTHERS = ("cheap", "new", "sale", "buy", "best", "small", "large", "used", "gift", "original", "set", "2 pack")


def generate(train: int, test: int, misspelt: float, seed: int) -> Dataset:
    """So many queries, all different; `misspelt` is the fraction of words with a slip of the finger."""
    rng = np.random.default_rng(seed)
    classes, found = tuple(PRODUCTS), {}
    tries = 0
    while len(found) < train + test:
        text, category = _query(rng, misspelt)
        found.setdefault(text, classes.index(category))
        tries += 1
        if tries > 20 * (train + test):
            raise ValueError(f"config.data.kwargs: there are no {train + test:,} different queries")
    texts, places = objects(found), objects(f"query {number}" for number in range(len(found)))
    whole = Arrays(Texts(texts, None, places), np.array(list(found.values()), np.int32))
    parts = whole.take(slice(0, train)), whole.take(slice(train, None))
    return Dataset(parts[0], None, parts[1], classes, "Shop queries (generated)", kind="text")


def category(describes: str, bought: str) -> str:
    """Where a pair of categories belongs."""
    return PAIRS.get((describes, bought), bought)


def _query(rng: np.random.Generator, misspelt: float) -> tuple[str, str]:
    """(a query, its category)."""
    kinds = [tuple(PRODUCTS)[number] for number in rng.permutation(len(PRODUCTS))[:2]]
    describes, bought = (_one(rng, PRODUCTS[kind]) for kind in kinds)
    told = [_one(rng, words) for words in (BRANDS, COLOURS, MATERIALS, SIZES, OTHERS, OTHERS) if rng.random() < 0.55]
    rng.shuffle(told)
    before, after = sorted(rng.integers(0, len(told) + 1, 2))
    if rng.random() < 0.5:
        words = [*told[:before], describes, *told[before:after], bought, *told[after:]]
    else:
        words = [*told[:before], bought, *told[before:after], "for", describes, *told[after:]]
    words = " ".join(words).split()
    return " ".join(_slip(rng, word) if rng.random() < misspelt else word for word in words), category(*kinds)


def _one(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]


def _slip(rng: np.random.Generator, word: str) -> str:
    """The word with a letter left out, doubled, or two exchanged; short ones as they are."""
    if len(word) < 4:
        return word
    at, kind = int(rng.integers(1, len(word) - 1)), int(rng.integers(3))
    if kind == 0:
        return word[:at] + word[at + 1 :]
    if kind == 1:
        return word[:at] + word[at] + word[at:]
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
