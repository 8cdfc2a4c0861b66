"""A stream of batches equals the decoded array, whoever decodes it and wherever it starts."""

import jax
import numpy as np
import pytest

from kdjax import data, experiment
from kdjax.config import default
from kdjax.data.batches import batch_indices
from kdjax.data.images import augment
from kdjax.data.images.encoded import Encoded
from kdjax.training import parallel
from kdjax.training.cohort import Feed
from kdjax.training.parallel import Place
from tests import tiny
from tests.data.test_data_folder import picture
from tests.training.test_cohort import results

pytest.importorskip("grain", reason="Grain reads ahead")
from kdjax.data import reader

SIZE, BATCH, STEPS = 8, 4, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    for seed in range(24):
        file = root / ("train" if seed % 3 else "test") / str(seed % 2) / f"{seed}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture(seed, (12, 9)).save(file)
    return root


def load(folder, in_memory, **fields):
    config = default().data
    config.source, config.path, config.image_size = "folder", str(folder), SIZE
    for name, value in fields.items():
        config[name] = value
    return data.load(config, in_memory)


def batches(folder):
    return reader.Batches(load(folder, in_memory=False).train.input, BATCH, STEPS, seed=5)


def test_train_stays_encoded_and_the_rest_is_decoded(folder):
    whole, lazy = load(folder, in_memory=True), load(folder, in_memory=False)
    assert isinstance(load(folder, in_memory=None).train.input, Encoded)
    assert isinstance(load(folder, in_memory=None, image_size=0).train.input, np.ndarray)
    assert isinstance(lazy.train.input, Encoded)
    assert lazy.train.input.shape == whole.train.input.shape
    assert lazy.train.input.dtype == whole.train.input.dtype
    np.testing.assert_array_equal(lazy.test.input, whole.test.input)
    np.testing.assert_array_equal(lazy.train.input.decode(), whole.train.input)
    assert any(warning.startswith("not looked at: whether test images") for warning in lazy.warnings)


def test_a_stream_equals_the_array(folder):
    whole = load(folder, in_memory=True).train.input
    numbers = range(-2, 2 * STEPS)
    received = list(reader.read_ahead(batches(folder), numbers.start, numbers.stop))
    assert len(received) == len(numbers)
    for number, (index, image) in zip(numbers, received, strict=True):
        epoch, step = divmod(number, STEPS)
        np.testing.assert_array_equal(index, batch_indices(len(whole), BATCH, STEPS, 5, epoch)[step])
        np.testing.assert_array_equal(image, whole[index])


def test_workers_and_resuming_change_nothing(folder):
    expected = list(reader.read_ahead(batches(folder), 0, 7))
    for start, workers in ((0, 2), (3, 1)):
        received = list(reader.read_ahead(batches(folder), start, 7, workers=workers))
        for ours, theirs in zip(received, expected[start:], strict=True):
            for x, y in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(x, y)


def test_a_stream_can_be_left(folder):
    received = reader.read_ahead(batches(folder), 0, 1000, workers=1)
    next(received)
    received.close()
    with pytest.raises(StopIteration):
        next(received)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_named(folder, workers):
    images = load(folder, in_memory=False).train.input
    broken = Encoded(np.array([b"no image"] * len(images), object), images.names, SIZE)
    received = reader.read_ahead(reader.Batches(broken, BATCH, STEPS, seed=5), 0, 3, workers=workers)
    with pytest.raises(ValueError, match=r"cannot read the image '.*.jpg': it is no JPEG or PNG"):
        next(received)


def test_only_files_of_a_known_size_are_streamed(folder):
    with pytest.raises(ValueError, match="image_size must be set to stream images"):
        load(folder, in_memory=False, image_size=0)
    with pytest.raises(ValueError, match=r"images of config.data.source 'digits' are in memory and cannot be streamed"):
        load(folder, in_memory=False, source="digits")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    root = tmp_path_factory.mktemp("photographs")
    for seed in range(60):
        file = root / ("train" if seed % 6 else "test") / str(seed % 3) / f"{seed}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture(seed, (12, 9)).save(file)
    return root


def experiment_on(photographs, **execution):
    """Two methods on 50 images in batches of 16, the last one of 2."""
    config = tiny.config(methods=("student", "remembered"), epochs=2)
    config.seeds = (0,)
    config.data.update(source="folder", path=str(photographs), image_size=SIZE, train_examples=0, validation=0.0)
    config.teacher.epochs = 1
    config.batch_size, config.keep_last_batch = 16, True
    config.execution.update(execution)
    return config


def trained(directory) -> dict:
    return {name: (found["history"], found["parameters"]) for name, found in results(directory).items()}


def assert_same(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert one[name][0] == other[name][0]
        jax.tree.map(np.testing.assert_array_equal, one[name][1], other[name][1])


@pytest.fixture(scope="module")
def in_memory(photographs, tmp_path_factory):
    return trained(experiment.run(experiment_on(photographs), tmp_path_factory.mktemp("memory")))


@pytest.mark.parametrize("execution", [{"workers": 0}, {"workers": 2}], ids=str)
def test_training_from_disk_is_training_from_memory(in_memory, photographs, tmp_path, execution):
    config = experiment_on(photographs, stream=True, **execution)
    assert_same(in_memory, trained(experiment.run(config, tmp_path)))


def test_training_from_disk_stopped_and_continued(in_memory, photographs, tmp_path):
    directory, stops = tiny.in_pieces(experiment_on(photographs, stream=True), tmp_path, 3)
    assert stops > 1
    assert_same(in_memory, trained(directory))


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("steps_per_call", [1, 2])
def test_batches_from_disk_are_those_in_memory(photographs, devices, steps_per_call):
    """Several steps a call, and devices of which each has its part; 50 images in batches of 16, the last one of 2."""
    whole, lazy = (load(photographs, in_memory=kind).train for kind in (True, False))
    place = Place(tuple(jax.devices()[:devices]), devices)
    batches = reader.Batches(lazy.input, 16, steps=4, seed=3, last=2, parts=devices, held=devices)
    flip = augment.compose({"flip": {}}, {"input": default().data}, 3)
    feeds = [
        Feed(
            seed=3,
            place=place,
            inputs=images,
            targets=place.put(whole.target),
            steps=4,
            batch_size=16,
            make_batch=parallel.compile_batch(flip, place, streamed=isinstance(images, reader.Reader)),
            make_batch_whole=parallel.compile_batch(flip, place.whole, streamed=isinstance(images, reader.Reader)),
            keep_last_batch=True,
            steps_per_call=steps_per_call,
        )
        for images in (place.put(whole.input), reader.Reader(batches, stop=8))
    ]
    for epoch, start in ((0, 0), (1, 2), (0, 2), (-1, 0)):
        one, other = (list(feed.calls(epoch, start)) for feed in feeds)
        assert len(one) > 1
        for (*numbers, batch), (*others, read) in zip(one, other, strict=True):
            assert numbers == others
            jax.tree.map(np.testing.assert_array_equal, batch, read)
    jax.tree.map(np.testing.assert_array_equal, *(feed.example() for feed in feeds))
    jax.tree.map(np.testing.assert_array_equal, *(list(feed.whole(0, 20)) for feed in feeds))
    begun = [
        step for step, _, _ in feeds[0].calls(0, 0, joins={1})
    ]  # a learner that resumes at step 1 is not passed over
    assert 1 in begun


def test_images_in_memory_cannot_be_streamed(tmp_path):
    config = tiny.config()
    config.execution.stream = True
    with pytest.raises(ValueError, match="'digits' are in memory and cannot be streamed"):
        experiment.run(config, tmp_path)
