"""The structure of the package: which folder may know which, and how long files, classes and functions may be."""

import ast
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOUSE = sorted((ROOT / "kdjax").rglob("*.py"))
ORDER = (
    *("types", "find", "streams", "cores", "files", "tables", "typed", "confusion"),
    *("losses", "models", "tasks", "data", "training", "config", "runs", "experiment", "ship"),
    *("signals", "arguments", "api", "cli"),
)
"""Each knows those before it and none after it; `report` stands apart: see REPORT."""
REPORT = {
    "confusion",
    "find",
    "files",
    "tables",
    "runs",
    "config.fields",
    "config.recipes",
    "config.decay",
}
"""What the report may know besides itself: files that runs have written, and what a config says; all without JAX."""
LINES = {"file": 400, "class": 200, "function": 60}


def imports(path: Path):
    """The modules of kdjax that a file imports, at its top or inside functions, without "kdjax."."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "kdjax":
            yield from (f"{node.module}.{alias.name}".removeprefix("kdjax.") for alias in node.names)


def folder(path: Path) -> str:
    return path.relative_to(ROOT / "kdjax").parts[0].removesuffix(".py")


@pytest.mark.parametrize("name", ORDER)
def test_arrows_run_down(name):
    for path in (path for path in HOUSE if folder(path) == name):
        known = {module.partition(".")[0] for module in imports(path)} - {name}
        allowed = {*ORDER[: ORDER.index(name)], *(["report"] if name in ("api", "cli") else [])}
        assert known <= allowed, f"{path.relative_to(ROOT)} knows {', '.join(sorted(known - allowed))}"


def test_the_report_stands_apart():
    for path in (path for path in HOUSE if folder(path) == "report"):
        for module in imports(path):
            parts = module.split(".")
            ok = parts[0] == "report" or parts[0] in REPORT or ".".join(parts[:2]) in REPORT
            assert ok, f"{path.relative_to(ROOT)} knows {module}"


def test_every_file_is_in_the_order():
    assert {folder(path) for path in HOUSE} <= {*ORDER, "report", "__init__"}


@pytest.mark.parametrize("path", HOUSE, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_read_in_one_sitting(path):
    text = path.read_text()
    assert len(text.splitlines()) <= LINES["file"]
    for node in ast.walk(ast.parse(text)):
        kind = {ast.ClassDef: "class", ast.FunctionDef: "function"}.get(type(node))
        if kind:
            lines = node.end_lineno - node.lineno + 1
            assert lines <= LINES[kind], f"{path.relative_to(ROOT)}: {kind} {node.name} has {lines} lines"


def test_tables_are_made_without_jax():
    code = (
        "import sys; from kdjax import cli; from kdjax.report import detect, grid, table; "
        "from kdjax.report.plots import pictures; "
        "bad = {'jax', 'flax', 'optax', 'orbax'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_table_needs_no_slow_import():
    """SciPy takes as long to import as a table takes to make, its stats and optimize longer; one seed needs no test."""
    code = (
        "import sys; from kdjax import cli; from kdjax.report import table; runs = table.read('results/digits'); "
        "one = [run for run in runs if run['run'].endswith('seed0')]; assert len(one) > 5; table.markdown(one); "
        "bad = {'scipy', 'sklearn', 'matplotlib'} & set(sys.modules); assert not bad, bad; "
        "from rich.console import Console; Console(quiet=True).print(table.terminal(runs)); table.markdown(runs); "
        "bad = {'scipy.stats', 'scipy.optimize', 'sklearn', 'matplotlib'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_what_how_it_works_names_exists():
    """The paths that it has a reader follow, and the files of its map."""
    text = (ROOT / "docs" / "how-it-works.md").read_text()
    paths = text.partition("## Follow one thing")[2].partition("## Directories")[0]
    names = re.findall(r"`([a-z_]+\.[\w.]+)`", paths)
    assert len(names) > 20
    for name in names:
        if not name.endswith((".json", ".jsonl")) and not name.startswith("execution."):  # a field of the config
            pkgutil.resolve_name(f"kdjax.{name}")
    (tree,) = re.findall(r"^```\nkdjax/\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    heads = [line.split("    ")[0] for line in tree.splitlines() if re.match(r"  \w", line)]
    shown = {
        part.rstrip("/").removesuffix(".py") for head in heads for part in head.split() if part.endswith(("/", ".py"))
    }
    assert shown == {*ORDER, "report"}
