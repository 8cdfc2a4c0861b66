"""Search: every document is ranked, exactly and in parts, and experiments from a table to the table of results."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from kdjax import experiment
from kdjax.config import default
from kdjax.experiment.progress import Display
from kdjax.report import table
from kdjax.runs import predictions
from kdjax.runs.gather import gather
from kdjax.ship import export, similarity
from kdjax.tasks import ranked, search
from kdjax.training import searching
from tests.offers import write

Q, M, L = 7, 25, 4


def drawn(seed: int = 0, ties: bool = False):
    """(scores [Q, M], items [Q, L], grades [Q, L]); the last query has nothing relevant."""
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((Q, M)).astype(np.float32)
    if ties:
        scores = np.round(scores)
    items = np.stack([rng.permutation(M)[:L] for _ in range(Q)]).astype(np.int32)
    grades = rng.integers(-1, 4, (Q, L)).astype(np.float32)
    grades[0] = 0, 3, 1, -1
    grades[-1] = 0
    return scores, np.where(grades < 0, -1, items), grades


@pytest.mark.parametrize("ties", [False, True])
def test_scores_are_those_of_lists_of_all_documents(ties):
    scores, items, grades = drawn(ties=ties)
    whole = np.zeros((Q, M))
    for row in range(Q):
        whole[row, items[row][grades[row] > 0]] = grades[row][grades[row] > 0]
    place = ranked.places(scores.astype(np.float64), whole, np.ones((Q, M), bool))
    found = search.scores(search.found([scores], items, grades), grades, M)
    expected = {"mrr@10": ranked.mrr(place, 10), "ndcg@10": ranked.ndcg(place, 10), "hr@10": ranked.hit_rate(place, 10)}
    expected |= {"recall@10": ranked.recall(place, 10), "map": ranked.average_precision(place)}
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9, err_msg=name)
    assert not any(values[-1] for values in found.values())
    assert found["mrr@10"].any()


def test_parts_are_the_whole(monkeypatch):
    rng = np.random.default_rng(0)
    queries, documents = rng.standard_normal((Q, 3)).astype(np.float32), rng.standard_normal((M, 3)).astype(np.float32)
    _, items, grades = drawn()
    whole = search.found(search.products(queries, documents), items, grades)
    monkeypatch.setattr(search, "CELLS", 2 * M + 1)
    parts = list(search.products(queries, documents))
    assert [len(part) for part in parts] == [2, 2, 2, 1]
    np.testing.assert_array_equal(whole, search.found(parts, items, grades))


def test_the_first_documents_and_what_two_searches_share():
    scores, items, grades = drawn(ties=True)
    kept = search.found([scores], items, grades)
    np.testing.assert_array_equal(kept[:, :10], np.argsort(-scores, axis=1, kind="stable")[:, :10])
    assert search.report(kept, grades, kept) == {"agreement": 1.0}
    assert search.report(kept, grades)["agreement"] is None
    few = search.found([scores[:, :6]], np.minimum(items, 5), grades)
    np.testing.assert_array_equal(few[:, 6:10], -1)


def test_scores_that_are_not_finite_are_seen():
    scores, items, grades = drawn()
    scores[2, 3] = np.nan
    kept = search.found([scores], items, grades)
    assert np.isnan(kept).all(axis=1).tolist() == [row == 2 for row in range(Q)]


# ---- experiments


@pytest.fixture(scope="module")
def offers(tmp_path_factory):
    return write(tmp_path_factory.mktemp("offers") / "offers.csv", others=True)


def config(path, task: str, **fields):
    made = default()
    made.experiment, made.task, made.seeds, made.epochs, made.batch_size = "offers", task, (0,), 2, 8
    made.data.source, made.data.path, made.data.validation, made.data.tokenizer = (
        "query_documents",
        str(path),
        0.1,
        "trigrams",
    )
    made.data.columns.text, made.data.columns.second, made.data.columns.label = "name", "title", "grade"
    made.data.kwargs = {"relevant": 2, "negatives": 2}
    made.execution.eval_batch_size = 32
    made.optimizer.learning_rate = 0.5
    for name, value in fields.items():
        made[name] = value
    return made


def run(made, root):
    text = io.StringIO()
    with Display(Console(file=text, width=400)) as display:
        return experiment.run(made, root, display=display), text.getvalue()


def taught(made, loss: str):
    """Two methods, of a teacher with wider vectors."""
    for who, width in (("teacher", 16), ("student", 4)):
        made[who].model, made[who].kwargs = "bi_encoder", {"embedding": width}
    made.methods.student = {loss: {"weight": 1.0}}
    made.methods.taught = {loss: {"weight": 0.5}, "margin_mse": {"weight": 0.1}}
    return made


@pytest.fixture(scope="module")
def searched(offers, tmp_path_factory):
    made = taught(config(offers, "search", references=("tfidf_characters",)), "in_batch_documents")
    made.methods.kl = {"in_batch_documents_kl": {"weight": 1.0}}
    return run(made, tmp_path_factory.mktemp("runs"))


def test_a_search_from_a_table_to_the_table(searched):
    directory, said = searched
    assert "offers, students train on 29 queries, 3 validation, 8 test" in said
    text = table.markdown(gather(directory))
    for word in ("MRR@10", "nDCG@10", "recall@10", "HR@10", "MAP", "overlap@10", "tfidf", "Every document of the cat"):
        assert word in text
    assert "it compares texts by what it has counted in the catalogue" in text
    result = json.loads((directory / "kl/seed0/result.json").read_text())
    assert result["references"]["tfidf_characters"]["mrr@10"] > 0.9  # each name's model is in its offers
    assert 0 < result["last"]["ndcg@10"] <= 1
    assert 0 < result["last"]["agreement"] <= 1
    kept = predictions.read(directory / "kl/seed0")
    assert kept["kept"].shape == (8, 10 + 2 * 3)
    assert kept["score/mrr@10"].mean() == pytest.approx(result["last"]["mrr@10"], rel=1e-5)
    again = search.scores(kept["kept"], kept["target"], 120)
    assert again["mrr@10"].mean() == pytest.approx(result["last"]["mrr@10"], rel=1e-5)


def test_the_doctor_reads_it(searched, kdjax):
    status, out, err = kdjax("doctor", searched[0])
    assert (status, err) == (0, "")
    assert "3 methods" in out


def test_searches_are_no_texts_of_their_own(searched):
    directory, _ = searched
    with pytest.raises(ValueError, match="its examples are queries with their documents, and no texts"):
        export.text_shape(directory / "kl/seed0", json.loads((directory / "kl/seed0/result.json").read_text()))


def test_stages_of_searches_are_compared(searched):
    """By `kdjax explain`, which loads the data that a run names."""
    directory, _ = searched
    found = similarity.similar(*(directory / name / "seed0" for name in ("teacher", "student", "kl")))
    assert np.isfinite(found["after"]).all()
    assert found["stages"]["after"] == ["stage 1", "embedding", "logits"]


def test_lists_are_ordered_by_both_kinds_of_networks(offers, tmp_path):
    made = config(offers, "ranking")
    made.teacher.model = "cross_encoder"
    made.teacher.kwargs = {"encoder": "bilstm", "embedding": 8, "width": 4}
    made.student.model, made.student.kwargs = "bi_encoder", {"embedding": 4}
    made.methods.student = {"listnet": {"weight": 1.0}}
    made.methods.list_kl = {"list_kl": {"weight": 1.0}}
    directory, _ = run(made, tmp_path)
    result = json.loads((directory / "list_kl/seed0/result.json").read_text())
    assert result["task"]["name"] == "ranking"
    assert 0 < result["last"]["ndcg@10"] <= 1
    assert result["teacher"]["model"] == "cross_encoder"
    assert predictions.read(directory / "list_kl/seed0")["logits"].shape == (8, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.student.update(model="cross_encoder"), "config.task='search' needs a student that embeds queries"),
        (lambda c: c.update(references=("tfidf",)), "config.references: 'tfidf' classifies texts"),
        (lambda c: c.update(task="ranking", references=("tfidf_characters",)), "is of config.task='search', here it"),
        (lambda c: c.update(task="retrieval"), "has 0 classes"),
        (lambda c: c.data.update(source="queries"), "config.task='search' is for queries and texts, of a source"),
        (lambda c: c.data.augment.update(mask_words={}), "there is no augmentation for searches"),
        (lambda c: c.data.update(length=3), "config.data.length is at least 8 tokens, got 3"),
    ],
)
def test_configs_that_make_no_sense(offers, tmp_path, change, message):
    made = taught(config(offers, "search"), "in_batch_documents")
    with made.unlocked():
        change(made)
    if made.data.source == "queries":
        made.data.kwargs = {"train": 64, "test": 8}
    if made.student.model == "cross_encoder":
        made.student.kwargs = {"encoder": "bag_of_words"}
    with pytest.raises(ValueError, match=message):
        run(made, tmp_path)


def test_embedding_in_batches_is_embedding_of_all():
    texts = {"tokens": np.arange(14, dtype=np.int32).reshape(7, 2), "mask": np.ones((7, 2), bool)}

    def encode(variables, given):
        assert given["tokens"].shape == (3, 2)
        return given["tokens"] * variables

    import jax

    found = searching.embedded(encode, 2, texts, 3, jax.local_devices())
    np.testing.assert_array_equal(found, 2 * texts["tokens"])
