"""What no linter tells: a second definition of a name in one scope silently takes the first one's place."""

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(path for folder in ("kdjax", "configs", "scripts", "tests") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_name_is_defined_twice(path):
    tree = ast.parse(path.read_text("utf-8"))
    for scope in (tree, *(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))):
        found = [node for node in scope.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        plain = [node.name for node in found if not any(isinstance(d, ast.Attribute) for d in node.decorator_list)]
        assert [name for name, times in Counter(plain).items() if times > 1] == []
