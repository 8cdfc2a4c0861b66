"""Texts that TFDS has prepared, read without TensorFlow."""

import json
from pathlib import Path

import pytest

from kdjax import data
from kdjax.config import default

TEXTS = {"train": [(b"a good film", 1), ("très bon".encode(), 1), (b"bad", 0)], "validation": [(b"bad bad", 0)]}


def written(tmp_path: Path, splits) -> str:
    """A folder of TFDS's data set "films": split -> (bytes, label) of each example."""
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.core.example_parser import tf_example_pb2

    folder = tmp_path / "films" / "1.0.0"
    folder.mkdir(parents=True)
    for split, rows in splits.items():
        writer = ArrayRecordWriter(str(folder / f"films-{split}.array_record-00000-of-00001"), "group_size:1")
        for text, label in rows:
            example = tf_example_pb2.Example()
            example.features.feature["sentence"].bytes_list.value.append(text)
            example.features.feature["label"].int64_list.value.append(label)
            writer.write(example.SerializeToString())
        writer.close()
    path = "tensorflow_datasets.core.features."
    features = {
        "sentence": {"text": {}, "pythonClassName": path + "text_feature.Text"},
        "label": {"classLabel": {"numClasses": "2"}, "pythonClassName": path + "class_label_feature.ClassLabel"},
    }
    (folder / "features.json").write_text(
        json.dumps({"featuresDict": {"features": features}, "pythonClassName": path + "features_dict.FeaturesDict"})
    )
    template = {"filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}", "numBytes": "1"}
    description = {
        "name": "films",
        "version": "1.0.0",
        "fileFormat": "array_record",
        "splits": [{**template, "name": name, "shardLengths": [str(len(rows))]} for name, rows in splits.items()],
    }
    (folder / "dataset_info.json").write_text(json.dumps(description))
    return str(tmp_path)


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
