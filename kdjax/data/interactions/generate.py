"""Made up shoppers and what they took, for demonstrations and tests: nothing is downloaded, the seed decides all of it.

An item has a style, a point in a space of few dimensions near the centre of its kind, and a popularity that falls as a
power of its rank. A shopper has a taste in the same space. Step by step a shopper takes something new by the softmax of
taste x style, log popularity, and the nearness to what was taken last: so the order in time says something, too.
"""

import numpy as np

from kdjax.data.interactions.files import Interactions

KINDS = 24
"""Centres around which styles lie."""


def generate(users: int, items: int, mean: int, dimensions: int, seed: int) -> Interactions:
    """So many shoppers, who take `mean` items on average, at least five each, at times 0, 1, ... of their own."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(KINDS, dimensions))
    style = centres[rng.integers(KINDS, size=items)] + 0.5 * rng.normal(size=(items, dimensions))
    popularity = -0.7 * np.log1p(rng.permutation(items))  # log of a power law
    likes = rng.dirichlet(np.full(KINDS, 0.12), users)  # of few kinds each
    taste = likes @ centres / np.linalg.norm(likes @ centres, axis=1, keepdims=True)
    counts = np.minimum(5 + rng.geometric(1 / max(mean - 4, 1), users) - 1, items // 2)
    base = 1.6 * taste @ style.T + popularity
    unit = style / np.linalg.norm(style, axis=1, keepdims=True)
    taken = np.concatenate([_basket(rng, base[user], unit, counts[user]) for user in range(users)])
    user = np.repeat(np.arange(users, dtype=np.int32), counts)
    return Interactions(
        users=tuple(f"shopper {number}" for number in range(users)),
        items=tuple(f"item {number}" for number in range(items)),
        user=user,
        item=taken.astype(np.int32),
        time=np.concatenate([np.arange(count, dtype=np.float64) for count in counts]),
        file=np.zeros(len(user), np.int32),
        line=np.arange(1, len(user) + 1, dtype=np.int32),
        files=("the generator",),
    )


def _basket(rng: np.random.Generator, score: np.ndarray, unit: np.ndarray, count: int) -> np.ndarray:
    """[count] different items in the order in which they are taken."""
    score, taken = score.copy(), []
    near = np.zeros_like(score)
    for _ in range(count):
        item = int(np.argmax(score + near + rng.gumbel(size=len(score))))
        taken.append(item)
        score[item], near = -np.inf, 1.5 * (unit @ unit[item])
    return np.array(taken)
