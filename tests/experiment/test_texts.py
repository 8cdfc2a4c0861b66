"""Experiments on texts: tokenizers stay with runs, execution changes nothing, what is of images is refused."""

import io
import json
import re

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from kdjax import experiment
from kdjax.config import default
from kdjax.data.text import tokenizers
from kdjax.experiment.progress import Display
from kdjax.report import table
from kdjax.runs.directory import Run
from kdjax.types import Outputs
from tests import tiny


class Words(nn.Module):
    """The mean of the words' vectors, and of those of neighbours' products: padding changes nothing."""

    num_classes: int
    vocabulary: int
    width: int = 8

    @nn.compact
    def __call__(self, inputs, train: bool = False):
        mask = inputs["mask"][..., None].astype(jnp.float32)
        words = nn.Embed(self.vocabulary, self.width)(inputs["tokens"]) * mask
        embedding = (words.sum(1) + (words[:, 1:] * words[:, :-1]).sum(1)) / mask.sum(1)
        return Outputs(nn.Dense(self.num_classes, name="fc")(embedding), embedding=embedding)


def config(name="texts", methods=("student", "stateless"), **fields):
    config = default()
    config.experiment, config.seeds, config.epochs, config.batch_size = name, (0,), 2, 16
    config.data.source, config.data.kwargs = "queries", {"train": 311, "test": 60}
    config.data.validation, config.keep_last_batch = 0.1, True  # 17 batches of 16 and one of 8
    config.student.model = config.teacher.model = "tests.experiment.test_texts.Words"
    config.teacher.kwargs = {"width": 16}
    config.execution.checkpoint_seconds = 1e9
    for method in methods:
        own = {} if method == "student" else {method: {"fn": f"tests.tiny.{method}", "weight": 1.0}}
        config.methods[method] = {"cross_entropy": {"weight": 1.0}, **own}
    for field, value in fields.items():
        config.data[field] = value
    return config


def run(config, root, **fields):
    for field, value in fields.items():
        config.execution[field] = value
    text = io.StringIO()
    with Display(Console(file=text, width=400)) as display:
        directory = experiment.run(config, root, display=display)
    return directory, text.getvalue()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An experiment with everything as it is by itself."""
    return run(config(), tmp_path_factory.mktemp("whole"))[0]


def history(directory, method="stateless"):
    return Run(directory / method / "seed0").history()


def test_a_run_keeps_its_tokenizer(whole):
    for method in ("teacher", "student", "stateless"):
        held = tokenizers.loaded((whole / method / "seed0" / "tokenizer.json").read_text())
        identity = json.loads((whole / method / "seed0" / "config.json").read_text())["identity"]
        assert identity["data"]["tokenizer"] == tokenizers.digest(held)
    result = Run(whole / "student/seed0").result()
    assert result["image_shape"] is None
    assert result["train_examples"] == 280


@pytest.mark.parametrize("fields", [{"steps_per_call": 16, "eval_batch_size": 7}, {"devices": "batch"}], ids=str)
def test_what_is_computed_does_not_depend_on_how_it_is_executed(whole, tmp_path, fields):
    directory, _ = run(config(), tmp_path, **fields)
    for ours, theirs in zip(history(directory), history(whole), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_an_interrupted_run_ends_as_one_that_was_not(whole, tmp_path):
    directory, stops = tiny.in_pieces(config(), tmp_path, 7)
    assert stops > 2
    assert history(directory) == history(whole)


def test_the_log_says_tokens_a_second(tmp_path, monkeypatch):
    monkeypatch.setattr("kdjax.experiment.progress.LOG_SECONDS", 0.0)
    _, said = run(config(methods=("student",)), tmp_path)
    assert " tokens/s" in said


def test_a_teacher_of_another_vocabulary_teaches_nothing(whole, tmp_path):
    other = config("other", vocabulary=60)
    other.teacher = default().teacher
    other.teacher.run = str(whole / "teacher/seed0")
    with pytest.raises(ValueError, match=r"trained with another vocabulary, .*: numbers mean other words to it"):
        run(other, tmp_path)
    same = config("same", methods=("stateless",))
    same.teacher = default().teacher
    same.teacher.run = str(whole / "teacher/seed0")
    directory, _ = run(same, tmp_path)
    assert history(directory) == history(whole)


def test_a_run_goes_on_with_its_vocabulary_alone(whole):
    with pytest.raises(ValueError, match=r"min_count"):
        run(config(min_count=3, methods=("student", "stateless", "noisy")), whole.parent)


def test_what_is_of_images_says_so(tmp_path):
    with pytest.raises(ValueError, match="only images are read from disk"):
        run(config(), tmp_path, stream=True)


def test_the_vocabulary_is_not_for_the_config_to_say(tmp_path):
    wrong = config()
    wrong.student.kwargs = {"vocabulary": 7}
    with pytest.raises(ValueError, match=r"config.student.kwargs: vocabulary is not set here: the data says it"):
        run(wrong, tmp_path)


def test_batches_have_the_lengths_of_their_texts(whole):
    from kdjax.experiment.lab import Lab

    lab = Lab(config(), whole, Display(Console(quiet=True)), lambda: 0)
    assert lab.lengths > 1
    inputs, padded = lab.dataset.train.input, lab.kind.shapes(lab.dataset.train.input, lab.config.data)
    assert (inputs["mask"].sum(1) <= padded).all()
    assert np.array_equal(inputs["tokens"] == 0, ~inputs["mask"])


def test_transfer_sets_augmentation_and_what_is_no_network(tmp_path):
    """Texts without labels and cut ones reach those whose view says so alone; a reference stands below in the table."""
    (tmp_path / "more.txt").write_text("".join(f"oak lamp table {number}\n" for number in range(70)))
    given = config(transfer=str(tmp_path / "more.txt"))
    given.epochs, given.steps_per_epoch, given.references = 1, 6, ("tfidf",)
    given.methods.more = {
        **{name: dict(term) for name, term in given.methods.stateless.items()},
        "data": {"unlabelled": True, "augment": {"word_dropout": {}, "ngram": {"p": 0.5}}},
    }
    directory, _ = run(given, tmp_path)
    results = {name: Run(directory / name / "seed0").result() for name in ("teacher", "student", "more")}
    assert [result["train_examples"] for result in results.values()] == [280, 280, 350]
    assert [sum(result["train_counts"]) for result in results.values()] == [280, 280, 280]
    assert results["student"]["references"] == results["more"]["references"]
    assert "references" not in results["teacher"]
    found = results["student"]["references"]["tfidf"]["top1"]
    assert 0.25 < found < 1
    lines = table.gather(directory)
    shown = table.markdown(lines)
    assert re.search(rf"\| tfidf +\| +1 \| +{100 * found:.2f} \|", shown)
    assert "tfidf: No network: it was learned from the labelled examples" in shown
    assert "Texts without labels: those of more.txt." in shown
    (row,) = (row for row in table.rows(lines) if row["method"] == "tfidf")
    assert (row["top1"], row["n"], row["difference"]) == (found, 1, None)


def test_references_that_cannot_be_are_told_before_any_training(tmp_path):
    wrong = config()
    wrong.references = ("tf-idf",)
    with pytest.raises(ValueError, match=r"config.references must be a name or an import path"):
        run(wrong, tmp_path)
    wrong.references = ("tfidff",)
    with pytest.raises(ValueError, match=r"unknown config.references 'tfidff'; did you mean 'tfidf'\?"):
        run(wrong, tmp_path)
    images = tiny.config()
    images.references = ("tfidf",)
    with pytest.raises(
        ValueError, match=r"config.references: 'tfidf' classifies texts, and Digits 8x8 is no such data"
    ):
        run(images, tmp_path)
