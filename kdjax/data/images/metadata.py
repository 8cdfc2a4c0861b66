"""JPEG and PNG files less what only describes the picture: profiles, comments, texts, thumbnails, dates.

Pillow reads some of it before any pixel, and gives an image up whose profile, text or index of thumbnails is broken.
"""

import struct
import zlib

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8"
START_OF_SCAN, FILL = 0xDA, 0xFF
DESCRIBING = {0xFE, *range(0xE0, 0xF0)} - {0xE0, 0xE1, 0xEE}
"""Markers of a JPEG's comment and application segments, but JFIF, Exif (orientation) and Adobe (colours)."""


def stripped(content: bytes) -> bytes:
    """The file with its pixels, transparency and orientation alone; unchanged if it is neither PNG nor JPEG."""
    if content.startswith(PNG):
        return _png(content)
    return _jpeg(content) if content.startswith(JPEG) else content


def _png(content: bytes) -> bytes:
    """Chunks that are critical (their names begin with a capital), of transparency, and of Exif."""
    kept, place = [PNG], len(PNG)
    while place + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, place)
        end = place + 12 + length
        if name[:1].isupper() or name == b"tRNS":
            kept.append(content[place:end])
        elif name == b"eXIf":  # its checksum decides nothing either
            body = content[place + 4 : place + 8 + length]
            kept += [content[place : place + 4], body, struct.pack(">I", zlib.crc32(body))]
        place = end
    return b"".join(kept)


def _jpeg(content: bytes) -> bytes:
    """Segments up to the first scan that decide the pixels or the orientation, and all that follows."""
    kept, place = [JPEG], len(JPEG)
    while place + 4 <= len(content) and content[place] == 0xFF and content[place + 1] != START_OF_SCAN:
        marker = content[place + 1]
        if marker == FILL:
            place += 1
            continue
        end = place + 2 + int.from_bytes(content[place + 2 : place + 4], "big")
        if marker not in DESCRIBING:
            kept.append(content[place:end])
        place = end
    return b"".join([*kept, content[place:]])
