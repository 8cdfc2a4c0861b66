"""Teacher and student see one view at different sizes and normalisations; students begin from weights of elsewhere."""

import jax
import numpy as np
import pytest

from kdjax import experiment, models
from kdjax.config import resolve
from kdjax.config.rows import expand
from kdjax.data import fingerprint
from kdjax.experiment.lab import Lab
from kdjax.models import weights
from kdjax.report import table
from kdjax.runs.directory import Run
from kdjax.training import checkpoint, parallel
from tests import tiny

LABELS = {"cross_entropy": {"weight": 1.0}}
HOW = {"image_size": 16, "mean": (0.25,), "std": (0.3,)}


def config(**teacher):
    made = tiny.config(epochs=1, methods=("student", "stateless"))
    made.seeds, made.teacher.epochs, made.data.image_size = (0,), 1, 8
    made.teacher.update(teacher)
    return made


def lab(made, tmp_path) -> Lab:
    found = Lab(resolve(made), tmp_path, None, lambda: 0)
    found.layout = parallel.layout("one", 1)
    return found


def test_one_view_is_shown_at_two_sizes(tmp_path):
    """Both see the same crop and flip; students' is the teacher's made smaller, each normalised in its own way."""
    made = config(**HOW)
    made.data.augment.flip = {}
    here = lab(made, tmp_path)
    assert (here.sight.spec.shape, here.taught.spec.shape) == ((8, 8, 1), (16, 16, 1))
    assert here.dataset is here.taught.dataset
    place = here.layout[0][0]
    make_batch = here.make_batch(here.config, place, here.sight, here.taught)
    arrays, indices = here.dataset.train, np.arange(6, dtype=np.int32)[None]
    batch = make_batch(arrays.input, arrays.target, indices, jax.random.key(0), np.zeros(1, np.int32))
    assert sorted(batch) == ["index", "input", "target", "teacher"]
    pixels = np.asarray(batch["teacher"][0]) * 0.3 + 0.25
    shrunk = jax.image.resize(pixels, (6, 8, 8, 1), "linear")
    np.testing.assert_allclose(np.asarray(batch["input"][0]) * 0.5 + 0.5, shrunk, atol=1e-5)
    alone = here.make_batch(here.config, place, here.sight)(
        arrays.input, arrays.target, indices, jax.random.key(0), np.zeros(1, np.int32)
    )
    assert sorted(alone) == ["index", "input", "target"]  # nobody else looks
    np.testing.assert_array_equal(alone["input"], batch["input"])


def test_without_it_there_is_one_sight(tmp_path):
    here = lab(config(image_size=8, mean=(0.5,)), tmp_path)
    assert here.sight is here.taught


def test_each_is_trained_measured_and_costed_at_its_own_size(tmp_path):
    made = config(**HOW)
    made.methods.attention = {**LABELS, "attention": {"weight": 1.0, "layers": ((0, 0), (1, 1))}}
    directory = experiment.run(made, tmp_path)
    teacher, student = Run(directory / "teacher/seed0"), Run(directory / "attention/seed0")
    told = teacher.config()["data"]
    assert (told["image_size"], told["mean"], told["std"]) == (16, [0.25], [0.3])
    assert teacher.result()["image_shape"] == [16, 16, 1]
    assert student.result()["image_shape"] == [8, 8, 1]
    assert student.config()["teacher"]["image_size"] == 16
    measured = student.result()["teacher"]
    assert measured["top1"] == teacher.result()["last"]["top1"]
    assert measured["flops"] == teacher.result()["student"]["flops"]
    small = Lab(resolve(config()), tmp_path, None, lambda: 0)
    assert measured["flops"] > 3 * small.cost(small.model(made.teacher, "x"), small.sight)["flops"]
    text = table.markdown(table.gather(directory)).replace("\\", "")
    assert (
        "It sees the views that students see, at 16 x 16 pixels (students: 8 x 8), "
        "normalised with mean (0.25) (students: (0.5)), normalised with std (0.3) (students: (0.5))." in text
    )
    made.teacher.image_size = 12
    with pytest.raises(ValueError, match=r"image_size"):  # another teacher is another experiment
        experiment.run(made, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data__image_size": 0, "teacher__image_size": 16}, "config.data.image_size, what students see, is not"),
        ({"teacher__image_size": -1}, "config.teacher.image_size must be at least 0"),
        ({"teacher__mean": (0.1, 0.2)}, "config.teacher.mean must be 1 number, or one for each of the 1 channels"),
        ({"teacher__std": (0.0,)}, "config.teacher.std must be positive"),
        ({"student__start": "absent.safetensors"}, "^config.student.start: absent.safetensors"),
    ],
)
def test_what_cannot_be_seen(tmp_path, change, message):
    made = config()
    for field, value in change.items():
        group, name = field.split("__")
        made[group][name] = value
    with pytest.raises(ValueError, match=message):
        experiment.run(made, tmp_path)
    assert not list(tmp_path.rglob("metrics.jsonl"))


# ---- students that start somewhere


def test_students_begin_where_weights_of_other_classes_are(tmp_path):
    path = tmp_path / "start.safetensors"
    network = models.convnet(num_classes=7, widths=(4, 8))
    variables = network.init(jax.random.key(5), np.zeros((1, 8, 8, 1), np.float32))
    weights.save(path, jax.tree.map(lambda x: np.asarray(x) + 0.5, variables), {})
    made = config()
    made.student.update(model="convnet", kwargs={"widths": (4, 8)}, start=str(path))
    made.optimizer.learning_rate = made.optimizer.weight_decay = 0.0
    made.methods.longer = {**LABELS, "start": "student"}
    made.methods.other = {**LABELS, "student": {"model": "tests.tiny.LogitsOnly"}}
    made.teacher.model = ""
    del made.methods["stateless"]
    directory = experiment.run(made, tmp_path)
    for row in ("student", "longer"):
        trained = checkpoint.student(directory / f"{row}/seed0/checkpoints")["params"]
        for leaf, value in variables["params"]["stage2_0_conv"].items():
            np.testing.assert_array_equal(trained["stage2_0_conv"][leaf], value + 0.5)
        assert trained["classifier"]["kernel"].shape == (8, 10)
    stored = Run(directory / "student/seed0").config()
    assert stored["student"]["start"] == str(path)
    assert stored["identity"]["start"]["sha256"] == fingerprint.of_file(path)
    other = Run(directory / "other/seed0").config()
    assert "start" not in other["student"]  # the file is another network's
    assert "start" not in other["identity"]
    assert ", beginning from start.safetensors, the classifier afresh;" in table.markdown(table.gather(directory))
    made.student.kwargs = {"widths": (4, 4)}
    made.experiment = "narrow"
    with pytest.raises(ValueError, match=r"^config.student.start: .* another shape than the model's"):
        experiment.run(made, tmp_path)


def test_a_student_begins_in_one_way():
    made = config()
    made.student.start = "a.safetensors"
    made.methods.copied = {**LABELS, "from_teacher": {"conv0": "conv0"}}
    with pytest.raises(ValueError, match=r"copied.from_teacher: \['conv0'\] would begin as student.start has them"):
        expand(made)
