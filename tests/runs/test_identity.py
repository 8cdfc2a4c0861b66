"""What makes a run this run: its data, its teacher and its own code, told apart whatever they are called."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from kdjax import data, experiment
from kdjax.config import default
from kdjax.data import fingerprint
from kdjax.data.arrays import Arrays, Dataset
from kdjax.data.images.encoded import Encoded
from kdjax.experiment import sights
from kdjax.experiment.progress import Display
from kdjax.models import pytorch, weights
from kdjax.report import table
from kdjax.runs import identity
from kdjax.runs.directory import Run
from kdjax.types import image_spec
from tests import tiny
from tests.report.test_table import line, tiny_runs


def dataset(classes=("a", "b"), image=None, label=(0, 1, 0)):
    image = np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1) if image is None else image
    arrays = Arrays(image, np.array(label, np.int32))
    return Dataset(arrays, None, arrays, classes, "d")


def changes(other) -> list[str]:
    return identity.other_data(fingerprint.of_data(dataset()), fingerprint.of_data(other))


def test_what_differs_in_data_is_named():
    image = dataset().train.input.copy()
    image[2, 1, 1] += 1
    assert changes(dataset()) == []
    other = "examples with other inputs or labels, or in another order"
    assert changes(dataset(image=image)) == [f"train: 3 {other}", f"test: 3 {other}"]
    assert changes(dataset(label=(1, 0, 0))) == [f"train: 3 {other}", f"test: 3 {other}"]
    assert changes(dataset(image=image[::-1])) == changes(dataset(image=image))
    assert changes(dataset(image=image[:2], label=(0, 1)))[0] == "train: 3 -> 2 examples"
    assert changes(dataset(classes=("b", "a"))) == ["classes: other names, or in another order"]
    assert changes(dataset(classes=("a", "b", "c"))) == ["classes: 2 -> 3"]
    added = Dataset(*[dataset().train] * 3, ("a", "b"), "d")
    assert changes(added) == ["validation: 0 -> 3 examples"]


def encoded(folder: Path, value=0) -> Encoded:
    folder.mkdir()
    paths = [folder / f"{i}.png" for i in range(3)]
    for i, path in enumerate(paths):
        Image.fromarray(np.full((2, 2, 3), i + value, np.uint8)).save(path)
    return Encoded(np.array([*paths, None], object)[:-1], np.array(["x"] * 3, object), 2)


def test_files_are_known_by_their_bytes_and_not_by_their_names(tmp_path, monkeypatch):
    one, same, other = encoded(tmp_path / "a"), encoded(tmp_path / "b"), encoded(tmp_path / "c", 1)
    in_memory = Encoded(np.array([p.read_bytes() for p in one.items], object), one.names, 2)
    for large in (fingerprint.LARGE, 0):
        monkeypatch.setattr(fingerprint, "LARGE", large)
        prints = [fingerprint.of_data(dataset(image=image)) for image in (one, same, in_memory, other)]
        assert prints[0] == prints[1] == prints[2] != prints[3]
    monkeypatch.setattr(fingerprint, "END", 4)  # only the ends of large sets
    ends = fingerprint.of_data(dataset(image=one))
    (tmp_path / "b/0.png").write_bytes((tmp_path / "b/0.png").read_bytes() + b"x")
    assert fingerprint.of_data(dataset(image=same)) != ends


def test_streamed_and_in_memory_are_the_same_data(tmp_path):
    for split in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / split / name).mkdir(parents=True)
            Image.fromarray(np.full((2, 2, 3), ord(name), np.uint8)).save(tmp_path / split / name / "x.png")
    config = default().data
    config.source, config.path, config.image_size = "folder", str(tmp_path), 2
    assert data.load(config).fingerprint == data.load(config, in_memory=False).fingerprint != {}


def small(name="tiny", **teacher):
    config = tiny.config(name, epochs=1, methods=("student", "stateless"))
    config.teacher.epochs = 1
    config.data.train_examples = 64
    config.data.validation = 0.0
    config.teacher.update(teacher)
    return config


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """One seed of two methods, and their teacher; of a second seed half."""
    root = tmp_path_factory.mktemp("begun")
    experiment.run(small(), root, seeds=(0,))
    return root


@pytest.fixture
def root(begun, tmp_path) -> Path:
    shutil.copytree(begun, tmp_path / "runs")
    return tmp_path / "runs"


def run(config, root, **kwargs) -> str:
    printed = io.StringIO()
    with Display(Console(file=printed, width=1000)) as display:
        experiment.run(config, root, display=display, **kwargs)
    return printed.getvalue()


def edit(path: Path, change) -> None:
    """Changes the JSON of a file in place."""
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def with_other_pixels(monkeypatch):
    loaded = sights.load

    def load(config, **kwargs):
        found = loaded(config, **kwargs)
        found.train.input[0] = 255 - found.train.input[0]
        return found.__class__(**{**vars(found), "fingerprint": fingerprint.of_data(found)})

    monkeypatch.setattr(sights, "load", load)


def test_other_data_in_one_experiment_is_refused(root, monkeypatch):
    stored = Run(root / "tiny/student/seed0").config()["identity"]
    assert stored["teacher"]["sha256"] == Run(root / "tiny/teacher/seed0").result()["student_sha256"]
    assert set(stored["code"]) == {"tests.tiny"}
    with_other_pixels(monkeypatch)
    message = r"stateless/seed0 was trained on other data \(then -> now\):\n  train: 64 examples with other inputs"
    with pytest.raises(ValueError, match=message):
        experiment.run(small(), root)
    assert not (root / "tiny/student/seed1").exists()
    assert run(small(), root, seeds=(0,)) == ""  # all is finished: nothing is read


def test_runs_of_older_versions_go_on_with_a_note(root):
    for path in (root / "tiny").glob("*/seed0/config.json"):
        edit(path, lambda config: config.pop("identity"))
    (root / "tiny/student/seed0/result.json").unlink()
    printed = run(small(), root)
    assert "student/seed0 was begun by an older version, which did not note its data and teacher" in printed
    text = table.markdown(table.gather(root / "tiny"))
    assert "Not known, begun by an older version: data and teacher of teacher, student, stateless." in text


def test_a_changed_loss_is_told(root):
    (root / "tiny/student/seed0/result.json").unlink()
    edit(root / "tiny/student/seed0/config.json", lambda c: c["identity"]["code"].update({"tests.tiny": "0"}))
    assert "student/seed0: tests.tiny has changed since this run began" in run(small(), root, seeds=(0,))


def test_all_code_of_ones_own_is_known():
    named = {
        "spec": {
            "mine": {"fn": "tests.tiny.noisy"},
            "kd": {"weight": {"schedule": "tests.config.test_trace.triangle", "period": 2}},
            "first_stage": {"optimizer": {"name": "tests.config.test_optimizer.signed"}},
        },
        "optimizer": {"name": "optax.contrib.muon", "schedule": "tests.config.test_configs.x"},
        "data": {"source": "tests.tiny.blackened", "augment": {"mine": {"fn": "tests.fabricated.x"}}},
        "student": {"model": "resnet8"},
        "teacher": {"model": "tests.training.test_parallel.Net"},
        "task": "kdjax.tasks.regression.TASK",
        "metrics": {"spread": "tests.tasks.test_regression.spread"},
    }
    modules = ("tests.config.test_configs", "tests.config.test_optimizer", "tests.config.test_trace")
    modules += ("tests.fabricated", "tests.tasks.test_regression", "tests.tiny", "tests.training.test_parallel")
    assert tuple(identity.of_code(named)) == modules


@pytest.mark.parametrize("known", ["teacher", "data"])
def test_half_a_run_of_another_teacher_is_not_continued(root, known):
    run_ = Run(root / "tiny/stateless/seed0")
    (run_.path / "result.json").unlink()
    taught = run_.config()["identity"]
    other = {"teacher": {"sha256": "0" * 64}} if known == "teacher" else {"data": {**taught["data"], "names": "0"}}
    with pytest.raises(ValueError, match=r"other names|weights 000000000000 -> "):
        identity.check_continued(run_.path, {"identity": {**taught, **other}}, taught, pytest.fail)


def exported(root: Path, name: str, change=lambda tensors: None, **description) -> str:
    """The weights of the experiment's teacher as a file, changed."""
    from kdjax.ship import export

    path = root / f"{name}.safetensors"
    export.export(root / "tiny/teacher/seed0", path, "safetensors")
    tensors, _ = weights.read(path)
    tensors = {key: np.array(tensor) for key, tensor in tensors.items()}
    change(tensors)
    weights.safetensors.numpy.save_file(tensors, path, {"format": weights.FORMAT})
    edit(path.with_suffix(".json"), lambda said: said.update(description))
    return str(path)


def negate(tensors):
    tensors["params.fc.kernel"] *= -1


def test_another_teacher_behind_the_same_path_is_refused(root):
    config = small("taught", weights=exported(root, "t"))
    run(config, root, seeds=(0,))
    shutil.copy(exported(root, "u", negate), root / "t.safetensors")
    message = "was taught by another teacher: weights .* and .*t.safetensors has .* now"
    with pytest.raises(ValueError, match=message):
        experiment.run(config, root)
    assert not (root / "taught/student/seed1").exists()


def test_a_teacher_of_other_classes_or_images(root):
    names = [*"0123456789"]
    for said, message in (
        ({"classes": ["one", *names[1:]]}, "tells other classes apart: its class 0 is 'one', the data's '0'"),
        ({"classes": names[::-1]}, "the same classes in another order"),
        ({"classes": names[1:]}, "tells 9 classes apart, the data has 10"),
        ({"image_shape": [8, 8, 3]}, "takes images of 3 channels, the data has 1"),
    ):
        with pytest.raises(ValueError, match=f"^config.teacher.weights: .*w.safetensors: it .*{message}"):
            experiment.run(small("w", weights=exported(root, "w", **said)), root)
    edit(root / "tiny/teacher/seed0/result.json", lambda result: result.update(classes=["x", *names[1:]]))
    with pytest.raises(ValueError, match=r"^config.teacher.run: .*teacher/seed0: it tells other classes apart"):
        experiment.run(small("w", run=str(root / "tiny/teacher/seed0"), model=""), root)


def test_another_normalisation_is_stated(root):
    config = small("w", run=str(root / "tiny/teacher/seed0"), model="")
    config.data.mean = (0.25,)
    remark = "The teacher was trained on images normalised with mean 0.5, here it is 0.25"
    assert remark in run(config, root, seeds=(0,), only=("student",))
    assert remark in table.markdown(table.gather(root / "w"))


def test_what_is_the_same_is_not_stated():
    known = {"classes": ["a", "b"], "image_shape": [8, 8, 3], "mean": [0.5], "std": [0.5]}
    given = (("a", "b"), (8, 8, 3), (0.5, 0.5, 0.5), (0.5,))
    assert identity.check_teaches(known, *given, "x") == []
    assert identity.check_teaches({}, *given, "x") == []  # of PyTorch's files nothing is known
    (said,) = identity.check_teaches({**known, "image_shape": [16, 16, 3]}, *given, "x")
    assert said == "The teacher was trained on images of 16x16 pixels and sees 8x8 here"


def spoil(name, value):
    def change(tensors):
        tensors[name].flat[0] = value

    return change


def test_weights_of_kdjax_are_checked_as_any_others(root):
    for name, value, message in (
        ("params.fc.bias", np.nan, "params.fc.bias holds numbers that are not finite"),
        ("batch_stats.bn0.var", -1e-3, "batch_stats.bn0.var is a variance and holds numbers below 0, the least -0.001"),
    ):
        path = exported(root, "w", spoil(name, value))
        with pytest.raises(ValueError, match=message):
            pytorch.load(path, tiny.Net(10, width=8), image_spec(8, 8, 1))


# ---- tables


def known(line_, data="a", teacher="t", code="c"):
    splits = [{"split": "test", "examples": 9, "sha256": data}]
    made = {
        "data": {"classes": 10, "names": "n", "splits": splits},
        "teacher": {"sha256": teacher},
        "code": {"m": code},
    }
    return {**line_, "config": {**line_["config"], "identity": made}}


def test_rows_that_mix_data_teachers_or_code_are_marked():
    lines = [known(each) for each in tiny_runs()]
    assert not [note for each in (identity.notes(lines), identity.remarks(lines)) for note in each]
    plain = table.markdown(lines)
    for change, told in (
        ({"data": "b"}, "trained on different data: seed 0, seed 1; seed 2."),
        ({"teacher": "u"}, "taught by different teachers: seed 0, seed 1; seed 2."),
        ({"code": "d"}, "trained with different versions of the experiment's own code: seed 0, seed 1; seed 2."),
    ):
        mixed = [known(each, **change) if each["run"] == "kd/seed2" else each for each in lines]
        assert f"Its seeds were {told}" in table.markdown(mixed)
        assert f"Its seeds were {told}" not in plain
    other = [known(each, teacher="u") if each["run"].startswith("kd") else each for each in lines]
    assert "do not compare" not in plain
    assert "Rows were taught by different teachers, and do not compare: student; kd." in table.markdown(other)
    assert "of student" in table.markdown([*lines[:2], line("student", 1), line("student", 2), *lines[4:]])


def test_experiments_tested_on_different_data_are_told():
    first = [known(each) for each in tiny_runs()]
    second = [known(each, data="b") for each in tiny_runs()]
    second = [{**each, "config": {**each["config"], "experiment": "other"}} for each in second]
    assert "Tested on different data: tiny; other." in table.markdown([*first, *second])
    assert "Tested on different data" not in table.markdown(first)
