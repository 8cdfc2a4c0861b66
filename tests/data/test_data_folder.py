"""Folders of images as people have them and as an attacker would make them."""

import errno
import itertools
import os
import time

import numpy as np
import pytest
from PIL import Image

from kdjax import data
from kdjax.config import default
from kdjax.data.images import encoded


def load(path, **fields):
    config = default().data
    config.source, config.path = "folder", str(path)
    for name, value in fields.items():
        config[name] = value
    return data.load(config)


def picture(seed=0, size=(8, 8), mode="RGB"):
    """Smooth random colours, so that JPEG keeps them nearly."""
    small = np.random.default_rng(seed).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BILINEAR).convert(mode)


@pytest.fixture
def tree(tmp_path):
    """train, val and test with two classes of two images each."""
    for seed, (split, name, number) in enumerate(itertools.product(("train", "val", "test"), ("cat", "dog"), range(2))):
        folder = tmp_path / "pets" / split / name
        folder.mkdir(parents=True, exist_ok=True)
        picture(seed).save(folder / f"{number}.png")
    return tmp_path / "pets"


# ---- what is read


def test_labels_follow_the_names_of_the_folders(tree):
    dataset = load(tree)
    assert dataset.classes == ("cat", "dog")
    assert dataset.name == "pets"
    for split in dataset.splits.values():
        np.testing.assert_array_equal(split.target, [0, 0, 1, 1])
        assert split.input.shape == (4, 8, 8, 3)
    np.testing.assert_array_equal(dataset.train.input[3], np.asarray(Image.open(tree / "train/dog/1.png")))
    assert dataset.warnings == ()


def test_a_folder_without_val(tree):
    (tree / "val").rename(tree / "other")
    dataset = load(tree)
    assert dataset.validation is None
    assert dataset.warnings == ("not used: 'other'; the splits are train, val, test",)
    assert len(load(tree, validation=0.5).validation) == 2


def test_own_validation_split_is_preferred(tree):
    assert len(load(tree, validation=0.25).train) == 4


MODES = {
    "L": picture(mode="L"),
    "1": picture(mode="1"),
    "LA": picture(mode="LA"),
    "P": picture().quantize(16),
    "RGBA": picture(mode="RGBA"),
    "CMYK": picture(mode="CMYK"),
    "I;16": Image.fromarray(np.asarray(picture(mode="L"), np.uint16) * 257),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_rgb(mode, tmp_path):
    file = tmp_path / ("image.jpg" if mode == "CMYK" else "image.png")
    MODES[mode].save(file, quality=95)
    expected = MODES[mode] if mode != "I;16" else picture(mode="L")
    pixels = encoded.decode(file, "image")
    assert pixels.shape == (8, 8, 3)
    difference = pixels.astype(int) - np.asarray(expected.convert("RGB"))
    assert np.abs(difference).max() <= (12 if mode == "CMYK" else 0)


def test_one_channel_is_asked_for(tmp_path):
    picture().save(tmp_path / "image.png")
    assert encoded.decode(tmp_path / "image.png", "image", mode="L").shape == (8, 8, 1)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(mode, tmp_path):
    image = Image.new("RGBA", (4, 4), (10, 10, 10, 255))
    image.paste((0, 0, 0, 0), (0, 0, 2, 4))
    image = image.convert(mode) if mode != "P" else image.quantize(4)
    image.save(tmp_path / "image.png")
    pixels = encoded.decode(tmp_path / "image.png", "image")
    np.testing.assert_array_equal(pixels[:, :2], 255)
    np.testing.assert_array_equal(pixels[:, 2:], 10)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_camera_may_have_been_turned(orientation, tmp_path):
    turned = {
        1: lambda x: x,
        2: np.fliplr,
        3: lambda x: np.rot90(x, 2),
        4: np.flipud,
        5: lambda x: np.swapaxes(x, 0, 1),
        6: lambda x: np.rot90(x, -1),
        7: lambda x: np.swapaxes(np.rot90(x, 2), 0, 1),
        8: lambda x: np.rot90(x, 1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = picture(size=(6, 4))
    stored.save(tmp_path / "image.png", exif=exif)
    upright = encoded.decode(tmp_path / "image.png", "image")
    np.testing.assert_array_equal(upright, turned[orientation](np.asarray(stored)))


def test_shorter_side_is_resized_and_the_centre_kept(tmp_path):
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    Image.fromarray(wide).save(tmp_path / "wide.png")
    Image.fromarray(wide.swapaxes(0, 1)).save(tmp_path / "tall.png")
    np.testing.assert_array_equal(encoded.decode(tmp_path / "wide.png", "wide", 5)[:, 1:4], 200)
    np.testing.assert_array_equal(encoded.decode(tmp_path / "tall.png", "tall", 5)[1:4], 200)
    np.testing.assert_array_equal(encoded.decode(tmp_path / "wide.png", "wide", 10), 200)


def test_large_photographs_are_decoded_at_a_fraction_of_their_size(tmp_path):
    """Within 2 grey levels of decoding all of it."""
    photograph = picture(size=(640, 480))
    photograph.save(tmp_path / "photograph.jpg", quality=95)
    whole = np.asarray(encoded.fit(Image.open(tmp_path / "photograph.jpg"), 32)).astype(int)
    assert np.abs(encoded.decode(tmp_path / "photograph.jpg", "photograph", 32) - whole).max() <= 2


def test_any_mixture_of_sizes_and_suffixes(tree):
    picture(5, (20, 30)).save(tree / "train/cat/2.JPG", "JPEG")
    picture(6, (7, 3)).save(tree / "train/cat/3.jpeg")
    assert load(tree, image_size=6).train.input.shape == (6, 6, 6, 3)
    with pytest.raises(ValueError, match=r"images differ in size: .*0.png' is 8x8 and .*2.JPG' is 20x30.*image_size"):
        load(tree)


def test_links_within_the_tree_are_followed(tree):
    (tree / "train/cat/link.png").symlink_to(tree / "train/cat/1.png")
    assert len(load(tree).train) == 5


def test_a_training_image_in_test_is_said(tree):
    (tree / "test/dog/copy.png").write_bytes((tree / "train/cat/0.png").read_bytes())
    assert load(tree).warnings == (
        "1 of 5 test images are also training images, pixel for pixel (first test image 4 = training image 0)",
    )


def test_classes_that_a_split_lacks_are_said(tree):
    for image in (tree / "val/cat").iterdir():
        image.unlink()
    assert load(tree).warnings == ("validation has no image of 1 of 2 classes: 'cat'",)


def test_other_files_are_passed_over_and_said(tree):
    (tree / "train/cat/notes\n.txt").write_text("")
    (tree / "train/cat/.DS_Store").write_text("")
    (tree / "train/list.csv").write_text("")
    (tree / "train/dog/nested.png").mkdir()
    os.mkfifo(tree / "train/dog/pipe.png")  # opening it would wait for ever
    assert load(tree).warnings == (
        "passed over 4 files not named .jpg, .jpeg, .png: 'train/cat/notes\\n.txt', 'train/dog/nested.png', "
        "'train/dog/pipe.png', 'train/list.csv'",
    )


def test_odd_names_are_read(tree):
    picture().save(tree / "train/cat/a\nb\x1b[31m.png")
    picture().save(os.fsencode(tree / "train/cat") + b"/\xff.png")
    assert len(load(tree).train) == 6


def test_grocery_store(shared_data):
    """2,640 + 296 + 2,485 photographs of 96 pixels: 0.4 ms of a core an image."""
    start = time.process_time()
    dataset = load(shared_data / "grocery_store", image_size=64, mean=(0.5,) * 3, std=(0.5,) * 3)
    seconds = time.process_time() - start
    assert [len(split) for split in dataset.splits.values()] == [2640, 296, 2485]
    assert len(dataset.classes) == 81
    assert dataset.warnings[0].startswith("validation has no image of 21 of 81 classes: 'Alpro-Fresh-Soy-Milk'")
    assert seconds < 30


# ---- what is refused


def mistake_no_path(tree):
    return "", "config.data.path is empty"


def mistake_no_folder(tree):
    return tree / "nowhere", "nowhere' is not there"


def mistake_a_file(tree):
    return tree / "train/cat/0.png", "0.png' is no folder"


def mistake_no_split(tree):
    (tree / "test").rename(tree / "testing")
    return tree, r"has no folder 'test': it must hold train/, test/ and perhaps val/.*found 'testing', 'train', 'val'"


def mistake_empty_class(tree):
    (tree / "train/emu").mkdir()
    return tree, r"1 class folder with no image \(JPEG or PNG\) in '.*/train': 'emu'"


def mistake_empty_split(tree):
    for name in ("cat", "dog"):
        for image in (tree / "test" / name).iterdir():
            image.unlink()
    return tree, r"/test' has no image \(JPEG or PNG\)"


def mistake_single_class(tree):
    (tree / "train/dog").rename(tree / "dog")
    return tree, "/train' has 1 class folder; a classifier needs at least two"


def mistake_unknown_class(tree):
    (tree / "val/cat").rename(tree / "val/cow")
    return tree, "/val' has 1 class folder that train does not have: 'cow'"


def mistake_unprintable_class(tree):
    (tree / "train/a\nb").mkdir()
    return tree, r"class folder 'a\\nb' in .*: a class needs a name that can be printed"


def mistake_truncated(tree):
    file = tree / "train/dog/1.png"
    file.write_bytes(file.read_bytes()[:-40])
    return tree, r"cannot read the image '.*/train/dog/1.png': .*truncated"


def mistake_truncated_jpeg(tree):
    picture(size=(64, 64)).save(tree / "train/dog/2.jpg")
    (tree / "train/dog/2.jpg").write_bytes((tree / "train/dog/2.jpg").read_bytes()[:-200])
    return tree, r"cannot read the image '.*/train/dog/2.jpg': .*truncated"


def mistake_empty_file(tree):
    (tree / "train/dog/2.png").touch()
    return tree, r"1 image file in '.*/train' is empty: 'train/dog/2.png'"


def mistake_no_image(tree):
    (tree / "train/dog/2\x1b[2J.png").write_text("<html>not found</html>")
    return tree, r"cannot read the image '.*/2\\x1b\[2J.png': it is no JPEG or PNG"


def mistake_another_format(tree):
    picture().save(tree / "train/dog/2.png", "GIF")
    return tree, "2.png': it is no JPEG or PNG"


def mistake_a_bomb(tree):
    """20 GB of pixels in 1 MB: refused by its header."""
    file = tree / "train/dog/bomb.png"
    Image.new("1", (8, 8)).save(file)
    content = bytearray(file.read_bytes())
    content[16:24] = (140_000).to_bytes(4, "big") * 2
    content[29:33] = __import__("zlib").crc32(bytes(content[12:29])).to_bytes(4, "big")
    file.write_bytes(content)
    return tree, r"refused the image '.*/train/dog/bomb.png': it claims more than 100,000,000 pixels"


def mistake_a_smaller_bomb(tree):
    Image.new("1", (10_001, 10_000)).save(tree / "train/dog/bomb.png")
    return tree, "bomb.png': it claims more than 100,000,000 pixels"


def mistake_link_out(tree):
    (tree.parent / "secret.png").write_bytes((tree / "train/cat/0.png").read_bytes())
    (tree / "train/cat/link.png").symlink_to("../../../secret.png")
    return tree, r"refused '.*/train/cat/link.png': the link leads out of '.*/pets'"


def mistake_folder_link_out(tree):
    (tree / "train/etc").symlink_to("/etc")
    return tree, r"refused '.*/train/etc': the link leads out"


def mistake_split_link_out(tree):
    (tree / "test").rename(tree.parent / "elsewhere")
    (tree / "test").symlink_to(tree.parent / "elsewhere")
    return tree, r"refused '.*/pets/test': the link leads out"


def mistake_dangling_link(tree):
    (tree / "train/cat/link.png").symlink_to("missing.png")
    return tree, r"link.png' is a link to nothing"


def mistake_circular_link(tree):
    (tree / "train/cat/link.png").symlink_to("link.png")
    return tree, r"link.png' is a link to nothing"


def mistake_too_many_shots(tree):
    return tree, "shots=3, but class 'cat' has 2 labelled training examples"


MISTAKES = {name.removeprefix("mistake_"): fn for name, fn in globals().items() if name.startswith("mistake_")}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_explained(mistake, tree):
    path, message = MISTAKES[mistake](tree)
    with pytest.raises(ValueError, match=message) as error:
        load(path, shots=3 if mistake == "too_many_shots" else 0)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 800


def test_a_folder_without_permission(tree, monkeypatch):
    def scandir(folder, scandir=os.scandir):
        if str(folder).endswith("cat"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(ValueError, match=r"cannot read '.*/train/cat': Permission denied"):
        load(tree)


@pytest.mark.parametrize("files", [2_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_many_empty_files_fail_fast(files, tree):
    folder = os.open(tree / "train/cat", os.O_RDONLY)
    for number in range(files):
        os.close(os.open(f"{number:06}\n.png", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)
    start = time.process_time()
    message = rf"{files:,} image files in .*/train' are empty: 'train/cat/000000\\n.png'.* and {files - 5:,} more"
    with pytest.raises(ValueError, match=message):
        load(tree)
    assert time.process_time() - start < 20  # seconds of a core, which others' work does not lengthen; 3 of them
