"""What mkdocs.yml calls: README is the site's first page, the files that pages link to come along, and every module of
the reference's packages has its docstrings on a page.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(#[^)]*)?\)")
FIRST, LAST = "README.md", "repository"
"""The page that the site begins with, and its folder for files that do not stand in docs/."""


def on_files(files, config):
    """Adds README, the files that it and docs/ lead to, and the pages of the reference."""
    packages = _reference(config["nav"])
    for page in packages:
        files.append(File.generated(config, page, content=_modules(Path(page).stem)))
    seen = {FIRST, *(f"docs/{file.src_uri}" for file in files if file.src_uri not in packages)}
    left = [path for path in seen if path.endswith(".md")]
    files.append(_page(config, FIRST))
    while left:
        path = left.pop()
        for linked in {_target(path, link) for link, _ in LINK.findall((ROOT / path).read_text("utf-8"))} - seen:
            seen.add(linked)
            if linked.endswith(".md"):
                files.append(_page(config, linked))
                left.append(linked)
            else:
                files.append(File.generated(config, _place(linked), abs_src_path=str(ROOT / linked)))
    return files


def on_page_markdown(markdown, page, **_):
    """Links of a page of docs/ lead to where files stand in the site."""
    return markdown if page.file.generated_by else _moved(markdown, f"docs/{page.file.src_uri}")


def _page(config, path: str) -> File:
    return File.generated(config, _place(path), content=_moved((ROOT / path).read_text("utf-8"), path))


def _moved(markdown: str, path: str) -> str:
    """The text of the file `path` of the repository, its links as they are in the site."""
    folder = posixpath.dirname(_place(path))
    return LINK.sub(
        lambda m: f"]({posixpath.relpath(_place(_target(path, m[1])), folder or '.')}{m[2] or ''})", markdown
    )


def _target(path: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), link))


def _place(path: str) -> str:
    """Where a file of the repository stands in the site."""
    if path == FIRST:
        return "index.md"
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{LAST}/{path}"


def _reference(nav) -> list[str]:
    return [path for part in nav if "Reference" in part for entry in part["Reference"] for path in entry.values()]


def _modules(package: str) -> str:
    """The page of a package, or of a module: all of its public modules."""
    folder = ROOT / "kdjax" / package
    paths = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    parts = [path.relative_to(ROOT).with_suffix("").parts for path in paths]
    names = [".".join(part).removesuffix(".__init__") for part in parts if not part[-1].startswith("__main")]
    return f"# kdjax.{package}\n\n" + "\n".join(f"::: {name}\n" for name in names)
