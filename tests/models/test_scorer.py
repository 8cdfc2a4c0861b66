"""The scorer of items: padding changes nothing, in training either, and its normalisation is that of the data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.models import scorer


def lists(length: int = 5):
    rng = np.random.default_rng(0)
    mask = np.arange(length)[None] < np.array([5, 3, 1])[:, None]
    features = np.full((3, length, 4), 50.0, np.float32)
    features[mask] = 3 + 2 * rng.standard_normal((9, 4))
    return {"features": jnp.asarray(features), "mask": jnp.asarray(mask)}


@pytest.fixture(scope="module")
def variables():
    return scorer(1, widths=(6,)).init(jax.random.key(0), lists())


@pytest.mark.parametrize("train", [False, True])
def test_two_more_padded_items_change_nothing(variables, train):
    model = scorer(1, widths=(6,))
    (out, kept), (wider, wider_kept) = (
        model.apply(variables, lists(length), train=train, mutable=["batch_stats"]) for length in (5, 7)
    )
    np.testing.assert_allclose(wider.logits[:, :5], out.logits, rtol=1e-5, atol=1e-6)
    assert not wider.logits[~lists(7)["mask"]].any()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), kept, wider_kept)
    np.testing.assert_array_equal(out.mask, lists()["mask"])


def test_items_are_normalised_over_all_lists(variables):
    """What is kept of a batch is a tenth of its mean and variance beside nine tenths of what was."""
    _, kept = scorer(1, widths=(6,)).apply(variables, lists(), train=True, mutable=["batch_stats"])
    items = np.asarray(lists()["features"][lists()["mask"]])
    norm = kept["batch_stats"]["norm"]
    np.testing.assert_allclose(norm["mean"], 0.1 * items.mean(0), rtol=1e-5)
    np.testing.assert_allclose(norm["var"], 0.9 + 0.1 * items.var(0), rtol=1e-5)


def test_devices_normalise_together():
    model = scorer(1, widths=(6,), axis_name="devices")
    parts = jax.tree.map(lambda x: x[:, None], lists())
    made = scorer(1, widths=(6,))
    held = made.init(jax.random.key(0), lists())
    whole, _ = made.apply(held, lists(), train=True, mutable=["batch_stats"])
    apply = lambda x: model.apply(held, x, train=True, mutable=["batch_stats"])[0].logits  # noqa: E731
    split = jax.vmap(apply, axis_name="devices")(parts)
    np.testing.assert_allclose(split[:, 0], whole.logits, rtol=1e-5, atol=1e-5)


def test_features_that_are_not_seen_do_not_count(variables):
    model, given = scorer(1, widths=(6,), seen=2, log1p=True), lists()
    held = model.init(jax.random.key(0), given)
    other = {**given, "features": given["features"].at[..., 2:].set(0)}
    np.testing.assert_array_equal(model.apply(held, given).logits, model.apply(held, other).logits)


@pytest.mark.parametrize(
    ("inputs", "outputs", "told"),
    [
        (jnp.zeros((3, 4)), 1, r"scorer takes lists, .* got \(3, 4\)"),
        ({"features": jnp.zeros((3, 5, 4)), "mask": jnp.ones((3, 4), bool)}, 1, r"got .*\(3, 5, 4\)"),
        (lists(), 3, "scorer gives one score an item, of config.task='ranking'; 3 are asked"),
    ],
)
def test_other_inputs_are_refused(inputs, outputs, told):
    with pytest.raises(ValueError, match=told):
        scorer(outputs).init(jax.random.key(0), inputs)
