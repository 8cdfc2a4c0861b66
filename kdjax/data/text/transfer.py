"""Texts without labels from a file of their own, for what only a teacher says of them: config.data.transfer."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from kdjax.data.arrays import Arrays, Dataset
from kdjax.data.text import files
from kdjax.data.text.texts import Texts, objects, refuse, wrong_text
from kdjax.find import nearest


def extended(dataset: Dataset, config) -> Dataset:
    """The data set with the texts of config.data.transfer after those of its training split, labelled -1.

    The file is .csv, .tsv, .jsonl or .parquet with the columns that config.data.columns names for texts, or .txt with
    a text a line, of pairs two with a tab between; lines without a character are left out.

    Raises:
      ValueError: there is no such file or column, or texts cannot be used; those are named, up to a bound.
    """
    train = dataset.train
    if not isinstance(train.input, Texts):
        raise ValueError(f"config.data.transfer is of texts, and {dataset.name} has none")
    if not np.issubdtype(train.target.dtype, np.integer):
        raise ValueError("config.data.transfer is of texts with classes: what has no label is -1 among them")
    more = _read(Path(config.transfer).expanduser(), config.columns, train.input.second is not None)
    joined = Texts(*(_joined(train.input, more, name) for name in ("first", "second", "places", "groups")))
    target = np.concatenate([train.target, np.full(len(more), -1, train.target.dtype)])
    return replace(dataset, train=Arrays(joined, target))


def _joined(train: Texts, more: Texts, name: str):
    own, others = getattr(train, name), getattr(more, name)
    if own is None:
        return None
    return np.concatenate([own, objects([""] * len(more)) if others is None else others])


def _read(path: Path, columns, pairs: bool) -> Texts:
    forms = files.FORMS | {".txt": "lines"}
    form = forms.get(path.suffix.lower())
    if form is None:
        raise ValueError(f"config.data.transfer {str(path)!r}: a file ends in {', '.join(sorted(forms))}")
    names = ("text", "second") if pairs else ("text",)
    if form == "lines":
        rows, wanted = files.read(path, "tsv", names), names
    else:
        rows, wanted = files.read(path, form, tuple(columns.names)), [columns[role] for role in names]
    for name in wanted:
        if name not in rows.columns and rows:
            raise ValueError(f"config.data.transfer: {path.name} has no column {name!r}{nearest(name, rows.columns)}")
    wrong = [(place, wrong_text(row.get(name), name)) for place, row in rows for name in wanted]
    refuse([*rows.problems, *(f"{place}: {told}" for place, told in wrong if told)])
    texts = [objects(row[name] for _, row in rows) for name in wanted]
    return Texts(texts[0], texts[1] if pairs else None, objects(place for place, _ in rows))
