"""Tests over test examples: McNemar against scipy, the interval of seeds and examples against least squares, draws."""

import csv
import io
import json

import numpy as np
import pytest
from scipy import stats

from kdjax.report import paired, table
from kdjax.runs import predictions, schema
from tests.fabricated import fabricate

METHODS = {"student": 0.70, "kd": 0.80, "same": 0.70}


@pytest.mark.parametrize(("fixed", "broken"), [(10, 3), (3, 10), (5, 5), (0, 6), (1, 0), (0, 0), (120, 81)])
def test_mcnemar_is_the_exact_binomial_test(fixed, broken):
    expected = stats.binomtest(fixed, fixed + broken, 0.5).pvalue if fixed + broken else 1.0
    assert paired.mcnemar(fixed, broken) == pytest.approx(expected, rel=1e-12)


def test_the_interval_is_that_of_a_two_way_analysis_of_variance():
    """Mean squares by least squares on dummies, the interval from their textbook combination."""
    rng = np.random.default_rng(0)
    seeds, examples = 4, 30
    y = rng.normal(size=(seeds, 1)) + 2 * rng.normal(size=(1, examples)) + rng.normal(size=(seeds, examples))
    row, column = (np.eye(n)[index] for n, index in zip(y.shape, np.indices(y.shape).reshape(2, -1), strict=True))
    one = np.ones((y.size, 1))
    left = lambda *parts: np.linalg.lstsq(np.hstack([one, *parts]), y.ravel(), rcond=None)[0]  # noqa: E731
    rss = lambda *parts: np.sum((y.ravel() - np.hstack([one, *parts]) @ left(*parts)) ** 2)  # noqa: E731
    freedom = np.array([seeds - 1, examples - 1, (seeds - 1) * (examples - 1)])
    both = rss(row, column)
    squares = np.array([rss(column) - both, rss(row) - both, both]) / freedom
    variance = (squares[0] + squares[1] - squares[2]) / y.size
    df = variance**2 / np.sum((squares / y.size) ** 2 / freedom)
    expected = y.mean() + stats.t.ppf([0.025, 0.975], df) * np.sqrt(variance)
    np.testing.assert_allclose(paired.over_both(y), expected, rtol=1e-10)
    wide = (-9.0, 9.0)
    assert paired.over_both(y, wide) == wide  # it holds the interval over seeds


@pytest.mark.parametrize(("of_seed", "of_example"), [(0.0, 1.0), (0.05, 0.3), (0.2, 0.0), (0.1, 1.0)])
def test_the_interval_covers_other_seeds_and_other_examples(of_seed, of_example):
    """95 % of the time, where the t interval over seeds leaves out what examples add; nor is it much too wide."""
    rng, n, draws, hits, over_seeds = np.random.default_rng(1), (5, 60), 1500, 0, 0
    for _ in range(draws):
        y = of_seed * rng.normal(size=(n[0], 1)) + of_example * rng.normal(size=(1, n[1])) + 0.5 * rng.normal(size=n)
        mean = y.mean(axis=1)
        half = stats.t.ppf(0.975, n[0] - 1) * mean.std(ddof=1) / np.sqrt(n[0])
        seeds = (mean.mean() - half, mean.mean() + half)
        low, high = paired.over_both(y, seeds)
        hits += low <= 0 <= high
        over_seeds += seeds[0] <= 0 <= seeds[1]
    assert 0.935 <= hits / draws <= 0.995
    assert of_example < 1 or over_seeds / draws < 0.9


def test_of_too_few_seeds_or_of_no_spread_nothing_is_known():
    assert paired.over_both(np.ones((1, 9))) == (None, None)
    assert paired.over_both(np.ones((3, 1))) == (None, None)
    assert paired.over_both(np.full((3, 9), 0.5)) == (None, None)


@pytest.fixture
def kept(tmp_path):
    """Lines of runs and the directory in which their predictions lie; those of one run were not kept."""
    lines, rng = fabricate(METHODS, seeds=3), np.random.default_rng(3)
    hard = rng.random(200)
    for line in lines:
        path = tmp_path / line["run"]
        path.mkdir(parents=True)
        hits = hard + 0.2 * rng.random(200) < line["result"]["last"]["top1"]
        line["result"]["last"]["top1"] = float(hits.mean())
        if line["run"] != "kd/seed2":
            np.savez(path / predictions.NAME, **{"score/top1": hits.astype(np.float32)})
    (tmp_path / "same/seed1" / predictions.NAME).write_bytes(b"no such file")
    return lines, tmp_path


def test_a_table_counts_examples_where_it_is_asked_to(kept):
    lines, directory = kept
    plain = table.markdown(lines), table.csv(lines)
    scored = predictions.with_scores(lines, directory)
    assert plain == (table.markdown(lines), table.csv(lines))  # and other tables stay as they are
    assert not any("examples" in line["result"]["last"] for line in lines)
    rows = {row["row"]: row for row in csv.DictReader(io.StringIO(table.csv(scored)))}
    hits = {line["run"]: np.array(line["result"]["last"].get("examples", ())) for line in scored}
    for seed, fixed, broken, p in zip(*(rows["kd"][name].split() for name in paired.SEEDS), strict=True):
        ours, theirs = (hits[f"{name}/seed{seed}"] for name in ("kd", "student"))
        counts = int(np.sum(ours > theirs)), int(np.sum(ours < theirs))
        assert (int(fixed), int(broken)) == counts
        assert float(p) == pytest.approx(stats.binomtest(counts[0], sum(counts), 0.5).pvalue)
    assert rows["kd"]["pair_seeds"] == "0 1"
    assert rows["same"]["pair_seeds"] == "0 2"
    assert "| kd, 1 " in table.markdown(scored)
    assert rows["student"]["fixed"] == ""
    low, high = (float(rows["kd"][name]) for name in ("low_both", "high_both"))
    assert low <= float(rows["kd"]["low"])
    assert high >= float(rows["kd"]["high"])
    text = table.markdown(scored)
    for told in (paired.BOTH, *paired.CHANGED, "crossed random effects", "McNemar's exact test of these two networks"):
        assert told in text


def test_runs_jsonl_made_so_gives_the_same_table(kept):
    lines, directory = kept
    scored = predictions.with_scores(lines, directory)
    table.write_texts(scored, directory / "out")
    again = [json.loads(line) for line in (directory / "out/runs.jsonl").read_text().splitlines()]
    assert [schema.damage({**line["result"], "method": "x"}) for line in again] == [""] * len(lines)
    assert table.markdown(again) == (directory / "out/table.md").read_text()
    assert predictions.with_scores(again, directory / "out") == again


def test_where_nothing_was_kept_it_says_so(kdjax, kept):
    lines, directory = kept
    table.write_texts(lines, directory / "out")
    status, _, err = kdjax("table", str(directory / "out"), "--examples")
    assert status == 2
    assert "are in no result" in err
    assert "give the experiment's directory" in err.replace("\n", " ")
