"""Texts written anew: what is proposed against the formula, what may be replaced, and the command."""

import numpy as np
import pytest

from kdjax import data
from kdjax.config import default
from kdjax.data.text import rewrite, texts, tokenizers
from kdjax.models.text import masked
from kdjax.streams import stream
from tests.models.test_masked import logits, with_head
from tests.models.test_text import V, folder

pytest.importorskip("tokenizers", reason="the extra text")

NAMES = [*tokenizers.SPECIAL, "[unused0]", "##s", "##ing"]
NAMES += [f"w{number}" for number in range(V - len(NAMES))]
PIECE = np.array([name.startswith("##") for name in NAMES])
PROPOSABLE = np.array([name.startswith("w") for name in NAMES])
SENTENCES = ["w1 w2 w3 w4 w5", "w6 w7s w8", "w9", "w2ing w3 w4 w1 w5"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """(a folder with a language head and its tokenizer, its tensors)."""
    kept, path = {}, tmp_path_factory.mktemp("encoder")
    folder(path, lambda tensors: kept.setdefault("all", with_head(tensors)))
    (path / "vocab.txt").write_text("\n".join(NAMES) + "\n")
    return path, kept["all"]


def given(*sentences, second=None) -> texts.Texts:
    return texts.Texts(texts.objects(sentences), second, texts.objects([""] * len(sentences)))


def quiet(line: str) -> None:
    assert "words are proposed" in line


def encoded(path):
    tokenizer = tokenizers.of_folder(str(path))
    inputs = tokenizers.padded(tokenizer.encode(SENTENCES, None, 9), 9, tokenizer.padding, False)
    return tokenizer, inputs, rewrite.replaceable(inputs, tokenizer.special, PIECE)


def proposed(path, top):
    tokenizer, inputs, words = encoded(path)
    chosen = (*masked.load(path), inputs, words, tokenizer.special.mask, PROPOSABLE, top)
    return rewrite.proposals(*chosen, stream(0, "rewrite").generator(), quiet)


def test_only_whole_words_may_be_replaced(encoder):
    _, inputs, words = encoded(encoder[0])
    chosen = [[NAMES[token] for token in row[own]] for row, own in zip(inputs["tokens"], words, strict=True)]
    assert chosen == [["w1", "w2", "w3", "w4", "w5"], ["w6", "w8"], ["w9"], ["w3", "w4", "w1", "w5"]]


def test_proposals_are_the_most_likely_words_of_the_formula(encoder, monkeypatch):
    """With a pass for each word, one is masked at a time, as in TinyBERT's Algorithm 1."""
    monkeypatch.setattr(rewrite, "PARTS", 5)
    path, tensors = encoder
    tokenizer, inputs, words = encoded(path)
    found = proposed(path, 3)
    assert not found[~words].any()
    for row, place in zip(*np.nonzero(words), strict=True):
        seen = {name: leaf[[row]].copy() for name, leaf in inputs.items()}
        seen["tokens"][0, place] = tokenizer.special.mask
        (told,) = logits(tensors, seen, np.zeros((1, 9), int))
        expected = np.argsort(-np.where(PROPOSABLE, told[place], -np.inf))[:3]
        assert found[row, place].tolist() == expected.tolist()


def test_all_words_of_a_part_are_masked_together(encoder, monkeypatch):
    monkeypatch.setattr(rewrite, "PARTS", 1)
    path, tensors = encoder
    tokenizer, inputs, words = encoded(path)
    found = proposed(path, 2)
    seen = {**inputs, "tokens": np.where(words, tokenizer.special.mask, inputs["tokens"])}
    for row, told in enumerate(logits(tensors, seen, np.zeros((4, 9), int))):
        expected = np.argsort(-np.where(PROPOSABLE, told, -np.inf), axis=1)[:, :2]
        assert (found[row, : len(told)] == np.where(words[row, : len(told), None], expected, 0)).all()


def test_words_are_replaced_by_proposals_at_the_rate_that_is_asked_for():
    tokens = np.tile(np.arange(10, 40, dtype=np.int32), (200, 1))
    words = tokens % 3 > 0
    candidates = np.stack([tokens + 100, tokens + 200], axis=2)
    made = list(rewrite.drawn({"tokens": tokens}, words, candidates, 2, 0.3, np.random.default_rng(0), (0,)))
    new = np.stack([part for (part,) in made]).reshape(200, 2, 30)
    shift = new - tokens[:, None]
    assert set(np.unique(shift)) == {0, 100, 200}
    assert not shift[:, :, ~words[0]].any()
    assert (shift[:, :, words[0]] > 0).mean() == pytest.approx(0.3, abs=0.02)
    assert (shift == 100).sum() == pytest.approx((shift == 200).sum(), rel=0.1)


def test_new_texts_differ_and_are_a_function_of_the_seed(encoder):
    call = lambda seed=0, **kw: rewrite.rewritten(given(*SENTENCES), encoder[0], top=5, seed=seed, say=quiet, **kw)  # noqa: E731
    made = call(copies=3)
    assert made == call(copies=3)
    assert made != call(seed=1, copies=3)
    assert 4 < len(made) == len(set(made)) <= 12
    assert not {one for (one,) in made} & set(SENTENCES)
    assert any("w7s" in one for (one,) in made)  # of two pieces: it stays
    pairs = given(*SENTENCES, second=texts.objects(["w11"] * 4))
    both = rewrite.rewritten(pairs, encoder[0], top=5, p=0.9, say=quiet)
    assert {len(parts) for parts in both} == {2}
    assert {len(second.split()) for _, second in both} == {1}
    assert len({second for _, second in both}) > 1


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"p": 0.0}, "p must lie above 0"),
        ({"copies": 0}, "copies must be at least 1; got 0"),
        ({"top": 43}, "top must lie between 1 and 42, the words that there are; got 43"),
    ],
)
def test_numbers_that_cannot_be_right(encoder, chosen, said):
    with pytest.raises(ValueError, match=said):
        rewrite.rewritten(given("w1"), encoder[0], **chosen)


def test_a_tokenizer_of_another_network_is_refused(tmp_path):
    folder(tmp_path, with_head)
    (tmp_path / "vocab.txt").write_text("\n".join(NAMES[:-1]) + "\n")
    with pytest.raises(ValueError, match=r"its tokenizer has 49 tokens and a \[MASK\], its network a vocabulary of 50"):
        rewrite.rewritten(given("w1"), tmp_path)


CONFIG = """
from kdjax.config import default

def get_config():
    config = default()
    config.data.source, config.data.path = "csv", "rows.csv"
    config.data.columns.split = "split"
    config.methods.student = {"cross_entropy": {"weight": 1.0}}
    return config
"""


def test_the_command_writes_what_transfer_reads(encoder, kdjax, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [f"w{1 + n} w{2 + n} w3,{'ab'[n % 2]},train" for n in range(6)] + ["w30,a,test", "w31,b,test"]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label,split", *rows]) + "\n")
    (tmp_path / "own.py").write_text(CONFIG)
    asked = ("rewrite", "--config=own.py", f"--encoder={encoder[0]}", "--copies=2")
    status, printed, err = kdjax(*asked, "--out=more.txt")
    assert status == 0, err
    made = (tmp_path / "more.txt").read_text().splitlines()
    assert f"{len(made)} new texts of 6 are in more.txt" in printed
    config = default().data
    config.source, config.path, config.columns.split, config.transfer = "csv", "rows.csv", "split", "more.txt"
    config.min_count = 1
    loaded = data.load(config)
    assert loaded.train.target.tolist() == [0, 1, 0, 1, 0, 1, *[-1] * len(made)]
    for wrong, said in (("--out=more.csv", "ends in .txt"), ("--config.data.source=digits", "has no texts to write")):
        status, _, err = kdjax(*asked, "--out=more.txt", wrong)
        assert status == 2
        assert said in err
