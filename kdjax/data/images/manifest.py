"""Images that the rows of a CSV, TSV, JSONL or Parquet file name: path, label and perhaps split."""

import unicodedata
from pathlib import Path

from kdjax.data.arrays import Dataset
from kdjax.data.images.listed import Image, dataset
from kdjax.data.text import files, splits, tables
from kdjax.data.text.texts import label_of, missing
from kdjax.find import nearest


def read(config, column: str, root: str, given: dict[str, str]) -> Dataset:
    """The data set that config.data.path lists, a file or a folder of files; see `kdjax.data.sources.manifest`.

    Args:
      column: that of the paths; root: of relative paths, "": the list's own folder; given: as of `tables.read`.

    Raises:
      ValueError: a file or column is missing, or rows cannot be used; those are named with their lines.
    """
    path = Path(config.path).expanduser()
    if not config.path or not path.exists():
        raise ValueError(f"config.data.path {config.path!r} is not there; it names the file that lists the images")
    found = tables.split_files(path, _form(path), given) if path.is_dir() else {"": path}
    images, problems = [], []
    for split, file in found.items():
        rows = files.read(file, _form(file), tuple(config.columns.names))
        _check_columns(rows, column, config.columns)
        folder = Path(root).expanduser() if root else file.parent
        problems += rows.problems
        _take(rows, column, config.columns, split, folder, images, problems)
    return dataset(config, images, [*problems, *_twice(images)], path.resolve().stem)


def _form(path: Path) -> str:
    """csv, tsv, jsonl or parquet, by the name of a file, or of a folder's file for training."""
    if path.is_dir():
        there = [file for file in sorted(path.iterdir()) if file.suffix.lower() in files.FORMS]
        path = next((file for file in there if splits.named(file.stem) == "train"), there[0] if there else path)
    if path.suffix.lower() not in files.FORMS:
        raise ValueError(f"config.data.path {str(path)!r}: lists of images are {', '.join(files.FORMS)}")
    return files.FORMS[path.suffix.lower()]


def _check_columns(rows: files.Rows, column: str, columns) -> None:
    asked = {"config.data.kwargs.image": column}
    asked |= {f"config.data.columns.{role}": columns[role] for role in ("label", "split", "group")}
    for field, name in asked.items():
        if name and name not in rows.columns and (rows or not rows.problems):
            raise ValueError(f"{field}: {rows.path.name} has no column {name!r}{nearest(name, rows.columns)}")


def _take(rows: files.Rows, column: str, columns, split: str, folder: Path, images: list, problems: list) -> None:
    """The images of a file's rows enter `images`, and what is wrong with rows `problems`."""
    by_column = columns.split or ("split" if not split and "split" in rows.columns else "")
    for place, row in rows:
        cell, label = row.get(column), label_of(row.get(columns.label))
        of = splits.named(row.get(by_column)) if by_column and not split else split or None
        wrong = []
        if not isinstance(cell, str) or missing(cell) or "\0" in cell:
            wrong.append(f"{column!r} is {cell!r}, and should be the path of an image")
        elif not (folder / cell).is_file():
            wrong.append(f"there is no image {str(folder / cell)!r}")
        if label is None:
            wrong.append(f"the label {columns.label!r} is {row.get(columns.label)!r}, which names no class")
        if by_column and of is None:
            wrong.append(f"{by_column!r} is {row.get(by_column)!r}; the splits are {', '.join(splits.NAMES)}")
        problems += [f"{place}: {told}" for told in wrong]
        if not wrong:
            group = str(row[columns.group]) if columns.group else ""
            images.append(Image(folder / cell, f"{place}: {cell}", label, of, group))


def _twice(images: list[Image]) -> list[str]:
    """What is wrong with images that are listed twice: under two classes, or in two splits."""
    first, found = {}, []
    for image in images:
        other = first.setdefault(image.item, image)
        if unicodedata.normalize("NFC", other.label) != unicodedata.normalize("NFC", image.label):
            found.append(f"{image.place}: its class is {image.label!r}, and in {other.place} it is {other.label!r}")
        elif other.split != image.split:
            found.append(f"{image.place}: it is of {image.split}, and in {other.place} of {other.split}")
    return found
