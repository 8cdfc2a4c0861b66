"""Rows of csv, tsv, jsonl and parquet files: (place, {column: value}), and what is wrong with those that are none."""

import contextlib
import csv
import json
import threading
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = {"csv": (".csv",), "tsv": (".tsv", ".txt"), "jsonl": (".jsonl", ".ndjson"), "parquet": (".parquet",)}
FORMS = {suffix: form for form, suffixes in SUFFIXES.items() for suffix in suffixes}
"""The end of a file's name -> what `read` takes it for."""

_FIELDS = threading.Lock()
"""The longest field that the csv module reads is set for the whole process."""


class Rows(list):
    """[(place, {column: value}), ...] of a file, the columns that it has, and `problems`, a sentence each."""

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.columns, self.problems = path, (), []

    def place(self, number: int, unit: str = "line") -> str:
        return f"{self.path.name}, {unit} {number}"


def read(path: Path, form: str, names: tuple[str, ...] = ()) -> Rows:
    """The rows of a file.

    Args:
      form: csv, tsv (fields between tabs, a quote is a character), jsonl or parquet.
      names: of the columns of a csv or tsv file without a header; (): its first line has them.

    Raises:
      ValueError: the file cannot be read, is empty, or has the same column twice.
    """
    rows = Rows(path)
    try:
        if form == "parquet":
            _parquet(rows)
        else:
            lines = _lines(rows)
            if form == "jsonl":
                _jsonl(rows, lines)
            else:
                _separated(rows, lines, form, names)
    except OSError as error:
        raise ValueError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    if not rows and not rows.problems:
        raise ValueError(f"{str(path)!r} has no rows")
    if len(set(rows.columns)) < len(rows.columns):
        twice = next(name for name in rows.columns if list(rows.columns).count(name) > 1)
        raise ValueError(f"{str(path)!r} has two columns named {twice!r}")
    return rows


def text_of(content: bytes) -> tuple[str, list[tuple[int, str]]]:
    """(the text of a file, [(line, what is wrong with it)] where its bytes are no UTF-8)."""
    try:
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        bad = []
        for number, line in enumerate(content.split(b"\n"), 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                bad.append((number, f"byte {line[error.start]:#04x} at place {error.start + 1} is no UTF-8"))
        return content.decode("utf-8", errors="replace"), bad


def _lines(rows: Rows) -> Iterator[str]:
    content = rows.path.read_bytes()
    if not content.strip():
        raise ValueError(f"{str(rows.path)!r} is empty")
    text, bad = text_of(content)
    rows.problems += [f"{rows.place(number)}: {told}" for number, told in bad]
    return iter(text.split("\n"))  # not splitlines: U+2028 and others stand inside texts


def _separated(rows: Rows, lines: Iterator[str], form: str, names: tuple[str, ...]) -> None:
    """Fills `rows` from a csv or tsv file; the line of a row is the one that it begins on."""
    options = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if form == "tsv" else {"strict": True}
    reader = csv.reader((line.removesuffix("\r") + "\n" for line in lines), **options)
    rows.columns, began = names, 1
    with _any_length():
        try:
            for cells in reader:
                place, began = rows.place(began), reader.line_num + 1
                if not any(cell.strip() for cell in cells):
                    continue
                if not rows.columns:
                    rows.columns = tuple(cell.strip() for cell in cells)
                elif len(cells) != len(rows.columns):
                    rows.problems.append(f"{place}: {len(cells)} fields, but there are {len(rows.columns)} columns")
                else:
                    rows.append((place, dict(zip(rows.columns, cells, strict=True))))
        except csv.Error as error:
            rows.problems.append(f"{rows.place(began)}: {error}")


@contextlib.contextmanager
def _any_length():
    """csv's fields as long as memory allows: what is too long is told with its line, see `texts.LONGEST`."""
    with _FIELDS:
        before = csv.field_size_limit(2**31 - 1)
        try:
            yield
        finally:
            csv.field_size_limit(before)


def _jsonl(rows: Rows, lines: Iterator[str]) -> None:
    seen = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            rows.problems.append(f"{rows.place(number)}: no JSON: {error}")
            continue
        if not isinstance(row, dict):
            rows.problems.append(
                f"{rows.place(number)}: a row is an object {{column: value}}, got {line.strip()[:40]!r}"
            )
            continue
        rows.append((rows.place(number), row))
        seen |= dict.fromkeys(row)
    rows.columns = tuple(seen)


def _parquet(rows: Rows) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ValueError("config.data.source 'parquet' needs pyarrow: pip install pyarrow") from error
    try:
        table = parquet.read_table(rows.path)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"cannot read {str(rows.path)!r} as parquet: {error}") from error
    rows.columns = tuple(table.column_names)
    rows += [(rows.place(number, "row"), row) for number, row in enumerate(table.to_pylist(), 1)]
