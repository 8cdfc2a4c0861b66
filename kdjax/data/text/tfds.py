"""Texts that TensorFlow Datasets has prepared as array_record, read without TensorFlow."""

from pathlib import Path

import numpy as np

from kdjax.data.arrays import Arrays, Dataset
from kdjax.data.images.tfds import builder_of, quiet, splits_of, with_labels
from kdjax.data.text.texts import Texts, objects, refuse, wrong_text
from kdjax.find import nearest


def read(config, data_dir: Path, named: dict[str, str]) -> Dataset:
    """The data set config.data.name in `data_dir`; see `kdjax.data.sources.tfds_text`.

    Raises:
      ValueError: it is not there, in another format, lacks a feature, or holds texts that cannot be used.
    """
    with quiet():
        import tensorflow_datasets as tfds

        builder = builder_of(tfds, config.name, data_dir)
        features, columns = builder.info.features, config.columns
        for role in ("text", "second", "label"):
            name = columns[role]
            if name and name not in features:
                raise ValueError(
                    f"config.data.columns.{role}: {config.name!r} has no feature {name!r}{nearest(name, features)}"
                )
        if not isinstance(features[columns.label], tfds.features.ClassLabel):
            raise ValueError(f"config.data.columns.label: feature {columns.label!r} of {config.name!r} is no class")
        problems, splits = [], {}
        for ours, theirs in splits_of(config.name, builder.info.splits, named).items():
            try:
                source = builder.as_data_source(theirs)
            except (ValueError, AssertionError) as error:  # what is wrong in brackets
                raise ValueError(f"config.data.kwargs.{ours} {theirs!r}: {error}") from error
            splits[ours] = _arrays(source.__getitems__(range(len(source))), theirs, columns, problems)
    refuse(problems)
    splits, notes = with_labels(config.name, splits, named)
    classes = tuple(features[columns.label].names)
    return Dataset(splits["train"], splits.get("validation"), splits["test"], classes, config.name, notes, kind="text")


def _arrays(examples: list[dict], split: str, columns, problems: list[str]) -> Arrays:
    places = [f"{split}[{number}]" for number in range(len(examples))]
    texts = {}
    for role in ("text", "second"):
        if name := columns[role]:
            texts[role] = [_decoded(example[name]) for example in examples]
            wrong = [wrong_text(text, name) for text in texts[role]]
            problems += [f"{place}: {told}" for place, told in zip(places, wrong, strict=True) if told]
    label = np.array([example[columns.label] for example in examples], np.int32)
    second = objects(texts["second"]) if "second" in texts else None
    return Arrays(Texts(objects(texts["text"]), second, objects(places)), label)


def _decoded(value) -> str | None:
    """The text of a feature; None where its bytes are no UTF-8."""
    if isinstance(value, str):
        return value
    try:
        return bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        return None
