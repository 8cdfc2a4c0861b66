"""config.data.negatives: what is mined of a catalogue is what the teacher ranks highest, once, and never relevant."""

import shutil

import numpy as np
import pytest

import kdjax
from kdjax import cli, experiment
from kdjax.data.search import negatives
from kdjax.experiment import mined
from kdjax.report import table
from kdjax.runs.directory import Run
from kdjax.training import rerank
from tests import tiny
from tests.tasks.test_search import config, offers, run  # noqa: F401

HARD, RANDOM = 3, 2
LOSSES = {"in_batch_documents": {"weight": 0.5}, "margin_mse": {"weight": 0.1}}


def made(path, task="search", teacher="bi_encoder", **fields):
    found = config(path, task, **fields)
    found.data.kwargs = {"relevant": 2}
    found.execution.devices = "one"
    for who, model, width in (("teacher", teacher, 16), ("student", "bi_encoder", 4)):
        found[who].model, found[who].kwargs = model, {"encoder": "bag_of_words", "embedding": width}
    found.methods.student = {"in_batch_documents": {"weight": 1.0}}
    found.methods.hard = {**LOSSES, "data": {"negatives": {"hard": HARD, "random": RANDOM}}}
    return found


def files(directory) -> list:
    return sorted((directory / mined.FOLDER).glob("*"))


@pytest.fixture
def mining(monkeypatch) -> list:
    """An entry a time that a catalogue is ranked."""
    seen, whole = [], mined.mined
    monkeypatch.setattr(mined, "mined", lambda *given: (seen.append(given), whole(*given))[1])
    return seen


@pytest.fixture(scope="module")
def done(offers, tmp_path_factory):  # noqa: F811
    """(the experiment's directory, what was printed, what the one ranking of the catalogue was given)."""
    with pytest.MonkeyPatch.context() as patch:
        seen, whole = [], mined.mined
        patch.setattr(mined, "mined", lambda *given: (seen.append(given), whole(*given))[1])
        directory, said = run(made(offers), tmp_path_factory.mktemp("mined"))
    (given,) = seen
    return directory, said, given


def lists(found, method: str, out, seed: int = 0) -> dict:
    """{query number: (its batch's input, target, the teacher's scores) as a step saw them}, of one epoch."""
    seen = {}
    for step in kdjax.steps(found, method, seed, out):
        for row, index in enumerate(step.batch["index"].tolist()):
            seen[index] = [np.asarray(leaf[row]) for leaf in (step.batch["target"], step.teacher.logits)]
        last = step
    return seen | {"last": last}


# ---- which documents


def test_the_hardest_are_the_first_of_a_sort_without_what_is_known():
    rng = np.random.default_rng(0)
    scores = np.round(rng.standard_normal((9, 30)), 1).astype(np.float32)  # with ties
    known = np.where(rng.random((9, 6)) < 0.7, rng.integers(0, 30, (9, 6)), -1)
    found = negatives.hardest([scores[:4], scores[4:]], known, 5, skip=2)
    for row, own in enumerate(known):
        ordered = sorted(set(range(30)) - set(own.tolist()), key=lambda at, row=row: (-scores[row, at], at))
        assert found[row].tolist() == ordered[2:7]
    few = negatives.hardest([scores[:, :4]], np.tile([[1, 2, -1]], (9, 1)), 3)
    assert (np.sort(few) == [[-1, 0, 3]]).all()


def test_what_is_drawn_is_different_and_not_known():
    known = np.array([[0, 1, 2, -1], [3, 3, 3, 9]])
    found = negatives.drawn(np.random.default_rng(0), known, 6, 10)
    assert all(len(set(row.tolist())) == 6 for row in found)
    assert not any(set(row.tolist()) & set(own.tolist()) for row, own in zip(found, known, strict=True))
    assert (negatives.drawn(np.random.default_rng(0), known, 9, 10)[0] == -1).sum() == 2


def test_nothing_that_is_relevant_is_a_negative(done, offers):  # noqa: F811
    """Of three relevant documents a list has two; the third is in none, and must not be taken for irrelevant."""
    rows = [line.split(",") for line in offers.read_text().splitlines()[1:]]
    relevant = {(query, document) for query, document, grade in rows if grade == "1"}
    lab, own, arrays, _, teacher, place = done[2]
    assert any("are in no training list" in told for told in lab.dataset.warnings)
    whole = mined.extended(lab, own, arrays, teacher, place)
    assert whole.input["items"].shape == whole.target.shape == (29, 2 + HARD + RANDOM)
    queries, documents = lab.dataset.texts["train"], lab.dataset.texts["documents"]
    pairs = [(q, documents[d]) for q, of in zip(queries, whole.input["items"][:, 2:], strict=True) for d in of]
    assert len(set(pairs)) == 29 * (HARD + RANDOM)
    assert not relevant & set(pairs)
    assert (whole.target[:, 2:] == 0).all()
    assert {(q, documents[d]) for q, of in zip(queries, whole.input["items"], strict=True) for d in of[:2]} <= relevant


def test_mined_are_the_teachers_first_documents(done):
    """By the products of its vectors in float64, the whole catalogue at once."""
    lab, _, arrays, known, teacher, _ = done[2]
    vectors = teacher.variables["params"]["encoder"]
    scores = _mean(vectors, arrays.input["query"]) @ _mean(vectors, lab.dataset.documents).T
    np.put_along_axis(scores, np.where(known < 0, known[:, :1], known), -np.inf, axis=1)
    path = files(done[0])[0]
    found = np.take_along_axis(scores, np.load(path), axis=1)
    np.testing.assert_allclose(found, -np.sort(-scores, axis=1)[:, :HARD], rtol=1e-5)


def _mean(params, texts) -> np.ndarray:
    """Vectors of bag_of_words, of length 1: the mean of the words' in float64."""
    (table,) = (np.asarray(leaf, np.float64) for leaf in _leaves(params))
    summed = (table[texts["tokens"]] * texts["mask"][..., None]).sum(1) / np.maximum(texts["mask"].sum(1), 1)[:, None]
    return summed / np.linalg.norm(summed, axis=1, keepdims=True)


def _leaves(params) -> list:
    return [leaf for leaf in params.values() if not isinstance(leaf, dict)] + [
        leaf for tree in params.values() if isinstance(tree, dict) for leaf in _leaves(tree)
    ]


# ---- once


def test_mined_once_for_all_that_is_the_same(done, offers, mining, tmp_path):  # noqa: F811
    """Another seed and another method read what is there; another wish and another teacher have a file of their own."""
    directory, said, _ = done
    assert "the teacher mines 3 negatives for each of 29 queries, once" in said
    (path,) = files(directory)
    shutil.copytree(directory, tmp_path / "offers")
    again, own = made(offers), {"negatives": {"hard": HARD}}
    again.methods.other = {**LOSSES, "data": own}
    again.methods.more = {**LOSSES, "data": {"negatives": {"hard": HARD, "skip": 1}}}
    again.methods.chain = {**LOSSES, "data": own, "teacher": "student"}
    experiment.run(again, tmp_path, only=("hard", "other", "more", "chain"), seeds=(1,))
    assert len(mining) == 2
    found = files(tmp_path / "offers")
    assert len(found) == 3
    assert (tmp_path / "offers" / mined.FOLDER / path.name).read_bytes() == path.read_bytes()


def test_a_damaged_file_is_made_again_and_a_run_in_pieces_is_the_whole(done, offers, mining, tmp_path):  # noqa: F811
    shutil.copytree(done[0], tmp_path / "offers")
    (path,) = files(done[0])
    copied = tmp_path / "offers" / mined.FOLDER / path.name
    copied.write_bytes(path.read_bytes()[:-3])
    shutil.rmtree(tmp_path / "offers/hard")
    directory, stops = tiny.in_pieces(made(offers), tmp_path, 4, only=("hard",))
    assert stops
    assert len(mining) == 1
    assert copied.read_bytes() == path.read_bytes()
    assert Run(directory / "hard/seed0").history() == Run(done[0] / "hard/seed0").history()


# ---- what teaches


def test_a_cross_encoder_mines_for_a_bi_encoder_and_scores_what_it_mined(offers, mining, tmp_path):  # noqa: F811
    asked = made(offers, "ranking", "cross_encoder")
    asked.data.negatives.pool = 20
    seen = lists(asked, "hard", tmp_path)
    ((lab, _, arrays, known, teacher, place),) = mining
    pool = np.concatenate([known, np.zeros((29, 0), int)], axis=1)
    found = np.load(files(tmp_path / "offers")[0])
    everything = np.tile(np.arange(len(lab.dataset.documents["mask"])), (29, 1))
    score = rerank.scorer(teacher.model, lab.kind.transform(lab.config.data, lab.dataset))
    scores = rerank.scored(score, teacher.variables, arrays.input["query"], everything, 4000, place.devices)
    for row in range(29):
        assert not set(found[row].tolist()) & set(pool[row].tolist())
        assert (np.diff(scores[row][found[row]]) <= 0).all(), "the teacher's order"
    last = seen.pop("last")
    for row, (target, said) in seen.items():
        assert target.tolist() == [1, 1, 0, 0, 0, 0, 0]
        np.testing.assert_allclose(said[2 : 2 + HARD], scores[row][found[row]], rtol=1e-5, atol=1e-5)
    assert last.losses["loss/margin_mse"] > 0


def test_kept_or_not_the_teachers_scores_of_what_was_mined_are_the_same(done, offers, tmp_path):  # noqa: F811
    kept = made(offers)
    kept.execution.teach_once = True
    kept.teacher.run = str(done[0] / "teacher/seed0")
    directory = experiment.run(kept, tmp_path, only=("hard",))
    ours, theirs = (
        [value for row in Run(path / "hard/seed0").history() for value in row.values()] for path in (directory, done[0])
    )
    np.testing.assert_allclose(ours, theirs, rtol=2e-4)


def test_tables_say_whose_negatives_they_are(done):
    text = table.markdown(table.gather(done[0]))
    assert (
        "Its training lists have 3 hard negatives, of the teacher's first documents, and 2 random ones besides." in text
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c.teacher.update(model=""),
            r"negatives.hard=3 documents are what the teacher ranks highest, and it",
        ),
        (
            lambda c: c.teacher.update(model="", kwargs={}, function="tests.tiny.vector"),
            r"config.teacher.function: config.task='search' ranks all documents by the network itself",
        ),
        (lambda c: c.data.negatives.update(random=-1), r"config.data.negatives.random must be at least 0, got -1"),
        (lambda c: c.methods.hard.data.negatives.update(hard=-1), r"hard.data.negatives.hard must be at least 0, got"),
        (lambda c: c.methods.hard.data.negatives.update(hart=1), r"unknown field config.methods.hard.data.negatives.h"),
    ],
)
def test_wishes_that_cannot_be(offers, tmp_path, change, message):  # noqa: F811
    asked = made(offers)
    with asked.unlocked():
        change(asked)
    if not asked.teacher.model:
        asked.methods.hard = {"in_batch_documents": {"weight": 1.0}, "data": {"negatives": {"hard": HARD}}}
    with pytest.raises(ValueError, match=message):
        run(asked, tmp_path)


def test_a_pool_too_small_and_data_without_documents(offers, tmp_path):  # noqa: F811
    asked = made(offers, "ranking", "cross_encoder")
    asked.data.negatives.pool = 2
    with pytest.raises(ValueError, match=r"CrossEncoder looks at pool=2 documents of a query, fewer than skip=0 and"):
        run(asked, tmp_path)
    digits = cli.load_config("configs/digits.py", [])
    digits.data.negatives.random = 1
    with pytest.raises(ValueError, match=r"negatives are documents of searches, .* Digits 8x8 has none"):
        experiment.run(digits, tmp_path)
