"""Networks that rank a catalogue: what they give, what they may see, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax.models

USERS, ITEMS = 7, 11
NAMES = ("matrix_factorisation", "neumf", "sasrec", "popularity")
KWARGS = {
    "matrix_factorisation": {"users": USERS, "width": 4},
    "neumf": {"users": USERS, "width": 4},
    "sasrec": {"width": 4, "heads": 2, "layers": 2},
    "popularity": {},
}


def inputs(histories) -> dict:
    return {"user": jnp.arange(len(histories), dtype=jnp.int32), "history": jnp.asarray(histories, jnp.int32)}


BATCH = inputs([[-1, -1, 3], [4, 5, 6], [-1, -1, -1]])


@pytest.mark.parametrize("name", NAMES)
def test_scores_of_every_item(name):
    model = getattr(kdjax.models, name)(num_classes=ITEMS, **KWARGS[name])
    variables = model.init(jax.random.key(0), BATCH)
    made = model.apply(variables, BATCH, train=True, rngs={"dropout": jax.random.key(1)})
    assert made.logits.shape == (3, ITEMS)
    assert made.logits.dtype == jnp.float32
    assert jnp.isfinite(made.logits).all(), "also of a user without a history"
    if name in ("matrix_factorisation", "sasrec"):
        items = variables["params"]["items"]
        product = made.embedding @ items["embedding"].T + items["bias"][None]
        np.testing.assert_allclose(made.logits, product, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=f"{name} takes interactions"):
        model.init(jax.random.key(0), jnp.zeros((2, 8, 8, 1)))


def test_neumf_is_its_formula():
    """In float64, user by user and item by item, the layers on both vectors side by side."""
    model = kdjax.models.neumf(num_classes=ITEMS, users=USERS, width=4, hidden=(6, 5))
    params = model.init(jax.random.key(0), BATCH)["params"]
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape), jnp.float32), params)
    made = jax.jit(model.apply)({"params": params}, BATCH)
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    both = np.concatenate([p["hidden_user"]["kernel"], p["hidden_item"]["kernel"]])
    for user, item in np.ndindex(made.logits.shape):
        u, i = p["user_vectors"][user], p["item_vectors"][item]
        x = np.maximum(np.concatenate([u[4:], i[4:]]) @ both + p["hidden_user"]["bias"], 0)
        x = np.maximum(x @ p["hidden_1"]["kernel"] + p["hidden_1"]["bias"], 0)
        score = (u[:4] * i[:4]) @ p["product"] + x @ p["last"]["kernel"][:, 0] + p["item_bias"][item]
        np.testing.assert_allclose(made.logits[user, item], score, rtol=1e-4, atol=1e-4)


def test_sasrec_sees_the_order_and_the_last_items_alone():
    model = kdjax.models.sasrec(num_classes=ITEMS, width=4)
    variables = model.init(jax.random.key(0), BATCH)
    made = jax.jit(lambda histories: model.apply(variables, inputs(histories)))
    one, turned = made([[4, 5, 6]]), made([[5, 4, 6]])
    assert not np.allclose(one.logits, turned.logits)
    first, other = (x.features[-1][0] for x in (one, made([[4, 5, 7]])))
    np.testing.assert_allclose(first[:2], other[:2], rtol=1e-6, err_msg="an item is seen by those before it")


def test_sasrecs_last_features_are_what_positions_are_scored_by():
    """Each of a history's positions as the end of a history of its own, but for where these stand."""
    model = kdjax.models.sasrec(num_classes=ITEMS, width=4, dropout=0.0)
    variables = model.init(jax.random.key(0), BATCH)
    variables["params"]["positions"] = jnp.zeros_like(variables["params"]["positions"])
    whole, shorter = (model.apply(variables, inputs([history])) for history in ([4, 5, 6], [-1, 4, 5]))
    np.testing.assert_array_equal(whole.features[-1][:, -1], whole.embedding)
    np.testing.assert_allclose(whole.features[-1][:, 1], shorter.embedding, rtol=1e-5, atol=1e-6)


def test_no_position_before_the_history_is_seen():
    model = kdjax.models.sasrec(num_classes=ITEMS, width=4)
    variables = model.init(jax.random.key(0), BATCH)
    place = variables["params"]["positions"]
    moved = {"params": {**variables["params"], "positions": place.at[0].set(9.0)}}
    found = [model.apply(v, inputs([[-1, 5, 6]])).logits for v in (variables, moved)]
    np.testing.assert_allclose(*found, rtol=1e-6)
