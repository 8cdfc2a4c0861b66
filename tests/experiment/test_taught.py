"""config.execution.teach_once: what a teacher says of an example is computed once, kept, and changes nothing else."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax
from kdjax import experiment
from kdjax.experiment import taught
from kdjax.runs.directory import Run
from kdjax.types import Outputs
from tests import tiny
from tests.experiment import test_texts
from tests.training.test_cohort import assert_same, results


def config(once: bool = True, methods=("student", "stateless", "layered"), seeds=(0, 1), **data):
    made = tiny.config(epochs=2, methods=methods)
    made.seeds, made.teacher.epochs = seeds, 1
    made.execution.update(teach_once=once, devices="one")
    del made.data.augment["shift"]
    made.data.update(data)
    return made


def small(once: bool = True, methods=("stateless",), seeds=(0,), **data):
    """Networks of one layer, and losses on logits."""
    made = config(once, methods, seeds, **data)
    made.student.model = made.teacher.model = "tests.tiny.LogitsOnly"
    del made.teacher.kwargs["width"]
    return made


def augmented(views: int, once: bool = True):
    made = small(once, views=views)
    made.data.augment.shift = {"pixels": 1}
    made.epochs = 3
    return made


def files(directory) -> list:
    return sorted((directory / taught.FOLDER).glob("*.npy"))


def looks(monkeypatch) -> list:
    """What is written from now on, an entry a pass over the training split."""
    seen, write = [], taught.kept.write
    monkeypatch.setattr(taught.kept, "write", lambda *given: (seen.append(given[0].name), write(*given)))
    return seen


def histories(directory, seed: int = 0) -> np.ndarray:
    """All numbers of all epochs of a seed's students, one method's after another's."""
    paths = [path for path in sorted(directory.glob(f"*/seed{seed}")) if path.parent.name != "teacher"]
    return np.array([value for path in paths for row in Run(path).history() for value in row.values()])


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return experiment.run(config(), tmp_path_factory.mktemp("kept"))


def test_losses_are_those_of_a_teacher_that_looks_at_every_batch(kept, tmp_path, monkeypatch):
    seen = looks(monkeypatch)
    plain = experiment.run(config(once=False), tmp_path, seeds=(0,))
    assert not seen
    np.testing.assert_allclose(histories(kept), histories(plain), rtol=2e-4)
    told = Run(kept / "stateless/seed0").config(), Run(plain / "stateless/seed0").config()
    assert told[0]["execution"]["teach_once"]
    assert told[0]["identity"] == told[1]["identity"]


def test_seeds_share_one_file_of_what_is_read(kept):
    (path,) = files(kept)
    records = np.load(path)
    assert records.shape == (128,)  # of 160 a fifth is for validation
    assert sorted(records.dtype["first"].names) == [".features[0]", ".logits"]
    assert not (records["first"][".logits"] == 0).all(1).any()


def test_stopped_and_continued(tmp_path):
    made = small(methods=("stateless", "noisy"))
    whole = experiment.run(made, tmp_path / "whole")
    pieces, stops = tiny.in_pieces(made, tmp_path / "pieces", 3)
    assert stops > 1
    assert_same(results(pieces), results(whole))
    assert [path.name for path in files(pieces)] == [path.name for path in files(whole)]


def test_what_is_there_is_read_and_what_is_damaged_is_made_again(tmp_path, monkeypatch):
    seen = looks(monkeypatch)
    directory = experiment.run(small(), tmp_path)
    experiment.run(small(methods=("stateless", "noisy")), tmp_path, seeds=(0, 1))
    assert len(seen) == 1  # another row and another seed read the same of the same teacher
    (path,) = files(directory)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    experiment.run(small(), tmp_path, seeds=(2,))
    assert len(seen) == 2
    assert path.read_bytes() == whole


def test_a_changed_teacher_is_not_answered_by_an_old_file(tmp_path, monkeypatch):
    seen, made = looks(monkeypatch), small()
    first = experiment.run(made, tmp_path)
    (old,) = files(first)
    records = [np.load(old)["first"][".logits"]]
    made.experiment, made.teacher.seed = "other", 1
    records += [np.load(files(experiment.run(made, tmp_path))[0])["first"][".logits"]]
    made.experiment, made.teacher.run, made.teacher.mean = "again", str(first / "teacher/seed0"), (0.4,)
    records += [np.load(files(experiment.run(made, tmp_path))[0])["first"][".logits"]]  # it sees something else
    assert len(set(seen)) == 3
    assert not np.allclose(records[0], records[1])
    assert not np.allclose(records[0], records[2])


def test_views_are_taken_in_turn(tmp_path, monkeypatch):
    """Kept or not, stopped or not, it is one result; and of the three epochs the third shows what the first did."""
    seen = looks(monkeypatch)
    directory = experiment.run(augmented(2), tmp_path / "kept", seeds=(0, 1))
    assert len(seen) == len(set(seen)) == len(files(directory)) == 4  # two views of two seeds
    plain = experiment.run(augmented(2, once=False), tmp_path / "plain")
    np.testing.assert_allclose(histories(directory), histories(plain), rtol=2e-4)
    pieces, _ = tiny.in_pieces(augmented(2), tmp_path / "pieces", 5)
    assert (histories(pieces) == histories(directory)).all()
    inputs = [{int(i): x for i, x in zip(*each, strict=True)} for each in epochs(augmented(2), tmp_path / "plain")]
    shown = np.stack([[epoch[i] for i in range(128)] for epoch in inputs])
    np.testing.assert_array_equal(shown[0], shown[2])
    assert (shown[0] != shown[1]).any((1, 2, 3)).mean() > 0.5


def epochs(made, out):
    """[(index [N], input [N, ...]) of each epoch] that a student sees."""
    taken = list(kdjax.steps(made, "stateless", out=out))
    of = lambda epoch, name: np.concatenate([step.batch[name] for step in taken if step.epoch == epoch])  # noqa: E731
    return [(of(epoch, "index"), of(epoch, "input")) for epoch in (1, 2, 3)]


class Read(nn.Module):
    """Words, each of which stands in a map, too."""

    num_classes: int
    vocabulary: int

    @nn.compact
    def __call__(self, inputs, train: bool = False):
        words = nn.Embed(self.vocabulary, 4)(inputs["tokens"]) * inputs["mask"][..., None].astype(jnp.float32)
        embedding = words.mean(1)
        return Outputs(nn.Dense(self.num_classes)(embedding), (words,), embedding=embedding, mask=inputs["mask"])


def by_word(student, teacher, labels):
    """Of words that are no padding alone."""
    apart = jnp.square(student.features[0] - teacher.features[0]).mean(-1)
    return jnp.where(teacher.mask, apart, 0.0).sum() / teacher.mask.sum(dtype=jnp.float32)


def test_texts_of_several_lengths_on_devices_that_share_a_batch(tmp_path):
    made = test_texts.config(methods=())
    made.student.model = made.teacher.model = f"{__name__}.Read"
    del made.teacher.kwargs["width"]
    made.methods.words = {"cross_entropy": {"weight": 1.0}, "words": {"fn": f"{__name__}.by_word", "weight": 1.0}}
    plain = experiment.run(made, tmp_path)
    made.experiment = "kept"
    made.execution.update(teach_once=True, devices="batch")
    kept = experiment.run(made, tmp_path)
    np.testing.assert_allclose(histories(kept), histories(plain), rtol=1e-4)
    records = np.load(files(kept)[0])["first"]
    assert records.dtype.names == (".features[0]", ".mask")
    lengths = records[".mask"].sum(1)
    assert len(set(lengths)) > 2
    assert (records[".features[0]"][~records[".mask"]] == 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"augment": {"shift": {"pixels": 1}}}, r"\(shift\) makes each example anew in .* set config.data.views=4"),
        ({"augment": {"mixup": {}}}, r"\(mixup\) makes each example anew .* leave out what mixes labels"),
        ({"augment": {"mixup": {}}, "views": 2}, r"config.data.views=2: a view is of one example, .* \(mixup\) mixes"),
        ({"views": -1}, "config.data.views must be at least 0"),
    ],
)
def test_what_cannot_be_kept(tmp_path, change, message):
    made = small()
    for name, value in change.items():
        made.data[name].update(value) if isinstance(value, dict) else made.data.update({name: value})
    with pytest.raises(ValueError, match=message):
        experiment.run(made, tmp_path)
    assert not list(tmp_path.rglob("metrics.jsonl"))


def test_what_is_too_large_is_refused_in_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(taught, "memory", lambda: 100_000)
    message = r"128 examples x 1 view x 512 bytes \(.features\[0\] \[4, 4, 8\]\) are 0.0 GB, more than 50% of this"
    with pytest.raises(ValueError, match=message):
        experiment.run(config(), tmp_path)
    assert not list(tmp_path.rglob("metrics.jsonl"))
