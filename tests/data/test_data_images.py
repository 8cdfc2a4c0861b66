"""Image files byte by byte: metadata decides nothing, transparency is white in every mode, all that fails is named."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from kdjax import data
from kdjax.config import default
from kdjax.data.images import encoded

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6
"""PNG's colour types."""


def chunk(name: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(colour: int, bits: int, pixels, *extra: bytes) -> bytes:
    """Two rows of `pixels`, each a tuple of values of so many bits, after the chunks `extra`."""
    row = "".join(format(value, f"0{bits}b") for pixel in pixels for value in pixel)
    row = bytes(int(row[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(row), 8))
    header = struct.pack(">IIBBBBB", len(pixels), 2, bits, colour, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(2 * (b"\0" + row)))
    return b"".join([SIGNATURE, chunk(b"IHDR", header), *extra, body, chunk(b"IEND")])


def clear(*values: int) -> bytes:
    """A tRNS chunk that makes one grey or colour transparent."""
    return chunk(b"tRNS", struct.pack(f">{len(values)}H", *values))


COLOURS = chunk(b"PLTE", bytes([7, 7, 7, 20, 20, 20]))
WIDE = 257  # 8 bits as 16

TRANSPARENT = {  # a transparent pixel of a dark colour, then an opaque one -> the grey of the second
    **{f"grey of {b} bits": (png(GREY, b, [(0,), (1,)], clear(0)), 255 // (2**b - 1)) for b in (1, 2, 4, 8)},
    "grey of 2 bits, not black": (png(GREY, 2, [(1,), (2,)], clear(1)), 170),
    "grey of 4 bits, not black": (png(GREY, 4, [(1,), (2,)], clear(1)), 34),
    "grey of 16 bits": (png(GREY, 16, [(7 * WIDE,), (20 * WIDE,)], clear(7 * WIDE)), 20),
    "colour": (png(COLOUR, 8, [(7, 7, 7), (20, 20, 20)], clear(7, 7, 7)), 20),
    "colour of 16 bits": (png(COLOUR, 16, [(7 * WIDE,) * 3, (20 * WIDE,) * 3], clear(*[7 * WIDE] * 3)), 20),
    **{
        f"palette of {b} bits": (png(PALETTE, b, [(0,), (1,)], COLOURS, chunk(b"tRNS", b"\0")), 20)
        for b in (1, 2, 4, 8)
    },
    "grey and alpha": (png(GREY_ALPHA, 8, [(7, 0), (20, 255)]), 20),
    "grey and alpha of 16 bits": (png(GREY_ALPHA, 16, [(7 * WIDE, 0), (20 * WIDE, 65535)]), 20),
    "colour and alpha": (png(COLOUR_ALPHA, 8, [(7, 7, 7, 0), (20, 20, 20, 255)]), 20),
    "colour and alpha of 16 bits": (png(COLOUR_ALPHA, 16, [(7 * WIDE,) * 3 + (0,), (20 * WIDE,) * 3 + (65535,)]), 20),
}


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("case", TRANSPARENT)
def test_what_is_transparent_is_white_in_every_mode(case, mode):
    file, opaque = TRANSPARENT[case]
    pixels = encoded.decode(file, case, mode=mode)
    assert pixels.shape == (2, 2, len(mode))
    np.testing.assert_array_equal(pixels[:, 0], 255)
    np.testing.assert_array_equal(pixels[:, 1], opaque)


def broken(name: bytes, body: bytes) -> bytes:
    """A chunk whose checksum is wrong."""
    return chunk(name, body)[:-4] + b"\0\0\0\0"


PIXELS = [(10, 20, 30), (40, 50, 60)]
EXIF = Image.Exif()
EXIF[0x0112] = 3  # turned by half
METADATA = {
    "no profile": chunk(b"iCCP", b"name\0\0not compressed"),
    "a profile without its end": chunk(b"iCCP", b"name\0\0" + zlib.compress(b"x" * 1000)[:9]),
    "a profile of unknown compression": chunk(b"iCCP", b"name\0\7"),
    "a profile of nothing": chunk(b"iCCP", b""),
    "a text that explodes": chunk(b"zTXt", b"key\0\0" + zlib.compress(b"x" * 80_000_000)),
    "a text of unknown compression": chunk(b"zTXt", b"key\0\7x"),
    "a text that is not compressed": chunk(b"zTXt", b"key\0\0not compressed"),
    "an international text that ends early": chunk(b"iTXt", b"key\0\1"),
    "a text with a wrong checksum": broken(b"tEXt", b"key\0value"),
    "gamma that ends early": chunk(b"gAMA", b"\0"),
    "chromaticities that end early": chunk(b"cHRM", b"\0"),
    "resolution that ends early": chunk(b"pHYs", b"\0"),
    "sRGB of nothing": chunk(b"sRGB"),
    "Exif of nothing": chunk(b"eXIf"),
    "Exif that is none": chunk(b"eXIf", b"not exif"),
    "Exif that ends early": chunk(b"eXIf", EXIF.tobytes()[6:-8]),
    "Exif of an endless directory": chunk(b"eXIf", b"MM\0*\0\0\0\x08\xff\xff"),
    "an animation of nothing": chunk(b"acTL", b"\0"),
    "private": broken(b"prVt", b"x"),
}


@pytest.mark.parametrize("case", METADATA)
def test_broken_metadata_of_a_png(case):
    np.testing.assert_array_equal(encoded.decode(png(COLOUR, 8, PIXELS, METADATA[case]), case), [PIXELS, PIXELS])


@pytest.mark.parametrize("case", [case for case in METADATA if "Exif" not in case])
def test_the_orientation_counts_beside_broken_metadata(case):
    file = png(COLOUR, 8, PIXELS, chunk(b"eXIf", EXIF.tobytes()[6:]), METADATA[case])
    np.testing.assert_array_equal(encoded.decode(file, case), [PIXELS[::-1], PIXELS[::-1]])


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", 2 + len(body)) + body


SEGMENTS = {
    "Exif that is none": segment(0xE1, b"Exif\0\0not exif"),
    "Exif that ends early": segment(0xE1, EXIF.tobytes()[:-8]),
    "Exif of an endless directory": segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"),
    "a profile of nothing": segment(0xE2, b"ICC_PROFILE\0"),
    "the second part of a profile": segment(0xE2, b"ICC_PROFILE\0\2\2half"),
    "thumbnails without an index": segment(0xE2, b"MPF\0"),
    "thumbnails that are none": segment(0xE2, b"MPF\0MM\0*\0\0\0\x08\0\1\xb0\2\0\7\xff\xff\xff\xff\0\0\0\0"),
    "Photoshop's that end early": segment(0xED, b"Photoshop 3.0\x008BIM\3\xed\0\0\0\0\0\x10"),
    "FlashPix of nothing": segment(0xE2, b"FPXR\0"),
    "a comment": segment(0xFE, b"\xff\xd9"),
}


@pytest.mark.parametrize("case", SEGMENTS)
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's remarks, which `load` does not pass on
def test_broken_metadata_of_a_jpeg(case):
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (200, 100, 50)).save(file, "JPEG")
    sound = file.getvalue()
    expected = np.asarray(Image.open(file))
    np.testing.assert_array_equal(encoded.decode(sound[:2] + SEGMENTS[case] + sound[2:], case), expected)


def test_pixels_that_are_broken_are_not_metadata():
    sound = png(COLOUR, 8, PIXELS, METADATA["no profile"])
    with pytest.raises(ValueError, match="cannot read the image 'x'"):
        encoded.decode(sound.replace(b"IDAT", b"IDAX"), "x")
    with pytest.raises(ValueError, match="cannot read the image 'x'"):  # transparency decides pixels
        encoded.decode(png(GREY, 8, [(7,), (20,)], broken(b"tRNS", b"\0\7")), "x")


def test_all_that_cannot_be_read_is_named_at_once(tmp_path):
    for split, name, number in ((s, n, i) for s in ("train", "val", "test") for n in "ab" for i in range(2)):
        (tmp_path / split / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / split / name / f"{number}.png").write_bytes(png(COLOUR, 8, PIXELS))
    bad = ["train/a/0.png", "train/b/1.png", "val/a/1.png", "test/b/0.png"]
    for path in bad:
        (tmp_path / path).write_bytes(b"no image")
    config = default().data
    config.source, config.path = "folder", str(tmp_path)
    with pytest.raises(ValueError, match=r"^4 images cannot be read:\n") as error:
        data.load(config)
    assert [path for path in bad if f"{path}': it is no JPEG or PNG" in str(error.value)] == bad


def test_a_message_stays_readable():
    names = np.array([f"{number}.png" for number in range(150)], object)
    with pytest.raises(ValueError, match="150 images cannot be read") as error:
        encoded.Encoded(np.array([b"x"] * 150, object), names, 0).decode()
    assert str(error.value).endswith("and 50 more")
