"""Two towers, and the network that reads both texts: what they compute, padding that changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import models
from kdjax.data.text import tokenizers
from kdjax.models import pytorch
from kdjax.models.ranking.encoders import joined
from kdjax.models.text import huggingface
from kdjax.types import text_spec
from tests.models.test_text import folder, texts

V, B, L = 40, 3, 4
BERT = {"encoder": "bert", "layers": 1, "width": 16, "heads": 2, "dropout": 0.0}
NETWORKS = {
    "bag": ("bi_encoder", {"embedding": 6}),
    "towers": ("bi_encoder", {"embedding": 6, "shared": False, "similarity": "dot", "scale": 1.0}),
    "cnn": ("bi_encoder", {"encoder": "textcnn", "embedding": 6, "filters": 5, "widths": (2, 3)}),
    "bert": ("bi_encoder", BERT),
    "cross": ("cross_encoder", BERT),
    "cross_bilstm": ("cross_encoder", {"encoder": "bilstm", "embedding": 6, "width": 5}),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def search(tokens: int = 0, documents: int = 0) -> dict:
    """Three queries with up to four documents, and so much padding more of tokens and of documents."""
    rng = np.random.default_rng(0)
    there = np.arange(L)[None] < np.array([4, 1, 3])[:, None]
    masks = [np.arange(5)[None] < np.array([5, 2, 3])[:, None]]
    masks.append((np.arange(6) < rng.integers(1, 7, (B, L, 1))) & there[..., None])
    made = []
    for mask in masks:
        given = np.where(mask, rng.integers(1, V, mask.shape), 0)
        wide = [(0, 0), *[(0, documents)] * (mask.ndim - 2), (0, tokens)]
        made.append({"tokens": jnp.asarray(np.pad(given, wide), jnp.int32), "mask": jnp.asarray(np.pad(mask, wide))})
    return {"query": made[0], "documents": made[1], "mask": jnp.asarray(np.pad(there, ((0, 0), (0, documents))))}


def build(name: str, **fields):
    network, kwargs = NETWORKS[name]
    return getattr(models, network)(num_classes=1, vocabulary=V, **{**kwargs, **fields})


def drawn(model):
    """Normal variables, made without compiling `init`."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), search())
    return jax.tree.map(lambda leaf: jnp.asarray(0.3 * rng.standard_normal(leaf.shape), leaf.dtype), shapes)


@every_network
def test_padding_changes_nothing(name):
    """Neither more tokens nor more documents, and what is padding scores 0."""
    model = build(name)
    variables, apply = drawn(model), jax.jit(model.apply)
    plain, padded = apply(variables, search()), apply(variables, search(2, 2))
    np.testing.assert_allclose(plain.logits, padded.logits[:, :L], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(plain.features[-1], padded.features[-1][:, :L], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(padded.mask[:, :L], search()["mask"])
    assert not padded.logits[~padded.mask].any()
    assert not padded.features[-1][~padded.mask].any()
    assert plain.logits[plain.mask].std() > 1e-3


@every_network
def test_a_document_is_scored_whatever_stands_beside_it(name):
    model = build(name)
    variables, given = drawn(model), search()
    order = np.array([2, 0, 3, 1])
    other = {
        **given,
        "documents": jax.tree.map(lambda leaf: leaf[:, order], given["documents"]),
        "mask": given["mask"][:, order],
    }
    first, second = (jax.jit(model.apply)(variables, x).logits for x in (given, other))
    np.testing.assert_allclose(first[:, order], second, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["bag", "towers", "bert"])
def test_scores_are_products_of_what_the_towers_make(name):
    model, given = build(name), search()
    variables = drawn(model)
    out = model.apply(variables, given)
    query = model.apply(variables, given["query"], method="encode_query")
    flat = jax.tree.map(lambda leaf: leaf.reshape(B * L, -1), given["documents"])
    documents = model.apply(variables, flat, method="encode_documents").reshape(B, L, -1)
    np.testing.assert_allclose(out.embedding, query, rtol=1e-6)
    scores = model.scale * jnp.einsum("bd,bld->bl", query, documents)
    np.testing.assert_allclose(out.logits, jnp.where(given["mask"], scores, 0), rtol=1e-5, atol=1e-6)
    lengths = np.linalg.norm(query, axis=-1)
    assert np.allclose(lengths, 1, atol=1e-5) == (model.similarity == "cosine")
    assert ("document_encoder" in variables["params"]) == (name == "towers")


def test_a_pair_is_what_a_tokenizer_makes_of_both_texts():
    """[CLS] query [SEP] document [SEP], padding at the end, segments 0 and 1."""
    tokenizer = tokenizers.learn("words", ["a b c d e f g"], 1, 0)
    queries, documents = ["a b", "c"], ["d e f", "g"]
    one, two = (
        tokenizers.padded(tokenizer.encode(texts, None, 8), 8, 0, pairs=False) for texts in (queries, documents)
    )
    both = joined(one, jax.tree.map(lambda leaf: leaf[:, None], two), front=1)
    expected = tokenizers.padded(tokenizer.encode(queries, documents, 15), 15, 0, pairs=True)
    for name, leaf in expected.items():
        np.testing.assert_array_equal(both[name][:, 0], leaf)


def test_both_read_together_is_the_encoder_on_pairs():
    model, given = build("cross"), search()
    variables = drawn(model)
    out = model.apply(variables, given)
    pairs = jax.tree.map(lambda leaf: leaf.reshape(B * L, -1), joined(given["query"], given["documents"], 1))
    inner = model.encoder.apply({"params": variables["params"]["encoder"]}, pairs).embedding.reshape(B, L, -1)
    classifier = variables["params"]["classifier"]
    scores = (inner @ classifier["kernel"])[..., 0] + classifier["bias"][0]
    np.testing.assert_allclose(out.logits, jnp.where(given["mask"], scores, 0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shared", [True, False])
def test_a_folder_of_hugging_face_is_the_encoder(tmp_path, shared):
    path = folder(tmp_path)
    fields = {"encoder": "bert", "vocabulary": 50, **huggingface.sizes(path)}
    model, spec = models.bi_encoder(1, shared=shared, similarity="dot", **fields), {"query": text_spec(7)}
    variables = pytorch.load(path, model, spec)
    assert set(variables["params"]) == set(model.towers)
    body = pytorch.load_body(path, model.encoder, text_spec(7))
    for method in ("encode_query", "encode_documents"):
        np.testing.assert_array_equal(
            model.apply(variables, texts(), method=method), model.encoder.apply(body, texts()).embedding
        )
    both = models.cross_encoder(1, **fields)
    assert set(pytorch.load_body(path, both, spec)["params"]) == {"encoder"}


@every_network
def test_bfloat16_has_float32_scores(name):
    model = build(name, dtype=jnp.bfloat16)
    shapes = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), search()))
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes[1])} == {jnp.dtype("float32")}
    assert shapes[0].logits.dtype == jnp.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.bi_encoder(1, encoder="resnet8"), "bi_encoder: encoder 'resnet8' is no network for texts"),
        (lambda: build("bag", similarity="l2").init(jax.random.key(0), search()), "similarity 'l2' is unknown"),
        (lambda: build("bag").init(jax.random.key(0), text_spec(4)), "bi_encoder takes searches"),
        (lambda: build("cross").clone(num_classes=3).init(jax.random.key(0), search()), "one score a document"),
    ],
)
def test_what_makes_no_sense(call, message):
    with pytest.raises(ValueError, match=message):
        call()
