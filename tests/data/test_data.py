"""Sources, subsets and the order of batches: what is equal, what is nested, and what each mistake is told."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdjax import data
from kdjax.config import default
from kdjax.data import Arrays, Dataset, subsets
from kdjax.data.batches import batch_indices


def config(**fields):
    data_config = default().data
    for name, value in fields.items():
        data_config[name] = value
    return data_config


def generated(**kwargs):
    return config(source="generated", kwargs=kwargs)


def counts(label, classes=10):
    return np.bincount(label[label >= 0], minlength=classes)


def custom(image=None, label=None, classes=("a", "b"), test=None):
    """A source of one's own, as an import path would name it; None: valid values."""
    image = np.arange(4 * 16, dtype=np.uint8).reshape(4, 4, 4, 1) if image is None else image
    label = np.array([0, 1, 0, 1], np.int32) if label is None else label
    train = Arrays(image, label)
    return Dataset(train, None, test or Arrays(255 - image, np.abs(label)), classes, "mine")


@pytest.fixture
def own_source(monkeypatch):
    """Makes `tests.data.test_data.source` the source; call it with what the source is to return."""

    def use(dataset):
        monkeypatch.setitem(globals(), "source", lambda config: dataset)
        return "tests.data.test_data.source"

    return use


# ---- sources


def test_digits_are_scaled_and_split_evenly():
    dataset = data.load(config())
    assert dataset.train.input.shape == (1438, 8, 8, 1)
    assert dataset.test.input.shape == (359, 8, 8, 1)
    assert dataset.train.input.dtype == np.uint8
    assert dataset.train.target.dtype == np.int32
    assert (dataset.train.input.min(), dataset.train.input.max()) == (0, 255)
    assert set(np.unique(dataset.train.input)) == set(np.round(np.arange(17) * 255 / 16).astype(int))
    whole, test = counts(np.r_[dataset.train.target, dataset.test.target]), counts(dataset.test.target)
    assert np.all(np.abs(test - whole / 5) < 1)
    assert dataset.classes == tuple("0123456789")


@pytest.mark.parametrize("fields", [{}, {"validation": 0.1}, {"train_examples": 300}, {"image_size": 16}])
def test_loading_is_a_function_of_the_config(fields):
    first, second = data.load(config(**fields)), data.load(config(**fields))
    for name, split in first.splits.items():
        np.testing.assert_array_equal(split.input, second.splits[name].input)
        np.testing.assert_array_equal(split.target, second.splits[name].target)


def test_a_validation_split_is_part_of_train_and_keeps_the_share_of_classes():
    whole, parts = data.load(config()), data.load(config(validation=0.2))
    assert len(parts.validation) == round(0.2 * len(whole.train))
    images = Counter(image.tobytes() for image in [*parts.train.input, *parts.validation.input])
    assert images == Counter(image.tobytes() for image in whole.train.input)
    assert np.all(np.abs(counts(parts.validation.target) - 0.2 * counts(whole.train.target)) < 1)
    np.testing.assert_array_equal(whole.test.input, parts.test.input)


def test_train_examples_come_before_validation():
    dataset = data.load(config(train_examples=200, validation=0.25))
    assert (len(dataset.train), len(dataset.validation)) == (150, 50)


def test_generated_images_depend_on_their_class():
    dataset = data.load(generated(shape=(6, 5, 3), classes=4, train=80, test=40))
    assert dataset.train.input.shape == (80, 6, 5, 3)
    means = np.stack([dataset.train.input[dataset.train.target == c].mean(axis=0) for c in range(4)])
    distance = np.square(dataset.test.input[:, None] - means[None]).sum(axis=(2, 3, 4))
    np.testing.assert_array_equal(distance.argmin(axis=1), dataset.test.target)


def test_images_are_resized_for_every_source():
    assert data.load(config(image_size=16)).train.input.shape[1:] == (16, 16, 1)
    assert data.load(config(source="generated", kwargs={"shape": (8, 6, 3)}, image_size=4)).test.input.shape[1:] == (
        4,
        4,
        3,
    )


def test_a_source_of_ones_own(own_source):
    dataset = custom()
    loaded = data.load(config(source=own_source(dataset)))
    np.testing.assert_array_equal(loaded.train.input, dataset.train.input)
    assert loaded.name == "mine"


def test_cifar10_from_tfds(shared_data, monkeypatch, capfd):
    import tensorflow_datasets as tfds

    monkeypatch.setenv("TFDS_DATA_DIR", str(shared_data / "tfds"))
    dataset = data.load(config(source="tfds", name="cifar10", train_examples=500))
    assert "".join(capfd.readouterr()) == ""  # neither TensorFlow nor OpenCV is missed aloud
    assert dataset.name == "cifar10 (JPEG)"  # not the original pixels, and the table says so
    assert dataset.train.input.shape == (500, 32, 32, 3)
    assert dataset.test.input.shape == (10000, 32, 32, 3)
    assert dataset.classes[:2] == ("airplane", "automobile")
    np.testing.assert_array_equal(counts(dataset.train.target), 50)
    np.testing.assert_array_equal(counts(dataset.test.target), 1000)
    theirs = tfds.builder("cifar10", data_dir=shared_data / "tfds", try_gcs=False).as_data_source("test")
    for position in (0, 5000):
        np.testing.assert_array_equal(dataset.test.input[position], theirs[position]["image"])
        assert dataset.test.target[position] == theirs[position]["label"]


# ---- subsets


@given(
    label=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    examples=st.integers(0, 60),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=100)
def test_a_stratified_part_keeps_shares_and_is_nested(label, examples, seed):
    label = np.array(label, np.int32)
    examples = min(examples, len(label))
    part = subsets.stratified(label, examples, seed)
    assert len(np.unique(part)) == len(part) == examples
    assert np.all(np.abs(counts(label[part], 5) - counts(label, 5) * examples / len(label)) <= 1)
    assert set(part) <= set(subsets.stratified(label, len(label), seed))
    assert set(subsets.stratified(label, examples // 2, seed)) <= set(part)


@pytest.mark.parametrize("unlabelled", [False, True])
def test_shots_are_nested_and_differ_by_seed(unlabelled):
    train = data.load(config()).train
    chosen = {}
    for shots in (1, 2, 5, 20):
        part = data.subset(train, config(shots=shots, unlabelled=unlabelled), seed=3)
        np.testing.assert_array_equal(counts(part.target), shots)
        assert len(part) == (len(train) if unlabelled else 10 * shots)
        chosen[shots] = Counter(image.tobytes() for image in part.input[part.target >= 0])
    assert chosen[1] <= chosen[2] <= chosen[5] <= chosen[20]
    again, other = (data.subset(train, config(shots=5), seed) for seed in (3, 4))
    assert Counter(image.tobytes() for image in again.input) == chosen[5]
    assert Counter(image.tobytes() for image in other.input) != chosen[5]


def test_unlabelled_images_stay_at_their_positions():
    train = data.load(config()).train
    part = data.subset(train, config(shots=5, unlabelled=True), seed=0)
    np.testing.assert_array_equal(part.input, train.input)
    assert set(np.unique(part.target)) == {-1, *range(10)}
    np.testing.assert_array_equal(part.target[part.target >= 0], train.target[part.target >= 0])


def test_without_shots_or_imbalance_the_students_see_everything():
    train = data.load(config()).train
    assert data.subset(train, config(), seed=0) is train


def test_a_long_tail_falls_geometrically():
    train = data.load(generated(train=1000)).train
    part = data.subset(train, config(imbalance=100.0), seed=0)
    np.testing.assert_array_equal(counts(part.target), [100, 59, 35, 21, 12, 7, 4, 2, 1, 1])
    part = data.subset(train, config(imbalance=10.0, shots=10), seed=0)
    np.testing.assert_array_equal(counts(part.target), [10, 7, 5, 4, 3, 2, 2, 1, 1, 1])
    np.testing.assert_array_equal(counts(data.subset(train, config(imbalance=1.0), seed=0).target), 100)


def test_a_long_tail_of_unequal_classes_begins_with_the_largest():
    label = np.repeat(np.arange(3, dtype=np.int32), (5, 40, 20))
    np.testing.assert_array_equal(subsets.labelled_per_class(label, config(imbalance=4.0)), [5, 40, 20])
    np.testing.assert_array_equal(subsets.labelled_per_class(label, config(imbalance=16.0)), [2, 40, 10])


def test_labels_that_are_missing_from_the_start(own_source):
    label = np.array([0, -1, 0, 1], np.int32)
    dataset = data.load(config(source=own_source(custom(label=label, test=custom().train))))
    kept = data.subset(dataset.train, config(shots=1, unlabelled=True), seed=0)
    assert kept.target[1] == -1
    assert len(kept) == 4
    assert len(data.subset(dataset.train, config(shots=1), seed=0)) == 2


def test_coarse_labels(tmp_path):
    file = tmp_path / "coarse.csv"
    lines = "".join(f'"{digit}", {"odd" if digit % 2 else "even"}\n' for digit in range(10))
    file.write_text(lines, encoding="utf-8-sig")  # as Excel saves it
    fine, coarse = data.load(config()), data.load(config(coarse_labels=str(file)))
    assert coarse.classes == ("even", "odd")
    np.testing.assert_array_equal(coarse.test.target, fine.test.target % 2)
    np.testing.assert_array_equal(coarse.train.input, fine.train.input)


# ---- the order of batches


@given(st.integers(1, 50), st.integers(1, 20), st.integers(0, 12), st.integers(0, 2**32 - 1), st.integers(-40, 40))
@settings(deadline=None, max_examples=60)
def test_batches_run_through_permutations(examples, batch_size, steps, seed, epoch):
    indices = batch_indices(examples, batch_size, steps, seed, epoch)
    assert indices.shape == (steps, batch_size)
    assert indices.dtype == np.int32
    stream = indices.reshape(-1)
    for start in range(0, len(stream), examples):
        part = stream[start : start + examples]
        assert len(set(part)) == len(part)
        assert set(part) <= set(range(examples))
    np.testing.assert_array_equal(indices, batch_indices(examples, batch_size, steps, seed, epoch))
    np.testing.assert_array_equal(indices[: steps // 2], batch_indices(examples, batch_size, steps // 2, seed, epoch))


def test_batches_differ_between_seeds_and_epochs():
    orders = [batch_indices(100, 10, 10, seed, epoch) for seed in (0, 1) for epoch in (-2, -1, 0, 1, 2)]
    assert len({order.tobytes() for order in orders}) == len(orders)


def test_batches_are_the_same_on_every_machine():
    """NumPy keeps SeedSequence and PCG64 stable; a resumed run on another version must not be reordered unseen."""
    golden = [[6, 3, 1, 2, 5], [8, 4, 7, 9, 0]]
    np.testing.assert_array_equal(batch_indices(10, 5, 2, 7, -3), golden)


# ---- warnings


def test_warnings_name_missing_classes_and_repeated_images(own_source):
    train = custom().train
    test = Arrays(train.input[[2, 1, 0]] + np.array([0, 1, 0], np.uint8)[:, None, None, None], np.zeros(3, np.int32))
    warnings = data.load(config(source=own_source(custom(test=test)))).warnings
    assert warnings == (
        "test has no image of 1 of 2 classes: 'b'",
        "2 of 3 test images are also training images, pixel for pixel (first test image 0 = training image 2)",
    )


def test_nothing_to_warn_about():
    assert data.load(config()).warnings == ()


# ---- mistakes

CHANNELS = np.zeros((4, 4, 4, 2), np.uint8)
FLOATS = np.zeros((4, 4, 4, 1), np.float32)

MISTAKES = {
    "source": (dict(source="digit"), "unknown config.data.source 'digit'; did you mean 'digits'?"),
    "source path": (dict(source="no_such_file.f"), "there is no module 'no_such_file'"),
    "generated kwargs": (dict(source="generated", kwargs={"class": 3}), r"kwargs: .*'class'; did you mean 'classes'\?"),
    "generated type": (dict(source="generated", kwargs={"shape": (8, "8", 1)}), "kwargs.shape must be of type int"),
    "generated range": (dict(source="generated", kwargs={"train": 0}), "train and test must be >= 1"),
    "memory": (dict(image_size=10**7), r"image_size=10000000: 1,797 images need .* GB of memory, and this machine has"),
    "mean type": (dict(mean=("half",)), r"config.data.mean must be 1 number.*got \('half',\)"),
    "tfds name missing": (dict(source="tfds"), "config.data.name is empty"),
    "tfds name": (dict(source="tfds", name="cifr10", path="/nowhere"), r"no such data set; did you mean 'cifar10'\?"),
    "tfds far name": (dict(source="tfds", name="zzzqq", path="/nowhere"), r"'zzzqq': TFDS has no such data set$"),
    "tfds missing": (
        dict(source="tfds", name="cifar100", path="/nowhere"),
        r"not prepared in '/nowhere', which holds nothing.*TFDS_DATA_DIR.*tfds build cifar100 --file_format=array_rec",
    ),
    "train_examples": (dict(train_examples=5000), "train_examples=5000, but there are 1438 in Digits 8x8"),
    "validation": (dict(train_examples=10, validation=0.01), "validation=0.01 of 10 images leaves a split empty"),
    "shots": (dict(shots=200), r"shots=200, but class '8' has 139 labelled training examples; .* is 139"),
    "largest": (dict(shots=200, imbalance=2.0), "shots=200, but the largest class has 146 examples"),
    "imbalance": (dict(imbalance=0.5), "imbalance is most over fewest images, >= 1, got 0.5"),
    "mean": (dict(mean=(0.5, 0.5)), r"config.data.mean must be 1 number, or one for each of the 1 channels"),
    "std": (dict(std=(0.0,)), "config.data.std must be positive"),
    "coarse file": (dict(coarse_labels="/nowhere.csv"), "cannot read config.data.coarse_labels '/nowhere.csv'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_config_is_explained(mistake):
    fields, message = MISTAKES[mistake]
    with pytest.raises(ValueError, match=message):
        data.load(config(**fields))


SOURCES = {
    "no dataset": (7, "must return kdjax.data.Dataset, got <class 'int'>"),
    "one class": (custom(classes=("a",)), "1 classes; a classifier needs at least two"),
    "same names": (custom(classes=("a", "a")), "two classes named 'a'"),
    "label range": (
        custom(classes=("a", "b"), label=np.array([0, 1, 5, 1], np.int32)),
        "label 5 of example 2 is out of range",
    ),
    "label type": (
        custom(label=np.array([0, 1, 0, 1])),
        r"one int32 label \[N\] an example.*got int64 \[4\] for 4 examples",
    ),
    "label count": (custom(label=np.array([0, 1], np.int32)), r"got int32 \[2\] for 4 examples"),
    "unlabelled test": (
        custom(test=Arrays(CHANNELS, np.full(4, -1, np.int32))),
        "mine, test: label -1 of example 0 is out",
    ),
    "channels": (custom(image=CHANNELS), r"uint8 \[N, H, W, C\] with C = 1 or 3, got uint8 \[4, 4, 4, 2\]"),
    "float images": (custom(image=FLOATS), "got float32"),
    "other size": (
        custom(test=Arrays(np.zeros((1, 8, 8, 1), np.uint8), np.zeros(1, np.int32))),
        "image_size makes their sizes equal",
    ),
}


@pytest.mark.parametrize("mistake", SOURCES)
def test_a_mistake_in_a_source_is_explained(mistake, own_source):
    dataset, message = SOURCES[mistake]
    with pytest.raises(ValueError, match=message):
        data.load(config(source=own_source(dataset)))


COARSE = {
    "unknown class": ("0,even\n11,odd\n", "row 2: Digits 8x8 has no class '11'"),
    "twice": ("0,even\n0,odd\n", "row 2: class '0' stands there twice"),
    "columns": ("0,even,zero\n", r"row 1: expected `class,coarse class`, got '0,even,zero'"),
    "missing": ("0,even\n", "lacks '1', '2', '3', '4', '5' and 4 more"),
    "one": ("".join(f"{digit},number\n" for digit in range(10)), "names one coarse class, 'number'"),
    "binary": ("\udcff", "cannot read"),
}


@pytest.mark.parametrize("mistake", COARSE)
def test_a_mistake_in_the_coarse_labels_is_explained(mistake, tmp_path):
    text, message = COARSE[mistake]
    file = tmp_path / "coarse.csv"
    file.write_text(text, errors="surrogateescape")
    with pytest.raises(ValueError, match=message):
        data.load(config(coarse_labels=str(file)))


def prepared(tmp_path: Path, source: Path, **changes) -> str:
    """A copy of CIFAR-10's TFDS description with other entries, and no data."""
    folder = tmp_path / "cifar10" / "3.0.2"
    folder.mkdir(parents=True)
    for file in source.glob("cifar10/3.0.2/*"):
        if file.suffix in (".json", ".txt"):
            (folder / file.name).write_text(file.read_text())
    description = json.loads((folder / "dataset_info.json").read_text())
    (folder / "dataset_info.json").write_text(json.dumps({**description, **changes}))
    return str(tmp_path)


def test_tfds_data_in_another_format(shared_data, tmp_path):
    path = prepared(tmp_path, shared_data / "tfds", fileFormat="tfrecord")
    with pytest.raises(ValueError, match=r"stored as tfrecord, which cannot be read without TensorFlow"):
        data.load(config(source="tfds", name="cifar10", path=path))


def test_tfds_data_not_for_classification(shared_data, tmp_path):
    keys = {"tuple": {"items": [{"featureKey": "image"}, {"featureKey": "id"}]}}
    path = prepared(tmp_path, shared_data / "tfds", supervisedKeys=keys)
    with pytest.raises(ValueError, match="not for classification: its inputs and targets are"):
        data.load(config(source="tfds", name="cifar10", path=path))


def test_tfds_data_without_a_test_split(shared_data, tmp_path):
    description = json.loads((shared_data / "tfds/cifar10/3.0.2/dataset_info.json").read_text())
    path = prepared(tmp_path, shared_data / "tfds", splits=description["splits"][:1])
    with pytest.raises(ValueError, match=r"needs the splits train and test \(or validation\), but has train"):
        data.load(config(source="tfds", name="cifar10", path=path))
