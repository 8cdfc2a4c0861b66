"""Rows of files: what is read, and that every bad row is named with its line before anything else happens."""

import json

import pytest

from kdjax.data.text import files


def read(tmp_path, content, form="csv", **kwargs):
    path = tmp_path / f"reviews.{form}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return files.read(path, form, **kwargs)


WHOLE = {
    "csv": 'text,label\n"a, ""b""\nc",1\nd,2\n',
    "tsv": 'text\tlabel\na "b\t1\nd\t2\n',
    "jsonl": '{"text": "a", "label": 1}\n\n{"text": "d", "label": 2}\n',
}


@pytest.mark.parametrize("form", WHOLE)
def test_rows_and_where_they_begin(form, tmp_path):
    rows = read(tmp_path, WHOLE[form], form)
    assert rows.columns == ("text", "label")
    assert rows.problems == []
    first, last = rows
    lines = {"csv": (2, 4), "tsv": (2, 3), "jsonl": (1, 3)}[form]
    assert [place for place, _ in rows] == [f"reviews.{form}, line {line}" for line in lines]
    assert first[1]["text"] == {"csv": 'a, "b"\nc', "tsv": 'a "b', "jsonl": "a"}[form]
    assert str(last[1]["label"]) == "2"


def test_a_file_without_a_header(tmp_path):
    rows = read(tmp_path, "good,1\r\nbad,0\r\n", names=("text", "label"))
    assert [row for _, row in rows] == [{"text": "good", "label": "1"}, {"text": "bad", "label": "0"}]


def test_parquet_is_read_as_csv(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="comes with tensorflow-datasets")
    from pyarrow import parquet

    path = tmp_path / "reviews.parquet"
    parquet.write_table(pyarrow.table({"text": ["a", None], "label": [1.0, float("nan")]}), path)
    rows = files.read(path, "parquet")
    assert rows[0] == ("reviews.parquet, row 1", {"text": "a", "label": 1.0})
    assert rows[1][1]["text"] is None
    path.write_bytes(b"PAR1 nonsense")
    with pytest.raises(ValueError, match=r"cannot read '.*reviews.parquet' as parquet"):
        files.read(path, "parquet")


BAD = {
    "fields": ("text,label\na,1\nb\nc,1,2\n", "csv", ["line 3: 1 fields", "line 4: 3 fields"]),
    "quote": ('text,label\na,1\n"b,1\nc,1\n', "csv", ["line 3: unexpected end of data"]),
    "bytes": (b"text,label\nok,1\ncaf\xe9,1\n\xff,2\n", "csv", ["line 3: byte 0xe9 at place 4", "line 4: byte 0xff"]),
    "json": ('{"text": 1}\n{"text": \n[1]\n', "jsonl", ["line 2: no JSON", "line 3: a row is an object"]),
}


@pytest.mark.parametrize("case", BAD)
def test_all_bad_rows_are_told_with_their_lines(case, tmp_path):
    content, form, told = BAD[case]
    problems = read(tmp_path, content, form).problems
    assert len(problems) == len(told)
    for problem, beginning in zip(problems, told, strict=True):
        assert problem.startswith(f"reviews.{form}, {beginning}")


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "is empty"), (" \n\n", "is empty"), ("text,label\n", "has no rows"), ("a,a\n1,2\n", "two columns named 'a'")],
)
def test_files_that_hold_nothing_to_read(content, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, content)


def test_a_very_long_field_is_read_and_told_later(tmp_path):
    rows = read(tmp_path, json.dumps({"text": "a" * 200_000}), "jsonl")
    assert len(rows[0][1]["text"]) == 200_000
    assert len(read(tmp_path, f"text\n{'a' * 200_000}\n")[0][1]["text"]) == 200_000
