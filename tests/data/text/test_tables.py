"""Columns to splits: what a config asks for is what stands in each split, and what cannot be used is said at once."""

import numpy as np
import pytest

from kdjax import data
from kdjax.config import default
from kdjax.data.text import tables
from kdjax.data.text.texts import LISTED, LONGEST


def config(path, source="csv", **fields):
    config = default().data
    config.source, config.path = source, str(path)
    for name, value in fields.items():
        if name in config.columns and name != "test":
            config.columns[name] = value
        else:
            config[name] = value
    return config


def written(tmp_path, rows, header="text,label", name="reviews.csv"):
    path = tmp_path / name
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def texts(config):
    """Split -> texts, and the classes, before anything is tokenized."""
    dataset = tables.read(config, config.source, {"train": "", "validation": "", "test": "", **config.kwargs})
    return {name: list(split.input.first) for name, split in dataset.splits.items()}, dataset


ROWS = [f"text {number},{'ab'[number % 2]}" for number in range(40)]


def test_one_file_is_split_by_its_seed_and_every_class_keeps_its_share(tmp_path):
    path = written(tmp_path, ROWS)
    splits, dataset = texts(config(path))
    assert dataset.classes == ("a", "b")
    assert sorted(splits["train"] + splits["test"]) == sorted(f"text {number}" for number in range(40))
    assert np.bincount(dataset.test.target).tolist() == [4, 4]
    assert texts(config(path))[0] == splits
    assert texts(config(path, split_seed=1))[0] != splits


def test_a_column_says_the_split(tmp_path):
    rows = ["one,a,train", "two,b,Train", "three,a,dev", "four,b,test"]
    splits, _ = texts(config(written(tmp_path, rows, "text,label,part"), split="part"))
    assert splits == {"train": ["one", "two"], "validation": ["three"], "test": ["four"]}


def test_files_say_the_split_and_dev_serves_where_test_is_missing(tmp_path):
    for name in ("train", "dev"):
        written(tmp_path, [f"{name} one,a", f"{name} two,b"], name=f"{name}.csv")
    splits, dataset = texts(config(tmp_path))
    assert splits == {"train": ["train one", "train two"], "test": ["dev one", "dev two"]}
    assert "validation serves as the test split" in dataset.warnings[0]
    written(tmp_path, ["last,b", "first,a"], name="held_out.csv")
    splits, _ = texts(config(tmp_path, kwargs={"test": "held_out.csv"}))
    assert list(splits) == ["train", "validation", "test"]


def test_groups_stay_on_one_side_of_every_split(tmp_path):
    rows = [f"offer {number},{'ab'[number % 2]},product {number % 17}" for number in range(100)]
    path = written(tmp_path, rows, "text,label,product")
    _, dataset = texts(config(path, group="product", validation=0.25))
    groups = [set(split.input.groups) for split in dataset.splits.values()]
    assert sum(map(len, groups)) == len(set().union(*groups)) == 17
    assert [len(split) for split in dataset.splits.values()] == pytest.approx([60, 20, 20], abs=6)


def test_labels_are_names_in_order_and_whole_numbers_by_value(tmp_path):
    rows = [f'{{"text": "text {n}", "label": {[10, 9, 2.0][n % 3]}}}' for n in range(30)]
    path = tmp_path / "reviews.jsonl"
    path.write_text("\n".join(rows))
    assert texts(config(path, "jsonl"))[1].classes == ("2", "9", "10")


def test_every_bad_row_is_named_at_once_before_anything_is_trained(tmp_path):
    rows = ["fine,a", ",a", "  ,b", "no label,", "not a number,NaN", f"{'x' * (LONGEST + 1)},a", "fine too,b"]
    with pytest.raises(ValueError, match=r"5 rows cannot be used") as raised:
        data.load(config(written(tmp_path, rows)))
    told = str(raised.value).splitlines()[1:]
    assert [line.partition(":")[0].strip() for line in told] == [f"reviews.csv, line {n}" for n in range(3, 8)]
    assert "65,537 characters" in told[-1]
    assert "'NaN', which names no class" in told[-2]


def test_the_message_about_bad_rows_has_an_end(tmp_path):
    with pytest.raises(ValueError, match=f"and {100 - LISTED} more") as raised:
        data.load(config(written(tmp_path, [*ROWS, *[",a"] * 100])))
    assert len(str(raised.value).splitlines()) == LISTED + 2


def unknown_column(tmp_path):
    return config(
        written(tmp_path, ROWS), text="txt"
    ), r"columns.text: reviews.csv has no column 'txt'; did you mean 'text'"


def unknown_split(tmp_path):
    path = written(tmp_path, ["one,a,train", "two,b,tset"], "text,label,part")
    return config(path, split="part"), r"line 3: 'part' is 'tset'; the splits are train, validation, test"


def unknown_class(tmp_path):
    for name in ("train", "test"):
        written(tmp_path, ["one,a", "two,b", *(["three,c"] if name == "test" else [])], name=f"{name}.csv")
    return config(tmp_path), r"test.csv, line 4: the label is 'c', which no training row has"


def no_label(tmp_path):
    rows = [f"text {number},{number}" for number in range(200)]
    return config(written(tmp_path, rows)), r"200 classes in 200 rows, .*: that column is no label"


def nothing_there(tmp_path):
    return config(tmp_path / "reviews.csv"), r"config.data.path '.*' is not there"


def no_path(tmp_path):
    return config(""), r"config.data.path is empty; for source 'csv' it names a file"


def no_train(tmp_path):
    written(tmp_path, ROWS)
    return config(tmp_path), r"has no train.csv, only reviews.csv; config.data.kwargs.train"


def no_file(tmp_path):
    written(tmp_path, ROWS, name="train.csv")
    return config(tmp_path, kwargs={"test": "tests.csv"}), r"kwargs.test: '.*' has no file 'tests.csv'"


def one_group(tmp_path):
    return config(written(tmp_path, [f"{r},x" for r in ROWS], "text,label,g"), group="g"), r"40 rows in 1 groups leaves"


BAD = unknown_column, unknown_split, unknown_class, no_label, nothing_there, no_path, no_train, no_file, one_group


def test_bad_bytes_hide_no_other_bad_row(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_bytes(b"text,label\ncaf\xe9,a\n,b\nfine,a\n")
    with pytest.raises(ValueError, match="2 rows cannot be used") as raised:
        data.load(config(path))
    assert "reviews.csv, line 2: byte 0xe9 at place 4 is no UTF-8" in str(raised.value)
    assert "reviews.csv, line 3: 'text' is empty" in str(raised.value)


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_said_with_its_field(case, tmp_path):
    given, message = case(tmp_path)
    with pytest.raises(ValueError, match=message):
        data.load(given)


def test_texts_and_groups_on_both_sides_are_warned_of(tmp_path):
    rows = ["One  TEXT,a,x,train", "two,b,y,train", "two,a,y,train", "one text,a,z,test", "new,b,y,test"]
    dataset = data.load(config(written(tmp_path, rows, "text,label,g,part"), split="part", group="g"))
    assert dataset.warnings == (
        "1 of 2 test texts are also training texts (the first: reviews.csv, line 5 = reviews.csv, line 2)",
        "1 groups of test are also groups of train, as 'y'",
        "1 texts stand in train with more than one label",
    )


def test_shots_and_coarse_labels_are_those_of_images(tmp_path):
    coarse = tmp_path / "coarse.csv"
    coarse.write_text("a,good\nb,good\nc,bad\n")
    rows = [f"text {number},{'abc'[number % 3]}" for number in range(60)]
    given = config(written(tmp_path, rows), coarse_labels=str(coarse), shots=3, unlabelled=True)
    dataset = data.load(given)
    assert dataset.classes == ("bad", "good")
    label = data.subset(dataset.train, given, 0).target
    assert [int((label == c).sum()) for c in (-1, 0, 1)] == [48 - 6, 3, 3]
