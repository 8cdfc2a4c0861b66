"""What becomes of texts: lengths, what is refused, and that neither cutting nor lengths change more than padding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdjax import data
from kdjax.config import default
from kdjax.data import Arrays, Dataset, kinds
from kdjax.data.batches import BLOCK, POOL, batch_indices, by_length
from kdjax.data.text import prepare, tokenizers
from kdjax.data.text.texts import Texts, objects
from kdjax.training.evaluate import Evaluator


def config(**fields):
    config = default().data
    for name, value in fields.items():
        config[name] = value
    return config


def queries(**fields):
    return config(source="queries", kwargs={"train": 300, "test": 100}, **fields)


def source(config, *, words=20):
    """Texts of 1, 2, ... words, a label each."""
    texts = objects(" ".join(["word"] * (number + 1)) for number in range(words))
    arrays = Arrays(Texts(texts, None, texts), np.arange(words, dtype=np.int32) % 2)
    return Dataset(arrays, None, arrays.take(slice(0, 4)), ("a", "b"), "mine", kind="text")


def mine(**fields):
    return data.load(config(source="tests.data.text.test_prepare.source", **fields))


def test_the_vocabulary_is_of_the_training_split_alone():
    whole, held = (data.load(queries(validation=share)) for share in (0.0, 0.5))
    assert held.tokenizer != whole.tokenizer
    learned = tokenizers.learn("words", queries_of(held), 2, 30_000)
    assert held.tokenizer == learned


def queries_of(dataset):
    """The training queries as words: misspelt ones too, each as often as it stands there."""
    from kdjax.data.loading import split
    from kdjax.data.sources import queries as source

    train = source(config(), train=300, test=100).train
    return split(train, 150)[0].input.first


def test_the_length_holds_ninety_nine_of_a_hundred_texts_or_what_is_asked_for():
    assert mine(kwargs={"words": 20}).train.input["tokens"].shape == (20, 24)  # 22 with [CLS] and [SEP]
    dataset = mine(length=8, kwargs={"words": 20})
    assert dataset.train.input["tokens"].shape == (20, 8)
    assert "14 of 20 training texts lose their end: they are longer than 8 tokens" in dataset.warnings
    assert mine(kwargs={"words": 600}).train.input["tokens"].shape == (600, prepare.MOST)


def test_fingerprints_tell_texts_and_tokenizers_apart():
    one, other = mine().fingerprint, mine(tokenizer="characters").fingerprint
    assert one["splits"] == other["splits"]
    assert one["tokenizer"] != other["tokenizer"]
    assert mine(kwargs={"words": 21}).fingerprint["splits"][0] != one["splits"][0]


def test_networks_are_told_the_size_of_the_vocabulary():
    dataset = mine()
    assert dataset.known == {"vocabulary": len(tokenizers.SPECIAL) + 1}
    assert data.load(config(source="digits")).known == {}
    spec = kinds.spec(dataset, config())
    assert {name: (leaf.shape, leaf.dtype) for name, leaf in spec.items()} == {
        "tokens": ((24,), np.int32),
        "mask": ((24,), np.bool_),
    }


REFUSED = {
    "size": (dict(image_size=32), "config.data.image_size is of images"),
    "length": (dict(length=4), "config.data.length is at least 8 tokens, got 4"),
    "tokenizer": (dict(tokenizer="wrods"), "words, characters|pip install 'kdjax"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_texts_do_not_have_is_refused(case):
    fields, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        mine(**fields)


def test_texts_are_not_streamed():
    with pytest.raises(ValueError, match=r"config.execution.stream: only images are read from disk, mine is in memory"):
        data.load(config(source="tests.data.text.test_prepare.source"), in_memory=False)


# ---- lengths


def masked(longest, texts, seed):
    """[texts, longest] of random lengths."""
    lengths = np.random.default_rng(seed).integers(1, longest + 1, texts)
    return np.arange(longest)[None] < lengths[:, None]


MASKS = st.builds(masked, st.integers(8, 60), st.integers(1, 40), st.integers(0, 1000))


@settings(deadline=None, max_examples=60)
@given(mask=MASKS, most=st.integers(1, 5))
def test_few_lengths_of_which_each_holds_its_texts(mask, most):
    padded, lengths = prepare.shapes({"mask": mask}, most), mask.sum(axis=1)
    assert (padded >= lengths).all()
    assert len(set(padded)) <= most
    assert all(length % 8 == 0 or length == mask.shape[1] for length in padded.tolist())
    assert padded.sum() <= len(mask) * mask.shape[1]
    one = prepare.shapes({"mask": mask}, 1)
    assert set(one) == {mask.shape[1]}


def test_the_lengths_chosen_are_those_with_the_fewest_tokens():
    mask = np.arange(64)[None] < np.array([8] * 10 + [16] * 10 + [64])[:, None]
    assert sorted(set(prepare.shapes({"mask": mask}, 2))) == [16, 64]
    assert sorted(set(prepare.shapes({"mask": mask}, 4))) == [8, 16, 64]


@settings(deadline=None, max_examples=40)
@given(mask=MASKS, seed=st.integers(0, 3), steps=st.integers(1, 2 * POOL * BLOCK), batch_size=st.integers(1, 5))
def test_lengths_change_the_order_of_an_epoch_and_nothing_of_what_it_holds(mask, seed, steps, batch_size):
    order = batch_indices(len(mask), batch_size, steps, seed, 0)
    padded = prepare.shapes({"mask": mask}, 4)
    grouped = by_length(order, padded, seed, 0)
    np.testing.assert_array_equal(grouped, by_length(order, padded, seed, 0))
    whole = steps // BLOCK * BLOCK
    np.testing.assert_array_equal(grouped[whole:], order[whole:])
    for start in range(0, whole, POOL * BLOCK):
        pools = (rows[start : min(start + POOL * BLOCK, whole)] for rows in (grouped, order))
        np.testing.assert_array_equal(*(np.sort(pool.reshape(-1)) for pool in pools))


def test_batches_of_like_lengths_need_fewer_tokens():
    lengths = np.random.default_rng(0).integers(1, 65, 4096)
    padded = prepare.shapes({"mask": np.arange(64)[None] < lengths[:, None]}, 4)
    order = batch_indices(4096, 16, 256, 0, 0)
    tokens = [
        int(padded[rows].reshape(-1, BLOCK * 16).max(axis=1).sum()) for rows in (order, by_length(order, padded, 0, 0))
    ]
    assert tokens[0] == 64 * 256 // BLOCK
    assert tokens[1] < 0.75 * tokens[0]


class Lengths:
    """Stands in for a network: logits that say what a row holds."""

    def apply(self, variables, inputs, train):
        import jax.numpy as jnp

        weights = jnp.arange(1, inputs["tokens"].shape[1] + 1, dtype=jnp.float32)[None]
        held = jnp.where(inputs["mask"], inputs["tokens"].astype(jnp.float32), 0.0)
        return jnp.stack([(held * weights).sum(-1), held.sum(-1)], axis=-1)


def test_an_evaluation_in_lengths_is_that_in_one_length():
    import jax

    from kdjax.tasks.classification import TASK
    from kdjax.training.parallel import Place

    dataset, place = data.load(queries()), Place((jax.local_devices()[0],))
    splits = {"test": dataset.test}
    found = []
    for most in (1, 4):
        shapes = lambda inputs, most=most: prepare.shapes(inputs, most)  # noqa: E731
        evaluator = Evaluator(splits, lambda inputs: inputs, TASK, 30, shapes)
        found.append(evaluator.compile(Lengths())({}, "test", place))
    assert len(set(prepare.shapes(dataset.test.input, 4))) > 1
    np.testing.assert_array_equal(found[0].logits, found[1].logits)
    for name, scores in found[0].scores.items():
        np.testing.assert_array_equal(scores, found[1].scores[name])
