"""What files of rankers take and give, each form of them: what `kdjax.ship.inference` computes beside logits.

| form | takes | gives |
|---|---|---|
| towers | texts, tokens and mask [B, T] | embedding [B, D], whose products are scores |
| pairs | a query and a document as one text, tokens, mask and segments [B, T] | scores [B] |
| lists | features [B, L, F] of items | scores [B, L] |
| users | user [B], or history [B, T], or both | scores [B, I] of all items; beside a catalogue embedding [B, D] |

A description names its form; without one it is of "images" or "texts", which give logits [B, K], or the embedding
[B, D] where the task is retrieval.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.interpreters import partial_eval

from kdjax.ship import serve
from kdjax.types import as_outputs, batch_of, image_spec, text_spec


def outputs(description: dict) -> int:
    """The number of outputs that the network is made with."""
    if "items" in description:
        return len(description["items"])
    return len(description["classes"]) if "classes" in description else 1


def known(description: dict) -> dict[str, int]:
    """What a network is made for besides, as `kdjax.data.arrays.Dataset.known`."""
    said = {name: description[name] for name in ("vocabulary", "front") if name in description}
    return said | ({"users": len(description["users"])} if "users" in description else {})


def spec(description: dict):
    """The shapes of one example as the network takes it, see `kdjax.types.batch_of`."""
    return _SPECS[serve.form(description)](description)


def _search(description: dict) -> dict:
    query, document = (text_spec(description["lengths"][of]) for of in ("query", "document"))
    return {"query": query, "documents": batch_of(document, 1), "mask": jax.ShapeDtypeStruct((1,), jnp.bool_)}


def _list(description: dict) -> dict:
    features = jax.ShapeDtypeStruct((1, description["features"]), jnp.float32)
    return {"features": features, "mask": jax.ShapeDtypeStruct((1,), jnp.bool_)}


def _user(description: dict) -> dict:
    history = jax.ShapeDtypeStruct((description["length"],), jnp.int32)
    return {"user": jax.ShapeDtypeStruct((), jnp.int32), "history": history}


_SPECS = {
    "images": lambda description: image_spec(*description["image_shape"]),
    "texts": lambda description: text_spec(description["length"], description["pairs"]),
    "towers": _search,
    "pairs": _search,
    "lists": _list,
    "users": _user,
}


def signature(description: dict) -> tuple[dict[str, tuple], tuple[str, ...]]:
    """({name: (shape, dtype)} of what a file takes, what is known of the dimensions that have a name in a shape)."""
    form = serve.form(description)
    if form == "images":
        return {"image": (("batch", "height", "width", description["image_shape"][-1]), np.uint8)}, ()
    if form == "lists":
        return {"features": (("batch", "length", description["features"]), np.float32)}, ()
    if form == "users":
        shapes = {"user": ("batch",), "history": ("batch", description["length"])}
        return {name: (shapes[name], np.int32) for name in description["reads"]}, ()
    texts = text_spec(description["length"], description["pairs"])
    taken = {name: (("batch", "length"), leaf.dtype) for name, leaf in texts.items()}
    return taken, (f"length <= {description['length']}",)


def answer(description: dict, model) -> Callable:
    """fn(variables, what a file takes, as the network takes it) -> what a file gives."""
    return _ANSWERS[serve.form(description)](description, model)


def _field(description: dict) -> str:
    return "embedding" if description.get("gives") == "embedding" else "logits"


def _outputs(description: dict, model) -> Callable:
    field = _field(description)
    return lambda variables, inputs: getattr(as_outputs(model.apply(variables, inputs)), field)


def _tower(description: dict, model) -> Callable:
    method = "encode_documents" if description["tower"] == "document" else "encode_query"
    return lambda variables, texts: model.apply(variables, texts, method=method)


def _pairs(description: dict, model) -> Callable:
    return lambda variables, pairs: model.apply(variables, pairs, method="pairs")[0]


def _lists(description: dict, model) -> Callable:
    def scores(variables, lists):
        whole = jnp.ones_like(lists["features"][..., 0], bool)
        return as_outputs(model.apply(variables, {**lists, "mask": whole})).logits

    return scores


def _users(description: dict, model) -> Callable:
    field = _field(description)

    def asked(variables, inputs):
        (batch, *_) = next(iter(inputs.values())).shape
        unread = {"user": (batch,), "history": (batch, description["length"])}
        given = {name: jnp.zeros(shape, jnp.int32) for name, shape in unread.items()} | inputs
        return getattr(as_outputs(model.apply(variables, given)), field)

    return asked


_ANSWERS = {
    "images": _outputs,
    "texts": _outputs,
    "towers": _tower,
    "pairs": _pairs,
    "lists": _lists,
    "users": _users,
}


def reads(model, description: dict) -> list[str]:
    """Which of "user" and "history" the scores of a network depend on, found by tracing it on shapes."""
    given = batch_of(_user(description), 2)
    variables = jax.eval_shape(model.init, jax.random.key(0), given)
    score = lambda variables, **inputs: as_outputs(model.apply(variables, inputs)).logits  # noqa: E731
    traced = jax.make_jaxpr(score)(variables, **given)
    _, used = partial_eval.dce_jaxpr(traced.jaxpr, [True])
    read = dict(zip(sorted(given), used[-len(given) :], strict=True))  # leaves of a dictionary are in this order
    return [name for name in ("user", "history") if read[name]]
