"""Augmentation of texts, and texts without labels from a file of their own."""

import jax
import numpy as np
import pytest

from kdjax import data
from kdjax.config import default
from kdjax.data import kinds
from kdjax.data.text import augmentations, tokenizers

SPECIAL = tokenizers.Learned("words", tokenizers.SPECIAL).special
LENGTHS = np.array([3, 8, 20, 2] * 250)


def texts():
    """[1000, 20]: [CLS], the numbers from 10 on in order, [SEP], padding."""
    at = np.arange(20)[None]
    tokens = np.where(at == 0, tokenizers.BEGIN, 9 + at)
    tokens = np.where(at == LENGTHS[:, None] - 1, tokenizers.END, tokens)
    mask = at < LENGTHS[:, None]
    return {"tokens": np.where(mask, tokens, tokenizers.PAD).astype(np.int32), "mask": mask}


TARGET = np.arange(1000, dtype=np.int32) % 7


def applied(fn, given=None, key=0, **hyper):
    call = jax.jit(lambda key, given, target: fn(key, given, target, SPECIAL, **hyper))
    made, target = call(jax.random.key(key), texts() if given is None else given, TARGET)
    return jax.tree.map(np.asarray, made), np.asarray(target)


def test_word_dropout_masks_words_and_nothing_else():
    made, target = applied(augmentations.word_dropout, p=0.3)
    before = texts()
    changed = made["tokens"] != before["tokens"]
    word = before["tokens"] >= 10
    assert (made["tokens"][changed] == tokenizers.MASK).all()
    assert not changed[~word].any()
    assert changed[word].mean() == pytest.approx(0.3, abs=0.02)
    np.testing.assert_array_equal(made["mask"], before["mask"])
    np.testing.assert_array_equal(target, TARGET)


def test_ngrams_are_words_that_follow_each_other():
    made, target = applied(augmentations.ngram, p=0.5, longest=4)
    before = texts()
    cut = (made["mask"].sum(1) != before["mask"].sum(1)).nonzero()[0]
    sizes, starts = set(), set()
    for row in cut:
        inside = made["tokens"][row][made["mask"][row]]
        assert (inside[0], inside[-1]) == (tokenizers.BEGIN, tokenizers.END)
        words = inside[1:-1]
        assert (np.diff(words) == 1).all()
        assert 10 <= words[0] <= words[-1] < 10 + LENGTHS[row] - 2
        assert (made["tokens"][row][~made["mask"][row]] == tokenizers.PAD).all()
        sizes.add(len(words))
        starts.add(int(words[0])) if LENGTHS[row] == 20 else None
    assert sizes == {1, 2, 3, 4}
    assert starts >= set(range(10, 25))  # the last word begins a text of one alone
    assert (target[cut] == -1).all()
    same = np.setdiff1d(np.arange(1000), cut)
    np.testing.assert_array_equal(target[same], TARGET[same])
    for name in before:
        np.testing.assert_array_equal(made[name][same], before[name][same])
    assert not set(cut) & set(np.flatnonzero(LENGTHS < 4))
    assert (LENGTHS[cut] == 20).sum() == pytest.approx(125, abs=25)
    np.testing.assert_array_equal(applied(augmentations.ngram, p=0.5, label=True)[1], TARGET)


def load(**fields):
    given = default().data
    given.source, given.kwargs = "queries", {"train": 60, "test": 20}
    for name, value in fields.items():
        given[name] = value
    return given, data.load(given)


@pytest.mark.parametrize(
    ("augment", "told"),
    [
        ({"flip": {}}, "unknown augmentation of texts 'flip'"),
        ({"ngram": {"p": 1.5}}, r"config.data.augment.ngram.p must lie between 0 and 1; got 1.5"),
        ({"ngram": {"longest": 0}}, r"config.data.augment.ngram.longest must be >= 1 word; got 0"),
        ({"word_dropout": {"q": 1.0}}, "unknown hyperparameter 'q'"),
        ({"mine": {"fn": "kdjax.data.text.augment.compose"}}, r"must be fn\(key, texts, target, special, \*"),
    ],
)
def test_what_cannot_augment_texts_is_told(augment, told):
    given, dataset = load(augment=augment)
    batch = dataset.train.input, dataset.train.target
    make = kinds.KINDS["text"].augment
    with pytest.raises(ValueError, match=told):
        make(given, dataset, {"input": None}, False)(jax.random.key(0), *batch)


def test_all_who_see_a_batch_see_the_same_in_the_order_of_the_config():
    given, dataset = load(augment={"word_dropout": {"p": 0.5}, "ngram": {"p": 1.0}})
    augment = kinds.KINDS["text"].augment(given, dataset, {"input": None, "teacher": None}, False)
    made, target = augment(jax.random.key(3), dataset.train.input, dataset.train.target)
    assert made["input"] is made["teacher"]
    assert (np.asarray(made["input"]["tokens"]) == tokenizers.MASK).any()
    assert (np.asarray(target) == -1).mean() > 0.5


def test_a_tokenizer_of_a_folder_says_what_is_no_word(shared_data):
    pytest.importorskip("tokenizers", reason="the extra text")
    special = tokenizers.of_folder(str(shared_data / "teachers" / "minilm_l6")).special
    assert special[:4] == (0, 103, 1, 1)
    assert {0, 101, 102, 103} == set(special.numbers)


# ---- texts without labels


def test_texts_of_a_file_are_seen_where_a_view_says_so(tmp_path):
    plain = load()[1]
    (tmp_path / "more.txt").write_text(f"a wholly new lamp\n\n{'chair for dog'}\n")
    given, dataset = load(transfer=str(tmp_path / "more.txt"))
    assert len(dataset.train) == 62
    assert dataset.train.target[60:].tolist() == [-1, -1]
    assert dataset.fingerprint["splits"] != plain.fingerprint["splits"]
    assert len(data.subset(dataset.train, given, 0)) == 60
    for shots, expected in ((0, 62), (2, 62)):
        given.unlabelled, given.shots = True, shots
        seen = data.subset(dataset.train, given, 0)
        assert len(seen) == expected
        assert (seen.target == -1).sum() == (2 if not shots else 62 - 16)
    (tmp_path / "more.csv").write_text("text,price\na wholly new lamp,3\nchair for dog,4\n")
    same = load(transfer=str(tmp_path / "more.csv"))[1]
    np.testing.assert_array_equal(same.train.input["tokens"], dataset.train.input["tokens"])


def test_texts_of_the_test_split_among_them_are_warned_of(tmp_path):
    from kdjax.data.text.queries import generate

    held = generate(60, 20, 0.03, 0).test.input.first[3]
    (tmp_path / "more.txt").write_text(f"{held}\n")
    (said,) = (w for w in load(transfer=str(tmp_path / "more.txt"))[1].warnings if "also training texts" in w)
    assert "1 of 20 test texts" in said


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("none.txt", None, "cannot read .*none.txt"),
        ("more.md", b"a\n", "a file ends in .csv, .jsonl"),
        ("more.csv", b"title\na lamp\n", "more.csv has no column 'text'"),
        ("more.txt", b"a lamp\nb\xff\n", "more.txt, line 2: byte 0xff"),
        ("more.txt", b"\n", "is empty"),
    ],
)
def test_files_that_cannot_be_used_are_told(tmp_path, name, content, told):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=told):
        load(transfer=str(tmp_path / name))


def test_other_data_has_no_such_texts(tmp_path):
    given = default().data
    given.transfer = "more.txt"
    with pytest.raises(ValueError, match=r"config.data.transfer is of texts, and Digits 8x8 has none"):
        data.load(given)
