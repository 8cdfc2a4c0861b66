"""The notebooks run from top to bottom as they are, in a folder of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = {  # notebook -> what it is to say, the packages that it needs
    "own_loss": ("The contract is kept.", ()),
    "shop": ("% of the test split from the file", ("onnx", "onnxruntime")),
}
ROOT = Path(__file__).parent.parent.parent
RUN = """
import sys, nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
for cell in notebook.cells:
    cell.source = cell.source.replace("EPOCHS, SEEDS = 20, (0, 1, 2)", "EPOCHS, SEEDS = 1, (0, 1)")
NotebookClient(notebook, timeout=600, startup_timeout=300, resources={"metadata": {"path": sys.argv[2]}}).execute()
nbformat.write(notebook, sys.argv[3])
"""


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_has_no_outputs_that_may_be_old(path):
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)


def test_every_notebook_is_known():
    assert set(NOTEBOOKS) == {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
    says, needs = NOTEBOOKS[path.stem]
    for package in ("nbclient", "ipykernel", "pandas", *needs):
        pytest.importorskip(package, reason="notebooks are run with the extras notebook and export")
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = tmp_path / "done.ipynb"
    command = [sys.executable, "-c", RUN, str(path), str(tmp_path), str(done)]
    ran = subprocess.run(command, env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    outputs = [output for cell in json.loads(done.read_text())["cells"] for output in cell.get("outputs", ())]
    shown = [kind for output in outputs for kind in output.get("data", ())]
    assert {"text/html", "image/svg+xml"} <= set(shown)
    assert says in json.dumps(outputs)
