"""A revision is that of kdjax's own files, and covers the user's; it is none of the project that kdjax lies in."""

import shutil
import subprocess
import sys
import types

import pytest

from kdjax.experiment import provenance

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="needs git")


@pytest.fixture
def repository(tmp_path):
    """A project with kdjax installed into an ignored folder, and a config."""
    root = tmp_path / "project"
    for path in (root / "env/kdjax/__init__.py", root / "config.py"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (root / ".gitignore").write_text("env\n")
    git(root, "init", "--quiet")
    commit(root)
    return root


def git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder, *force) -> str:
    git(folder, "add", "--all", *force)
    git(folder, "commit", "--quiet", "--allow-empty", "--message=a")
    return git(folder, "rev-parse", "--short=12", "HEAD")


def revision(package, *own) -> str:
    provenance._revision.cache_clear()
    return provenance._revision(package, own)


def test_the_project_around_kdjax_is_not_its_revision(repository):
    assert revision(repository / "env/kdjax") == ""


def test_of_a_checkout_with_and_without_changes(repository):
    package = repository / "kdjax"
    shutil.move(repository / "env/kdjax", package)
    head = commit(repository)
    assert revision(package, repository / "config.py") == head
    (repository / "config.py").write_text("changed")
    assert revision(package) == head
    assert revision(package, repository / "config.py") == f"{head}+"
    head = commit(repository)
    (package / "__init__.py").write_text("changed")
    assert revision(package) == f"{head}+"
    head = commit(repository)
    (package / "new.py").write_text("")  # git does not know it, Python does
    assert revision(package) == f"{head}+"


def test_own_files_that_no_commit_holds(repository):
    package = repository / "kdjax"
    shutil.move(repository / "env/kdjax", package)
    head = commit(repository)
    for name in ("mine.py", "env/ignored.py"):
        path = repository / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
        assert revision(package, path) == f"{head}+"


def test_own_files_of_another_repository_have_its_name(repository):
    head = git(repository, "rev-parse", "--short=12", "HEAD")
    assert revision(repository / "env/kdjax", repository / "config.py") == f"project {head}"


def test_outside_a_repository(tmp_path):
    (tmp_path / "mine.py").write_text("")
    assert revision(tmp_path, tmp_path / "mine.py") == ""


def test_own_files_are_what_is_loaded_and_not_installed(monkeypatch, tmp_path):
    path = tmp_path / "my_losses.py"
    path.write_text("")
    module = types.ModuleType("my_losses")
    module.__file__ = str(path)
    monkeypatch.setitem(sys.modules, "my_losses", module)
    found = provenance.own_files()
    assert path.resolve() in found
    assert not [file for file in found if "site-packages" in file.parts or provenance.PACKAGE in file.parents]


def test_a_package_that_is_imported_from_where_it_lies_has_no_version():
    assert provenance.version("no-such-package") == "not installed"
    assert provenance.version("numpy")[0].isdigit()
