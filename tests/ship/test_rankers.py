"""Rankers that ship: every form gives from its file what the network does, and the score of the test split with it."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import kdjax as package
from kdjax import experiment, tasks
from kdjax.config import default
from kdjax.runs.directory import Run
from kdjax.ship import catalogue, export, inference, int8, measured, ranked, serve
from kdjax.training import checkpoint
from tests.offers import write


def base(task: str, **methods):
    """A config of short trainings; method -> its loss, network and arguments."""
    config = default()
    config.experiment, config.task, config.seeds, config.epochs = task, task, (0,), 1
    config.optimizer.learning_rate = 0.3
    config.data.validation, config.batch_size = 0.0, 16
    for name, (loss, model, kwargs) in methods.items():
        config.methods[name] = {loss: {"weight": 1.0}, "student": {"model": model, "kwargs": kwargs}}
    return config


def of_offers(path, task: str, **methods):
    config = base(task, **methods)
    config.batch_size = 8
    config.data.source, config.data.path, config.data.tokenizer = "query_documents", str(path), "trigrams"
    config.data.columns.text, config.data.columns.second, config.data.columns.label = "name", "title", "grade"
    config.data.kwargs = {"relevant": 2, "negatives": 2}
    return config


@pytest.fixture(scope="module")
def offers(tmp_path_factory):
    return write(tmp_path_factory.mktemp("offers") / "offers.csv")


class Made(dict):
    """Name -> what a function makes of it, when it is asked for."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def __missing__(self, name):
        self[name] = self.make(name)
        return self[name]


@pytest.fixture(scope="module")
def runs(offers, tmp_path_factory):
    """Name of a method -> a finished run."""
    root = tmp_path_factory.mktemp("runs")
    towers = {
        "shared": ("in_batch_documents", "bi_encoder", {"embedding": 6}),
        "towers": ("in_batch_documents", "bi_encoder", {"embedding": 6, "shared": False, "similarity": "dot"}),
    }
    pairs = {"pairs": ("listnet", "cross_encoder", {"encoder": "bag_of_words", "embedding": 6})}
    lists = base("ranking", lists=("listnet", "scorer", {"widths": (8,), "seen": 16}))
    lists.experiment, lists.data.source, lists.data.kwargs = "lists", "searches", {"train": 48, "test": 32}
    users = base(
        "recommendation",
        matrix_factorisation=("item_softmax", "matrix_factorisation", {"width": 4}),
        neumf=("item_softmax", "neumf", {"width": 4, "hidden": (4,)}),
        sasrec=("item_softmax", "sasrec", {"width": 4, "layers": 1}),
        popularity=("item_softmax", "popularity", {}),
        lightgcn=("item_softmax", "lightgcn", {"width": 4, "layers": 1}),
    )
    users.data.source, users.data.kwargs = "shoppers", {"users": 60, "items": 40, "mean": 8}
    images = base("retrieval", images=("in_batch", "convnet", {"widths": (4, 4)}))
    images.data.source, images.data.train_examples = "digits", 200
    configs = of_offers(offers, "search", **towers), of_offers(offers, "ranking", **pairs), lists, users, images
    of = {name: config for config in configs for name in config.methods}
    return Made(lambda name: experiment.run(of[name], root, only=(name,)) / name / "seed0")


EXPORTED = ("shared", "towers", "pairs", "lists", "matrix_factorisation", "neumf", "sasrec", "lightgcn", "images")


@pytest.fixture(scope="module")
def files(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")

    def make(name):
        beside = {"shared": {"catalogue": str(folder / "shared.npz")}}
        export.export(runs[name], folder / f"{name}.onnx", **beside.get(name, {}))
        return folder / f"{name}.onnx"

    return Made(make)


@pytest.mark.parametrize("name", EXPORTED)
def test_the_score_of_the_test_split_is_the_runs(runs, files, name):
    config, result = Run(runs[name]).finished()
    task, served = tasks.named(config["task"]), serve.load(files[name])
    documents = None
    if name == "shared":
        documents = catalogue.read(files[name].with_suffix(".npz")).embeddings
    elif name == "towers":
        dataset = export.dataset(config)
        documents = measured.embedded(serve.load(files[name].with_name("towers-documents.onnx")), dataset.documents)
    found = measured.score(served, export.dataset(config), task, documents)
    rounding = 1e-4 if name == "images" else 2e-6  # of four numbers: many photographs are nearly as alike as others
    assert found == pytest.approx(result["last"][task.primary], abs=rounding)
    assert served.description["accuracy"][task.primary] == result["last"][task.primary]
    assert found > 0


@pytest.mark.parametrize(
    ("format_", "name"),
    [("stablehlo", "shared"), ("stablehlo", "lists"), ("safetensors", "pairs"), ("safetensors", "sasrec")],
)
def test_other_formats_give_the_same(runs, files, tmp_path, format_, name):
    plain = serve.load(files[name])
    export.export(runs[name], tmp_path / f"out.{format_}")
    other = serve.load(tmp_path / f"out.{format_}")
    for examples in (2, 5):
        given = plain.drawn(examples, np.random.default_rng(examples))
        expected = plain.run(given)
        assert np.ptp(expected) > 1e-3
        np.testing.assert_allclose(other.run(given), expected, atol=1e-5)


def test_what_the_files_take_and_give(runs, files):
    """By ONNX Runtime alone, of other numbers and lengths than any that they were checked with."""
    rng = np.random.default_rng(0)
    tokens = {"tokens": rng.integers(0, 20, (5, 7)).astype(np.int32), "mask": np.ones((5, 7), bool)}
    taken = {
        "shared": (tokens, "embedding", (5, 6)),
        "pairs": (tokens | {"segments": np.zeros((5, 7), np.int32)}, "scores", (5,)),
        "lists": ({"features": rng.standard_normal((3, 11, 16), np.float32)}, "scores", (3, 11)),
        "matrix_factorisation": ({"user": np.arange(4, dtype=np.int32)}, "scores", (4, 40)),
        "sasrec": ({"history": rng.integers(-1, 40, (4, 20)).astype(np.int32)}, "scores", (4, 40)),
    }
    for name, (given, gives, shape) in taken.items():
        session = onnxruntime.InferenceSession(files[name])
        assert {each.name for each in session.get_inputs()} == given.keys(), name
        (found,) = session.run([gives], given)
        assert found.shape == shape, name
        description = serve.description(files[name])
        variables = checkpoint.student(Run(runs[name]).checkpoints, Run(runs[name]).result()["student_sha256"])
        np.testing.assert_allclose(found, inference.predictor(description, variables)(given), atol=1e-5)


def test_a_pair_is_joined_as_the_network_joins_it(runs, files):
    config, _ = Run(runs["pairs"]).finished()
    dataset, served = export.dataset(config), serve.load(files["pairs"])
    query, documents = dataset.texts["test"][0], dataset.texts["documents"][:5]
    (kept,) = [np.load(runs["pairs"] / "predictions.npz")["logits"][0]]
    items = dataset.test.input["items"][0]
    scores = served.predict([query] * 3, list(dataset.texts["documents"][items[:3]]))
    np.testing.assert_allclose(scores, kept[:3], atol=2e-3)
    long = served.encode([f"{query} " * 50], [f"{documents[0]} " * 50])
    assert long["tokens"].shape[1] == served.description["length"]
    assert long["segments"].sum() == served.description["lengths"]["document"] - served.description["front"]


def test_a_search_by_the_command_line(kdjax, files, offers):
    status, out, err = kdjax(
        "predict", files["shared"], "--catalogue", files["shared"].with_suffix(".npz"), "model3 x", "--json", "--top=2"
    )
    assert (status, err) == (0, "")
    answer = json.loads(out)
    assert answer["text"] == "model3 x"
    assert len(answer["top"]) == 2
    served, known = serve.load(files["shared"]), catalogue.read(files["shared"].with_suffix(".npz"))
    scores = known.embeddings @ served.predict(["model3 x"])[0]
    assert answer["top"][0]["score"] == pytest.approx(scores.max(), abs=1e-6)
    assert answer["top"][0]["title"] == known.names[scores.argmax()][1]


def test_towers_of_their_own_are_two_files_and_int8_is_measured(kdjax, runs, files, tmp_path):
    queries, documents = (serve.load(files["towers"].with_name(f"towers{end}.onnx")) for end in ("", "-documents"))
    assert np.abs(queries.predict(["model3"]) - documents.predict(["model3"], "document")).max() > 1e-2
    with pytest.raises(ValueError, match="is the tower of a query; another file has that of a document"):
        queries.predict(["model3"], "document")
    status, out, _ = kdjax(
        "export", runs["towers"], tmp_path / "t.onnx", "--catalogue", tmp_path / "t.npz", "--dtype=int8"
    )
    assert status == 0
    known = catalogue.read(tmp_path / "t.npz")
    assert f"{len(known.names):,} documents in int8" in out
    with np.load(tmp_path / "t.npz") as file:
        assert file["embeddings"].dtype == np.int8
        step = file["scale"][:, None]
    exact = measured.embedded(documents, export.dataset(Run(runs["towers"]).config()).documents)
    assert (np.abs(known.embeddings - exact) <= step / 2 + 1e-6).all()


def test_a_catalogue_of_ones_own(kdjax, files, tmp_path):
    (tmp_path / "titles.txt").write_text("a1\tmodel3 colour1 brand2\nb7\tmodel4 colour0 brand1\n")
    made = tmp_path / "own.npz"
    status, out, err = kdjax("embed", files["shared"], made, tmp_path / "titles.txt", "model5 plain")
    assert (status, err) == (0, "")
    assert "3 embeddings in float32" in out
    known = catalogue.read(made)
    assert known.names == [["a1", "model3 colour1 brand2"], ["b7", "model4 colour0 brand1"], ["model5 plain"] * 2]
    status, out, _ = kdjax("predict", files["shared"], "--catalogue", made, "model3 colour1 brand2")
    assert out.splitlines()[1].split(None, 1) == ["1.0000", "model3 colour1 brand2"]
    for args, told in (
        (("predict", files["towers"], "--catalogue", made, "model3"), "with other weights: write it anew"),
        (("predict", files["shared"], "model3"), "--catalogue=FILE.npz names those of what can be found"),
        (("predict", files["shared"], "--catalogue", tmp_path / "titles.txt", "x"), "is no catalogue that kdjax wrote"),
        (("predict", files["sasrec"], "--catalogue", made, "x"), "scores users by itself and takes no --catalogue"),
        (("embed", files["lists"], made, "x"), "gives scores, no embeddings"),
        (("embed", files["towers"], made, "x"), "is the tower of a query"),
        (("embed", files["shared"], tmp_path / "own.txt", "x"), "the name of a catalogue ends in .npz"),
        (("embed", files["shared"], made, "", "x"), "the text is empty"),
    ):
        status, _, err = kdjax(*args)
        assert status == 2
        assert told in err, args


def test_photographs_find_photographs(kdjax, files, tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(tmp_path / f"{number}.png")
    made = tmp_path / "photos.npz"
    assert kdjax("embed", files["images"], made, tmp_path)[0] == 0
    status, out, _ = kdjax("predict", files["images"], "--catalogue", made, tmp_path / "1.png", "--top=1")
    assert (status, out.split()[1:]) == (0, ["1.0000", str(tmp_path / "1.png")])


def test_items_for_a_user(kdjax, files, runs):
    status, out, err = kdjax(
        "predict", files["sasrec"], "item 3, item 8", "item 3\titem 8", "item 99", "--json", "--top=40"
    )
    first, second = map(json.loads, out.splitlines())
    assert (status, err.strip()) == (2, "kdjax: 'item 99': item 'item 99' was not trained on; did you mean 'item 9'?")
    assert first["top"] == second["top"]
    assert first["history"] == ["item 3", "item 8"]
    best = [each["item"] for each in first["top"]]
    assert len(best) == 38
    assert not {"item 3", "item 8"} & set(best)
    served = serve.load(files["sasrec"])
    history = np.full((1, served.description["length"]), -1, np.int32)
    history[0, -2:] = [served.description["items"].index(name) for name in ("item 3", "item 8")]
    (scores,) = served.run({"history": history})
    assert first["top"][0]["score"] == pytest.approx(max(np.delete(scores, history[0, -2:])), abs=1e-6)
    status, out, err = kdjax("predict", files["neumf"], "shopper 3,item 8", "nobody", "--top=1")
    assert (status, len(out.splitlines())) == (2, 2)
    assert "user 'nobody' was not trained on" in err
    status, _, err = kdjax("export", runs["popularity"], files["neumf"].with_name("popularity.onnx"))
    assert "popularity looks at neither user nor history" in err


@pytest.mark.parametrize(
    ("name", "asked", "dtype"),
    [("matrix_factorisation", "shopper 3,item 8", "float32"), ("sasrec", "item 3,item 8", "int8")],
)
def test_items_of_a_catalogue_for_a_user(kdjax, files, runs, tmp_path, name, asked, dtype):
    """Users and items are two files that give together what one gives alone, and the score of the test split."""
    users, items = tmp_path / "users.onnx", tmp_path / "items.npz"
    status, out, err = kdjax("export", runs[name], users, "--catalogue", items, f"--dtype={dtype}")
    assert (status, err) == (0, "")
    assert f"{items}: 40 items in {dtype}," in out
    whole = serve.load(files[name])
    assert serve.description(users)["gives"] == "embedding"
    known, embedding = catalogue.read(items), serve.load(users).run(drawn := whole.drawn(7, np.random.default_rng(1)))
    scores = np.concatenate(list(known.scores(embedding)))
    assert embedding.shape == (7, 4)
    np.testing.assert_allclose(scores, whole.run(drawn), atol=1e-5 if dtype == "float32" else 0.05)
    assert [each for each, _ in known.names] == whole.description["items"]
    config, result = Run(runs[name]).finished()
    written = measured.of_items(serve.load(users), export.dataset(config), tasks.named(config["task"]), known)
    assert written == pytest.approx(result["last"]["ndcg@10"], abs=2e-6 if dtype == "float32" else 0.05)
    status, out, err = kdjax("predict", users, "--catalogue", items, asked, "--json", "--top=40")
    assert (status, err) == (0, "")
    alone = json.loads(kdjax("predict", files[name], asked, "--json", "--top=40")[1])
    top = {each["item"]: each["score"] for each in json.loads(out)["top"]}
    assert top.keys() == {each["item"] for each in alone["top"]}
    assert list(top.values()) == sorted(top.values(), reverse=True)
    np.testing.assert_allclose(
        [top[each["item"]] for each in alone["top"]],
        [each["score"] for each in alone["top"]],
        atol=1e-5 if dtype == "float32" else 0.05,
    )
    for args, told in (
        (("predict", users, asked), "gives embeddings: --catalogue=FILE.npz names those"),
        (("embed", users, tmp_path / "own.npz", "x"), "embeds users: the vectors of its items are written by"),
    ):
        status, _, err = kdjax(*args)
        assert (status, told in err) == (2, True), err


def test_no_catalogue_of_items_that_scores_are_no_products_of(kdjax, runs, tmp_path):
    status, _, err = kdjax("export", runs["neumf"], tmp_path / "neumf.onnx", "--catalogue", tmp_path / "items.npz")
    assert (status, "the student has no vectors of items" in err) == (2, True)
    assert not list(tmp_path.iterdir())


def test_lists_of_a_file(kdjax, files, tmp_path):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((5, 16)).astype(np.float32)
    lines = [
        f"0 qid:{7 if row < 3 else 8} " + " ".join(f"{i + 1}:{x!r}" for i, x in enumerate(map(float, of)))
        for row, of in enumerate(features)
    ]
    (tmp_path / "test.txt").write_text("\n".join(lines) + " 17:3\n")  # a feature that the network does not read
    status, out, err = kdjax("predict", files["lists"], tmp_path / "test.txt", "--json", "--top=3")
    assert (status, err) == (0, "")
    seven, eight = map(json.loads, out.splitlines())
    scores = serve.load(files["lists"]).predict([features[:3], features[3:]])
    assert [each["line"] for each in seven["top"]] == [1 + at for at in np.argsort(-scores[0])]
    assert eight["query"] == "8"
    assert [each["line"] for each in eight["top"]] == [4 + at for at in np.argsort(-scores[1])]
    (tmp_path / "test.txt").write_text("0 qid:1 1:x\n")
    status, _, err = kdjax("predict", files["lists"], tmp_path / "test.txt")
    assert (status, "test.txt, line 1: expected feature:value" in err) == (2, True)


def test_pairs_have_a_score_each(kdjax, files):
    status, out, err = kdjax("predict", files["pairs"], "model3 x\tmodel3 colour1", "no tab")
    assert (status, "two texts with one tab between" in err) == (2, True)
    (score,) = serve.load(files["pairs"]).predict(["model3 x"], ["model3 colour1"])
    assert out.splitlines()[1].split(None, 1) == [f"{score:.4f}", "model3 colour1"]


def test_it_needs_no_jax(files):
    code = (
        "import sys; from kdjax import cli\n"
        "try: cli.main(['predict', *sys.argv[1:]])\n"
        "except SystemExit as left: assert not left.code\n"
        "bad = {'jax', 'flax', 'scipy', 'tokenizers'} & set(sys.modules); assert not bad, bad"
    )
    given = str(files["shared"]), "--catalogue", str(files["shared"].with_suffix(".npz")), "model3"
    said = subprocess.run(
        [sys.executable, "-c", code, *given], check=True, cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert said.stdout.startswith("model3:\n")


def test_what_is_not_exported_is_told(kdjax, runs, tmp_path):
    for args, told in (
        ((runs["lists"], tmp_path / "out.tflite"), "a .tflite file holds networks of images and of texts"),
        (
            (runs["lists"], tmp_path / "o.onnx", "--catalogue", tmp_path / "o.npz"),
            "--catalogue holds the embeddings of",
        ),
        (
            (runs["shared"], tmp_path / "o.onnx", "--catalogue", tmp_path / "o.npz", "--dtype=int4"),
            "in float32 or int8",
        ),
    ):
        status, _, err = kdjax("export", *args)
        assert (status, err.count("\n")) == (2, 1)
        assert told in err


def test_from_python_it_is_what_the_file_gives(runs, files, offers):
    """Of what ranks lists, texts and items, and of encoders of photographs."""
    for name, given in (
        ("shared", (["model3 x", "brand2 model7 colour1"],)),
        ("pairs", (["model3 x"], ["model3 colour1"])),
        ("lists", (list(np.random.default_rng(0).standard_normal((2, 5, 16))),)),
        ("sasrec", ([["item 3", "item 8"]],)),
        ("images", (np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8),)),
    ):
        student = package.load_experiment(runs[name].parents[1])[runs[name].parent.name, 0]
        found, expected = student.predict(*given), serve.load(files[name]).predict(*given)
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=name)


def test_sizes_of_rankers(kdjax, runs, tmp_path):
    status, out, err = kdjax("sizes", runs["shared"], runs["towers"], f"--out={tmp_path}", "--images=16")
    assert (status, err) == (0, "")
    assert "| MRR@10 " in out
    with open(tmp_path / "sizes.csv") as file:
        rows = {(row["student"], row["file"]): row for row in csv.DictReader(file)}
    assert list(rows) == [(name, kind) for name in ("shared", "towers") for kind in ("float32", "int8")]
    for (name, kind), row in rows.items():
        measured_ = Run(runs[name]).result()["last"]["mrr@10"]
        assert float(row["score"]) == pytest.approx(measured_, abs=2e-6 if kind == "float32" else 0.3)
        assert float(row["catalogue"]) == 120 * (6 * 4 if kind == "float32" else 6 + 4)
        vocabulary = serve.description(files_of(runs[name])[0])["vocabulary"]
        towers = 1 + (name == "towers")
        assert float(row["tables"]) == vocabulary * 6 * (4 if kind == "float32" else 1) * towers
        assert 0 < float(row["ms"]) <= 2 * float(row["ms_100"])
    assert len(files_of(runs["towers"])) == 4
    small = serve.description(runs["shared"] / "student-int8.onnx")
    assert small["accuracy"]["mrr@10"] == float(rows["shared", "int8"]["score"])
    status, _, err = kdjax("sizes", runs["shared"], runs["lists"])
    assert (status, "a table of sizes is of one task" in err) == (2, True)


def files_of(run):
    return sorted(run.glob("student*.onnx"))


@pytest.mark.parametrize("name", ["lists", "sasrec", "pairs"])
def test_int8_scores_nearly_as_the_float(files, runs, tmp_path, name):
    dataset = export.dataset(Run(runs[name]).config())
    served = serve.load(files[name])
    given = ranked.taken(served.description, dataset, dataset.train, 16)
    int8.quantize(files[name], tmp_path / "small.onnx", given)
    drawn = ranked.taken(served.description, dataset, dataset.test, 4)[0]
    expected, found = served.run(drawn), serve.load(tmp_path / "small.onnx", exact=True).run(drawn)
    assert 0 < np.abs(found - expected).max() < 0.15 * np.abs(expected).max()
