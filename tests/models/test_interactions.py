"""Networks that rank a catalogue: what they give, what they may see, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.sparse

import kdjax.models
from kdjax import losses
from kdjax.models.lightgcn import Graph
from kdjax.training.objective import Objective, Term
from kdjax.training.step import make_init, make_train_step

USERS, ITEMS = 7, 11
NAMES = ("matrix_factorisation", "neumf", "lightgcn", "sasrec", "popularity")
EDGES = np.array([[0, 0, 0, 1, 2, 2, 6], [1, 4, 9, 4, 0, 9, 4]])  # users 3 to 5 took nothing, items 2 and 3 nobody
KWARGS = {
    "matrix_factorisation": {"users": USERS, "width": 4},
    "neumf": {"users": USERS, "width": 4},
    "lightgcn": {"users": USERS, "width": 4, "graph": Graph(*EDGES)},
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


@pytest.mark.parametrize("layers", [0, 3])
def test_lightgcn_is_its_formula(layers):
    """The mean of powers of D^-1/2 A D^-1/2, users and items its rows alike, in float64."""
    model = kdjax.models.lightgcn(num_classes=ITEMS, **KWARGS["lightgcn"], layers=layers)
    params = model.init(jax.random.key(0), BATCH)["params"]
    made = jax.jit(model.apply)({"params": params}, BATCH)
    upper = scipy.sparse.coo_array((np.ones(EDGES.shape[1]), EDGES), (USERS, ITEMS))
    whole = scipy.sparse.block_array([[None, upper], [upper.T, None]]).tocsr()
    degree = np.maximum(whole.sum(1), 1)
    normalised = scipy.sparse.diags_array(degree**-0.5) @ whole @ scipy.sparse.diags_array(degree**-0.5)
    power = np.concatenate([np.asarray(params[name], np.float64) for name in ("user_vectors", "item_vectors")])
    mean = power / (layers + 1)
    for _ in range(layers):
        power = normalised @ power
        mean = mean + power / (layers + 1)
    np.testing.assert_allclose(made.embedding, mean[: len(BATCH["user"])], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(made.logits, mean[: len(BATCH["user"])] @ mean[USERS:].T, rtol=1e-5, atol=1e-7)


def test_lightgcn_learns_by_bpr_and_reaches_neighbours():
    model = kdjax.models.lightgcn(num_classes=ITEMS, **KWARGS["lightgcn"])
    objective = Objective(model, (Term("bpr", losses.bpr, lambda step: jnp.float32(1), {"negatives": 8}),))
    target = np.full((USERS, 3), -1, np.int32)
    for user, item in EDGES.T:
        target[user, (target[user] >= 0).sum()] = item
    users = {"user": jnp.arange(USERS), "history": jnp.full((USERS, 1), -1)}
    batch = {"input": users, "target": jnp.asarray(target), "index": jnp.arange(USERS)}
    given = batch, None, None, None
    step = jax.jit(make_train_step(objective, optax.sgd(20.0)))
    state = make_init(objective, optax.sgd(20.0))(jax.random.key(0), *given)
    first = state.params["student"]["item_vectors"]
    lost = []
    for _ in range(80):
        state, values = step(state, *given)
        lost.append(float(values["loss"]))
    assert np.mean(lost[-5:]) < 0.3 * lost[0]
    assert (np.abs(state.params["student"]["item_vectors"] - first).sum(1) > 0)[[0, 1, 4, 9]].all()


def test_graphs_are_equal_by_their_edges():
    """As fields of modules must be, so that programs are compiled once."""
    same, other = Graph(*EDGES.copy()), Graph(*EDGES[:, 1:])
    assert Graph(*EDGES) == same != other
    assert len({Graph(*EDGES), same, other}) == 2
    assert repr(same) != repr(other)
    with pytest.raises(ValueError, match="lightgcn needs its field graph"):
        kdjax.models.lightgcn(num_classes=ITEMS, users=USERS).init(jax.random.key(0), BATCH)


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
