"""Texts that ship: every format names what the network did, from the text itself; int8; what is no text is told."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest

import kdjax as package
from kdjax import experiment
from kdjax.config import default
from kdjax.data.text.queries import generate
from kdjax.runs.directory import Run
from kdjax.ship import export, forms, inference, int8, lines, serve

FORMATS = [name for name in export.FORMATS if name != "tflite"]
"""Of the recurrent network here, whose loop LiteRT's converter cannot write; others are in test_litert."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of an LSTM on shop queries."""
    config = default()
    config.experiment, config.seeds, config.epochs, config.batch_size = "texts", (0,), 2, 50
    config.data.source, config.data.kwargs, config.data.buckets = "queries", {"train": 400, "test": 60}, 1
    config.optimizer.learning_rate = 0.3
    config.student.model, config.student.kwargs = "bilstm", {"embedding": 8, "width": 8}
    config.methods.student = {"cross_entropy": {"weight": 1.0}}
    return experiment.run(config, tmp_path_factory.mktemp("runs")) / "student/seed0"


@pytest.fixture(scope="module")
def files(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    made = {format_: folder / f"out.{format_}" for format_ in FORMATS}
    for file in made.values():
        export.export(run, file)
    return made


def stored(run):
    with np.load(run / "predictions.npz") as file:
        return file["logits"]  # as float16


@pytest.fixture(scope="module")
def split():
    return generate(400, 60, 0.03, 0).test


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_predicts_from_the_text_what_was_measured(run, files, split, format_):
    served = serve.load(files[format_])
    logits = served.predict(list(split.input.first))
    np.testing.assert_allclose(logits, stored(run), atol=2e-3 * np.abs(logits).max())
    top1 = float((logits.argmax(axis=1) == split.target).mean())
    assert top1 == Run(run).result()["last"]["top1"] == served.description["accuracy"]["top1"]
    assert "60 of the test split" in served.description["verified"]["texts"]


def test_company_changes_nothing(files, split):
    served, texts = serve.load(files["onnx"]), [*split.input.first[:3], " ".join(split.input.first[:9])]
    alone = np.concatenate([served.predict([text]) for text in texts])
    np.testing.assert_allclose(served.predict(texts), alone, atol=1e-5)
    with pytest.raises(ValueError, match="single texts, no pairs"):
        served.predict(texts, texts)
    for wrong in ("a lamp", [], ["a lamp", " "], [3]):
        with pytest.raises(ValueError, match="the model takes"):
            served.predict(wrong)


def test_from_python(run, split):
    student = package.load_experiment(run.parents[1])["student", 0]
    texts = list(split.input.first[:7])
    logits = student.predict(texts)
    np.testing.assert_allclose(logits, stored(run)[:7], atol=2e-3)
    with pytest.raises(ValueError, match="single texts, no pairs"):
        student.predict(texts, texts)
    with pytest.raises(ValueError, match="the model takes lists of texts"):
        student.predict("a lamp")


NETWORKS = {
    "bag_of_words": {"embedding": 8},
    "textcnn": {"embedding": 8, "filters": 4},
    "bert": {"layers": 1, "width": 8, "heads": 2, "positions": 24, "pooling": "cls"},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_as_onnx_of_any_number_and_length(tmp_path, name):
    pairs = name == "bert"
    description = {"model": name, "kwargs": NETWORKS[name], "classes": ["a", "b", "c"]}
    description |= {"length": 24, "pairs": pairs, "vocabulary": 50}
    one = jax.tree.map(lambda leaf: jnp.zeros((1, *leaf.shape), leaf.dtype), forms.spec(description))
    variables = inference.network(description).init(jax.random.key(0), one)
    export._onnx(tmp_path / "out.onnx", variables, description)
    session = onnxruntime.InferenceSession(tmp_path / "out.onnx")
    generator = np.random.default_rng(0)
    for examples, length in ((1, 5), (3, 24)):
        mask = np.arange(length)[None] < generator.integers(1, length + 1, (examples, 1))
        inputs = {"tokens": generator.integers(0, 50, mask.shape).astype(np.int32), "mask": mask}
        inputs |= {"segments": generator.integers(0, 2, mask.shape).astype(np.int32)} if pairs else {}
        expected = np.asarray(jax.jit(inference.predictor(description, variables))(inputs))
        assert np.ptp(expected) > 1e-2
        np.testing.assert_allclose(session.run(["logits"], inputs)[0], expected, atol=1e-5)


def test_texts_files_and_standard_input(kdjax, files, tmp_path, monkeypatch):
    (tmp_path / "texts.txt").write_bytes(b"\xef\xbb\xbfoak lamp table\r\n\nwith \xe9 in it\nred kettle\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"black dog jacket\n")))
    texts = "bench for dog", tmp_path / "texts.txt", "-", tmp_path / "none.txt", "", tmp_path
    status, out, err = kdjax("predict", files["onnx"], *texts, "--json", "--batch-size=2")
    found = [json.loads(line) for line in out.splitlines()]
    assert [line["text"] for line in found] == ["bench for dog", "oak lamp table", "red kettle", "black dog jacket"]
    served = serve.load(files["onnx"])
    for line in found:
        probabilities = lines.probabilities(served.predict([line["text"]]))[0]
        best = int(probabilities.argmax())
        assert line["top"][0]["class"] == served.classes[best]
        assert line["top"][0]["probability"] == pytest.approx(probabilities[best], abs=1e-5)
    assert (status, found[2]["place"]) == (2, f"{tmp_path}/texts.txt, line 4")
    assert err.splitlines() == [
        f"kdjax: {tmp_path}/texts.txt, line 3: byte 0xe9 at place 6 is no UTF-8",
        f"kdjax: {tmp_path}/none.txt: there is no such file",
        "kdjax: '': the text is empty",
        f"kdjax: cannot read '{tmp_path}': Is a directory",
    ]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("empty.txt", b"\n", "there is no text in this file"),
        ("binary.txt", b"ab\0c\n", "line 1: holds a byte 0, which no file of texts does"),
        ("rows.csv", b"text,label\n", "csv has columns; give a file with one text a line"),
        ("long.txt", b"a" * 70_000, "line 1: the text has 70,000 characters, more than 65,536"),
    ],
)
def test_files_that_hold_no_texts(kdjax, files, tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    status, out, err = kdjax("predict", files["onnx"], tmp_path / name)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert told in err


def test_pairs_have_a_tab_between():
    first, second = lines.read(["a lamp\tfor reading", "a lamp"], pairs=True)
    assert (first.first, first.second, first.shown) == ("a lamp", "for reading", "a lamp | for reading")
    assert "two texts with one tab between; got 0 tabs" in str(second)


def test_predict_needs_no_jax(files):
    code = (
        "import sys; from kdjax import cli\n"
        "try: cli.main(['predict', sys.argv[1], 'oak lamp table'])\n"
        "except SystemExit as left: assert not left.code\n"
        "bad = {'jax', 'flax', 'scipy', 'tokenizers'} & set(sys.modules); assert not bad, bad"
    )
    command = [sys.executable, "-c", code, str(files["onnx"])]
    said = subprocess.run(command, check=True, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert said.stdout.startswith("oak lamp table: ")


def test_int8_and_its_table(kdjax, run, split, tmp_path):
    status, out, err = kdjax("sizes", run, f"--out={tmp_path}", "--images=100")
    assert (status, err) == (0, "")
    plain, small = (serve.load(run / f"student{name}.onnx") for name in ("", "-int8"))
    assert small.description["int8"] == "ONNX Runtime, static, calibrated on 100 training texts"
    assert "ms, 1 text" in out
    types = {tuple(tensor.dims): tensor.data_type for tensor in _graph(run / "student-int8.onnx").initializer}
    assert types[plain.description["vocabulary"], 8] in (2, 3)  # vectors of words, in eight bits
    texts = list(split.input.first)
    expected = plain.predict(texts)
    assert np.abs(small.predict(texts) - expected).max() < 0.1 * np.abs(expected).max()


def test_operations_by_hand(files):
    """16 tokens: both directions' gates from words and from states, then the classifier."""
    served = serve.load(files["onnx"])
    length = served.description["length"]
    dense = 2 * length * (8 * 32 + 8 * 32) + 16 * 8
    assert int8.operations(files["onnx"], served.drawn(1, np.random.default_rng(0))) == (dense, dense)


def _graph(path):
    return onnx.load(path).graph


def test_a_run_of_an_older_kdjax(kdjax, run, tmp_path):
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    result = {key: value for key, value in Run(run).result().items() if key != "length"}
    (copy / "result.json").write_text(json.dumps(result))
    status, _, err = kdjax("export", copy, tmp_path / "out.onnx")
    assert (status, err.count("\n")) == (2, 1)
    assert "without the length of texts" in err


def test_data_with_another_vocabulary_checks_nothing(run, tmp_path):
    copy, said = Path(shutil.copytree(run, tmp_path / "run")), []
    config = json.loads((copy / "config.json").read_text())
    config["data"]["kwargs"]["train"] = 300
    (copy / "config.json").write_text(json.dumps(config))
    description = export.export(copy, tmp_path / "out.onnx", say=said.append)
    assert "has another vocabulary than it was trained on" in said[0]
    assert description["verified"]["texts"] == "18 random texts"
