"""table.tex: what pdflatex prints of every name, and that it compiles and fits the page where there is a pdflatex."""

import re
import shutil
import subprocess

import pytest

from kdjax.report import latex, table
from tests.report.test_table import HOSTILE, line, shown, tiny_runs

NAMES = (
    "a|b",
    "τ=4 ≥ 2, α→β",
    "naïve Ångström ß Łódź čeština",
    "“kd”—x…",
    "x_1^2 & {50 %} #1 $ ~ \\",
    "*[best]",
    "--only ?`'",
)


def runs_named(*names):
    runs = tiny_runs()
    config = runs[1]["config"]
    return [
        *runs,
        *({**line(f"m{i}", 0), "config": {**config, "method": f"m{i}", "row": n}} for i, n in enumerate(names)),
    ]


def test_it_is_balanced():
    text = table.latex(tiny_runs())
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == text.count(r"\toprule") == 2
    depth = re.sub(r"\\[{}]", "", text)
    assert depth.count("{") == depth.count("}")


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("a|b", r"a\textbar{}b"),
        ("τ ≥ 2", r"$\tau$ $\ge$ 2"),
        ("é", r"\'{e}"),
        ("e\u0301", r"\'{e}"),
        ("č", r"\v{c}"),
        ("ß", r"\ss{}"),
        ("±−–", r"$\pm$$-$--"),
        ("--only", "-{}-only"),
        ("*[x]", r"{*}{[}x]"),
        ("猫", "猫"),
        (r"a\&%$#_{}~^<>", r"a\textbackslash{}\&\%\$\#\_\{\}\textasciitilde{}\textasciicircum{}$<$$>$"),
    ],
)
def test_escapes(name, printed):
    assert latex.escape(name) == printed


def test_european_letters_and_greek_need_no_other_engine():
    """Of Latin-1 and Latin Extended-A all but those that the oldest encoding of fonts lacks."""
    lacking = set("¢£¤¥¦¨ª«¬\xad®¯²³´¸¹º»¼½¾ÐÞðþ¡¿" + "ĄąĘęĮįŲųĐđĦħĸĿŀŉŊŋŦŧſĲĳĢģĶķĻļŅņŖŗ")
    letters = [chr(i) for i in (*range(0xA1, 0x180), *range(0x3B1, 0x3CA)) if chr(i) not in lacking]
    assert [c for c in letters if not latex.escape(c).isascii()] == []
    text = table.latex(runs_named(*NAMES))
    assert text.isascii()
    assert text.startswith("% !TeX program = pdflatex\n% needs \\usepackage{booktabs, graphicx}\n")


def test_what_pdflatex_lacks_is_named_with_the_engine_that_has_it():
    head = table.latex(runs_named("猫", "犬")).splitlines()[:3]
    assert head[0] == "% !TeX program = lualatex"
    assert head[1] == "% needs \\usepackage{booktabs, graphicx, fontspec}"
    assert head[2].endswith(": 犬 猫")


def test_control_characters_are_gone():
    runs = runs_named(HOSTILE)
    assert "\x1b" not in table.latex(runs) + table.markdown(runs) + shown(runs)


def compiled(folder, text, options="") -> str:
    """What pdflatex says of a document with the table."""
    (folder / "table.tex").write_text(text)
    head = "\\documentclass{article}\n\\usepackage{booktabs, graphicx}\n\\begin{document}\n"
    (folder / "main.tex").write_text(head + options + "\\input{table.tex}\n\\end{document}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "main.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    return done.stdout.decode(errors="replace")


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs pdflatex")
def test_pdflatex_compiles_it_no_wider_than_the_text(tmp_path):
    """With long names and every column, in one column of a page and in one of two."""
    runs = runs_named(*NAMES, "kd,kd.temperature=16.0,a_very_long_name_of_an_ablated_row_that_goes_on_and_on")
    for each in runs:
        each["config"]["published"] = {"benchmark": "cifar100", "teacher": "resnet32x4", "student": "resnet8x4"}
    for options in ("", "\\twocolumn\n"):
        said = compiled(tmp_path, table.latex(runs), options)
        assert "Output written" in said, said[-2000:]
        assert "Overfull \\hbox" not in said, said
