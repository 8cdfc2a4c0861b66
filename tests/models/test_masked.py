"""The language head of a Hugging Face folder: against its formula, and what is said where there is none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from kdjax.models.text import masked
from tests.models.test_text import T, V, folder, hidden, layers_of, texts

HEAD = {"transform.dense.weight": (16, 16), "transform.dense.bias": (16,), "transform.LayerNorm.weight": (16,)}
HEAD |= {"transform.LayerNorm.bias": (16,), "bias": (V,)}


def with_head(tensors: dict, decoder=None) -> dict:
    """Those of a BertForMaskedLM: no classifier, and perhaps a decoder, which files have or leave out."""
    rng = np.random.default_rng(2)
    drawn = {f"cls.predictions.{n}": 0.4 * rng.standard_normal(s).astype(np.float32) for n, s in HEAD.items()}
    body = {name: x for name, x in tensors.items() if not name.startswith(("classifier", "bert.pooler"))}
    return body | drawn | ({} if decoder is None else {"cls.predictions.decoder.weight": decoder(body)})


def words(body: dict) -> np.ndarray:
    return body["bert.embeddings.word_embeddings.weight"].copy()


def logits(tensors: dict, inputs: dict, segments) -> list[np.ndarray]:
    """[t, V] of each text, in float64."""
    w, dense, norm = layers_of(tensors)
    found = []
    for x in hidden(tensors, inputs, segments):
        y = dense(x, "cls.predictions.transform.dense")
        y = norm(y * (1 + erf(y / np.sqrt(2))) / 2, "cls.predictions.transform.LayerNorm")
        found.append(y @ w["embeddings.word_embeddings.weight"].T + w["cls.predictions.bias"])
    return found


def test_a_language_head_is_the_formula(tmp_path):
    kept = {}
    path = folder(tmp_path, lambda tensors: kept.setdefault("all", with_head(tensors, words)))
    model, variables = masked.load(path)
    apply = jax.jit(model.apply)  # op by op it takes ten times as long
    found = apply(variables, texts())
    assert found.shape == (3, T, V)
    for own, expected in zip(found, logits(kept["all"], texts(), np.zeros((3, T), int)), strict=True):
        np.testing.assert_allclose(own[: len(expected)], expected, rtol=1e-4, atol=1e-4)
    at = jnp.array([[6, 2], [3, 0], [0, 0]])
    padded = apply(variables, texts(more=1), at)
    np.testing.assert_allclose(padded, np.take_along_axis(np.asarray(found), at[:, :, None], axis=1), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors, r"has no language head \(cls.predictions.\*\).*Give the folder of a BertForMaskedLM"),
        (lambda tensors: with_head(tensors, lambda body: words(body) + 1), "decoder.weight is not the table of word"),
        (
            lambda tensors: {n: x for n, x in with_head(tensors).items() if n != "cls.predictions.bias"},
            r"missing \(1\): cls.predictions.bias",
        ),
    ],
)
def test_a_folder_without_one_is_refused(tmp_path, change, said):
    with pytest.raises(ValueError, match=said):
        masked.load(folder(tmp_path, change))
