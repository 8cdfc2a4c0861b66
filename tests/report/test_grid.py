"""kdjax grid: numbers, marks, what is refused, every form of it, macros and LaTeX that compile."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from kdjax import cli
from kdjax.report import grid, records
from kdjax.report.grid import tex, texts
from kdjax.report.grid.columns import check, column
from tests.fabricated import REGRESSION, fabricate, set_top1

TOP1 = {"student": 0.90, "kd": 0.93, "dkd": 0.94}


def columns(number=3, **changes):
    """Experiments pair0, pair1, ... that differ in their student's model."""
    found = []
    for i in range(number):
        lines = fabricate({name: top1 - 0.05 * i for name, top1 in TOP1.items()}, experiment=f"pair{i}", **changes)
        for line in lines:
            line["config"]["student"] = {"model": f"resnet{8 + i}"}
        found.append(lines)
    return found


def made(lines_of_each):
    return [column(lines[0]["config"]["experiment"], f"runs/{i}", lines) for i, lines in enumerate(lines_of_each)]


def terminal(comparison, width=100) -> str:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(texts.Terminal(comparison))
    return console.file.getvalue()


def test_numbers_are_those_of_the_table():
    lines = columns()
    found = grid.compare(made(lines))
    for i, of_one in enumerate(lines):
        for record in records.records(of_one):
            cell = found.cells[record["row"], i]
            names = ("difference", "low", "high", "p", "p_holm")
            assert (cell.n, cell.mean, cell.std) == (record["n"], record["top1"], record["top1_std"])
            theirs = [np.nan if record[name] is None else record[name] for name in names]
            ours = [np.nan if getattr(cell, name) is None else getattr(cell, name) for name in names]
            assert ours == pytest.approx(theirs, nan_ok=True)
    assert found.heads == [("student", ["resnet8", "resnet9", "resnet10"])]
    means = [[found.cells[row, i].mean for i in range(3)] for row in found.rows]
    assert [found.averages[row].mean for row in found.rows] == pytest.approx(np.mean(means, axis=1))


def test_best_and_what_cannot_be_told_from_it():
    lines = columns(1)
    seeds = np.arange(5) * 0.01
    set_top1(lines[0], student=0.5 + seeds, kd=0.9 + seeds, dkd=0.9 + seeds + [0.01, -0.01, 0.012, -0.008, 0.001])
    lines[0][0]["result"]["last"]["top1"] += 0.003  # else all differences of student and kd are equal
    cells = grid.compare(made(lines)).cells
    assert [(cells[row, 0].best, cells[row, 0].tied) for row in TOP1] == [(False, False), (False, True), (True, False)]


def test_differences_to_another_row():
    found = grid.compare(made(columns()), "kd")
    assert found.rows[0] == "kd"
    assert found.cells["kd", 0].difference is None
    assert found.cells["student", 1].difference == pytest.approx(
        found.cells["student", 1].mean - found.cells["kd", 1].mean
    )
    with pytest.raises(ValueError, match="--against=kdd: no experiment has such a row; did you mean 'kd'"):
        grid.compare(made(columns()), "kdd")


def test_missing_cells_are_dashes_without_averages():
    lines = columns()
    lines[1] = [line for line in lines[1] if line["config"]["method"] != "dkd"]
    found = grid.compare(made(lines))
    assert ("dkd", 1) not in found.cells
    assert found.averages["dkd"].mean is found.averages["dkd"].rank is None
    row = next(line for line in grid.texts.markdown(found).splitlines() if line.startswith("| dkd"))
    assert row.split("|")[3].strip() == "–"


@pytest.mark.parametrize(("number", "tested"), [(1, False), (4, False), (5, True)])
def test_the_test_needs_five_columns(number, tested):
    found = grid.compare(made(columns(number, seeds=2)))
    text = " ".join(texts.below(found))
    assert (found.friedman is not None) == ("Friedman" in text) == ("Wilcoxon" in text) == tested
    assert ("A single column" in text) == (number == 1)
    assert ("which needs 5 at least" in text) == (number == 4)


@pytest.mark.parametrize(
    ("number", "told"), [(5, "p is at least 0.19, whatever is seen"), (8, "kd and student (p = 0.0")]
)
def test_wilcoxon_says_what_it_tells_apart_or_that_it_cannot(number, told):
    assert told in " ".join(texts.below(grid.compare(made(columns(number, seeds=2)))))


def test_a_single_seed_has_no_test():
    found = grid.compare(made(columns(2, seeds=1)))
    assert not any(cell.tied or cell.p is not None for cell in found.cells.values())
    assert "Fewer than two seeds in pair0 and pair1" in texts.markdown(found)


def with_identity(lines, digest, examples=100, **data):
    splits = [{"split": name, "examples": examples, "sha256": digest} for name in ("train", "test")]
    for line in lines:
        line["config"]["identity"] = {"data": {"classes": 10, "names": "n", "splits": splits}}
        line["config"]["data"] |= data
    return lines


def test_other_data_of_the_same_name_is_refused():
    same = [with_identity(lines, "a") for lines in columns(2)]
    check(made(same))
    other = [with_identity(columns(1)[0], "a"), with_identity(columns(2)[1], "b")]
    with pytest.raises(ValueError, match=r"pair0 .* and pair1 .*\n  train: 100 examples with other inputs"):
        check(made(other))
    shots = [with_identity(columns(1)[0], "a"), with_identity(columns(2)[1], "b", shots=5)]
    with pytest.raises(ValueError, match="test: 100 examples with other"):
        check(made(shots))
    sizes = [with_identity(columns(1)[0], "a"), with_identity(columns(2)[1], "b", image_size=64)]
    check(made(sizes))
    unknown = [with_identity(columns(1)[0], "a"), columns(2)[1]]
    check(made(unknown))


def test_other_tasks_are_refused():
    lines = columns(2)
    for line in lines[1]:
        line["result"]["task"] = REGRESSION | {"name": "ranking", "primary": "ndcg"}
        line["result"]["last"]["ndcg"] = 0.5
    with pytest.raises(ValueError, match=r"different tasks.*pair0.*: classification; pair1.*: ranking by ndcg"):
        check(made(lines))


def test_columns_that_differ_in_nothing_have_their_names():
    lines = [fabricate(TOP1, experiment=name) for name in ("a", "b")]
    assert grid.compare(made(lines)).heads == [("experiment", ["a", "b"])]
    lines = [fabricate(TOP1, experiment=name, shots=shots) for name, shots in (("a", 0), ("b", 10))]
    assert grid.compare(made(lines)).heads == [("shots", ["all", "10"])]


def hostile():
    lines = columns(7)
    for i, of_one in enumerate(lines):
        for line in of_one:
            line["config"] |= {"student": {"model": f"τ|{i}_&%_naïve"}, "row": line["config"]["row"] + "_#1*"}
            line["config"]["published"] = {"benchmark": "cifar100", "teacher": "resnet56", "student": "resnet20"}
            line["config"]["baseline"] = "student"
    return lines


def test_csv_and_macros_have_every_number():
    found = grid.compare(made(columns(5)))
    rows = list(csv.DictReader(io.StringIO(texts.csv(found), newline="")))
    kd = next(row for row in rows if row["experiment"] == "pair2" and row["row"] == "kd")
    assert float(kd["top1"]) == found.cells["kd", 2].mean
    macros = dict(re.findall(r"\\newcommand{\\(grid\w+)}{(.*)} %", tex.macros(found)))
    assert macros["gridPairTwoKdMean"] == f"{100 * found.cells['kd', 2].mean:.2f}"
    assert macros["gridAverageKdRank"] == f"{found.averages['kd'].rank:.2f}"
    assert "gridCriticalDifference" in macros
    assert len(macros) == tex.macros(found).count(r"\newcommand")  # no name twice


def test_names_of_macros_differ():
    assert tex._distinct(["kd", "k.d", "Kd", "average", "2", "猫"]) == [
        "Kd", "KD", "KdB", "AverageB", "Two", "Unnamed"
    ]  # fmt: skip


def test_terminal_breaks_columns_that_do_not_fit():
    found = grid.compare(made(columns(6)))
    text = terminal(found, 70)
    assert max(map(len, text.splitlines())) <= 70
    assert all(f"resnet{8 + i}" in text for i in range(6))
    assert terminal(found, 400).count("resnet8 ") == 1


def test_latex_is_ascii_and_balanced():
    text = tex.latex(grid.compare(made(hostile())))
    assert text.startswith("% !TeX program = pdflatex\n% needs \\usepackage{booktabs, graphicx, xcolor}\n")
    depth = re.sub(r"\\[{}]", "", text)
    assert depth.count("{") == depth.count("}")
    assert r"\textcolor{gray}" in text


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs pdflatex")
@pytest.mark.parametrize("options", ["", "\\twocolumn\n"])
def test_pdflatex_compiles_it_no_wider_than_the_text(tmp_path, options):
    grid.write_texts(grid.compare(made(hostile())), tmp_path)
    head = "\\documentclass{article}\n\\usepackage{booktabs, graphicx, xcolor}\n\\input{macros}\n\\begin{document}\n"
    (tmp_path / "main.tex").write_text(head + options + "\\input{grid.tex}\n\\gridFriedmanP\n\\end{document}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "main.tex"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).stdout.decode(errors="replace")
    assert "Output written" in said, said[-2000:]
    assert "Overfull" not in said, said


def test_the_command_writes_all_and_needs_no_jax(tmp_path, capsys):
    paths = []
    for i, lines in enumerate(columns(5)):
        paths.append(tmp_path / f"{i}.jsonl")
        paths[-1].write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(SystemExit) as done:
        cli.main(["grid", *map(str, paths), f"--out={tmp_path / 'out'}"])
    assert done.value.code == 0
    assert "ARI" in capsys.readouterr().out
    pictures = {f"{stem}.{form}" for stem in ("grid", "critical_difference") for form in ("png", "svg", "pdf")}
    out = tmp_path / "out"
    assert {p.name for p in out.iterdir()} == {"grid.md", "grid.csv", "grid.tex", "macros.tex", *pictures}
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    grid.write(grid.compare(grid.read(paths)), out)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    grid.write(grid.compare(grid.read(paths[:2])), out)
    assert "critical_difference.png" not in {p.name for p in out.iterdir()}
    with pytest.raises(ValueError, match="given twice"):
        grid.read([paths[0], paths[0]])
    code = "import sys; from kdjax.report import grid; grid.compare(grid.read(sys.argv[1:]))"
    code += "; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(paths[0])], check=True)
