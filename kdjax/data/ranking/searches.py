"""Made up searches of a shop with the products that they found, for demonstrations and tests.

Nothing is downloaded, and the seed decides all of it. A query has a taste: what it asks for in each of a product's
properties, and how much its price matters. What a shopper would think of a product is how well the two match; its grade
0 to 4 is that opinion as one shopper uttered it, with noise. The last features are what many shoppers did with the
product when it was shown for the query: close to the opinion, and not known of a new product, so that a teacher may see
them while it is trained and what ships may not ("privileged features", Xu et al. 2020, doi:10.1145/3394486.3403309).
"""

import numpy as np

from kdjax.data.arrays import Dataset
from kdjax.data.ranking.lists import padded

PROPERTIES = 6
OPEN = 2 * PROPERTIES + 4
"""Features that are known of each: what is asked, what a product has, its price, thrift, text match, popularity."""
BEHAVIOUR = 4
"""Features of what shoppers did."""
GRADES = (0.6, 0.8, 0.92, 0.98)
"""The share of products below each grade from 1 to 4."""


def generate(train: int, test: int, items: int, noise: float, seed: int) -> Dataset:
    """So many queries with half to all of `items` products each; `noise`: of a grade, in deviations of opinions."""
    rng = np.random.default_rng(seed)
    features, opinions, starts = _drawn(rng, train + test, items)
    uttered = opinions + noise * rng.standard_normal(len(opinions))
    grades = np.searchsorted(np.quantile(uttered, GRADES), uttered)
    whole = padded(features, grades, starts, items)
    parts = whole.take(slice(0, train)), whole.take(slice(train, None))
    return Dataset(parts[0], None, parts[1], (), "Shop searches (generated)", kind="lists")


def _drawn(rng: np.random.Generator, queries: int, items: int):
    """(features [M, OPEN + BEHAVIOUR], opinions [M] of mean 0 and deviation 1, starts [queries + 1])."""
    counts = rng.integers(max(1, items // 2), items + 1, queries)
    starts = np.concatenate([[0], np.cumsum(counts)])
    of_query = np.repeat(np.arange(queries), counts)
    normal = lambda *shape: rng.standard_normal(shape)  # noqa: E731
    asked, thrift = normal(queries, PROPERTIES)[of_query], rng.random(queries)[of_query]
    has, price, popular = normal(len(of_query), PROPERTIES), normal(len(of_query)), normal(len(of_query))
    match = np.sum(asked * has, axis=1) / np.sqrt(PROPERTIES)
    text = match + 1.5 * normal(len(of_query))  # how alike the words are says half of it
    opinion = match - 2 * thrift * np.maximum(price, 0) + 0.3 * popular
    opinion = (opinion - opinion.mean()) / opinion.std()
    did = opinion[:, None] + 0.5 * normal(len(of_query), BEHAVIOUR)
    open_to_all = [asked, has, price[:, None], thrift[:, None], text[:, None], popular[:, None]]
    return np.concatenate([*open_to_all, did], axis=1).astype(np.float32), opinion, starts
