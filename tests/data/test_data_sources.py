"""What sources take from config.data.kwargs, what TFDS withholds, and names that only look the same."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kdjax import data
from kdjax.data import Arrays, Dataset
from tests.data.test_data import config
from tests.prepared import images as written

# ---- TFDS


def tiny(path: str, **kwargs):
    return data.load(config(source="tfds", name="tiny", path=path, kwargs=kwargs))


TRAIN, VALIDATION = [0, 1, 0, 1, 1], [1, 0]


def test_tfds_data_whose_test_labels_are_withheld(tmp_path):
    dataset = tiny(written(tmp_path, {"train": TRAIN, "validation": VALIDATION, "test": [-1, -1, -1]}))
    assert dataset.validation is None
    assert dataset.test.target.tolist() == VALIDATION
    assert dataset.warnings == (
        "the labels of the test split are withheld: validation serves as the test split, and chooses no epoch",
    )


def test_tfds_splits_are_those_that_the_config_names(tmp_path):
    path = written(tmp_path, {"train": TRAIN, "validation": VALIDATION, "test": [-1, -1, -1]})
    dataset = tiny(path, train="train[:3]", validation="train[3:]", test="validation")
    labels = {name: split.target.tolist() for name, split in dataset.splits.items()}
    assert labels == {"train": TRAIN[:3], "validation": TRAIN[3:], "test": VALIDATION}
    assert not any("withheld" in warning for warning in dataset.warnings)


NAMED = {
    "withheld": ({}, r"labels of its test split are withheld \(-1\); config.data.kwargs.test must name"),
    "withheld and named": ({"test": "test"}, r"labels of its test split are withheld"),
    "unknown": ({"test": "tset"}, r"config.data.kwargs.test 'tset': 'tiny' has no split 'tset'; did you mean 'test'"),
    "brackets": ({"test": "train[3"}, r"config.data.kwargs.test 'train\[3': "),
    "argument": ({"tset": "test"}, r"config.data.kwargs: .*'tset'; did you mean 'test'"),
}


@pytest.mark.parametrize("case", NAMED)
def test_tfds_splits_that_cannot_be(case, tmp_path):
    kwargs, message = NAMED[case]
    with pytest.raises(ValueError, match=message):
        tiny(written(tmp_path, {"train": TRAIN, "test": [-1, -1]}), **kwargs)


# ---- arguments and names of sources


def sized(config, *, examples=4):
    train = Arrays(np.zeros((examples, 4, 4, 1), np.uint8), np.arange(examples, dtype=np.int32) % 2)
    return Dataset(train, None, train.take(slice(0, 2)), ("a", "b"), "mine")


def takes_any(config, **kwargs):
    return sized(config, examples=kwargs["anything"])


@pytest.mark.parametrize("source", ["digits", "folder", "generated", "tfds", "tests.data.test_data_sources.sized"])
def test_every_source_refuses_arguments_that_it_does_not_have(source):
    with pytest.raises(ValueError, match=r"config\.data\.kwargs: unknown hyperparameter 'exmaples'"):
        data.load(config(source=source, kwargs={"exmaples": 6}))


def test_arguments_reach_a_source_of_ones_own():
    assert len(data.load(config(source="tests.data.test_data_sources.sized", kwargs={"examples": 6})).train) == 6
    assert len(data.load(config(source="tests.data.test_data_sources.takes_any", kwargs={"anything": 8})).train) == 8


COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


def twins(config):
    return replace(sized(config), classes=(COMPOSED, DECOMPOSED))


def drinks(config):
    return replace(sized(config), classes=(COMPOSED, "tea"))


def test_classes_that_only_unicode_tells_apart():
    with pytest.raises(ValueError, match=f"two classes named '{COMPOSED}', to the eye"):
        data.load(config(source="tests.data.test_data_sources.twins"))


def test_coarse_labels_in_another_normalisation(tmp_path):
    file = tmp_path / "coarse.csv"
    file.write_text(f"{DECOMPOSED},{DECOMPOSED}\ntea,tea\n")
    dataset = data.load(config(source="tests.data.test_data_sources.drinks", coarse_labels=str(file)))
    assert dataset.classes == (COMPOSED, "tea")


def save(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), grey).save(path)


def in_folder(path: Path):
    return data.load(config(source="folder", path=str(path)))


def test_a_class_folder_that_another_system_has_written(tmp_path):
    for grey, (split, name) in enumerate(itertools.product(("train", "test"), ("cafe", "x"))):
        accented = {("train", "cafe"): COMPOSED, ("test", "cafe"): DECOMPOSED}.get((split, name), name)
        save(tmp_path / split / accented / "0.png", grey)
    dataset = in_folder(tmp_path)
    assert dataset.classes == (COMPOSED, "x")
    assert dataset.test.target.tolist() == [0, 1]


def test_two_class_folders_of_one_name(tmp_path):
    for grey, name in enumerate((COMPOSED, DECOMPOSED, "x")):
        save(tmp_path / "train" / name / "0.png", grey)
    save(tmp_path / "test" / "x" / "0.png", 3)
    with pytest.raises(ValueError, match=r"stands twice in .*composed \(NFC\) and decomposed \(NFD\)"):
        in_folder(tmp_path)
