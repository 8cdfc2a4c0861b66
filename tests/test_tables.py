"""Tables as texts."""

import csv
import io

from rich.console import Console
from rich.text import Text

from kdjax import tables

ROWS = [["name", "n"], ["a long one", "1"], ["b", "1,000"]]


def test_columns_are_lined_up_numbers_to_the_right():
    assert tables.markdown(ROWS).splitlines() == [
        "| name       |     n |",
        "| ---------- | ----: |",
        "| a long one |     1 |",
        "| b          | 1,000 |",
    ]


def test_several_columns_of_text_and_cells_as_they_are():
    assert tables.markdown(ROWS, texts=2, padded=False).splitlines() == [
        "| name | n |",
        "| ---- | -- |",
        "| a long one | 1 |",
        "| b | 1,000 |",
    ]


def test_csv_has_the_keys_of_all_and_every_digit():
    text = tables.csv([{"a": 0.1 + 0.2, "b": None}, {"a": 1, "c": 'x,"y"'}])
    assert list(csv.DictReader(io.StringIO(text))) == [
        {"a": "0.30000000000000004", "b": "", "c": ""},
        {"a": "1", "b": "", "c": 'x,"y"'},
    ]


def test_a_terminal_breaks_the_first_column_alone():
    def shown(rows=(("one two three", "1,000,000"),), **options):
        console = Console(file=io.StringIO(), width=20)
        console.print(tables.terminal(["name", Text("n")], rows, **options))
        return console.file.getvalue()

    assert "1,000,000" in shown(wrapped=True)
    assert "three" in shown(wrapped=True)
    assert "three" not in shown()
    assert "…" not in shown(rows=[["kd_pruned_quantized, int8", "1,000,000"]], wrapped=True)
    assert shown(title=Text("above")).startswith("above")
