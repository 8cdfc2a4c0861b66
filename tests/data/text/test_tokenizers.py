"""Texts to numbers: what a vocabulary holds, what is cut, and that reading back gives the same tokenizer."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdjax.data.text import tokenizers
from kdjax.data.text.tokenizers import BEGIN, END, SPECIAL, UNKNOWN

TEXTS = ["A red lamp, a table", "a lamp", "red!"]


def test_words_come_in_the_order_of_their_frequency():
    learned = tokenizers.learn("words", TEXTS, 1, 0)
    assert learned.tokens == (*SPECIAL, "a", "lamp", "red", "!", ",", "table")
    assert tokenizers.learn("words", TEXTS, 2, 0).tokens == (*SPECIAL, "a", "lamp", "red")
    assert tokenizers.learn("words", TEXTS, 1, 6).tokens == (*SPECIAL, "a")


def test_characters_are_of_any_script():
    learned = tokenizers.learn("characters", ["很快，好吃", "好 A"], 1, 0)
    assert set(learned.tokens) == {*SPECIAL, "很", "快", "，", "好", "吃", "a"}
    assert learned.tokens[len(SPECIAL)] == "好"


def test_what_a_row_looks_like():
    learned = tokenizers.learn("words", TEXTS, 1, 0)
    (ids, segments), *_ = learned.encode(["a new lamp"], None, 0)
    assert [learned.tokens[number] for number in ids] == ["[CLS]", "a", "[UNK]", "lamp", "[SEP]"]
    assert segments == [0] * 5
    (ids, segments), *_ = learned.encode(["a"], ["lamp red"], 0)
    assert [learned.tokens[number] for number in ids] == ["[CLS]", "a", "[SEP]", "lamp", "red", "[SEP]"]
    assert segments == [0, 0, 0, 1, 1, 1]


WORDS = st.lists(st.sampled_from(["a", "lamp", "red", "table", "other"]), max_size=12).map(" ".join)


@settings(deadline=None, max_examples=60)
@given(first=WORDS, second=st.none() | WORDS, longest=st.integers(8, 16))
def test_what_is_cut_is_the_end_of_the_longer_text(first, second, longest):
    learned = tokenizers.learn("words", TEXTS, 1, 0)
    seconds = None if second is None else [second]
    (whole, _), (cut, segments) = (learned.encode([first], seconds, most)[0] for most in (0, longest))
    assert len(cut) == len(segments) == min(len(whole), longest)
    assert (cut[0], cut[-1], cut.count(END)) == (BEGIN, END, whole.count(END))
    parts = [row[1:-1] if second is None else split(row) for row in (whole, cut)]
    if second is not None:
        sizes = [[len(part) for part in row] for row in parts]
        for kept, had in zip(*reversed(parts), strict=True):
            assert kept == had[: len(kept)]
        assert all(now == before or now >= max(sizes[1]) - 1 for now, before in zip(sizes[1], sizes[0], strict=True))
    else:
        assert parts[1] == parts[0][: longest - 2]


def split(row):
    """The two texts of a row, [CLS] a [SEP] b [SEP]."""
    middle = row.index(END)
    return row[1:middle], row[middle + 1 : -1]


def test_an_unknown_text_is_still_a_row():
    learned = tokenizers.learn("words", TEXTS, 1, 0)
    assert learned.encode(["☂"], None, 0)[0][0] == [BEGIN, UNKNOWN, END]


@pytest.mark.parametrize("kind", tokenizers.KINDS)
def test_a_vocabulary_is_read_as_it_was_written(kind):
    learned = tokenizers.learn(kind, [*TEXTS, "很快"], 1, 0)
    again = tokenizers.loaded(learned.text())
    assert again == learned
    assert tokenizers.digest(again) == tokenizers.digest(learned)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"kdjax": "syllables", "tokens": []}', '{"kdjax": "words", "tokens": ["a"]}']
)
def test_what_is_no_tokenizer_is_refused(text):
    with pytest.raises(ValueError, match=r"tokenizer.json holds no tokenizer"):
        tokenizers.loaded(text)


# ---- Hugging Face


VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "lamp", "##s", "table"]


@pytest.fixture
def library():
    return pytest.importorskip("tokenizers", reason="the extra text")


def wordpiece(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY))
    return tmp_path


def test_wordpiece_of_a_vocabulary_alone(library, tmp_path):
    folder = tokenizers.of_folder(str(wordpiece(tmp_path)))
    assert (folder.size, folder.padding) == (len(VOCABULARY), 0)
    (ids, _), _ = folder.encode(["A red LAMPS", "a"], None, 0)
    assert [VOCABULARY[number] for number in ids] == ["[CLS]", "a", "red", "lamp", "##s", "[SEP]"]
    assert [len(ids) for ids, _ in folder.encode(["a red lamp table"], None, 5)] == [5]
    assert folder.encode(["a"], ["table"], 0)[0][1] == [0, 0, 0, 1, 1]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    assert UNKNOWN in tokenizers.of_folder(str(tmp_path)).encode(["LAMP"], None, 0)[0][0]


def test_bpe_of_tokenizer_json_without_the_padding_and_cutting_that_it_asks_for(library, tmp_path):
    made = library.Tokenizer(library.models.BPE(vocab={"a": 0, "b": 1, "ab": 2, "<pad>": 3}, merges=[("a", "b")]))
    made.enable_padding(length=9)
    made.enable_truncation(2)
    made.save(str(tmp_path / "tokenizer.json"))
    folder = tokenizers.of_folder(str(tmp_path))
    assert folder.encode(["abab" + "a"], None, 0)[0][0] == [2, 2, 0]
    assert folder.padding == 3
    assert tokenizers.loaded(folder.text()) == folder


def test_folders_without_a_tokenizer(library, tmp_path):
    with pytest.raises(
        ValueError, match=r"a folder must hold tokenizer.json or vocab.txt; valid are words, characters"
    ):
        tokenizers.of_folder(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match=r"tokenizer.json' is no tokenizer"):
        tokenizers.of_folder(str(tmp_path))
