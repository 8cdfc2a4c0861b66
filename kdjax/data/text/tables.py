"""Texts in the columns of files: one file that is split here, or a file a split."""

from collections import Counter
from pathlib import Path

import numpy as np

from kdjax.data.arrays import Arrays, Dataset
from kdjax.data.text import files, splits
from kdjax.data.text.texts import Texts, class_order, label_of, names_nothing, objects, refuse, wrong_text
from kdjax.find import nearest


def read(config, form: str, given: dict[str, str]) -> Dataset:
    """The data set in config.data.path, a file or a folder of files; see `kdjax.data.sources.csv`.

    Args:
      form: csv, tsv, jsonl or parquet; given: our split -> the name of its file in the folder, "": as it is called.

    Raises:
      ValueError: a file or column is missing, or rows cannot be used; those are named, up to a bound.
    """
    if not config.path:
        raise ValueError(
            f"config.data.path is empty; for source {form!r} it names a file, or a folder of train and test"
        )
    path = Path(config.path).expanduser()
    if not path.exists():
        raise ValueError(f"config.data.path {config.path!r} is not there")
    by_file = path.is_dir()
    if not by_file and any(given.values()):
        raise ValueError(f"config.data.kwargs names files in a folder, but config.data.path {config.path!r} is a file")
    found = split_files(path, form, given) if by_file else {"": path}
    tables = {split: files.read(file, form, tuple(config.columns.names)) for split, file in found.items()}
    for table in tables.values():
        _check_columns(table, config.columns)
    return dataset(config, tables, path.resolve().stem)


def split_files(folder: Path, form: str, given: dict[str, str]) -> dict[str, Path]:
    """Split -> its file in a folder; `form` and `given` as of `read`."""
    there = sorted(f for f in folder.iterdir() if f.suffix.lower() in files.SUFFIXES[form] and f.is_file())
    names = [file.name for file in there]
    found = {}
    for split, name in given.items():
        called = [file for file in there if splits.named(file.stem) == split]
        if name and name not in names:
            raise ValueError(f"config.data.kwargs.{split}: {str(folder)!r} has no file {name!r}{nearest(name, names)}")
        if len(called) > 1 and not name:
            told = ", ".join(file.name for file in called)
            raise ValueError(f"{str(folder)!r} has {told}; config.data.kwargs.{split} says which is meant")
        if name or called:
            found[split] = folder / name if name else called[0]
    if "train" not in found:
        raise ValueError(
            f"{str(folder)!r} has no train{files.SUFFIXES[form][0]}, only {', '.join(names) or 'no such files'}; "
            "config.data.kwargs.train, validation and test name other files"
        )
    return found


def _check_columns(table: files.Rows, columns) -> None:
    """Raises a ValueError for a column that the config names and the file lacks."""
    if table.problems and not table:
        return
    for role in ("text", "second", "label", "split", "group"):
        name = columns[role]
        if name and name not in table.columns:
            raise ValueError(
                f"config.data.columns.{role}: {table.path.name} has no column {name!r}{nearest(name, table.columns)}"
                + ("" if columns.names else ". Where its first line is no header, config.data.columns.names names them")
            )
    if not columns.text or not columns.label:
        raise ValueError("config.data.columns: text and label name the columns of texts and of their classes")


def dataset(config, tables: dict[str, files.Rows], name: str) -> Dataset:
    """The data set of tables, split -> rows; one under "" is split here.

    Raises:
      ValueError: rows that cannot be used.
    """
    problems = [told for table in tables.values() for told in table.problems]
    whole = {split: _column_values(table, config.columns, problems) for split, table in tables.items()}
    refuse(problems)
    whole = _by_column(whole[""], config.columns.split) if config.columns.split and "" in whole else whole
    notes = ()
    if "test" not in whole and "validation" in whole:
        whole["test"] = whole.pop("validation")
        notes = ("there is no test split: validation serves as the test split, and chooses no epoch",)
    classes = class_order(label for label in whole.get("train", whole.get(""))[1] if label is not None)
    _check_labels(whole, classes)
    arrays = {split: _arrays(*values, classes) for split, values in whole.items()}
    parts = _parts(config, arrays)
    return Dataset(parts["train"], parts.get("validation"), parts["test"], classes, name, notes, kind="text")


def _column_values(table: files.Rows, columns, problems: list[str]) -> tuple[Texts, list[str], list]:
    """(texts, labels, what the split column says) of the rows; what is wrong with rows enters `problems`."""
    first, second, groups, labels, parts, places = [], [], [], [], [], []
    for place, row in table:
        wrong = [wrong_text(row.get(columns[role]), columns[role]) for role in ("text", "second") if columns[role]]
        label = label_of(row.get(columns.label))
        if label is None:
            wrong.append(f"the label {columns.label!r} is {row.get(columns.label)!r}, which names no class")
        if columns.split and splits.named(row.get(columns.split)) is None:
            known = ", ".join(splits.NAMES)
            wrong.append(f"{columns.split!r} is {row.get(columns.split)!r}; the splits are {known}")
        problems += [f"{place}: {told}" for told in wrong if told]
        if not any(wrong):
            first.append(row[columns.text])
            second.append(row.get(columns.second))
            groups.append(str(row.get(columns.group)))
            labels.append(label)
            parts.append(splits.named(row.get(columns.split)) if columns.split else None)
            places.append(place)
    kept = (objects(values) if name else None for name, values in ((columns.second, second), (columns.group, groups)))
    return Texts(objects(first), next(kept), objects(places), next(kept)), labels, parts


def _by_column(values: tuple, column: str) -> dict[str, tuple]:
    texts, labels, parts = values
    split_of = np.array(parts)
    found = {}
    for split in splits.NAMES:
        (rows,) = np.nonzero(split_of == split)
        if len(rows):
            found[split] = texts[rows], [labels[row] for row in rows], []
    if "train" not in found or len(found) < 2:
        raise ValueError(f"config.data.columns.split: {column!r} must say train and test, it says {', '.join(found)}")
    return found


def _check_labels(whole: dict[str, tuple], classes: tuple[str, ...]) -> None:
    """Raises a ValueError for a column that is no label, and for test rows of classes that train does not have."""
    rows = len(next(iter(whole.values()))[1])
    if names_nothing(len(classes), rows):
        raise ValueError(
            f"config.data.columns.label: {len(classes):,} classes in {rows:,} rows, the first ones "
            f"{', '.join(map(repr, classes[:3]))}: that column is no label"
        )
    known = set(classes)
    refuse(
        [
            f"{place}: the label is {label!r}, which no training row has"
            for texts, labels, _ in whole.values()
            for place, label in zip(texts.places, labels, strict=True)
            if label not in known
        ]
    )


def _arrays(texts: Texts, labels: list[str], _, classes: tuple[str, ...]) -> Arrays:
    place = {name: label for label, name in enumerate(classes)}
    return Arrays(texts, np.array([place[label] for label in labels], np.int32))


def _parts(config, arrays: dict[str, Arrays]) -> dict[str, Arrays]:
    """The splits that the files give, test and, to keep groups together, validation drawn where they do not."""
    found = dict(arrays)
    if "test" not in found:
        whole = found.pop("") if "" in found else found.pop("train")
        found["train"], found["test"] = _held_out(whole, config.test, config.split_seed, "test", "config.data.test")
    if config.validation and "validation" not in found and found["train"].input.groups is not None:
        given = config.validation, config.split_seed, "validation", "config.data.validation"
        found["train"], found["validation"] = _held_out(found["train"], *given)
    return found


def _held_out(arrays: Arrays, fraction: float, seed: int, role: str, field: str) -> tuple[Arrays, Arrays]:
    held = splits.drawn(arrays.target, arrays.input.groups, fraction, seed, role, field)
    return arrays.take(np.flatnonzero(~held)), arrays.take(np.flatnonzero(held))


def repeated(dataset: Dataset) -> list[str]:
    """Warnings where texts, or groups, of validation or test are also in train, and where equal texts disagree."""
    found, train = [], dataset.train
    own = {key: at for at, key in reversed(list(enumerate(_keys(train.input))))}
    for name, arrays in dataset.splits.items():
        if name == "train":
            continue
        twice = [(at, own[key]) for at, key in enumerate(_keys(arrays.input)) if key in own]
        if twice:
            at, original = twice[0]
            found.append(
                f"{len(twice):,} of {len(arrays):,} {name} texts are also training texts (the first: "
                f"{arrays.input.places[at]} = {train.input.places[original]})"
            )
        if train.input.groups is not None and (both := set(train.input.groups) & set(arrays.input.groups)):
            found.append(f"{len(both):,} groups of {name} are also groups of train, as {min(both)!r}")
    labels = {}
    for key, label in zip(_keys(train.input), train.target, strict=True):
        if label >= 0:
            labels.setdefault(key, set()).add(int(label))
    if odd := Counter(len(of) > 1 for of in labels.values())[True]:
        found.append(f"{odd:,} texts stand in train with more than one label")
    return found


def _keys(texts: Texts) -> list:
    """What makes two texts the same: case and spaces do not."""
    plain = lambda text: " ".join(text.lower().split())  # noqa: E731
    seconds = texts.second if texts.second is not None else [""] * len(texts)
    return [(plain(one), plain(other)) for one, other in zip(texts.first, seconds, strict=True)]
