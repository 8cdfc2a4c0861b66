"""What the README says is done as it says, and its tables are those of results/."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = dict(re.findall(r"```python (\w+\.py)\n(.*?)```", README, re.DOTALL))


@pytest.fixture
def kdjax(tmp_path):
    """Runs kdjax as the README does, in a folder that holds its code blocks."""
    for name, text in BLOCKS.items():
        (tmp_path / name).write_text(text)
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "xla")}

    def call(*arguments):
        command = [sys.executable, "-m", "kdjax.cli", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call


def test_a_loss_from_an_empty_file_to_a_table_row(kdjax):
    out = kdjax("check", "my_losses.cosine")
    assert "The contract is kept." in out
    assert "projection/kernel" in out
    quick = ("--config.epochs=1", "--seeds=0,1", "--config.student.model=my_models.Small", "--config.student.kwargs={}")
    out = kdjax("run", "--config=my_config.py", "--config.data.train_examples=200", *quick[:2])
    rows = [line for line in out.splitlines() if "cosine" in line]
    assert len([row for row in rows if "seed" not in row]) >= 3  # itself and two ablated weights


def test_a_model_of_ones_own(kdjax, tmp_path):
    (tmp_path / "own.py").write_text(
        "import my_config\n\ndef get_config():\n    config = my_config.get_config()\n"
        "    config.experiment = 'own'\n    config.student = dict(model='my_models.Small')\n    return config\n"
    )
    out = kdjax("run", "--config=own.py", "--only=student,cosine", "--seeds=0", "--config.epochs=1")
    assert "cosine" in out


def test_its_tables_are_those_of_the_results():
    for path, shown in re.findall(r"<!-- begin (\S+) -->\n(.*?)<!-- end -->", README, re.DOTALL):
        assert shown.strip() == (ROOT / path).read_text().strip(), f"run scripts/readme: {path} has changed"


def test_its_pictures_and_files_exist():
    for path in re.findall(r"\]\(([^)h][^)]*)\)", README) + re.findall(r"`(configs/[\w/]+\.py)", README):
        assert (ROOT / path).exists(), path


def test_results_are_what_their_runs_say(tmp_path):
    """Every committed table is made again from its runs.jsonl, byte for byte."""
    from kdjax import table

    found = sorted((ROOT / "results").glob("*/runs.jsonl"))
    assert found
    for source in found:
        out = tmp_path / source.parent.name
        table.write(table.read(source), out)
        for name in ("table.md", "table.csv", "table.tex"):
            assert (out / name).read_text() == (source.parent / name).read_text(), source.parent / name
