"""The language head of a BERT: which words could stand where one is masked. Devlin et al. 2019, arXiv:1810.04805."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from kdjax.models import pytorch, weights
from kdjax.models.text import huggingface
from kdjax.models.text.bert import Bert, normalise
from kdjax.types import text_spec

HEAD = "cls.predictions."
"""What the names of its tensors begin with in a Hugging Face folder."""


class MaskedLanguage(Bert):
    """A BERT with the head of its pretraining, whose last layer is the table of word vectors: BertForMaskedLM."""

    @nn.compact
    def __call__(self, inputs, at=None) -> jax.Array:
        """Texts [B, T] and places in them, `at` [B, M] -> logits [B, M, vocabulary]; without places [B, T, ...]."""
        x = super().__call__(inputs).features[-1]
        if at is not None:
            x = jnp.take_along_axis(x, at[:, :, None], axis=1)
        x = nn.gelu(nn.Dense(self.width, name="cls_predictions_transform_dense")(x), approximate=False)
        x = normalise(x, self.epsilon, "cls_predictions_transform_LayerNorm")
        vectors = self.variables["params"]["embeddings"]["word_embeddings"]["embedding"]
        bias = self.param("cls_predictions_bias", nn.initializers.zeros, (self.vocabulary,))
        return x @ vectors.T + bias[None, None]


def load(folder) -> tuple[MaskedLanguage, dict]:
    """The network in a Hugging Face folder with its language head, and its variables.

    Raises:
      ValueError: the folder has no such head, or one with word vectors of its own; or as `pytorch.load`.
    """
    tensors, _ = weights.read(folder)
    heads = {name.removeprefix("module."): name for name in tensors if HEAD in name}
    if not heads:
        raise ValueError(
            f"{folder}: model.safetensors has no language head ({HEAD}*), so nothing in it can propose words; encoders "
            "of sentences are published without. Give the folder of a BertForMaskedLM, as bert-base-uncased is"
        )
    words = next((t for name, t in tensors.items() if name.endswith("embeddings.word_embeddings.weight")), None)
    decoder = tensors.get(heads.get(f"{HEAD}decoder.weight"))
    if decoder is not None and words is not None and not np.array_equal(decoder, words):
        raise ValueError(f"{folder}: {HEAD}decoder.weight is not the table of word vectors; here it has to be")
    sizes = huggingface.sizes(folder)
    model = MaskedLanguage(0, vocabulary=len(words) if words is not None else 1, **sizes)
    return model, pytorch.load(folder, model, text_spec(8))
