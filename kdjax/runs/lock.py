"""A lock file: one process at a time has a run to itself, and the lock dies with it, however it ends."""

import contextlib
import errno
import fcntl
import os
import socket
import tempfile
import threading
from pathlib import Path

REFUSED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
"""What flock says where a file system has no locks, as NFS without lockd or Lustre mounted without flock; EOPNOTSUPP
and ENOTSUP are one number on Linux and two on macOS."""
BEAT_SECONDS = 10.0
STALE_SECONDS = 120.0
"""A lease that has not been renewed for so long is over: its holder has died, on whichever machine."""


class Lock:
    """An flock on a file that says who holds it, or where there are no locks a lease. The file goes with the lock.

    A lease is the file itself, made by a hard link, which is atomic on every file system, and renewed by a thread as
    long as its process lives. It is taken over from a process of this machine that is dead, and from one of another
    after STALE_SECONDS. A process that was suspended for longer than these can lose it unnoticed.
    """

    def __init__(self, path: Path):
        self.path, self._held = Path(path), None

    def acquire(self) -> str:
        """Takes the lock if it is free: "" when it is held now, else who holds it.

        Raises:
          OSError: the directory cannot be written.
        """
        if self._held is None and not _has_flock(self.path.parent):
            return self._acquire_lease()
        while self._held is None:
            file = open(self.path, "a+", encoding="utf-8")  # noqa: SIM115  closing it gives the lock back
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_at_path(file):  # else: its last holder has just removed it
                    self._held, file = file, None
            except BlockingIOError:
                return _who(self.path) or "another process"
            finally:
                if file is not None:
                    file.close()
        self._held.truncate(0)
        self._held.write(_me())
        self._held.flush()
        return ""

    def _acquire_lease(self) -> str:
        lease = Lease(self.path)
        holder = lease.acquire()
        self._held = None if holder else lease
        return holder

    def _is_at_path(self, file) -> bool:
        try:
            return os.path.samestat(os.fstat(file.fileno()), os.stat(self.path))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        with contextlib.suppress(OSError):
            if self._is_at_path(self._held):  # a lease that was lost is another's
                self.path.unlink()
        with contextlib.suppress(OSError):  # a full disk that could not take the name of the holder
            self._held.close()
        self._held = None

    def holder(self) -> str:
        """Who holds the lock, "" for nobody, without touching it. Of another machine the file alone tells."""
        who = _who(self.path)
        return "" if _is_dead(who) else who


class Lease:
    """The lock of a file system without locks; see Lock."""

    def __init__(self, path: Path):
        self.path, self._over = path, threading.Event()
        self._file, self._renewing = None, threading.Thread(target=self._beat, daemon=True)

    def acquire(self) -> str:
        own = self.path.with_name(f".{self.path.name}.{socket.gethostname()}.{os.getpid()}.{threading.get_ident()}")
        self._file = open(own, "w", encoding="utf-8")  # noqa: SIM115  open while it is held, to know it from others
        try:
            self._file.write(_me())
            self._file.flush()
            while not _linked(own, self.path):
                if holder := self._holder(own):
                    self._file.close()
                    return holder
            self._renewing.start()
            return ""
        finally:
            own.unlink()

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._over.set()
        self._renewing.join()
        self._file.close()

    def _holder(self, own: Path) -> str:
        """Who holds the lease; "" when nobody does, what a dead process has left being removed."""
        if not _is_left(self.path, own):
            return (_who(self.path) or "another process") if self.path.exists() else ""
        guard = self.path.with_name(f"{self.path.name}.takeover")
        if not _linked(own, guard):
            if _is_left(guard, own):
                guard.unlink(missing_ok=True)
            return _who(guard) or "another process"
        try:
            if _is_left(self.path, own):  # asked again: the guard's holder before may have taken it
                self.path.unlink(missing_ok=True)
        finally:
            guard.unlink(missing_ok=True)
        return ""

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self.fileno())  # whatever stands at the path by now


def _is_left(path: Path, own: Path) -> bool:
    """Whether a lease stands there whose holder is dead, by the clock that the file system gives to `own`."""
    try:
        beat, who = os.stat(path).st_mtime, _who(path)
    except FileNotFoundError:
        return False
    os.utime(own)
    return _is_dead(who) or os.stat(own).st_mtime - beat > STALE_SECONDS


def _has_flock(folder: Path) -> bool:
    """Whether the file system of a folder has locks: asked of another file, as the lock's own is made with a lease."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".lock.") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in REFUSED:
                return False
            raise
    return True


def _linked(source: Path, target: Path) -> bool:
    """Whether `target` is now a link to `source`: NFS can lose the answer of a call that has succeeded."""
    with contextlib.suppress(OSError):
        os.link(source, target)
    try:
        return os.path.samestat(os.stat(source), os.stat(target))
    except FileNotFoundError:
        return False


def _me() -> str:
    return f"{socket.gethostname()}, process {os.getpid()}\n"


def _who(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return ""


def _is_dead(who: str) -> bool:
    """Whether this is a process of this machine that does not live any more."""
    host, _, number = who.rpartition(", process ")
    if host != socket.gethostname() or not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
