"""Texts that TFDS has prepared, read without TensorFlow."""

import pytest

from kdjax import data
from kdjax.config import default
from tests.prepared import texts as written

TEXTS = {"train": [(b"a good film", 1), ("très bon".encode(), 1), (b"bad", 0)], "validation": [(b"bad bad", 0)]}


def load(path: str, **columns):
    config = default().data
    config.source, config.name, config.path, config.min_count = "tfds_text", "films", path, 1
    config.columns.update(columns)
    return data.load(config)


def test_validation_serves_where_there_is_no_test_split(tmp_path):
    dataset = load(written(tmp_path, TEXTS), text="sentence")
    assert {name: split.target.tolist() for name, split in dataset.splits.items()} == {"train": [1, 1, 0], "test": [0]}
    words = dataset.tokenizer.tokens
    assert [words[t] for t in dataset.train.input["tokens"][1] if t] == ["[CLS]", "très", "bon", "[SEP]"]


BAD = {
    "feature": (TEXTS, {}, r"columns.text: 'films' has no feature 'text'"),
    "class": (TEXTS, {"text": "sentence", "label": "sentence"}, "feature 'sentence' of 'films' is no class"),
    "empty": (
        {**TEXTS, "train": [(b" ", 0), (b"fine", 1), (b"\xff", 1)]},
        {"text": "sentence"},
        "2 rows cannot be used",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_used_is_named(case, tmp_path):
    splits, columns, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        load(written(tmp_path, splits), **columns)
