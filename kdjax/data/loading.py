"""config.data -> Dataset: finds the source, takes the parts that the config asks for, decodes, checks, warns."""

import csv
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np

from kdjax.data import fingerprint, sources
from kdjax.data.arrays import Arrays, Dataset
from kdjax.data.kinds import KINDS
from kdjax.data.subsets import labelled_per_class, split, stratified
from kdjax.data.text import transfer
from kdjax.find import find, nearest
from kdjax.tasks.classification import TASK
from kdjax.tasks.task import Task
from kdjax.typed import check_keywords

SHOWN = 5  # names in a warning


def load(config, in_memory: bool | None = True, task: Task = TASK) -> Dataset:
    """The data set that `config` (config.data of an experiment, see `kdjax.config`) describes.

    Validation and test are held in memory, and so is train unless `in_memory` is false: then its images stay
    `images.Encoded`, for `kdjax.data.reader`; or, if it is None, where they can.

    In this order: what `read` does; then the texts of `transfer` stand after the others, without labels. Nothing here
    depends on a seed.

    Raises:
      ValueError: what is wrong, naming the field or file, and what would be valid.
    """
    dataset = read(config, task)
    if config.transfer:
        dataset = transfer.extended(dataset, config)
    dataset = replace(dataset, fingerprint=fingerprint.of_data(dataset))  # of what is stored, not of what is decoded
    kind = KINDS[dataset.kind]
    dataset = kind.prepare(dataset, config, in_memory)
    if dataset.classes:
        labelled_per_class(dataset.train.target, config, dataset.classes)
    return replace(dataset, warnings=(*dataset.warnings, *_missing_classes(dataset), *kind.remarks(dataset)))


def read(config, task: Task = TASK) -> Dataset:
    """The splits as their source has them, images not decoded and texts not tokenized.

    In this order: the source's splits; coarse labels; `train_examples` of the training split; of these, the fraction
    `validation` is held out, unless the source has a validation split of its own; where the test split is `closed`,
    validation replaces it.

    Raises:
      ValueError: as `load`.
    """
    source = find(config.source, sources, "config.data.source")
    dataset = source(config, **check_keywords(source, config.kwargs, "config.data.kwargs"))
    if not isinstance(dataset, Dataset):
        raise ValueError(f"config.data.source {config.source!r} must return kdjax.data.Dataset, got {type(dataset)}")
    if dataset.kind not in KINDS:
        raise ValueError(f"config.data.source {config.source!r}: kind {dataset.kind!r}{nearest(dataset.kind, KINDS)}")
    task.check_data(dataset)
    if config.coarse_labels:
        dataset = _coarse(dataset, config.coarse_labels)
    return _parts(dataset, config, task)


def _parts(dataset: Dataset, config, task: Task) -> Dataset:
    if not dataset.classes and (config.shots or config.imbalance or config.coarse_labels):
        raise ValueError(f"config.data.shots, imbalance and coarse_labels are of classes; {dataset.name} has none")
    train, validation = dataset.train, dataset.validation
    if config.train_examples > len(train):
        raise ValueError(
            f"config.data.train_examples={config.train_examples}, but there are {len(train)} in {dataset.name}"
        )
    if config.train_examples:
        train = train.take(stratified(task.strata(train.target), config.train_examples))
    if config.validation and validation is None:
        held_out = round(config.validation * len(train))
        if not 0 < held_out < len(train):
            of = f"{len(train)} {KINDS[dataset.kind].noun}"
            raise ValueError(f"config.data.validation={config.validation} of {of} leaves a split empty")
        train, validation = split(train, held_out, task.strata(train.target))
    dataset = replace(dataset, train=train, validation=validation)
    return _closed(dataset) if config.closed else dataset


def _closed(dataset: Dataset) -> Dataset:
    """The data set without its test split, in whose place the validation split is."""
    if dataset.validation is None:
        raise ValueError("config.data.closed: there is no validation split to look at instead of the test split")
    told = "the test split is closed: what is called test is the validation split"
    return replace(dataset, test=dataset.validation, warnings=(*dataset.warnings, told))


def _coarse(dataset: Dataset, path: str) -> Dataset:
    """The data set with every class replaced by the coarser one that a file gives.

    The file is CSV without a header, `class,coarse class` a line, every class once. Labels follow the order of the
    coarse names.
    """
    try:
        with Path(path).expanduser().open(newline="", encoding="utf-8-sig") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"cannot read config.data.coarse_labels {path!r}: {error}") from error
    known, coarse_of = {unicodedata.normalize("NFC", name): name for name in dataset.classes}, {}
    for number, row in enumerate(rows, 1):
        where = f"config.data.coarse_labels {path!r}, row {number}"
        if len(row) != 2 or not all(row):
            raise ValueError(f"{where}: expected `class,coarse class`, got {','.join(row)!r}")
        name, coarse = (unicodedata.normalize("NFC", cell) for cell in row)
        if name not in known:
            raise ValueError(f"{where}: {dataset.name} has no class {row[0]!r}{nearest(row[0], dataset.classes)}")
        if known[name] in coarse_of:
            raise ValueError(f"{where}: class {row[0]!r} stands there twice")
        coarse_of[known[name]] = coarse
    if missing := [name for name in dataset.classes if name not in coarse_of]:
        raise ValueError(f"config.data.coarse_labels {path!r} lacks {_some(missing)}")
    classes = tuple(sorted(set(coarse_of.values())))
    if len(classes) < 2:
        raise ValueError(f"config.data.coarse_labels {path!r} names one coarse class, {classes[0]!r}; two are needed")
    place = np.array([*(classes.index(coarse_of[name]) for name in dataset.classes), -1], np.int32)  # -1 stays -1
    relabelled = dataset.map(lambda arrays: Arrays(arrays.input, place[arrays.target]))
    return replace(relabelled, classes=classes, name=f"{dataset.name}, {len(classes)} coarse classes")


def _missing_classes(dataset: Dataset) -> list[str]:
    found = []
    for name, arrays in dataset.splits.items() if dataset.classes else ():
        counts = np.bincount(arrays.target[arrays.target >= 0], minlength=len(dataset.classes))
        if absent := [dataset.classes[c] for c in np.flatnonzero(counts == 0)]:
            noun = KINDS[dataset.kind].noun.removesuffix("s")
            found.append(f"{name} has no {noun} of {len(absent)} of {len(counts)} classes: {_some(absent)}")
    return found


def _some(names) -> str:
    return ", ".join(map(repr, names[:SHOWN])) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
