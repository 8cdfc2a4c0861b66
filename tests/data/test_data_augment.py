"""Augmentation on the device against references in NumPy and Pillow, and the equalities that all of it keeps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image, ImageEnhance, ImageOps

from kdjax.config import default
from kdjax.data.images import augment
from kdjax.data.images import augmentations as aug

KEY = jax.random.key(7)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 9, 12, 3)).astype(np.uint8)
LABELS = np.array([0, 1, 2, 3, 3, -1], np.int32)
MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)

SPECS = {
    "nothing": {},
    "random_crop": {"random_crop": {"padding": 4}},
    "shift": {"shift": {"pixels": 1}},
    "flip": {"flip": {}},
    "random_resized_crop": {"random_resized_crop": {}},
    "color_jitter": {"color_jitter": {"hue": 0.1}},
    "rand_augment": {"rand_augment": {"num_ops": 2, "magnitude": 9}},
    "mixup": {"mixup": {"alpha": 1.0}},
    "cutmix": {"cutmix": {}},
    "cifar": {"random_crop": {"padding": 4}, "flip": {}},
    "own": {"darken": {"fn": "tests.data.test_data_augment.darken", "factor": 0.5}},
    "function matching": {"random_resized_crop": {}, "flip": {}, "mixup": {}},
}


def darken(key, image, *, factor):
    return image * factor


def relabel(key, image, label, *, to=1):
    return image, jnp.zeros_like(label).at[:, to].set(1.0)


def positional(image, factor):
    return image


def seen(mean, std, size=0):
    """config.data of who sees images so."""
    return ConfigDict({"image_size": size, "mean": mean, "std": std})


def shown(made):
    """What is composed for one alone: fn(key, image, label) -> (image, label)."""

    def call(key, image, label):
        inputs, label = made(key, image, label)
        return inputs["input"], label

    return call


def compose(spec, classes=4):
    config = default().data
    for name, hyper in spec.items():
        config["augment"][name] = hyper
    return shown(augment.compose(config.augment, {"input": seen(MEAN, STD)}, classes))


# ---- what holds for every augmentation


@pytest.mark.parametrize("spec", SPECS)
def test_shapes_range_and_determinism(spec):
    fn = jax.jit(compose(SPECS[spec]))
    image, label = fn(KEY, IMAGES, LABELS)
    assert image.shape == IMAGES.shape
    assert image.dtype == jnp.float32
    pixels = np.asarray(image) * STD + MEAN
    assert pixels.min() > -1e-3
    assert pixels.max() < 1 + 1e-3
    again = fn(KEY, IMAGES, LABELS)
    np.testing.assert_array_equal(image, again[0])
    np.testing.assert_array_equal(label, again[1])
    if spec not in ("nothing", "own"):
        assert not np.array_equal(image, fn(jax.random.key(8), IMAGES, LABELS)[0])


@pytest.mark.parametrize("spec", SPECS)
def test_vmap_is_a_loop(spec):
    fn = compose(SPECS[spec])
    keys = jax.random.split(KEY, 2)
    stacked = np.stack([IMAGES, IMAGES[::-1]])
    labels = np.stack([LABELS, LABELS[::-1]])
    mapped = jax.jit(jax.vmap(fn))(keys, stacked, labels)
    alone = jax.jit(fn)
    for number in range(2):
        for x, y in zip(alone(keys[number], stacked[number], labels[number]), mapped, strict=True):
            np.testing.assert_allclose(x, y[number], atol=2e-5)


@pytest.mark.parametrize("spec", ["nothing", "cifar", "own", "color_jitter", "mixup"])
def test_jit_is_eager(spec):
    fn = compose(SPECS[spec])
    for x, y in zip(fn(KEY, IMAGES, LABELS), jax.jit(fn)(KEY, IMAGES, LABELS), strict=True):
        np.testing.assert_allclose(x, y, atol=2e-5)


@pytest.mark.parametrize("spec", SPECS)
def test_grey_images_and_double_precision(spec):
    with jax.enable_x64(True):
        made = shown(augment.compose(SPECS[spec], {"input": seen((0.5,), (0.5,))}, 4))
        image, _ = jax.eval_shape(made, KEY, IMAGES[..., :1], LABELS)
    assert (image.shape, image.dtype) == ((6, 9, 12, 1), jnp.float32)


# ---- normalisation


def test_normalise_is_the_formula():
    expected = (IMAGES / 255 - np.array(MEAN)) / np.array(STD)
    np.testing.assert_allclose(augment.normalise(IMAGES, MEAN, STD), expected, atol=1e-6)
    np.testing.assert_allclose(augment.normalise(IMAGES, (0.5,), (0.5,)), IMAGES / 127.5 - 1, atol=1e-6)
    image, label = compose({})(KEY, IMAGES, LABELS)
    np.testing.assert_allclose(image, expected, atol=1e-6)
    assert label is LABELS


# ---- geometry


def windows(padded, shape):
    """Every window of that shape, by its corner."""
    rows, columns = padded.shape[0] - shape[0] + 1, padded.shape[1] - shape[1] + 1
    return {(r, c): padded[r : r + shape[0], c : c + shape[1]].tobytes() for r in range(rows) for c in range(columns)}


def test_a_crop_is_a_window_of_the_image_in_a_black_frame():
    """Black pixels before normalising: (0 - mean) / std in a network's input, not 0."""
    images = np.repeat(IMAGES[:1], 512, axis=0)
    cropped = np.asarray(aug.random_crop(KEY, images.astype(np.float32), padding=2)).astype(np.uint8)
    valid = windows(np.pad(images[0], ((2, 2), (2, 2), (0, 0))), images[0].shape)
    found = {image.tobytes() for image in cropped}
    assert found == set(valid.values())  # 25 of them, each met in 512 draws
    corner, _ = compose({"random_crop": {"padding": 40}})(KEY, IMAGES, LABELS)
    outside = np.all(np.isclose(corner, -np.array(MEAN) / np.array(STD), atol=1e-6), axis=-1)
    assert outside.mean() > 0.5


def test_a_shift_is_a_crop():
    x = IMAGES.astype(np.float32)
    np.testing.assert_array_equal(aug.shift(KEY, x, pixels=2), aug.random_crop(KEY, x, padding=2))
    np.testing.assert_array_equal(aug.shift(KEY, x, pixels=0), x)


def test_a_flip_is_an_involution():
    x = IMAGES.astype(np.float32)
    once = aug.flip(KEY, x)
    flipped = np.array([not np.array_equal(a, b) for a, b in zip(once, x, strict=True)])
    np.testing.assert_array_equal(once, np.where(flipped[:, None, None, None], x[:, :, ::-1], x))
    np.testing.assert_array_equal(aug.flip(KEY, once), x)
    np.testing.assert_array_equal(aug.flip(KEY, x, probability=1.0), x[:, :, ::-1])
    np.testing.assert_array_equal(aug.flip(KEY, x, probability=0.0), x)
    many = aug.flip(KEY, jnp.tile(jnp.arange(2.0)[None, None, :, None], (4000, 1, 1, 1)))
    assert abs(float(many[:, 0, 0, 0].mean()) - 0.5) < 0.03


def test_a_whole_window_changes_nothing():
    x = IMAGES[:, :9, :9].astype(np.float32)
    same = aug.random_resized_crop(KEY, x, scale=(1.0, 1.0), ratio=(1.0, 1.0))
    np.testing.assert_allclose(same, x, atol=1e-3)


def test_a_resized_crop_is_a_window_stretched():
    """A ramp stays a ramp: its slope is the window's share of the side, its values lie within the image."""
    ramp = np.broadcast_to(np.arange(64, dtype=np.float32)[None, None, :, None], (200, 64, 64, 1))
    out = np.asarray(aug.random_resized_crop(KEY, ramp, scale=(0.2, 0.6), ratio=(0.8, 1.25)))[:, 32, :, 0]
    share = (out[:, 48] - out[:, 16]) / 32
    assert share.min() > np.sqrt(0.2 * 0.8) - 1e-3
    assert share.max() < np.sqrt(0.6 * 1.25) + 1e-3
    assert share.std() > 0.05
    assert out.min() >= 0
    assert out.max() <= 63
    area = np.asarray(aug.random_resized_crop(KEY, ramp, scale=(0.25, 0.25), ratio=(1.0, 1.0)))[:, 32, :, 0]
    np.testing.assert_allclose((area[:, 48] - area[:, 16]) / 32, 0.5, atol=1e-5)


def moved(number, strength):
    return np.asarray(jax.jit(aug._move)(IMAGES[0].astype(np.float32), number, jnp.float32(strength)))


def test_moves_against_pillow():
    """Rotation and shear around the centre, translation by a part of the side; black comes in."""
    image = Image.fromarray(IMAGES[0])
    turned = image.rotate(-30, Image.Resampling.BILINEAR)
    np.testing.assert_allclose(moved(0, 1.0)[2:-2, 3:-3], np.asarray(turned)[2:-2, 3:-3], atol=1.01)
    x, y = (12 - 1) / 2, (9 - 1) / 2
    sheared = image.transform(
        image.size, Image.Transform.AFFINE, (1, 0.3, -0.3 * (y + 0.5), 0, 1, 0), Image.Resampling.BILINEAR
    )
    np.testing.assert_allclose(moved(1, 1.0)[:, 2:-2], np.asarray(sheared)[:, 2:-2], atol=1.01)
    sheared = image.transform(
        image.size, Image.Transform.AFFINE, (1, 0, 0, 0.3, 1, -0.3 * (x + 0.5)), Image.Resampling.BILINEAR
    )
    np.testing.assert_allclose(moved(2, 1.0)[2:-2], np.asarray(sheared)[2:-2], atol=1.01)
    np.testing.assert_allclose(moved(3, 1 / 0.45 / 12 * 2)[:, :-2], IMAGES[0][:, 2:], atol=1e-3)
    np.testing.assert_allclose(moved(3, 1 / 0.45 / 12 * 2)[:, -2:], 0, atol=1e-3)
    np.testing.assert_allclose(moved(4, -1 / 0.45 / 9 * 3)[3:], IMAGES[0][:-3], atol=1e-3)
    np.testing.assert_array_equal(moved(5, 1.0), IMAGES[0])


# ---- colour

SMOOTH = np.asarray(Image.fromarray(IMAGES[1]).resize((40, 30), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 1.9])
@pytest.mark.parametrize(
    ("ours", "pillow"),
    [
        (aug._brightness, ImageEnhance.Brightness),
        (aug._contrast, ImageEnhance.Contrast),
        (aug._saturation, ImageEnhance.Color),
        (aug._sharpness, ImageEnhance.Sharpness),
    ],
)
def test_factors_against_pillow(ours, pillow, factor):
    expected = np.asarray(pillow(Image.fromarray(SMOOTH)).enhance(factor)).astype(np.float32)
    assert np.abs(np.asarray(ours(jnp.asarray(SMOOTH, jnp.float32), jnp.float32(factor))) - expected).max() <= 2.0


@pytest.mark.parametrize(
    ("ours", "pillow"),
    [
        (aug._autocontrast, ImageOps.autocontrast),
        (aug._equalize, ImageOps.equalize),
        (lambda x: aug._posterize(x, jnp.float32(4)), lambda image: ImageOps.posterize(image, 4)),
        (lambda x: aug._solarize(x, 100.0), lambda image: ImageOps.solarize(image, 100)),
    ],
    ids=["autocontrast", "equalize", "posterize", "solarize"],
)
@pytest.mark.parametrize("flat", [False, True])
def test_tables_against_pillow(ours, pillow, flat):
    image = np.full((6, 6, 3), 77, np.uint8) if flat else SMOOTH // 2 + 30
    expected = np.asarray(pillow(Image.fromarray(image))).astype(np.float32)
    assert np.abs(np.asarray(ours(jnp.asarray(image, jnp.float32))) - expected).max() <= 1.0


def test_hue_turns_around_grey():
    x = IMAGES[0].astype(np.float32) / 3 + 80
    np.testing.assert_allclose(aug._turn_hue(x, jnp.float32(0.0)), x, atol=1e-3)
    np.testing.assert_allclose(aug._turn_hue(x, jnp.float32(1.0)), x, atol=1e-2)
    turned = np.asarray(aug._turn_hue(x, jnp.float32(0.3)))
    assert np.abs(turned - x).max() > 20
    np.testing.assert_allclose(aug._grey(turned), aug._grey(x), atol=1.0)
    grey = np.full((2, 2, 3), 90, np.float32)
    np.testing.assert_allclose(aug._turn_hue(grey, jnp.float32(0.3)), grey, atol=0.1)


def test_no_jitter_changes_nothing():
    x = IMAGES.astype(np.float32)
    np.testing.assert_allclose(aug.color_jitter(KEY, x, brightness=0, contrast=0, saturation=0), x, atol=1e-3)


def test_jitter_of_brightness_is_a_factor_for_each_image():
    x = np.full((500, 2, 2, 3), 100.0, np.float32)
    out = np.asarray(aug.color_jitter(KEY, x, brightness=0.5, contrast=0, saturation=0))
    factor = out[:, 0, 0, 0] / 100
    np.testing.assert_allclose(out, x * factor[:, None, None, None], rtol=1e-5)
    assert 0.5 <= factor.min() < 0.55
    assert 1.45 < factor.max() <= 1.5


def test_rand_augment_meets_every_change_and_none():
    x = np.repeat(IMAGES[:1].astype(np.float32), 600, axis=0)
    out = np.asarray(jax.jit(functools.partial(aug.rand_augment, num_ops=1, magnitude=6))(KEY, x))
    kinds = {image.tobytes() for image in out}
    assert 20 <= len(kinds) <= 24  # 14, of which 9 differ by direction
    np.testing.assert_array_equal(aug.rand_augment(KEY, x[:4], num_ops=0), x[:4])


# ---- mixing


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_mixing_keeps_label_and_image_together(name):
    """Constant images whose value is their class: the mean of the image equals the mean class of the label."""
    label = jnp.arange(6)
    image = jnp.broadcast_to(label.astype(jnp.float32)[:, None, None, None], (6, 32, 32, 3))
    for seed in range(5):
        mixed, soft = getattr(aug, name)(jax.random.key(seed), image, jax.nn.one_hot(label, 6, dtype=jnp.float32))
        np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(mixed.mean(axis=(1, 2, 3)), soft @ jnp.arange(6.0), atol=1e-5)


def test_cutmix_pastes_a_box():
    image = jnp.broadcast_to(jnp.arange(6.0, dtype=jnp.float32)[:, None, None, None], (6, 16, 16, 1))
    mixed, _ = aug.cutmix(jax.random.key(3), image, jnp.zeros((6, 2), jnp.float32))
    changed = np.asarray(mixed != image)[..., 0].any(axis=0)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert 0 < changed.sum() < changed.size


def test_labels_stay_integers_unless_they_are_mixed():
    _, label = compose({"flip": {}})(KEY, IMAGES, LABELS)
    assert label.dtype == jnp.int32
    _, label = compose({"mixup": {}})(KEY, IMAGES, LABELS)
    assert label.shape == (6, 4)
    assert label.dtype == jnp.float32
    _, label = compose({"relabel": {"fn": "tests.data.test_data_augment.relabel", "to": 2}})(KEY, IMAGES, LABELS)
    np.testing.assert_array_equal(label, np.eye(4)[[2] * 6])


def test_an_unlabelled_image_adds_nothing_to_a_mixed_label():
    _, label = compose({"mixup": {}})(KEY, IMAGES, np.full(6, -1, np.int32))
    np.testing.assert_array_equal(label, 0)


def test_order_is_kept_and_keys_differ():
    x = IMAGES.astype(np.float32)
    image, _ = compose({"shift": {"pixels": 3}, "flip": {}})(KEY, IMAGES, LABELS)
    keys = [jax.random.fold_in(KEY, number) for number in range(2)]
    expected = augment.normalise(aug.flip(keys[1], aug.shift(keys[0], x, pixels=3)), MEAN, STD)
    np.testing.assert_allclose(image, expected, atol=1e-6)


# ---- mistakes

MISTAKES = {
    "name": ({"random_corp": {}}, r"unknown augmentation 'random_corp'; did you mean 'random_crop'\?"),
    "path": ({"f": {"fn": "no_file.f"}}, "there is no module 'no_file'"),
    "hyperparameter": ({"random_crop": {"pading": 4}}, r"augment.random_crop: .*'pading'; did you mean 'padding'\?"),
    "missing": ({"darken": {"fn": "tests.data.test_data_augment.darken"}}, "darken needs a value for factor"),
    "signature": (
        {"mine": {"fn": "tests.data.test_data_augment.positional"}},
        r"must be fn\(key, image, \*.*its arguments are image, factor",
    ),
    "type": ({"random_crop": {"padding": 1.5}}, "augment.random_crop.padding must be of type int"),
    "tuple": ({"random_resized_crop": {"scale": (0.5,)}}, r"augment.random_resized_crop.scale must have 2 values"),
    "tuple type": ({"random_resized_crop": {"scale": ("a", 1.0)}}, "random_resized_crop.scale must be of type float"),
    "fn type": ({"mine": {"fn": 3}}, "augment.mine.fn must be of type str"),
    "no dictionary": ({"flip": True}, "augment.flip must be a dictionary of hyperparameters, got True"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_spec_is_explained(mistake):
    spec, message = MISTAKES[mistake]
    with pytest.raises(ValueError, match=message):
        compose(spec)


def test_mixing_needs_the_number_of_classes():
    with pytest.raises(ValueError, match=r"mixes labels \(flip, mixup\), which needs the number of classes"):
        compose({"flip": {}, "mixup": {}}, classes=0)


VALUES = {
    "random_crop.padding": {"random_crop": {"padding": -1}},
    "shift.pixels": {"shift": {"pixels": -1}},
    "flip.probability": {"flip": {"probability": 1.5}},
    "random_resized_crop.scale": {"random_resized_crop": {"scale": (0.0, 1.0)}},
    "random_resized_crop.ratio": {"random_resized_crop": {"ratio": (2.0, 1.0)}},
    "color_jitter's brightness, contrast and saturation": {"color_jitter": {"contrast": -0.1}},
    "color_jitter.hue": {"color_jitter": {"hue": 0.6}},
    "rand_augment.num_ops": {"rand_augment": {"num_ops": -1}},
    "rand_augment.magnitude": {"rand_augment": {"magnitude": 11}},
    "mixup.alpha": {"mixup": {"alpha": 0.0}},
    "cutmix.alpha": {"cutmix": {"alpha": 0.0}},
}


@pytest.mark.parametrize("field", VALUES)
def test_a_value_out_of_range_is_explained(field):
    with pytest.raises(ValueError, match=f"config.data.augment: {field} must"):
        jax.eval_shape(compose(VALUES[field]), KEY, IMAGES, LABELS)
