"""Folders as TensorFlow Datasets prepares them, written without TensorFlow."""

import io
import itertools
import json
from pathlib import Path

from PIL import Image

FEATURES = "tensorflow_datasets.core.features."
LABEL = {"classLabel": {"numClasses": "2"}, "pythonClassName": FEATURES + "class_label_feature.ClassLabel"}
TEXT = {"text": {}, "pythonClassName": FEATURES + "text_feature.Text"}
IMAGE = {
    "image": {"dtype": "uint8", "shape": {"dimensions": ["2", "2", "1"]}, "encodingFormat": "png"},
    "pythonClassName": FEATURES + "image_feature.Image",
}


def images(path: Path, splits: dict[str, list[int]], name: str = "tiny") -> str:
    """`path`, where the data set `name` now is: split -> labels, of 2 x 2 images, all different."""
    grey = itertools.count(10)

    def file() -> bytes:
        held = io.BytesIO()
        Image.new("L", (2, 2), next(grey)).save(held, "PNG")
        return held.getvalue()

    rows = {split: [(file(), label) for label in labels] for split, labels in splits.items()}
    return write(path, name, {"image": IMAGE, "label": LABEL}, rows)


def texts(path: Path, splits: dict[str, list[tuple[bytes, int]]], name: str = "films") -> str:
    """`path`, where the data set `name` now is: split -> (bytes, label) of each example."""
    return write(path, name, {"sentence": TEXT, "label": LABEL}, splits)


def write(path: Path, name: str, features: dict, splits: dict[str, list[tuple[bytes, int]]]) -> str:
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.core.example_parser import tf_example_pb2

    (given, label), folder = features, path / name / "1.0.0"
    folder.mkdir(parents=True)
    for split, rows in splits.items():
        writer = ArrayRecordWriter(str(folder / f"{name}-{split}.array_record-00000-of-00001"), "group_size:1")
        for value, number in rows:
            example = tf_example_pb2.Example()
            example.features.feature[given].bytes_list.value.append(value)
            example.features.feature[label].int64_list.value.append(number)
            writer.write(example.SerializeToString())
        writer.close()
    (folder / "features.json").write_text(
        json.dumps({"featuresDict": {"features": features}, "pythonClassName": FEATURES + "features_dict.FeaturesDict"})
    )
    template = {"filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}", "numBytes": "1"}
    description = {
        "name": name,
        "version": "1.0.0",
        "fileFormat": "array_record",
        "splits": [{**template, "name": split, "shardLengths": [str(len(rows))]} for split, rows in splits.items()],
        "supervisedKeys": {"tuple": {"items": [{"featureKey": given}, {"featureKey": label}]}},
    }
    (folder / "dataset_info.json").write_text(json.dumps(description))
    return str(path)
