"""An experiment on interactions, from a file to the table."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from kdjax import experiment
from kdjax.config import default
from kdjax.experiment import taught
from kdjax.experiment.progress import Display
from kdjax.report import table
from kdjax.runs import predictions
from kdjax.runs.directory import Run
from kdjax.runs.gather import gather

METHODS = {
    "student": {"item_softmax": {"weight": 1.0}},
    "rrd": {"item_softmax": {"weight": 1.0}, "rrd": {"weight": 0.1, "top": 5, "others": 5}},
    "de": {"bpr": {"weight": 1.0}, "de": {"weight": 0.1, "experts": 2}},
}


def config(path, **fields):
    config = default()
    config.experiment, config.task, config.seeds, config.epochs, config.batch_size = (
        "log",
        "recommendation",
        (0,),
        2,
        16,
    )
    config.data.source, config.data.path, config.data.validation = "interactions", str(path), 0.1
    config.teacher.model = config.student.model = "matrix_factorisation"
    config.teacher.kwargs, config.student.kwargs = {"width": 8}, {"width": 2}
    config.execution.eval_batch_size = 16
    config.optimizer.learning_rate = 0.5
    for name, spec in METHODS.items():
        config.methods[name] = spec
    for name, value in fields.items():
        config[name] = value
    return config


def run(config, root):
    text = io.StringIO()
    with Display(Console(file=text, width=400)) as display:
        return experiment.run(config, root, display=display), text.getvalue()


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """(the experiment's directory, what was printed, the file of interactions)."""
    root = tmp_path_factory.mktemp("log")
    rng = np.random.default_rng(0)
    lines = [f"{user}\t{item}\t5\t{at}" for user in range(40) for at, item in enumerate(rng.permutation(30)[:8])]
    (root / "u.data").write_text("\n".join(lines))
    return *run(config(root / "u.data"), root / "runs"), root / "u.data"


def test_the_table_is_of_ranked_lists(done):
    directory, said, _ = done
    assert "u, 30 items, students train on 40 users, 40 validation, 40 test" in said
    text = table.markdown(gather(directory))
    for title in ("nDCG@10", "HR@10", "recall@10", "MRR@10", "overlap@10"):
        assert title in text
    assert "Recommending what most users took" in text


def test_results_hold_scores_of_users_and_their_lists(done):
    directory, *_ = done
    result = json.loads((directory / "rrd/seed0/result.json").read_text())
    assert 0 <= result["last"]["ndcg@10"] <= result["last"]["hr@10"] <= 1
    assert result["last"]["recall@10"] == pytest.approx(result["last"]["hr@10"]), "one item a user"
    assert 0 <= result["last"]["agreement"] <= 1
    kept = predictions.read(directory / "rrd/seed0")
    assert kept["kept"].shape == (40, 20)
    assert kept["score/ndcg@10"].mean() == pytest.approx(result["last"]["ndcg@10"], rel=1e-5)
    had = [set((-2 - row[row < -1]).tolist()) for row in kept["target"]]
    assert not any(had[user] & set(items.astype(int).tolist()) for user, items in enumerate(kept["kept"]))


def test_the_teachers_lists_are_made_once(done, tmp_path, monkeypatch):
    """In place of its scores of all items, for all methods, seeds and epochs; nothing of the results changes."""
    plain, _, path = done
    seen, write = [], taught.kept.write
    monkeypatch.setattr(taught.kept, "write", lambda *given: (seen.append(given[0]), write(*given)))
    made = config(path, seeds=(0, 1))
    made.execution.teach_once = True
    made.teacher.run = str(plain / "teacher/seed0")
    with made.unlocked():
        del made.methods["student"], made.methods["de"]
    made.methods.cd = {"cd": {"weight": 1.0, "samples": 4}}
    made.baseline = "rrd"
    directory, said = run(made, tmp_path)
    assert said.count("the teacher looks once") == len(seen) == 1
    records = np.load(seen[0])
    assert records.dtype["first"].names == ()
    assert sorted(records[name].shape for name in ("lists",)) == [(40,)]
    assert sorted(records.dtype["lists"][name].shape for name in records.dtype["lists"].names) == [
        (5,),
        (5,),
        (16,),
        (16,),
    ]
    ours, theirs = (Run(root / "rrd/seed0").history() for root in (directory, plain))
    assert ours == theirs


def test_a_teacher_of_other_items_is_refused(done, tmp_path):
    directory, _, path = done
    other = tmp_path / "u.data"
    other.write_text(path.read_text().replace("\t29\t5", "\t31\t5"))
    changed = config(other, experiment="other")
    changed.teacher.run = str(directory / "teacher/seed0")
    with pytest.raises(ValueError, match="it was trained with other items or users, 30 items and here 30"):
        run(changed, tmp_path / "runs")
