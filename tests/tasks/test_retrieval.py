"""Retrieval: scores by their definitions, of a whole split at once, and an experiment with images and with texts."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from kdjax import experiment, losses
from kdjax.config import resolve
from kdjax.config.overrides import load_config
from kdjax.runs import predictions
from kdjax.runs.directory import Run
from kdjax.tasks import retrieval
from kdjax.types import Outputs


@pytest.fixture(scope="module")
def embedded():
    rng = np.random.default_rng(0)
    target = np.array([0] * 20 + [1] * 15 + [2] * 4 + [3], np.int32)
    return (rng.standard_normal((40, 6)) + 1.5 * np.eye(6)[target]).astype(np.float32), target


def cosines(embeddings):
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return unit @ unit.T


def test_scores_are_those_of_each_query_among_all_others(embedded):
    embeddings, target = embedded
    found, alike = retrieval.scores(*embedded), cosines(embeddings)
    for query in range(39):
        others = np.arange(40) != query
        relevant, seen = target[others] == target[query], alike[query, others]
        assert found["map"][query] == pytest.approx(average_precision_score(relevant, seen))
        for k in (1, 5):
            assert found[f"recall@{k}"][query] == relevant[np.argsort(-seen)[:k]].any()
    assert all(np.isnan(values[39]) for values in found.values())  # the only one of its class


def test_parts_of_the_queries_are_the_whole(embedded, monkeypatch):
    exact, both = retrieval.report(*embedded, embedded[0][:, :3]), None
    monkeypatch.setattr(retrieval, "ROWS", 7)
    both = retrieval.report(*embedded, embedded[0][:, :3])
    for name, value in exact.items():
        np.testing.assert_allclose(both[name], value, rtol=1e-6)
    assert 0 < exact["agreement"] < 1
    assert retrieval.report(*embedded, embedded[0])["agreement"] == pytest.approx(1)
    assert len(exact["examples"]) == 39


def test_embeddings_that_are_all_alike_earn_what_chance_does():
    found = retrieval.report(np.ones((20, 3), np.float32), np.arange(20, dtype=np.int32) % 2)
    assert found["recall@1"] == pytest.approx(9 / 19)


def test_in_batch_is_its_formula(embedded):
    embeddings, target = (x[::3] for x in embedded)
    labels = np.where(np.arange(len(target)) == 2, -1, target).astype(np.int32)
    alike, each = cosines(embeddings) / 0.2, []
    for i in np.flatnonzero(labels >= 0):
        others = [j for j in range(len(labels)) if j != i and labels[j] >= 0]
        own = [j for j in others if labels[j] == labels[i]]
        if own:
            each.append(-np.mean([alike[i, j] - np.log(np.exp(alike[i, others]).sum()) for j in own]))
    given = Outputs(np.zeros((len(labels), 4), np.float32), embedding=embeddings)
    assert 0 < len(each) < len(labels)
    np.testing.assert_allclose(losses.in_batch(given, None, labels, temperature=0.2), np.mean(each), rtol=1e-5)


def test_in_batch_kl_is_its_formula(embedded):
    s, t = embedded[0][::4], embedded[0][1::4, :3]
    found = losses.in_batch_kl(*(Outputs(s[:, :1], embedding=x) for x in (s, t)), None, temperature=0.3)
    p = []
    for x in (s, t):
        e = np.exp(cosines(x) / 0.3) * (1 - np.eye(len(x)))
        p.append(e / e.sum(1, keepdims=True) + np.eye(len(x)))
    np.testing.assert_allclose(found, np.mean(np.sum(p[1] * np.log(p[1] / p[0]) * (1 - np.eye(10)), 1)), rtol=1e-4)


def config(**changes):
    made = load_config("configs/photographs.py", [])
    made.seeds, made.epochs, made.eval_every_epochs, made.teacher.epochs = (0,), 2, 1, 2
    made.teacher.kwargs.widths, made.data.train_examples = (8, 8), 400
    with made.unlocked():
        made.update(changes)
    return resolve(made)


def test_an_experiment_on_images(tmp_path):
    directory = experiment.run(config(), tmp_path, only=("student", "in_batch_kl"))
    result, kept = Run(directory / "in_batch_kl/seed0").result(), predictions.read(directory / "in_batch_kl/seed0")
    assert result["task"]["primary"] == "map"
    assert kept["logits"].shape == (359, 16)  # embeddings, whatever the number of classes
    again = retrieval.report(kept["logits"].astype(np.float32), kept["target"])
    for name in ("map", "recall@1", "recall@5"):
        assert again[name] == pytest.approx(result["last"][name], abs=5e-3)
        assert np.nanmean(kept[f"score/{name}"]) == pytest.approx(result["last"][name], rel=1e-5)
    assert 0 < result["last"]["agreement"] < 1
    history = Run(directory / "in_batch_kl/seed0").history()
    assert history[-1]["test_map"] == pytest.approx(result["last"]["map"], rel=1e-6)


def test_an_experiment_on_texts(tmp_path):
    made = load_config("configs/queries.py", [])
    made.seeds, made.epochs, made.task = (0,), 1, "retrieval"
    made.optimizer.name, made.optimizer.warmup_epochs = "sgd", 0.0  # optax's adam counts steps in int32
    made.data.kwargs = {"train": 128, "test": 64}
    made.teacher.model, made.student.model, made.student.kwargs = "", "bag_of_words", {"embedding": 8}
    with made.unlocked():
        made.methods = {"student": {"in_batch": {"weight": 1.0}}}
    result = Run(experiment.run(resolve(made), tmp_path) / "student/seed0").result()
    assert 0 < result["last"]["map"] < 1


def test_a_network_without_embedding_is_refused(tmp_path):
    made = config()
    made.student.model, made.student.kwargs = "tests.tiny.LogitsOnly", {}
    with pytest.raises(
        ValueError, match=r"config.methods.student: config.task 'retrieval' scores the embedding .* none"
    ):
        experiment.run(made, tmp_path, only=("student",))
