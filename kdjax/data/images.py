"""Image files to uint8 arrays: any size and mode, several threads; hostile files are refused by name."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG")
"""The only decoders that are run: fewer ways in for a hostile file."""

MAX_PIXELS = 100_000_000
"""An image that claims to have more is refused before it is decoded."""


SMALL = 4096
"""Bytes of an image below which threads wait for Python's lock longer than they decode (1.5x slower at 1 KB)."""


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
          ValueError: an image cannot be read, claims too many pixels, or differs in size from the others while
            `size` is 0. Of several such images the first is named.
        """
        small = isinstance(self.items[0], bytes) and len(self.items[0]) < SMALL
        threads = threads or (1 if small else os.cpu_count())
        with ThreadPoolExecutor(threads) as pool:
            decoded = pool.map(lambda item, name: decode(item, name, self.size, self.mode), self.items, self.names)
            return self._stack(decoded)

    def _stack(self, decoded) -> np.ndarray:
        images = None
        for position, image in enumerate(decoded):
            if images is None:
                images = np.empty((len(self), *image.shape), np.uint8)
            if image.shape != images.shape[1:]:
                raise ValueError(
                    f"images differ in size: {self.names[0]!r} is {_size(images[0])} and {self.names[position]!r} is "
                    f"{_size(image)} pixels; set config.data.image_size to resize and crop them to one"
                )
            images[position] = image
        return images


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"


def decode(item: Path | bytes, name: str, size: int = 0, mode: str = "RGB") -> np.ndarray:
    """One JPEG or PNG as [H, W, C] uint8, upright, its colours as `mode`.

    Grey, palette, CMYK and 16-bit images are converted; what is transparent becomes white. With `size`, the
    shorter side is resized to it and the longer one cropped at both ends.

    Raises:
      ValueError: the image cannot be read or claims more than MAX_PIXELS; the message names it.
    """
    try:
        with Image.open(BytesIO(item) if isinstance(item, bytes) else item, formats=FORMATS) as image:
            too_large = image.width * image.height > MAX_PIXELS
            if not too_large:
                if size:  # a JPEG can be decoded at 1/2, 1/4 or 1/8 of its size, many times faster
                    image.draft(None, (2 * size, 2 * size))
                ImageOps.exif_transpose(image, in_place=True)
                pixels = np.asarray(fit(convert(image, mode), size))
    except Image.DecompressionBombError:
        too_large = True
    except Exception as error:  # a broken file makes the decoders raise anything
        raise ValueError(f"cannot read the image {name!r}: {_reason(item, error)}") from error
    if too_large:
        raise ValueError(f"refused the image {name!r}: it claims more than {MAX_PIXELS:,} pixels")
    return pixels.reshape(*pixels.shape[:2], -1)


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
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
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
