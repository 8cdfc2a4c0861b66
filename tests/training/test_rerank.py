"""What reads pairs orders the first documents of another search: blocks of scores, and an experiment it teaches."""

import json

import numpy as np
import pytest

from kdjax.data.text.references import cosines_of_characters
from kdjax.report import table
from kdjax.runs import predictions
from kdjax.runs.gather import gather
from kdjax.ship import export
from kdjax.tasks import search
from kdjax.training import rerank
from tests.tasks.test_search import config, offers, run  # noqa: F401

POOL = 4


def test_what_was_found_is_ordered_and_the_rest_stays_behind():
    rng = np.random.default_rng(0)
    first = rng.random((5, 12)).astype(np.float32)
    found = np.argsort(-first, axis=1)[:, :POOL]
    found[3, 2:] = -1
    own = np.round(rng.standard_normal((5, POOL)).astype(np.float32))
    own[0, :2] = own[0, 0]
    made = np.concatenate(list(rerank.blocks([first[:2], first[2:]], found, own)))
    for row, (items, scores) in enumerate(zip(found, own, strict=True)):
        there = items >= 0
        expected = items[there][np.lexsort((items[there], -scores[there]))]
        left = [at for at in np.argsort(-first[row]) if at not in items]
        assert search.first(made[row], 12).tolist() == [*expected, *left]
    assert made[0, found[0, 0]] == made[0, found[0, 1]], "what the network has equal is equal"
    assert first.max() < 1, "the first stage's scores are not changed"


def test_scores_that_are_not_finite_are_seen():
    made = next(iter(rerank.blocks([np.zeros((2, 3), np.float32)], np.array([[0], [1]]), np.array([[np.nan], [1.0]]))))
    assert np.isnan(made).any(axis=1).tolist() == [True, False]


def asked(path):
    made = config(path, "search")
    made.teacher.model, made.teacher.kwargs = "cross_encoder", {"encoder": "bag_of_words", "embedding": 8}
    made.student.model, made.student.kwargs = "bi_encoder", {"encoder": "bag_of_words", "embedding": 4}
    made.data.negatives.pool = POOL
    made.methods.student = {"in_batch_documents": {"weight": 1.0}}
    terms = {name: {"weight": 0.1} for name in ("margin_mse", "list_kl")}
    made.methods.taught = {"in_batch_documents": {"weight": 1.0}, **terms, "data": {"negatives": {"random": 2}}}
    return made


def test_a_cross_encoder_teaches_a_search(offers, tmp_path):  # noqa: F811
    directory, said = run(asked(offers), tmp_path)
    assert "teacher cross_encoder: The teacher reads query and document together" in said
    assert f"it orders the first {POOL} documents of each query by TF-IDF" in table.markdown(gather(directory))
    results = [json.loads((directory / name / "seed0/result.json").read_text()) for name in ("teacher", "taught")]
    assert results[1]["teacher"]["model"] == "cross_encoder"
    assert results[1]["teacher"]["mrr@10"] == pytest.approx(results[0]["last"]["mrr@10"], rel=1e-6)
    assert json.loads((directory / "teacher/seed0/config.json").read_text())["spec"] == {"listnet": {"weight": 1.0}}
    assert export.export(directory / "teacher/seed0", tmp_path / "pairs.safetensors")["form"] == "pairs"
    last = json.loads((directory / "taught/seed0/metrics.jsonl").read_text().splitlines()[-1])
    assert last["loss/margin_mse"] > 0
    assert last["loss/list_kl"] > 0
    rows = [line.split(",") for line in offers.read_text().splitlines()[1:]]
    documents = list(dict.fromkeys(row[1] for row in rows))
    kept = predictions.read(directory / "teacher/seed0")
    first = set()
    for scores in np.concatenate(list(cosines_of_characters(dict.fromkeys(row[0] for row in rows), documents))):
        first.add((frozenset(search.first(scores, POOL).tolist()), tuple(search.first(scores, 10)[POOL:].tolist())))
    got = {(frozenset(row[:POOL].astype(int)), tuple(row[POOL:10].astype(int))) for row in kept["kept"]}
    assert len(got) == 8
    assert got <= first, "all others stay where the first stage has them"


def test_a_teacher_that_reads_pairs_needs_lists_with_an_order(offers, tmp_path):  # noqa: F811
    made = asked(offers)
    made.data.kwargs = {"relevant": 2}
    with pytest.raises(ValueError, match=r"config.teacher: .* and no training list has an irrelevant document; set"):
        run(made, tmp_path)
