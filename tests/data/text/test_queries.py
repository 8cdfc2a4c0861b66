"""Made up queries: deterministic, all different, and their category needs both products and their order."""

import numpy as np
import pytest

from kdjax.config import default
from kdjax.data import sources
from kdjax.data.text import queries


def made(**kwargs):
    return sources.queries(default().data, **{"train": 400, "test": 100, **kwargs})


def test_queries_are_the_same_whenever_they_are_made():
    one, again, other = made(), made(), made(seed=1)
    assert list(one.train.input.first) == list(again.train.input.first)
    assert list(one.train.input.first) != list(other.train.input.first)
    assert one.train.target.tolist() == again.train.target.tolist()


def test_no_query_stands_twice():
    dataset = made()
    texts = [*dataset.train.input.first, *dataset.test.input.first]
    assert (len(dataset.train), len(dataset.test)) == (400, 100)
    assert len(set(texts)) == 500
    assert np.bincount(dataset.train.target, minlength=8).min() > 0


def test_the_category_is_read_off_the_two_products_and_their_order():
    kind_of = {product: kind for kind, products in queries.PRODUCTS.items() for product in products}
    dataset = made(misspelt=0.0)
    for text, label in zip(dataset.train.input.first, dataset.train.target, strict=True):
        words = text.split()
        products = [word for word in words if word in kind_of]
        assert len(products) == 2
        describes, bought = reversed(products) if "for" in words else products
        assert queries.category(kind_of[describes], kind_of[bought]) == dataset.classes[label]


def test_without_their_order_most_pairs_mean_two_categories():
    kinds = tuple(queries.PRODUCTS)
    pairs = [(a, b) for a in kinds for b in kinds if a < b]
    depends = [queries.category(a, b) != queries.category(b, a) for a, b in pairs]
    assert np.mean(depends) > 0.6


def test_misspelt_words_differ_from_those_that_are_meant():
    known = {word for text in made(misspelt=0.0, train=2000).train.input.first for word in text.split()}
    words = [word for text in made(misspelt=0.2).train.input.first for word in text.split()]
    share = np.mean([word not in known for word in words])
    assert 0.05 < share < 0.2


@pytest.mark.parametrize("kwargs", [{"train": 0}, {"misspelt": 1.5}, {"seed": -1}])
def test_what_cannot_be_made(kwargs):
    with pytest.raises(ValueError, match=r"config.data.kwargs: train and test must be"):
        made(**kwargs)
