"""A stream of batches equals the decoded array, whoever decodes it and wherever it starts."""

import numpy as np
import pytest

from kdjax import data
from kdjax.config import default
from kdjax.data.images import Encoded
from tests.test_data_folder import picture

pytest.importorskip("grain", reason="Grain reads ahead")
from kdjax.data import stream

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
    return stream.Batches(load(folder, in_memory=False).train.image, BATCH, STEPS, seed=5)


def test_train_stays_encoded_and_the_rest_is_decoded(folder):
    whole, lazy = load(folder, in_memory=True), load(folder, in_memory=False)
    assert isinstance(lazy.train.image, Encoded)
    assert lazy.train.image.shape == whole.train.image.shape
    assert lazy.train.image.dtype == whole.train.image.dtype
    np.testing.assert_array_equal(lazy.test.image, whole.test.image)
    np.testing.assert_array_equal(lazy.train.image.decode(), whole.train.image)
    assert any(warning.startswith("not looked at: whether test images") for warning in lazy.warnings)


def test_a_stream_equals_the_array(folder):
    whole = load(folder, in_memory=True).train.image
    numbers = range(-2, 2 * STEPS)
    received = list(stream.stream(batches(folder), numbers.start, numbers.stop))
    assert len(received) == len(numbers)
    for number, (index, image) in zip(numbers, received, strict=True):
        epoch, step = divmod(number, STEPS)
        np.testing.assert_array_equal(index, data.batch_indices(len(whole), BATCH, STEPS, 5, epoch)[step])
        np.testing.assert_array_equal(image, whole[index])


def test_workers_and_resuming_change_nothing(folder):
    expected = list(stream.stream(batches(folder), 0, 7))
    for start, workers in ((0, 2), (3, 1)):
        received = list(stream.stream(batches(folder), start, 7, workers=workers))
        for ours, theirs in zip(received, expected[start:], strict=True):
            for x, y in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(x, y)


def test_a_stream_can_be_left(folder):
    received = stream.stream(batches(folder), 0, 1000, workers=1)
    next(received)
    received.close()
    with pytest.raises(StopIteration):
        next(received)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_named(folder, workers):
    images = load(folder, in_memory=False).train.image
    broken = Encoded(np.array([b"no image"] * len(images), object), images.names, SIZE)
    received = stream.stream(stream.Batches(broken, BATCH, STEPS, seed=5), 0, 3, workers=workers)
    with pytest.raises(ValueError, match=r"cannot read the image '.*.jpg': it is no JPEG or PNG"):
        next(received)


def test_only_files_of_a_known_size_are_streamed(folder):
    with pytest.raises(ValueError, match="image_size must be set to stream images"):
        load(folder, in_memory=False, image_size=0)
    with pytest.raises(ValueError, match=r"images of config.data.source 'digits' are in memory and cannot be streamed"):
        load(folder, in_memory=False, source="digits")
