"""Trees of texts and TFDS: one text a file or example, refused with its name where it is none."""

import pytest

from kdjax import data
from kdjax.config import default


def tree(tmp_path, **files):
    """train/pos/a.txt and so on, and what `files` adds."""
    whole = {f"{split}/{name}/{split}.txt": f"{split} {name}" for split in ("train", "test") for name in ("neg", "pos")}
    for name, content in (whole | files).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path


def load(path):
    config = default().data
    config.source, config.path, config.min_count = "text_folder", str(path), 1
    return data.load(config)


def test_a_class_folder_of_text_files(tmp_path):
    dataset = load(tree(tmp_path, **{"train/pos/more.txt": "one\nmore\n", "train/pos/photo.jpg": "no text"}))
    assert dataset.classes == ("neg", "pos")
    assert dataset.train.target.tolist() == [0, 1, 1]
    words = dataset.tokenizer.tokens
    rows = [[words[t] for t in row if t] for row in dataset.train.input["tokens"]]
    assert ["[CLS]", "one", "more", "[SEP]"] in rows
    assert dataset.warnings == ("passed over 1 file not named .txt: 'train/pos/photo.jpg'",)


def test_files_that_are_no_texts_are_all_named(tmp_path):
    bad = {"train/pos/b.txt": b"caf\xe9", "test/neg/blank.txt": "  \n"}
    with pytest.raises(ValueError, match="2 files cannot be used") as raised:
        load(tree(tmp_path, **bad))
    assert "train/pos/b.txt, line 1: byte 0xe9 at place 4 is no UTF-8" in str(raised.value)
    assert "test/neg/blank.txt: 'the text' is empty" in str(raised.value)


def test_a_folder_without_texts(tmp_path):
    (tmp_path / "train" / "pos").mkdir(parents=True)
    (tmp_path / "test").mkdir()
    with pytest.raises(ValueError, match=r"1 class folder with no text \(.txt\) in '.*/train': 'pos'"):
        load(tmp_path)
