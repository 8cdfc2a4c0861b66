"""The networks for texts: a BERT against its formula and published weights, padding, sizes, a start from a teacher."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from scipy.special import erf

import kdjax.models
from kdjax.models import cost, pytorch
from kdjax.models.text import huggingface
from kdjax.training.step import adopt, every_layer
from kdjax.types import text_spec

V, T = 50, 7  # words of the vocabulary, tokens of a text
SMALL = {"bert": {"layers": 2, "width": 16, "heads": 4}, "bilstm": {"embedding": 6, "width": 8}}
SMALL |= {"textcnn": {"embedding": 6, "filters": 5, "widths": (2, 3)}, "bag_of_words": {"embedding": 6}}
GOLDEN = Path(__file__).parents[1] / "goldens" / "minilm_l6.npz"


def build(name: str, **fields):
    return getattr(kdjax.models, name)(num_classes=3, vocabulary=V, **{**SMALL[name], **fields})


def texts(more: int = 0) -> dict:
    """Three of 7, 4 and 1 tokens, and so many positions of padding more."""
    mask = np.arange(T)[None] < np.array([T, 4, 1])[:, None]
    tokens = np.where(mask, np.random.default_rng(0).integers(1, V, (3, T)), 0)
    wide = lambda x, dtype: jnp.asarray(np.pad(x, ((0, 0), (0, more))), dtype)  # noqa: E731
    return {"tokens": wide(tokens, jnp.int32), "mask": wide(mask, bool)}


def drawn(model, seed: int = 0):
    """Normal variables, made without compiling `init`."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0), texts())
    return jax.tree.map(lambda leaf: jnp.asarray(0.3 * rng.standard_normal(leaf.shape), leaf.dtype), shapes)


@pytest.mark.parametrize("name", SMALL)
def test_padding_changes_nothing(name):
    model = build(name)
    variables = drawn(model)
    plain, padded = (jax.jit(model.apply)(variables, texts(more)) for more in (0, 2))
    np.testing.assert_allclose(plain.logits, padded.logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(plain.embedding, padded.embedding, rtol=1e-5, atol=1e-6)
    mask = np.asarray(plain.mask)
    for a, b in zip(plain.features + plain.qkv, padded.features + padded.qkv, strict=True):
        np.testing.assert_allclose(np.asarray(a)[mask], np.asarray(b)[:, :T][mask], rtol=1e-5, atol=1e-6)
    for a, b in zip(plain.attentions, padded.attentions, strict=True):
        np.testing.assert_allclose(a[0], b[0, :, :T, :T], rtol=1e-5, atol=1e-6)
    assert plain.features[0].shape == (3, T, SMALL[name].get("width" if name == "bert" else "embedding"))


@pytest.mark.parametrize("name", SMALL)
def test_a_text_without_tokens_has_finite_logits(name):
    model, inputs = build(name), texts()
    out = model.apply(drawn(model), {**inputs, "mask": jnp.zeros_like(inputs["mask"])})
    assert jnp.isfinite(out.logits).all()


@pytest.mark.parametrize("name", SMALL)
def test_bfloat16_and_dropout_in_training(name):
    model = build(name, dtype=jnp.bfloat16, dropout=0.5)
    variables = drawn(model)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    run = jax.jit(lambda key: model.apply(variables, texts(), train=True, rngs={"dropout": key}))
    first, again, other = (run(jax.random.key(seed)) for seed in (0, 0, 1))
    assert (first.embedding.dtype, first.logits.dtype) == (jnp.bfloat16, jnp.float32)
    np.testing.assert_array_equal(first.logits, again.logits)
    assert not np.array_equal(first.logits, other.logits)


@pytest.mark.parametrize("name", SMALL)
def test_what_is_no_text_is_named(name):
    with pytest.raises(ValueError, match=rf"{name} takes texts, .* got \(2, 8, 8, 3\)"):
        build(name).init(jax.random.key(0), jnp.zeros((2, 8, 8, 3)))
    with pytest.raises(ValueError, match=f"{name} takes texts"):
        build(name).init(jax.random.key(0), {"tokens": jnp.zeros((2, 4), jnp.int32), "mask": jnp.zeros((2, 5), bool)})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"heads": 3}, "width 16 does not divide into 3 heads"),
        ({"pooling": "max"}, "pooling 'max' is unknown; valid are mean, cls, pooler"),
        ({"positions": 4}, "texts of 7 tokens, and it has 4 positions"),
    ],
)
def test_sizes_that_make_no_sense(fields, message):
    with pytest.raises(ValueError, match=f"bert: {message}"):
        jax.eval_shape(build("bert", **fields).init, jax.random.key(0), texts())


def test_a_token_outside_the_vocabulary_is_seen():
    model, inputs = build("bag_of_words"), texts()
    out = model.apply(drawn(model), {**inputs, "tokens": inputs["tokens"].at[1, 0].set(V)})
    assert np.isnan(out.logits).any(-1).tolist() == [False, True, False]


# ---- BERT against its formula, through a folder of Hugging Face's


def names(layers: int) -> dict[str, tuple[int, ...]]:
    """The tensors of a BertForSequenceClassification of width 16 with the pooler, as torch has them."""
    found = {"embeddings.word_embeddings.weight": (V, 16), "embeddings.position_embeddings.weight": (9, 16)}
    found |= {"embeddings.token_type_embeddings.weight": (2, 16)}
    dense = {"pooler.dense": (16, 16)}
    norms = ["embeddings.LayerNorm"]
    for i in range(layers):
        layer = f"encoder.layer.{i}"
        dense |= {f"{layer}.attention.self.{name}": (16, 16) for name in ("query", "key", "value")}
        dense |= {f"{layer}.attention.output.dense": (16, 16), f"{layer}.intermediate.dense": (24, 16)}
        dense |= {f"{layer}.output.dense": (16, 24)}
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    found |= {f"{name}.weight": shape for name, shape in dense.items()}
    found |= {f"{name}.bias": shape[:1] for name, shape in dense.items()}
    found |= {f"{name}.{leaf}": (16,) for name in norms for leaf in ("weight", "bias")}
    return {f"bert.{name}": shape for name, shape in found.items()} | {
        "classifier.weight": (3, 16),
        "classifier.bias": (3,),
    }


CONFIG = dict(model_type="bert", hidden_act="gelu", vocab_size=V, num_hidden_layers=2, hidden_size=16)
CONFIG |= dict(num_attention_heads=4, intermediate_size=24, max_position_embeddings=9, type_vocab_size=2)
CONFIG |= dict(layer_norm_eps=1e-12, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)


def folder(path: Path, change=lambda tensors: tensors, **config) -> Path:
    rng = np.random.default_rng(1)
    tensors = {name: 0.4 * rng.standard_normal(shape).astype(np.float32) for name, shape in names(2).items()}
    (path / "config.json").write_text(json.dumps({**CONFIG, **config}))
    safetensors.numpy.save_file(change(tensors), path / "model.safetensors", {"format": "pt"})
    return path


def layers_of(tensors: dict) -> tuple:
    """(the tensors in float64 by their names in BertModel, a dense layer, a normalisation) of a BERT."""
    w = {name.removeprefix("bert."): x.astype(np.float64) for name, x in tensors.items()}

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    return w, lambda x, name: x @ w[f"{name}.weight"].T + w[f"{name}.bias"], norm


def formula(tensors: dict, inputs: dict, segments) -> np.ndarray:
    """Logits [B, K] of a BertForSequenceClassification in float64."""
    _, dense, _ = layers_of(tensors)
    seen = hidden(tensors, inputs, segments)
    return np.stack([dense(np.tanh(dense(x[0], "pooler.dense")), "classifier") for x in seen])


def hidden(tensors: dict, inputs: dict, segments) -> list[np.ndarray]:
    """What the last layer of a BERT gives, [t, C] of each text, in float64: one after the other, without padding."""
    w, dense, norm = layers_of(tensors)

    def attended(x, layer):
        q, k, v = (
            dense(x, f"{layer}.attention.self.{n}").reshape(-1, 4, 4).swapaxes(0, 1) for n in ("query", "key", "value")
        )
        weights = np.exp(q @ k.swapaxes(1, 2) / 2)
        return (weights / weights.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(-1, 16)

    rows = []
    for tokens, mask, kinds in zip(np.asarray(inputs["tokens"]), np.asarray(inputs["mask"]), segments, strict=True):
        tables = "word_embeddings", "position_embeddings", "token_type_embeddings"
        indices = tokens[mask], np.arange(mask.sum()), kinds[mask]
        x = norm(
            sum(w[f"embeddings.{n}.weight"][i] for n, i in zip(tables, indices, strict=True)), "embeddings.LayerNorm"
        )
        for i in range(2):
            layer = f"encoder.layer.{i}"
            x = norm(
                x + dense(attended(x, layer), f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm"
            )
            y = dense(x, f"{layer}.intermediate.dense")
            y = dense(y * (1 + erf(y / np.sqrt(2))) / 2, f"{layer}.output.dense")
            x = norm(x + y, f"{layer}.output.LayerNorm")
        rows.append(x)
    return rows


def test_a_folder_of_hugging_face_is_the_formula(tmp_path):
    path = folder(tmp_path)
    model = kdjax.models.bert(num_classes=3, pooling="pooler", vocabulary=V, **huggingface.sizes(path))
    variables = pytorch.load(path, model, text_spec(T))
    segments = np.arange(T)[None] > np.array([[2], [1], [5]])
    out = model.apply(variables, {**texts(), "segments": jnp.asarray(segments, jnp.int32)})
    tensors = safetensors.numpy.load_file(path / "model.safetensors")
    np.testing.assert_allclose(out.logits, formula(tensors, texts(), segments.astype(int)), rtol=1e-4, atol=1e-5)


def test_of_another_head_the_body_is_loaded(tmp_path):
    path = folder(
        tmp_path, lambda tensors: {n.removeprefix("bert."): x for n, x in tensors.items() if "classif" not in n}
    )
    model = kdjax.models.bert(num_classes=5, vocabulary=V, **huggingface.sizes(path))
    body = pytorch.load_body(path, model, text_spec(T))
    assert set(body["params"]) == {"embeddings", "encoder_layer_0", "encoder_layer_1"}
    with pytest.raises(ValueError, match=r"missing \(2\): classifier.bias, classifier.weight"):
        pytorch.load(path, model, text_spec(T))


def test_old_names_and_what_does_not_belong(tmp_path):
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}

    def rename(tensors):
        for new, name in old.items():
            tensors = {key.replace(new, name): x for key, x in tensors.items()}
        return tensors | {"bert.embeddings.position_ids": np.arange(9)}

    path = folder(tmp_path, rename)
    model = kdjax.models.bert(num_classes=3, vocabulary=V, **huggingface.sizes(path))
    pytorch.load(path, model, text_spec(T))
    folder(
        tmp_path, lambda tensors: {**tensors, "bert.encoder.layer.7.output.dense.weight": np.ones((2, 2), np.float32)}
    )
    with pytest.raises(ValueError, match=r"left over \(1\): bert.encoder.layer.7.output.dense.weight"):
        pytorch.load(path, model, text_spec(T))


@pytest.mark.parametrize(
    ("fields", "said"), [({"heads": 2}, "heads 4 where the model has 2"), ({"vocabulary": 60}, "vocabulary 50 where")]
)
def test_other_sizes_are_named_with_the_right_ones(tmp_path, fields, said):
    path = folder(tmp_path)
    model = kdjax.models.bert(num_classes=3, **{"vocabulary": V, **huggingface.sizes(path), **fields})
    with pytest.raises(ValueError, match=rf"config.json: {said}.*its kwargs are .*'heads': 4"):
        pytorch.load(path, model, text_spec(T))


def test_other_kinds_of_network_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"model_type is 'roberta'; kdjax.models.bert computes 'bert' alone"):
        huggingface.sizes(folder(tmp_path, model_type="roberta"))
    with pytest.raises(ValueError, match="cannot read the description of a network"):
        huggingface.sizes(tmp_path / "nowhere")


def test_minilm_is_the_published_network(shared_data):
    """Against transformers' BertModel (tests/goldens/README.md); these weights are rounded to half precision.

    With the published ones, in single precision, hidden states differ by less than 1e-4.
    """
    path = shared_data / "teachers" / "minilm_l6"
    with np.load(GOLDEN) as file:
        golden = dict(file)
    model = kdjax.models.bert(num_classes=0, **huggingface.sizes(path))
    mask = golden["mask"]
    variables = pytorch.load_body(path, model, text_spec(11))
    out = model.apply(variables, {"tokens": jnp.asarray(golden["tokens"]), "mask": jnp.asarray(mask)})
    for name, found in (("hidden3", out.features[3]), ("hidden6", out.features[6])):
        np.testing.assert_allclose(np.asarray(found)[mask][:, ::8], golden[name], rtol=0, atol=4e-3, err_msg=name)
    sentence = out.embedding / jnp.linalg.norm(out.embedding, axis=-1, keepdims=True)
    np.testing.assert_allclose(sentence, golden["sentence"], rtol=0, atol=3e-4)
    scores = np.where(mask[:, None, None], out.attentions[5], -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    np.testing.assert_allclose(weights / weights.sum(-1, keepdims=True), golden["attention6"], rtol=0, atol=2e-3)


# ---- a student of its teacher's layers, and sizes


def test_a_student_begins_as_every_third_layer():
    teacher, student = (drawn(build("bert", layers=n), n)["params"] for n in (6, 2))
    paths = every_layer({"embeddings": "embeddings", "encoder_layer_*": "uniform"}, student, teacher)
    assert paths == {
        "embeddings": "embeddings",
        "encoder_layer_0": "encoder_layer_2",
        "encoder_layer_1": "encoder_layer_5",
    }
    for path, source in paths.items():
        student = adopt(student, path.split("/"), teacher, source)
    jax.tree.map(np.testing.assert_array_equal, student["encoder_layer_1"], teacher["encoder_layer_5"])
    last = every_layer({"encoder_layer_*": "last"}, student, teacher)
    assert last == {"encoder_layer_0": "encoder_layer_4", "encoder_layer_1": "encoder_layer_5"}
    with pytest.raises(ValueError, match=r"from_teacher 'block_\*': the student has 0 such layers, the teacher 0"):
        every_layer({"block_*": "uniform"}, student, teacher)


def test_parameters_with_and_without_embeddings():
    """Against closed forms; `text_ranking.md`'s sizes at 14,312 words: 2.24 M with 1.83 M of words."""
    model, spec = kdjax.models.bert(num_classes=2, vocabulary=14_312), text_spec(16)
    layer = 4 * (128 * 128 + 128) + 2 * 128 * 512 + 512 + 128 + 4 * 128
    tables = (14_312 + 512 + 2) * 128
    assert cost.embeddings(model, spec) == tables
    assert cost.parameters(model, spec) == tables + 2 * 128 + 2 * layer + 2 * 128 + 2
    model = kdjax.models.textcnn(num_classes=2, vocabulary=14_312)
    assert cost.parameters(model, spec) - cost.embeddings(model, spec) == 12 * 100 * 100 + 300 + 300 * 2 + 2
    model = kdjax.models.bilstm(num_classes=2, vocabulary=14_312)
    assert cost.parameters(model, spec) - cost.embeddings(model, spec) == 2 * 4 * 128 * (100 + 128 + 1) + 256 * 2 + 2


def test_flops_count_every_turn_of_a_loop():
    model = build("bilstm", embedding=32, width=32)
    products = lambda tokens: 2 * tokens * 2 * (32 * 128 + 32 * 128)  # noqa: E731  both directions
    for tokens in (4, 16):
        assert products(tokens) < cost.flops(model, text_spec(tokens)) < 1.3 * products(tokens)
