"""Files that are written whole or not at all, and names that every file system takes."""

import hashlib
import json
import os
from pathlib import Path

_LONGEST = 100
"""Bytes of a name made by `safe_name`: with what stands before it a name may have 255."""


def safe_name(text: str) -> str:
    """`text` as a part of a file's name on every file system, itself where it is one already.

    Brackets become round, what Windows or a shell's wildcards take becomes _, and the end of what is too long is left
    out. Texts that could then be taken for each other keep apart by a digest.
    """
    name = text.replace("[", "(").replace("]", ")")
    safe = "".join(c if c.isprintable() and c not in '<>:"|?*/\\' else "_" for c in name)
    safe = safe.encode()[:_LONGEST].decode(errors="ignore").rstrip(" .")
    return safe if safe == text else f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all, in a folder that is made if it is missing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all: a temporary file beside it, then a rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value) -> None:
    """Writes JSON whole or not at all. Non-finite numbers are refused: a result holds none."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> dict | None:
    """The JSON of a file, or None when there is no such file."""
    try:
        return json.loads(Path(path).read_text("utf-8"))
    except FileNotFoundError:
        return None
