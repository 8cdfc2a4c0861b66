"""Data sets of Hugging Face on disk, images or texts, read by pyarrow: what save_to_disk wrote, or Parquet files."""

import json
import re
from pathlib import Path

from kdjax.data.arrays import Dataset
from kdjax.data.images.listed import Image, dataset
from kdjax.data.text import files, splits, tables
from kdjax.data.text.texts import label_of
from kdjax.find import nearest

PART = re.compile(r"(\w+?)-\d{5}-of-\d{5}(-\w+)?\.parquet")
"""A file of a split: train-00000-of-00002.parquet, or with a hash, as older versions wrote."""


def read(config, image: str, given: dict[str, str]) -> Dataset:
    """The data set in the folder config.data.path; see `kdjax.data.sources.huggingface`.

    Args:
      image: the column of images, "" for the only one; given: our split -> theirs, "" where it is called as ours.

    Raises:
      ValueError: there is none, a column is missing, or rows cannot be used; those are named.
    """
    path = Path(config.path).expanduser()
    if not config.path or not path.is_dir():
        raise ValueError(f"config.data.path {config.path!r} is no folder; it names what Dataset.save_to_disk has made")
    parts = {split: _table(names) for split, names in _splits(path, _found(path), given).items()}
    features = _features(next(iter(parts.values())))
    image = image or _only_image(features)
    columns, problems = config.columns, []
    _check_columns(parts, columns, image)
    names = (features.get(columns.label) or {}).get("names")
    if not image:
        rows = {split: _rows(path, split, table, columns, names) for split, table in parts.items()}
        return tables.dataset(config, rows, path.resolve().name)
    images = []
    for split, table in parts.items():
        _take(table, split, image, columns, names, images, problems)
    return dataset(config, images, problems, path.resolve().name, tuple(names or ()))


def _found(path: Path) -> dict[str, list[Path]]:
    """Their splits -> the files of each; "" for a data set without splits."""
    if (path / "dataset_dict.json").is_file():
        return {name: _arrow(path / name) for name in _json(path / "dataset_dict.json")["splits"]}
    if (path / "state.json").is_file():
        return {"": _arrow(path)}
    found = {}
    for file in sorted(path.rglob("*.parquet")):
        if match := PART.fullmatch(file.name):
            found.setdefault(match[1], []).append(file)
    if not found:
        raise ValueError(
            f"{str(path)!r} holds no data set of Hugging Face: neither dataset_dict.json nor state.json, which "
            "save_to_disk writes, nor train-00000-of-00001.parquet"
        )
    return found


def _arrow(folder: Path) -> list[Path]:
    state = _json(folder / "state.json")
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise ValueError(f"{str(folder)!r} holds a selection of other rows; save it after .flatten_indices()")
    return [folder / file["filename"] for file in state["_data_files"]]


def _json(path: Path) -> dict:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {str(path)!r}: {error}") from error


def _splits(path: Path, found: dict[str, list[Path]], given: dict[str, str]) -> dict[str, list[Path]]:
    """Our split, or "" for rows of which it is drawn, -> its files."""
    parts = {}
    for ours, theirs in given.items():
        if theirs and theirs not in found:
            raise ValueError(
                f"config.data.kwargs.{ours}: {str(path)!r} has no split {theirs!r}{nearest(theirs, found)}"
            )
        called = [theirs] if theirs else [name for name in found if splits.named(name) == ours]
        if called:
            parts[ours] = found[called[0]]
    if "" in found and not parts:
        return {"": found[""]}
    if "train" not in parts:
        raise ValueError(
            f"{str(path)!r} has no split 'train', only {', '.join(found)}; config.data.kwargs.train names one"
        )
    return parts if len(parts) > 1 else {"": parts["train"]}


def _table(names: list[Path]):
    """The rows of some files, a pyarrow.Table."""
    import pyarrow
    from pyarrow import ipc, parquet

    made = []
    for name in names:
        try:
            if name.suffix == ".parquet":
                made.append(parquet.read_table(name))
            else:
                with pyarrow.memory_map(str(name)) as file:
                    made.append(ipc.open_stream(file).read_all())
        except (OSError, pyarrow.ArrowInvalid) as error:
            raise ValueError(f"cannot read {str(name)!r}: {error}") from error
    return pyarrow.concat_tables(made)


def _features(table) -> dict:
    """What Hugging Face's own notes say of the columns, {"label": {"_type": "ClassLabel", "names": [...]}}."""
    said = (table.schema.metadata or {}).get(b"huggingface")
    return json.loads(said).get("info", {}).get("features", {}) if said else {}


def _only_image(features: dict) -> str:
    images = [name for name, said in features.items() if isinstance(said, dict) and said.get("_type") == "Image"]
    if len(images) > 1:
        raise ValueError(
            f"there are several columns of images, {', '.join(images)}; config.data.kwargs.image names one"
        )
    return images[0] if images else ""


def _check_columns(parts: dict, columns, image: str) -> None:
    asked = {"config.data.columns.label": columns.label}
    asked |= {"config.data.kwargs.image": image} if image else {"config.data.columns.text": columns.text}
    asked |= {} if image else {"config.data.columns.second": columns.second}
    asked |= {"config.data.columns.group": columns.group}
    for field, name in asked.items():
        for table in parts.values():
            if name and name not in table.column_names:
                raise ValueError(f"{field}: there is no column {name!r}{nearest(name, table.column_names)}")


def _class(value, names: list[str] | None) -> str | None:
    """The name of a class: a ClassLabel's number is a place among its names."""
    if names is None or not isinstance(value, int):
        return label_of(value)
    return names[value] if 0 <= value < len(names) else None


def _rows(path: Path, split: str, table, columns, names) -> files.Rows:
    """The rows as those of a file of texts, labels by their names."""
    rows = files.Rows(path / split)
    rows.columns = tuple(table.column_names)
    for number, row in enumerate(table.to_pylist(), 1):
        rows.append((rows.place(number, "row"), {**row, columns.label: _class(row[columns.label], names)}))
    return rows


def _take(table, split: str, image: str, columns, names, images: list, problems: list) -> None:
    """The images of a split enter `images`, and what is wrong with rows `problems`."""
    kept = [name for name in (image, columns.label, columns.group) if name]
    for number, row in enumerate(table.select(kept).to_pylist(), 1):
        place, value = f"{split or 'data'}, row {number}", row[image]
        content = value.get("bytes") if isinstance(value, dict) else value
        if content is None and isinstance(value, dict) and value.get("path"):
            content = Path(value["path"])
        label = _class(row[columns.label], names)
        if not isinstance(content, bytes | Path) or (isinstance(content, Path) and not content.is_file()):
            told = f"there is no image {str(content)!r}" if isinstance(content, Path) else f"{image!r} is no image"
            problems.append(f"{place}: {told}")
        elif label is None:
            problems.append(f"{place}: the label {columns.label!r} is {row[columns.label]!r}, which names no class")
        else:
            group = str(row[columns.group]) if columns.group else ""
            images.append(Image(content, place, label, split or None, group))
