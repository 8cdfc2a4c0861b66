"""The site of README, docs/, results/ and docstrings: no link of it is broken, nothing is loaded from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import kdjax
from kdjax import losses

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for package in ("material", "mkdocstrings_handlers.python"):
        pytest.importorskip(package, reason="the site is built with the extra docs")
    out = tmp_path_factory.mktemp("site")
    nowhere = {f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https")}  # without a network
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    built = subprocess.run(command, cwd=ROOT, env={**os.environ, **nowhere}, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return {path.relative_to(out).as_posix(): path.read_text("utf-8") for path in out.rglob("*.html")}, out


def test_nothing_is_loaded_from_elsewhere(site):
    pages, _ = site
    assert "index.html" in pages
    for name, text in pages.items():
        loaded = re.findall(r'<(?:script|img|link rel="(?:stylesheet|icon)")[^>]*(?:src|href)="([^"]*)"', text)
        assert loaded, name
        assert not [path for path in loaded if "//" in path], name


def test_links_lead_to_files_of_it(site):
    pages, out = site
    for name, text in pages.items():
        for link in re.findall(r'(?:href|src)="([^"#?:]+)["#?]', text):
            target = out / link.lstrip("/") if link.startswith("/") else (out / name).parent / link
            assert target.exists(), f"{name}: {link}"


def test_the_reference_has_what_is_public(site):
    pages, _ = site
    reference = "".join(text for name, text in pages.items() if name.startswith("reference/"))
    places = [place.replace(":", ".").rstrip(".") for place in kdjax.PUBLIC.values()]
    places += [f"{loss.__module__}.{loss.__name__}" for family in losses.FAMILIES.values() for loss in family]
    missing = [place for place in places if f'id="{place}"' not in reference]
    assert not missing
