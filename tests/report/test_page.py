"""`kdjax report`: one file, complete, that loads nothing; sorted, narrow, light and dark in a real browser."""

import json
import re
import shutil
import subprocess
from html import escape
from pathlib import Path

import pytest

from kdjax.report import doctor, page, table
from kdjax.runs import gather
from tests.fabricated import fabricate, set_top1

ROOT = Path(__file__).parent.parent.parent
PROBE = """<script>
addEventListener("error", (event) => { document.body.dataset.error = event.message; });
addEventListener("load", () => {
  const head = document.querySelector("table thead tr").cells[2].querySelector("button");
  const body = document.querySelector("table").tBodies[0];
  const column = () => [...body.rows].map((row) => row.cells[0].textContent).join();
  document.body.dataset.before = column();
  head.click(); document.body.dataset.down = column();
  head.click(); document.body.dataset.up = column();
  document.body.style.width = "375px";
  document.body.dataset.wide = document.body.scrollWidth;
  document.body.dataset.paper = getComputedStyle(document.body).backgroundColor;
});
</script>"""


def runs():
    lines = fabricate({"student": 0.90, "kd": 0.95, "dkd": 0.92}, seeds=2, epochs=4)
    return set_top1(lines, student=[0.90, 0.91], kd=[0.95, 0.96], dkd=[0.92, 0.93])


@pytest.fixture(scope="module")
def text():
    return page.document(runs())


def test_it_has_everything_and_loads_nothing(text):
    assert text == page.document(runs())
    assert text.count("<svg") == 0
    assert text.count("data:image/svg+xml;base64,") >= 3  # forest, accuracy, curves
    assert not re.findall(r"""(?:src|href)=(?!["']?(?:data:|#))""", text)
    assert not re.findall(r"@import|url\(|fetch\(|XMLHttpRequest", text)
    for line in runs():
        assert line["run"] in text
    made = table.parts(runs())
    assert all(f">{cell}<" in text.replace("&lt;", "<") or cell in text for row in made.grids[0].rows for cell in row)
    assert "Protocol" in text
    assert "teacher.model" in text


def test_it_says_what_the_doctor_says():
    source = ROOT / "results/digits/runs.jsonl"
    text = page.document(gather.read(source))
    (case,) = doctor.read(source)
    for name, verdict in doctor.examine(case).items():
        assert escape(name) in text
        assert escape(verdict.said) in text
        assert escape(verdict.advice) in text
    assert text.index("What kdjax doctor says") < text.index("In order, or not known")


def test_where_nothing_is_finished_the_doctor_is_silent():
    lines = [{**line, "result": None} for line in fabricate({"student": 0.9}, seeds=1, epochs=2)]
    assert "What kdjax doctor says" not in page.document(lines)


def test_names_are_text_and_no_markup():
    lines = fabricate({"student": 0.9, "<b>&": 0.92}, seeds=2, epochs=3, experiment="<script>alert(1)</script>")
    text = page.document(lines)
    assert "<script>alert" not in text
    assert "&lt;b&gt;&amp;" in text


def test_several_experiments_stand_side_by_side():
    both = [*fabricate(seeds=2, epochs=3, experiment="one"), *fabricate(seeds=2, epochs=3, experiment="two", shots=5)]
    text = page.document(both)
    assert "Side by side" in text
    assert '<tr><td style="text-align: left">data.shots</td>' in text
    assert text.count("<section") == 3


def test_the_command_writes_it(kdjax, tmp_path):
    (tmp_path / "runs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in runs()))
    status, out, _ = kdjax("report", tmp_path, f"--out={tmp_path}/report.html", "--title=For the shop")
    assert status == 0
    assert "report.html" in out
    assert "<title>For the shop</title>" in (tmp_path / "report.html").read_text()
    status, _, err = kdjax("report", tmp_path, f"--out={tmp_path}/report.pdf")
    assert (status, "give a file like report.html" in err) == (2, True)


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "paper"), [("1", "rgb(255, 255, 255)"), ("0", "rgb(22, 24, 28)")])
def test_in_a_browser(text, tmp_path, scheme, paper):
    browser = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if not browser:
        pytest.skip("needs Chromium: apt-get install chromium")
    path = tmp_path / "report.html"
    path.write_text(text.replace("<body>", f"<body>{PROBE}", 1))
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    command += [f"--blink-settings=preferredColorScheme={scheme}", "--dump-dom", path.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=400).stdout
    said = dict(re.findall(r'data-(\w+)="([^"]*)"', dom.partition("<body")[2].partition(">")[0]))
    plain = {name: re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹˒]", "", value) for name, value in said.items()}
    assert "error" not in said
    assert plain["before"].split(",")[-3:] == ["student", "kd", "dkd"]
    assert [name for name in plain["up"].split(",") if name != "teacher"] == ["student", "dkd", "kd"]
    assert [name for name in plain["down"].split(",") if name != "teacher"] == ["kd", "dkd", "student"]
    assert int(said["wide"]) <= 375
    assert said["paper"] == paper
