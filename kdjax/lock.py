"""A lock file: one process at a time has a run to itself, and the lock dies with it, however it ends."""

import contextlib
import fcntl
import os
import socket
from pathlib import Path


class Lock:
    """An flock on a file that says who holds it. The file is removed with the lock."""

    def __init__(self, path: Path):
        self.path, self._file = Path(path), None

    def acquire(self) -> str:
        """Takes the lock if it is free: "" when it is held now, else who holds it.

        Raises:
          OSError: the directory cannot be written, or its file system has no locks.
        """
        while self._file is None:
            file = open(self.path, "a+", encoding="utf-8")  # noqa: SIM115  closing it gives the lock back
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_at_path(file):  # else: its last holder has just removed it
                    self._file, file = file, None
            except BlockingIOError:
                file.seek(0)
                return file.read().strip() or "another process"
            except OSError as error:
                raise OSError(
                    error.errno, f"this file system has no locks ({error.strerror}); use --out on another", self.path
                ) from error
            finally:
                if file is not None:
                    file.close()
        self._file.truncate(0)
        self._file.write(f"{socket.gethostname()}, process {os.getpid()}\n")
        self._file.flush()
        return ""

    def _is_at_path(self, file) -> bool:
        try:
            return os.path.samestat(os.fstat(file.fileno()), os.stat(self.path))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink()
        with contextlib.suppress(OSError):  # a full disk that could not take the name of the holder
            self._file.close()
        self._file = None
