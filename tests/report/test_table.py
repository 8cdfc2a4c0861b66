"""From run directories and lines of runs.jsonl to tables."""

import copy
import csv
import io
import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from scipy import stats

from kdjax import cli
from kdjax.config import default, plain, resolve
from kdjax.config.recipes import recipe
from kdjax.report import cells, records, table
from kdjax.runs import gather

MODEL = {"parameters": 1000, "flops": 20000, "bytes": 4000, "latency_1_ms": 0.5, "latency_64_ms": 2.0}
TEACHER = {"model": "convnet", "top1": 0.98, **MODEL, "parameters": 50000}


def experiment(methods=("student", "kd"), seeds=(0, 1, 2), **changes) -> dict:
    """An experiment's config.json."""
    config = resolve(default())
    config.experiment, config.epochs, config.seeds = "tiny", 3, tuple(seeds)
    config.data.validation = 0.2
    config.teacher.model = config.student.model = "convnet"
    rows = [{"method": name, "row": name, "ablation": {}} for name in methods]
    return {**plain(config), "rows": rows, **changes}


def run_config(config: dict, method: str, seed: int, **changes) -> dict:
    shared = {k: v for k, v in config.items() if k not in ("methods", "ablate", "seeds", "rows")}
    row = next((row for row in config["rows"] if row["method"] == method), {"method": method, "row": method})
    spec = plain(recipe(method)) if method in ("student", "kd", "fsp", "crd") else {"cross_entropy": {"weight": 1.0}}
    return {"ablation": {}, **row, "seed": seed, "spec": spec, **shared, **changes}


def result(method: str, seed: int, top1=0.9, **changes) -> dict:
    scores = dict.fromkeys(("precision", "recall", "f1"), top1 - 0.01) | {"nll": 0.3, "ece": 0.05, "agreement": 0.95}
    hits = round(100 * top1)
    return {
        "status": "done",
        "experiment": "tiny",
        "method": method,
        "seed": seed,
        "epochs": 3,
        "steps": 30,
        "last": {"epoch": 3, "top1": top1, **scores, "confusion": [[0, 0, hits], [0, 1, 100 - hits]]},
        "best": {"epoch": 2, "validation_top1": 0.9, "top1": top1 - 0.005},
        "peak": {"epoch": 2, "top1": top1 + 0.005},
        "teacher": TEACHER,
        "student": {"model": "convnet", **MODEL},
        "classes": [str(i) for i in range(10)],
        "train_counts": [10] * 10,
        "dataset": "Tiny",
        "seconds": 1.5,
        "versions": {"jax": "0.10.2"},
        "device": "cpu x 2",
        "revision": "abc",
        "warnings": [],
        **changes,
    }


def history(epochs=3) -> list[dict]:
    return [
        {"epoch": e, "step": 10 * e, "loss": 1 / e, "learning_rate": 0.1, "test_top1": 0.3 * e, "validation_top1": 0.3}
        for e in range(1, epochs + 1)
    ]


def line(method: str, seed: int, top1=0.9, config=None, **changes) -> dict:
    config = config or experiment()
    return {
        "run": f"{method}/seed{seed}",
        "config": run_config(config, method, seed),
        "result": result(method, seed, top1, **changes),
        "history": history(),
    }


def lost(method: str, seed: int, problem: str, config=None) -> dict:
    return {**line(method, seed, config=config), "result": None, "history": [], "problem": problem}


STUDENT, KD = (0.80, 0.82, 0.84), (0.85, 0.88, 0.87)


def tiny_runs() -> list[dict]:
    scores = {"student": STUDENT, "kd": KD}
    lines = [line(method, seed, scores[method][seed]) for method in scores for seed in range(3)]
    return [line("teacher", 0, 0.98, teacher=None), *lines]


def write_runs(directory, lines, config=None):
    """The directories that an experiment would have left."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config or experiment()))
    for each in lines:
        path = directory / each["run"]
        path.mkdir(parents=True)
        (path / "config.json").write_text(json.dumps(each["config"]))
        (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in each["history"]))
        if each["result"]:
            (path / "result.json").write_text(json.dumps(each["result"]))
    return directory


def by_row(runs) -> dict[str, dict]:
    return {record["row"]: record for record in table.records(runs)}


def csv_rows(path) -> list[dict]:
    return list(csv.DictReader(io.StringIO(path.read_text(), newline="")))


def markdown_rows(text: str) -> dict[str, list[str]]:
    """First cell -> the others, of every table row."""
    rows = [re.split(r"(?<!\\)\|", part)[1:-1] for part in text.splitlines() if part.startswith("|")]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}


def shown(runs, width=200) -> str:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(table.terminal(runs))
    return console.file.getvalue()


# ---- numbers


def test_numbers_of_a_row():
    records = by_row(tiny_runs())
    assert list(records) == ["teacher", "student", "kd"]
    kd, test = records["kd"], stats.ttest_rel(KD, STUDENT)
    low, high = test.confidence_interval(0.95)
    assert kd["n"] == kd["expected"] == kd["pairs"] == 3
    assert kd["top1"] == pytest.approx(0.8666666667)
    assert kd["top1_std"] == pytest.approx(0.0152752523)
    assert kd["difference"] == pytest.approx(0.0466666667)
    assert [kd["low"], kd["high"], kd["p"]] == pytest.approx([low, high, test.pvalue])
    assert kd["p_holm"] == pytest.approx(test.pvalue)  # the only comparison
    assert kd["best"] == pytest.approx(kd["top1"] - 0.005)
    assert kd["peak"] == pytest.approx(kd["top1"] + 0.005)
    assert records["student"]["difference"] is None
    assert (records["teacher"]["n"], records["teacher"]["top1"], records["teacher"]["p"]) == (1, 0.98, None)


def test_holm_adjusts_within_an_experiment():
    config = experiment(("student", "kd", "fsp"))
    more = [line("fsp", seed, top1, config) for seed, top1 in enumerate((0.81, 0.85, 0.84))]
    records = by_row(tiny_runs() + more)
    small, large = sorted((records["kd"]["p"], records["fsp"]["p"]))
    smaller = min((records["kd"], records["fsp"]), key=lambda record: record["p"])
    assert smaller["p_holm"] == pytest.approx(min(1, 2 * small))
    assert max(records["kd"]["p_holm"], records["fsp"]["p_holm"]) == pytest.approx(max(2 * small, large))


@pytest.mark.parametrize("only", [("kd",), ("student", "fsp"), ("teacher",)])
def test_what_is_shown_changes_no_number(only):
    """Holm's family is the experiment's, whatever part of it is shown."""
    config = experiment(("student", "kd", "fsp"))
    runs = tiny_runs() + [line("fsp", seed, top1, config) for seed, top1 in enumerate((0.81, 0.85, 0.84))]
    shown = gather.select(runs, only)
    assert table.records(runs, shown) == [r for r in table.records(runs) if r["method"] in (*only, "teacher")]
    assert by_row(runs)["kd"]["p_holm"] == pytest.approx(2 * by_row(runs)["kd"]["p"])
    text = table.markdown(runs, shown)
    methods = text.split("\n\n")[0]
    assert {name.rstrip("¹") for name in markdown_rows(methods) if name[0] != "-"} == {"method", "teacher", *only}
    if "kd" in only:
        assert "not corrected for the 2 comparisons of the experiment, of which 1 is shown" in text


def test_only_on_the_command_line_shrinks_no_family(tmp_path, capsys):
    config = experiment(("student", "kd", "fsp"))
    runs = tiny_runs() + [line("fsp", seed, top1, config) for seed, top1 in enumerate((0.81, 0.85, 0.84))]
    with pytest.raises(SystemExit) as exit_:
        cli.main(["table", str(write_runs(tmp_path / "tiny", runs, config)), "--only=kd"])
    assert exit_.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "not corrected for the 2 comparisons of the experiment, of which 1 is shown" in said
    assert "+4.67 [" in said  # the baseline's runs are there, though they are not shown


def test_written_files_show_a_part_and_keep_all(tmp_path):
    runs = tiny_runs()
    table.write_texts(runs, tmp_path, gather.select(runs, ("kd",)))
    assert "| student" not in (tmp_path / "table.md").read_text().split("model")[0]
    assert table.read(tmp_path) == runs  # numbers of what is shown depend on the others
    assert {row["row"] for row in csv_rows(tmp_path / "classes.csv")} == {"teacher", "kd"}
    assert [row["row"] for row in csv_rows(tmp_path / "table.csv")] == ["teacher", "kd"]


@pytest.mark.parametrize("own", [True, False])
def test_the_teacher_has_all_scores_however_it_came(own):
    """Trained here it has a run; from weights, a run or an ensemble it was measured by those that it teaches."""
    scores = {"precision": 0.91, "recall": 0.92, "f1": 0.93, "nll": 0.1, "ece": 0.02}
    runs = tiny_runs() if own else tiny_runs()[1:]
    if own:
        runs[0]["result"]["last"] |= scores
    for each in runs if not own else ():
        each["result"]["teacher"] = {**TEACHER, **scores}
    teacher = by_row(runs)["teacher"]
    assert {name: teacher[name] for name in scores} == scores
    assert markdown_rows(table.markdown(runs))["teacher"][5:8] == ["91.00", "92.00", "93.00"]


def test_a_share_of_a_cohorts_time_is_called_so():
    record = by_row(tiny_runs())["kd"]
    assert record["seconds_share"] == 1.5
    assert "seconds" not in record
    assert "seconds_share in table.csv is the wall time of a seed's methods" in table.markdown(tiny_runs())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell a process's peak memory")
def test_ten_thousand_classes_take_little_memory(tmp_path):
    """Three seeds of two methods on 20,000 test images, in a process of its own: a matrix would take 800 MB each."""
    script = """
import re, sys
from pathlib import Path
import numpy as np
from kdjax.report import table
from tests.report.test_table import line, tiny_runs
classes, draw = 10_000, np.random.default_rng(0)
names = [f"class {i}" for i in range(classes)]
runs = tiny_runs()
for each in runs:
    true, seen = draw.integers(0, classes, (2, 20_000))
    cells, counts = np.unique(np.stack([true, seen]), axis=1, return_counts=True)
    confusion = np.concatenate([cells, counts[None]]).T.tolist()
    each["result"] |= {"classes": names, "train_counts": draw.integers(1, 99, classes).tolist()}
    each["result"]["last"]["confusion"] = confusion
table.write(runs, sys.argv[1])
print(int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1000, f"{done.stdout} MB"
    assert (tmp_path / "forest.png").exists()
    rows = csv_rows(tmp_path / "classes.csv")
    assert len(rows) == 3 * 10_000
    assert table.markdown(table.read(tmp_path)) == (tmp_path / "table.md").read_text()


def test_markdown_of_a_finished_experiment():
    rows = markdown_rows(table.markdown(tiny_runs()))
    assert rows["teacher"] == ["1", "98.00", *"–" * 3, *["97.00"] * 3, "–"]
    assert rows["student"] == ["3", "82.00 ± 2.00", "–", "–", "81.50 ± 2.00", *["81.00"] * 3, "95.00"]
    assert rows["kd"][:3] == ["3", "86.67 ± 1.53", "+4.67 [+0.87, +8.46]"]
    assert rows["teacher: convnet"] == ["50,000", "20,000", "4,000", "0.5", "2", "1.0"]
    assert rows["student: convnet"] == ["1,000", "20,000", "4,000", "0.5", "2", "50.0"]


# ---- what is missing


def test_one_seed_has_dashes():
    runs = [line("student", 0, 0.8), line("kd", 0, 0.85)]
    rows = markdown_rows(table.markdown(runs))
    assert rows["kd¹"][:3] == ["1", "85.00", "+5.00 [–]"]
    assert "p" not in rows["method"]
    assert "¹ A single seed: no standard deviation and no test." in table.markdown(runs)


def test_identical_values_have_dashes():
    runs = [line(method, seed, 0.8) for method in ("student", "kd") for seed in range(3)]
    assert markdown_rows(table.markdown(runs))["kd"][:3] == ["3", "80.00 ± 0.00", "+0.00 [–]"]


def test_missing_unfinished_and_diverged_are_told():
    runs = tiny_runs()
    runs[4] = lost("kd", 0, "missing")
    runs[5] = lost("kd", 1, "unfinished")
    rows = markdown_rows(table.markdown(runs))
    assert rows["kd¹˒²˒³"][:3] == ["1 of 3", "87.00", "+3.00 [–]"]
    told = {"step": 7, "term": "kd", "learning_rate": 0.05, "epoch": 1}
    runs[6]["result"] |= {"status": "diverged", "last": None, "best": None, "peak": None, "diverged": told}
    text = table.markdown(runs)
    assert next(cells for name, cells in markdown_rows(text).items() if name.startswith("kd")) == ["0 of 3", *"–" * 6]
    for said in (
        "Seed 0 is missing.",
        "Seed 1 is unfinished.",
        "Seed 2 diverged at step 7 in kd at learning rate 0.05",
    ):
        assert said in text
    assert by_row(runs)["kd"]["diverged"] == 1


def test_comparison_over_common_seeds_is_told():
    runs = tiny_runs()
    runs[1] = lost("student", 0, "missing")
    assert by_row(runs)["kd"]["pairs"] == 2
    assert "over the 2 seeds that both have finished" in table.markdown(runs)


def test_nothing_finished():
    runs = [lost(method, seed, "missing") for method in ("teacher", "student", "kd") for seed in range(2)]
    text = table.markdown(runs)
    assert next(cells for name, cells in markdown_rows(text).items() if name.startswith("kd"))[:2] == ["0 of 2", "–"]
    assert "No run is finished." in text
    for form in (table.latex, table.csv, shown):
        assert form(runs)


def test_without_validation():
    runs = tiny_runs()
    for each in runs:
        each["config"]["data"]["validation"], each["result"]["best"] = 0.0, None
    text = table.markdown(runs)
    assert "best epoch" not in markdown_rows(text)["method"]
    assert "no validation split" in text
    assert "no epoch is chosen on the test split" in text


def test_without_teacher():
    runs = tiny_runs()[1:4]
    for each in runs:
        each["result"] |= {"teacher": None}
        each["result"]["last"]["agreement"] = None
    text = table.markdown(runs)
    assert "teacher" not in markdown_rows(text)
    assert "No teacher." in text
    assert "compression" not in markdown_rows(text)["model"]


def test_teacher_from_weights_has_a_row():
    teacher = by_row(tiny_runs()[1:])["teacher"]
    assert (teacher["n"], teacher["expected"], teacher["top1"], teacher["parameters"]) == (1, 1, 0.98, 50000)


# ---- rows


def test_ablation_rows():
    config = experiment(seeds=(0, 1))
    name = "kd,kd.temperature=2.0"
    config["rows"].append({"method": name, "row": name, "ablation": {"kd.temperature": 2.0}})
    runs = [line(method, seed, 0.8 + seed / 10, config) for method in ("student", "kd", name) for seed in (0, 1)]
    assert list(by_row(runs)) == ["teacher", "student", "kd", name]
    assert f"{name}: as in the config" not in table.markdown(runs)


def test_students_of_different_size():
    runs = tiny_runs()
    for each in runs[4:]:
        each["result"]["student"] = {**each["result"]["student"], "parameters": 5000}
    rows = markdown_rows(table.markdown(runs))
    assert rows["student: convnet (student)"][-1] == "50.0"
    assert rows["student: convnet (kd)"][-1] == "10.0"


def test_several_experiments_have_their_own_baselines():
    others = copy.deepcopy(tiny_runs())
    for each in others:
        each["config"]["experiment"] = "other"
        each["result"]["last"]["top1"] -= 0.1
    text = table.markdown(tiny_runs() + others)
    rows = markdown_rows(text)
    assert rows["tiny: kd"][2] == rows["other: kd"][2]
    assert rows["other: kd"][1] == "76.67 ± 1.53"
    assert "**other: Protocol.**" in text


def test_a_run_given_twice_is_refused():
    with pytest.raises(ValueError, match=r"tiny/teacher/seed0 is given 2 times"):
        table.records(tiny_runs() + tiny_runs())


# ---- published numbers


def with_published(runs, **pair):
    for each in runs:
        each["config"]["published"] = {"benchmark": "cifar100", "teacher": "resnet32x4", "student": "resnet8x4", **pair}
    return runs


def test_published_column():
    text = table.markdown(with_published(tiny_runs()))
    rows = markdown_rows(text)
    assert rows["method"][-2:] == ["published", "Δ published"]
    assert rows["kd"][-2:] == ["73.33 ± 0.25 (n 5)", "+13.34"]
    assert rows["teacher"][-2:] == ["79.42", "+18.58"]
    assert "cifar100, resnet32x4 → resnet8x4" in text
    assert "Contrastive Representation Distillation (CRD), ICLR 2020" in text
    record = by_row(with_published(tiny_runs()))["kd"]
    assert record["published"] == pytest.approx(0.7333)
    assert record["published_difference"] == pytest.approx(record["top1"] - 0.7333)
    assert "published" not in markdown_rows(table.markdown(tiny_runs()))["method"]


def test_a_best_epoch_number_stands_against_the_peak():
    runs = with_published([line("kd_standardized", 0, 0.76)])
    record = by_row(runs)["kd_standardized"]
    assert record["published_epoch"] == "best"
    assert record["published_difference"] == pytest.approx(record["peak"] - record["published"])


def test_unknown_pair_has_dashes():
    text = table.markdown(with_published(tiny_runs(), student="unheard"))
    assert markdown_rows(text)["kd"][-2:] == ["–", "–"]
    assert "No number is known for cifar100, resnet32x4 → unheard." in text


# ---- forms

HOSTILE = "a|b_c*`<x>\\&%$#{}~^\x1b[31m\n[1](u)"


def test_special_characters():
    runs = [line("student", 0), line("kd", 0)]
    runs[1]["config"]["row"] = HOSTILE
    text = table.markdown(runs)
    widths = {len(re.findall(r"(?<!\\)\|", part)) for part in text.splitlines()[:5] if part.startswith("|")}
    assert widths == {10}
    assert "\x1b" not in text + table.latex(runs) + shown(runs)


def test_csv_round_trip():
    runs = with_published(tiny_runs())
    runs[4]["config"]["row"] = 'k,"d"\nx'
    read = list(csv.DictReader(io.StringIO(table.csv(runs), newline="")))
    records = table.records(runs)
    assert len(read) == len(records) == 3
    for row, record in zip(read, records, strict=True):
        row.pop("notes")
        for name, text in row.items():
            value = record[name]
            assert (None if text == "" else type(value)(text)) == (None if value == "" else value)


def test_terminal_fits():
    text = shown(tiny_runs(), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert "best epoch" in text
    assert "precision  recall" not in text
    assert "precision  recall" in shown(tiny_runs(), 200)


def test_a_long_name_costs_no_digit():
    runs = tiny_runs()
    for run in runs:
        run["config"]["row"] = " ".join(["a", "long", run["config"]["row"]] + ["name"] * 12)
    assert "…" not in shown(runs, 100)


def test_write_is_a_function_of_the_lines(tmp_path):
    runs = tiny_runs()
    first = table.write(runs, tmp_path / "a")
    again = table.read(tmp_path / "a" / "runs.jsonl")
    second = table.write(again, tmp_path / "b")
    assert {"runs.jsonl", "table.md", "table.csv", "table.tex"} <= {path.name for path in first}
    assert [path.name for path in first] == [path.name for path in second]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert again == json.loads(json.dumps(runs))
    assert table.read(tmp_path / "a") == again
    assert not [path for path in (tmp_path / "a").iterdir() if path.name.endswith(".tmp")]


# ---- directories


def test_gather(tmp_path):
    runs = tiny_runs()
    directory = write_runs(tmp_path / "tiny", runs)
    assert table.gather(directory) == runs
    assert table.read(directory) == runs


def test_gather_tells_what_is_not_there(tmp_path):
    runs = tiny_runs()
    directory = write_runs(tmp_path / "tiny", runs[:-1])
    (directory / "kd/seed0/result.json").unlink()
    (directory / "student/seed1/result.json").write_text('{"status": "done", "las')
    (directory / "student/seed2/config.json").write_text("no JSON")
    lines = {each["run"]: each for each in table.gather(directory)}
    assert list(lines) == [each["run"] for each in runs]
    assert lines["kd/seed2"]["problem"] == "missing"
    assert lines["kd/seed2"]["config"]["row"] == "kd"
    assert lines["kd/seed0"]["problem"] == "unfinished"
    assert lines["kd/seed0"]["history"] == history()
    assert lines["student/seed1"]["problem"] == "damaged: result.json"
    assert lines["student/seed2"]["result"] == runs[3]["result"]
    assert "config.json of student/seed2 is damaged" in lines["student/seed2"]["remark"]
    text = table.markdown(list(lines.values()))
    assert "Seed 1 is damaged: result.json." in text
    assert "config.json of student/seed2 is damaged: its result is taken as it stands." in text


@pytest.mark.parametrize(
    "content",
    ["", "[]", "3", "null", "{}", '{"status": "done"}', "\x00" * 10, '{"a": NaN}', "[" * 100_000]
    + [
        json.dumps(result("kd", 0) | change)
        for change in (
            {"status": "odd"},
            {"last": None},
            {"last": {"top1": "0.9"}},
            {"last": {"top1": 90.0}},
            {"best": [1]},
            {"teacher": {"top1": {}}},
            {"classes": None},
            {"seed": "0"},
            {"versions": 3},
        )
    ],
)
def test_damaged_results_never_count(tmp_path, content):
    directory = write_runs(tmp_path / "tiny", tiny_runs())
    (directory / "kd/seed0/result.json").write_text(content)
    runs = table.gather(directory)
    assert runs[4]["problem"] == "damaged: result.json"
    assert by_row(runs)["kd"]["n"] == 2
    assert "Seed 0 is damaged: result.json." in table.markdown(runs)


LEAVES = (None, 3, -1.5, "x", True, [], {}, [1], {"a": 1})


@pytest.mark.parametrize("seed", range(60))
def test_any_field_may_be_damaged(tmp_path, seed):
    """One value of a file replaced by one of another type: told or used, never a crash."""
    draw = random.Random(seed)
    directory = write_runs(tmp_path / "tiny", tiny_runs())
    path = draw.choice(sorted(directory.rglob("*.json")))
    node = damaged = json.loads(path.read_text())
    while True:
        key = draw.choice(list(node) if isinstance(node, dict) else range(len(node)))
        if not (isinstance(node[key], dict | list) and node[key] and draw.random() < 0.7):
            break
        node = node[key]
    node[key] = draw.choice(LEAVES)
    path.write_text(json.dumps(damaged))
    runs = table.gather(directory)
    assert {"teacher", "student", "kd"} <= {record["method"] for record in table.records(runs)} | {str(node[key])}
    for form in (table.markdown, table.csv, table.latex, shown):
        assert form(runs)


def test_truncated_metrics(tmp_path):
    directory = write_runs(tmp_path / "tiny", tiny_runs())
    path = directory / "kd/seed0/metrics.jsonl"
    path.write_text(path.read_text()[:-20])
    (directory / "kd/seed1/metrics.jsonl").write_text('{"epoch": 1, "loss": NaN}\n[1]\n')
    runs = table.gather(directory)
    assert runs[4]["history"] == history(2)
    assert runs[5]["history"] == []
    assert runs[4]["result"]["status"] == "done"
    assert "metrics.jsonl of kd/seed0 is cut short" in table.markdown(runs)


def test_finished_runs_that_are_not_expected(tmp_path):
    runs = [*tiny_runs(), line("fsp", 0), line("kd", 3), lost("crd", 0, "unfinished")]
    found = table.gather(write_runs(tmp_path / "tiny", runs))
    assert [each["run"] for each in found][-2:] == ["fsp/seed0", "kd/seed3"]
    assert by_row(found)["kd"]["n"] == 4


def test_result_that_lost_its_config(tmp_path):
    directory = write_runs(tmp_path / "tiny", [*tiny_runs(), line("fsp", 0)])
    (directory / "fsp/seed0/config.json").unlink()
    assert by_row(table.gather(directory))["fsp"]["n"] == 1


@pytest.mark.parametrize("content", [None, "no JSON", "[]", '{"rows": 3}', '{"rows": [{}], "seeds": [0]}'])
def test_experiment_without_its_config(tmp_path, content):
    directory = write_runs(tmp_path / "tiny", [*tiny_runs(), lost("crd", 0, "unfinished")])
    path = directory / "config.json"
    path.unlink() if content is None else path.write_text(content)
    runs = table.gather(directory)
    assert by_row(runs)["kd"]["top1"] == by_row(tiny_runs())["kd"]["top1"]
    assert by_row(runs)["crd"]["n"] == 0
    assert "missing runs are not known" in table.markdown(runs)


def test_files_and_folders_in_wrong_places(tmp_path):
    directory = write_runs(tmp_path / "tiny", tiny_runs())
    (directory / "kd/seedx").mkdir()
    (directory / "kd/notes.txt").write_text("")
    result_path = directory / "kd/seed0/result.json"
    result_path.unlink()
    result_path.mkdir()
    (directory / "kd/seed1/metrics.jsonl").unlink()
    (directory / "kd/seed1/metrics.jsonl").mkdir()
    runs = table.gather(directory)
    assert runs[4]["problem"] == "damaged: result.json"
    assert runs[5]["history"] == []
    assert len(runs) == 7


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "there is no such directory or file"),
        (lambda path: path.mkdir(), "holds no runs"),
        (lambda path: path.write_text(""), "holds no run"),
        (lambda path: path.write_text('{"run": "a"}\n'), "line 1 is no run"),
        (lambda path: path.write_text("3\n"), "line 1 is no run"),
        (lambda path: path.write_text(json.dumps(line("kd", 0)) + "\n{cut"), "line 2 is no JSON"),
        (
            lambda path: path.write_text(json.dumps({**line("kd", 0), "result": {}})),
            "line 1: result lacks classes, epochs",
        ),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, make, message):
    path = tmp_path / "thing"
    make(path)
    with pytest.raises(ValueError, match=message):
        table.read(path)


def uneven_lines(seeds=(0, 1)) -> list[dict]:
    """Runs of two methods over three classes of 2, 20 and 40 training images; class c has no test image."""
    config = experiment()
    lines = []
    for method, hits in (("student", 2), ("kd", 3)):
        for seed in seeds:
            last = {"epoch": 3, "top1": 0.9, "confusion": [[0, 0, hits], [0, 1, 4 - hits], [1, 1, 4]]}
            changes = {"classes": ["a", "b", "c"], "train_counts": [2, 20, 40], "last": last}
            made = result(method, seed, **changes)
            lines.append({"run": f"{method}/seed{seed}", "config": run_config(config, method, seed), "result": made})
    return [{**line, "history": []} for line in lines]


def test_every_class_has_a_row():
    rows = records.class_records(records.selected(uneven_lines()))
    assert [(row["row"], row["class"]) for row in rows] == [(m, c) for m in ("student", "kd") for c in "abc"]
    a, b, c = rows[3:]
    assert (a["n"], a["train_images"], a["test_images"]) == (2, 2, 4)
    assert (a["recall"], a["precision"], a["f1"]) == pytest.approx((0.75, 1.0, 6 / 7))
    assert (b["recall"], b["precision"], b["f1"]) == pytest.approx((1.0, 0.8, 8 / 9))
    assert (c["test_images"], c["recall"], c["precision"], c["f1"]) == (0, None, None, None)


def test_classes_with_few_and_many_images():
    grid = cells.groups(records.selected(uneven_lines()))
    assert grid.header[1:] == [f"{g}: {n} images, 1 class" for g, n in (("few", 2), ("medium", 20), ("many", 40))]
    assert grid.rows == [
        ["student", "50.00 ± 0.00", "100.00 ± 0.00", "–"],
        ["kd", "75.00 ± 0.00", "100.00 ± 0.00", "–"],
    ]
    even = [{**line, "result": {**line["result"], "train_counts": [9, 9, 9]}} for line in uneven_lines()]
    assert cells.groups(records.selected(even)).rows == []
    assert "many" not in table.markdown(even)
