"""A BERT as a folder of Hugging Face's: config.json, model.safetensors, and the vocabulary beside them."""

from pathlib import Path

from kdjax.files import read_description
from kdjax.models.text.bert import Bert

FIELDS = {
    "vocabulary": "vocab_size",
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "hidden": "intermediate_size",
    "positions": "max_position_embeddings",
    "segments": "type_vocab_size",
    "epsilon": "layer_norm_eps",
}
"""Argument of `kdjax.models.bert` -> its name in config.json."""

ONLY = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
"""What config.json must say where it says it: the only kind that `bert` computes."""


def sizes(folder) -> dict:
    """The arguments of `kdjax.models.bert` for the network in a folder: `config.teacher.kwargs = sizes(folder)`.

    All but `vocabulary`, which an experiment's tokenizer says: `config.data.tokenizer = folder`. Dropout is that of
    hidden states; config.json has another number for attention weights, usually the same.

    Raises:
      ValueError: there is no config.json, or it describes another kind of network.
    """
    said = _config(folder)
    found = {name: said[key] for name, key in FIELDS.items() if name != "vocabulary"}
    return found | {"dropout": said.get("hidden_dropout_prob", 0.1)}


def check(folder, model) -> None:
    """Raises a ValueError if a BERT is of other sizes than that in a folder; heads, for one, no tensor shows."""
    if not isinstance(model, Bert):
        return
    said = _config(folder)
    own = {name: getattr(model, name) for name in FIELDS} | {"heads": model.number_of_heads, "hidden": model.between}
    wrong = [name for name, key in FIELDS.items() if own[name] != said[key]]
    if wrong:
        told = ", ".join(f"{name} {said[FIELDS[name]]!r} where the model has {own[name]!r}" for name in wrong)
        raise ValueError(
            f"{Path(folder) / 'config.json'}: {told}; its kwargs are {sizes(folder)}, its vocabulary is that of the "
            "tokenizer beside it"
        )


def _config(folder) -> dict:
    path = Path(folder) / "config.json"
    said = read_description(path, "a network")
    for key, value in ONLY.items():
        if said.get(key, value) != value:
            raise ValueError(f"{path}: {key} is {said[key]!r}; kdjax.models.bert computes {value!r} alone")
    if missing := [key for key in FIELDS.values() if key not in said]:
        raise ValueError(f"{path}: does not say {', '.join(missing)}")
    return said
