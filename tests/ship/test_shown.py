"""What single test examples look like: read again from the source that a run names, or refused."""

import json

import numpy as np
import pytest

from kdjax.config import plain, resolve
from kdjax.data import load
from kdjax.data.text import tokenizers
from kdjax.files import write_json
from kdjax.runs import predictions
from kdjax.ship import shown
from tests import tiny


@pytest.fixture
def run(tmp_path):
    """A finished run on digits, as far as what it has seen is concerned; and its test images."""
    config = resolve(tiny.config())
    data = load(config.data)
    identity = {"data": data.fingerprint, "code": {}}
    write_json(tmp_path / "config.json", {"method": "kd", "data": plain(config.data), "identity": identity})
    write_json(tmp_path / "result.json", {"status": "done"})
    np.savez(tmp_path / predictions.NAME, target=data.test.target)
    return tmp_path, data.test.input


def test_images_are_those_of_the_test_split(run):
    path, images = run
    found = shown.shown(path, [7, 0])
    assert list(found) == [7, 0]
    for number, image in found.items():
        low, high = float(image.min()), float(image.max())
        assert 0 <= low < high <= 1
        own = images[number].astype(float)
        np.testing.assert_allclose(np.corrcoef(image.ravel(), own.ravel())[0, 1], 1, rtol=1e-9)


def test_other_data_are_refused(run):
    path, _ = run
    config = json.loads((path / "config.json").read_text())
    for split in config["identity"]["data"]["splits"]:
        split["sha256"] = "other"
    write_json(path / "config.json", config)
    with pytest.raises(ValueError, match="the test split of Digits 8x8 is another now"):
        shown.shown(path, [0])
    del config["identity"]  # of an older run
    write_json(path / "config.json", config)
    assert list(shown.shown(path, [0])) == [0]
    np.savez(path / predictions.NAME, target=np.zeros(3, int))
    with pytest.raises(ValueError, match="is another now"):
        shown.shown(path, [0])


@pytest.mark.parametrize(("kind", "text"), [("words", "a cat , a dog"), ("characters", "acatadog")])
def test_a_text_is_what_the_network_reads_of_it(kind, text):
    made = tokenizers.learn(kind, ["A cat, a dog"], 1, 0)
    ((ids, _),) = made.encode(["A cat, a dog"] if kind == "words" else ["A cat a dog"], None, 0)
    assert made.decode(np.array([*ids, 0, 0])) == text
