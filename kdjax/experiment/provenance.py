"""Which code made a result: versions of packages, and git revisions of kdjax and of the user's own files."""

import functools
import importlib.metadata
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


@functools.cache
def versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    packages = ("kdjax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def version(package: str) -> str:
    """An installed package's version; "not installed" of one imported from where it lies, as kdjax from a checkout."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def revision() -> str:
    """The git revision of kdjax, with a + when it, the config or a loss or model of the user's own has changes.

    "" where kdjax's files are in no repository, as in site-packages, even if that lies within one. Own files in
    another repository follow with its name: "0123456789ab, my_project 89abcdef0123+".
    """
    return _revision(PACKAGE, own_files())


def own_files() -> tuple[Path, ...]:
    """The files of what this process has loaded that is neither kdjax nor installed: configs, losses, models."""
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return _own(frozenset(file for file in files if isinstance(file, str) and file.endswith(".py")))


@functools.cache
def _own(files: frozenset[str]) -> tuple[Path, ...]:
    """Those of the files that are neither kdjax's nor installed: a tenth of a second for the thousand of a process."""
    installed = [Path(path).resolve() for path in {*sysconfig.get_paths().values(), PACKAGE}]
    installed += [Path(path).resolve() for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    real = {Path(file).resolve() for file in files}
    return tuple(sorted(f for f in real if f.is_file() and not any(f.is_relative_to(folder) for folder in installed)))


@functools.cache
def _revision(package: Path, own: tuple[Path, ...]) -> str:
    """See `revision`: asked once for the same files, which were loaded at that time."""
    home = _repository(package)
    groups = {home: [package]} if home and _tracked(home, [package / "__init__.py"]) else {}
    for path in own:
        repository = _repository(path.parent)
        if repository and (repository in groups or _tracked(repository, [path])):
            groups.setdefault(repository, []).append(path)
    parts = [(repository, _of(repository, files)) for repository, files in groups.items()]
    return ", ".join(
        found if files[0] == package else f"{repository.name} {found}"
        for (repository, found), files in zip(parts, groups.values(), strict=True)
    )


def _of(repository: Path, files: list[Path]) -> str:
    """The commit that is checked out, with a + if it does not hold the files as they are."""
    changed = _git(repository, "status", "--porcelain", "--untracked-files=all", "--", *files)
    untracked = not all(path.is_dir() or _tracked(repository, [path]) for path in files)  # also what git ignores
    return _git(repository, "rev-parse", "--short=12", "HEAD").strip() + "+" * bool(changed.strip() or untracked)


def _tracked(repository: Path, files: Iterable[Path]) -> bool:
    return bool(_git(repository, "ls-files", "--", *files).strip())


def _repository(folder: Path) -> Path | None:
    """The work tree that a folder lies in."""
    found = _git(folder, "rev-parse", "--show-toplevel").strip()
    return Path(found).resolve() if found else None


def _git(folder: Path, *arguments) -> str:
    """What git prints; "" where there is no git, no repository or no commit."""
    command = ["git", "-C", str(folder), *map(str, arguments)]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
