"""Image files to uint8 arrays: any size and mode, several threads; hostile files are refused by name."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from kdjax.cores import cores
from kdjax.data.images.metadata import stripped

FORMATS = ("JPEG", "PNG")
"""The only decoders that are run: fewer ways in for a hostile file."""

MAX_PIXELS = 100_000_000
"""An image that claims to have more is refused before it is decoded."""


SMALL = 4096
"""Bytes of an image below which threads wait for Python's lock longer than they decode (1.5x slower at 1 KB)."""


LISTED = 100
"""Unreadable images that a message names, however many there are."""


class Unreadable(ValueError):
    """Images that cannot be read: `problems`, a sentence each."""

    def __init__(self, problems: list[str]):
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return self.problems[0]
        more = len(self.problems) - LISTED
        lines = [*self.problems[:LISTED], *([f"and {more:,} more"] if more > 0 else [])]
        return f"{len(self.problems):,} images cannot be read:" + "".join(f"\n  {line}" for line in lines)


@dataclass(frozen=True)
class Encoded:
    """Images still in their files, indexed as the array [N, H, W, C] of them would be. See `decode`."""

    items: np.ndarray  # [N] object: a Path, or the bytes of a file
    names: np.ndarray  # [N] object: what messages call each of them
    size: int  # pixels a side; 0: as they are
    mode: str = "RGB"  # or "L", one channel

    def __len__(self) -> int:
        return len(self.items)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, H, W, C) of the decoded images; H and W are 0 where they are not known before."""
        return len(self), self.size, self.size, len(self.mode)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.uint8)

    @property
    def ndim(self) -> int:
        return 4

    def __getitem__(self, index) -> "Encoded":
        return Encoded(self.items[index], self.names[index], self.size, self.mode)

    def decode(self, threads: int = 0) -> np.ndarray:
        """[N, H, W, C] uint8, by so many threads (0: one a core, or a single one where images are small).

        Raises:
          Unreadable: images cannot be read, or claim too many pixels; all of them are named.
          ValueError: an image differs in size from the others while `size` is 0.
        """
        small = isinstance(self.items[0], bytes) and len(self.items[0]) < SMALL
        threads = threads or (1 if small else cores())
        with ThreadPoolExecutor(threads) as pool:
            return self._stack(pool.map(self._attempt, self.items, self.names))

    def _attempt(self, item, name) -> np.ndarray | Unreadable:
        try:
            return decode(item, name, self.size, self.mode)
        except Unreadable as error:
            return error

    def _stack(self, decoded) -> np.ndarray:
        images, first, differs, problems = None, 0, "", []
        for position, image in enumerate(decoded):
            if isinstance(image, Unreadable):
                problems += image.problems
                continue
            if images is None:
                images, first = np.empty((len(self), *image.shape), np.uint8), position
            if image.shape == images.shape[1:]:
                images[position] = image
            else:
                pair = f"{self._told(first, images[first])} and {self._told(position, image)}"
                differs = differs or f"images differ in size: {pair} pixels"
        if problems:
            raise Unreadable(problems)
        if differs:
            raise ValueError(f"{differs}; set config.data.image_size to resize and crop them to one")
        return images

    def _told(self, position: int, image: np.ndarray) -> str:
        return f"{self.names[position]!r} is {image.shape[1]}x{image.shape[0]}"


def decode(item: Path | bytes, name: str, size: int = 0, mode: str = "RGB") -> np.ndarray:
    """One JPEG or PNG as [H, W, C] uint8, upright, its colours as `mode`.

    Grey, palette, CMYK and 16-bit images are converted; what is transparent becomes white. With `size`, the
    shorter side is resized to it and the longer one cropped at both ends. Metadata, however broken, is no reason
    to refuse an image; an orientation that cannot be read counts as upright.

    Raises:
      Unreadable: the image cannot be read or claims more than MAX_PIXELS; the message names it.
    """
    try:
        return _decode(item, size, mode)
    except Image.DecompressionBombError:
        raise Unreadable([f"refused the image {name!r}: it claims more than {MAX_PIXELS:,} pixels"]) from None
    except Exception as error:  # a broken file makes the decoders raise anything
        with contextlib.suppress(Exception):  # what is wrong without the metadata too is told as it was with it
            return _decode(stripped(item if isinstance(item, bytes) else Path(item).read_bytes()), size, mode)
        raise Unreadable([f"cannot read the image {name!r}: {_reason(item, error)}"]) from error


def _decode(item: Path | bytes, size: int, mode: str) -> np.ndarray:
    with Image.open(BytesIO(item) if isinstance(item, bytes) else item, formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        if size:  # a JPEG can be decoded at 1/2, 1/4 or 1/8 of its size, many times faster
            image.draft(None, (2 * size, 2 * size))
        bits = image.tile[0].args if image.mode == "L" and image.tile else None
        image.load()
        if bits in SCALED and "transparency" in image.info:
            image.info["transparency"] *= SCALED[bits]
        pixels = np.asarray(fit(convert(upright(image), mode), size))
    return pixels.reshape(*pixels.shape[:2], -1)


SCALED = {"L;2": 85, "L;4": 17}
"""What Pillow multiplies grey values of 2 and 4 bits with, but not the one that a PNG declares transparent."""

TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Exif's orientation -> what makes the image upright."""


def upright(image: Image.Image) -> Image.Image:
    """The image turned as its Exif says. ImageOps.exif_transpose also rewrites that, and fails where it is broken."""
    try:
        turn = TURNED.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # broken Exif makes Pillow raise anything
        return image
    return image if turn is None else image.transpose(turn)


def _reason(item, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    empty = not item if isinstance(item, bytes) else item.stat().st_size == 0
    if empty:
        return "the file is empty"
    if isinstance(error, Image.UnidentifiedImageError):
        return f"it is no {' or '.join(FORMATS)}"
    return str(error) or type(error).__name__


def convert(image: Image.Image, mode: str) -> Image.Image:
    """The image in mode "RGB" or "L": 16-bit values scaled down, transparency laid over white."""
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion clips at 255
        values, clear = np.asarray(image), image.info.get("transparency")
        image = Image.fromarray(np.where(values == clear, 255, values >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def fit(image: Image.Image, size: int) -> Image.Image:
    """The image with its shorter side resized to `size` and the longer one cropped at both ends; 0: unchanged."""
    if not size or image.size == (size, size):
        return image
    return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """[N, H, W, C] uint8 -> [N, size, size, C], as `fit` does; unchanged if size is 0 or they are of that size."""
    if not size or images.shape[1:3] == (size, size):
        return images
    squeezed = images[..., 0] if images.shape[-1] == 1 else images
    resized = np.stack([np.asarray(fit(Image.fromarray(image), size)) for image in squeezed])
    return resized.reshape(len(images), size, size, -1)
