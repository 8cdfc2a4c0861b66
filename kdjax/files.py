"""Files that are written whole or not at all, and names that every file system takes."""

import contextlib
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
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
    """`write_bytes` of a text."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all, in a folder that is made if it is missing: a file beside it, then a rename."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path of the target's name in a folder of its own, for what others write in their way.

    What lies in that folder at the end, the target and files beside it, is renamed to where the target belongs; after
    an error nothing is.
    """
    target = Path(target)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        yield Path(folder) / target.name
        for path in sorted(Path(folder).iterdir()):
            os.replace(path, target.parent / path.name)


def write_json(path: Path, value) -> None:
    """Writes JSON whole or not at all. Non-finite numbers are refused: a result holds none."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_description(path: Path, of: str) -> dict:
    """The JSON object that describes weights or a model, "the weights": a ValueError if there is none."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot read the description of {of}: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path}: holds {type(value).__name__}, not the description of {of}")
    return value


def read_json(path: Path) -> dict | None:
    """The JSON of a file, or None when there is no such file."""
    try:
        return json.loads(Path(path).read_text("utf-8"))
    except FileNotFoundError:
        return None


def size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; one that goes meanwhile has none."""
    files = path.rglob("*") if path.is_dir() else [path]
    total = 0
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            known = file.lstat()
            total += known.st_size if stat.S_ISREG(known.st_mode) else 0
    return total


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"
