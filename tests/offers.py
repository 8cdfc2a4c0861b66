"""A table of products and their offers, for tests of searches."""

from pathlib import Path

import numpy as np

PRODUCTS = 40


def write(path: Path, others: bool = False) -> Path:
    """A file of products with three offers each, which share a word with the product's name.

    Args:
      others: whether each has an offer of another product besides, of grade 0.
    """
    rng = np.random.default_rng(0)
    words = [f"brand{rng.integers(6)} model{product} x{rng.integers(100, 999)}" for product in range(PRODUCTS)]
    lines = [f"{name},{name.split()[1]} colour{o} {name.split()[0]},1" for name in words for o in range(3)]
    next_to = [f"{name},{words[(at + 1) % PRODUCTS].split()[1]} colour9,0" for at, name in enumerate(words)]
    path.write_text("\n".join(["name,title,grade", *lines, *(next_to if others else [])]) + "\n")
    return path
