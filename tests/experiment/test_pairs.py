"""config.pairs: the experiments of one config, and that each teacher is trained once, whatever it is called."""

import json

import pytest
from ml_collections import ConfigDict

from kdjax import cli, experiment
from kdjax.config import plain, resolve
from kdjax.config.pairs import experiments
from kdjax.experiment import dry_run, pairs
from kdjax.runs import gather
from kdjax.runs.directory import Run
from tests import tiny

WIDE, NARROW = {"kwargs": {"width": 8}}, {"kwargs": {"width": 2}}


def config(**fields):
    made = tiny.config(methods=("student", "stateless"), epochs=1)
    made.seeds, made.teacher.epochs = (0,), 1
    for name, given in fields.items():
        made.pairs[name] = ConfigDict(given)
    return made


@pytest.mark.parametrize("each", [dry_run.show_all, pairs.run])
def test_what_is_wrong_with_a_pair_is_said_with_its_name(each, tmp_path):
    with pytest.raises(ValueError, match=r"^tiny_a: .*config.student.model 'lenett'; did you mean 'lenet'"):
        each(config(a={"student": {"model": "lenett"}}), tmp_path)


def test_an_experiment_is_the_config_with_its_fields():
    made = config(
        a={"student": NARROW},
        b={"teacher": {"model": "convnet"}, "data": {"shots": 5}, "methods": {"kd": {"kd": {"weight": 1.0}}}},
        c={"methods": {"stateless": None}},
    )
    a, b, c = experiments(made)
    assert (list(c.methods), c.baseline) == (["student"], a.baseline)
    assert (a.experiment, b.experiment) == ("tiny_a", "tiny_b")
    assert (a.student.kwargs.width, a.teacher.kwargs.width) == (2, 8)
    assert plain(b.teacher.kwargs) == {}  # those of tests.tiny.Net were not meant for convnet
    assert (b.data.shots, a.data.shots) == (5, 0)
    assert (list(a.methods), list(b.methods)) == (["student", "stateless"], ["student", "stateless", "kd"])
    assert not a.pairs
    assert [each.experiment for each in experiments(made, ("b",))] == ["tiny_b"]
    assert [each.experiment for each in experiments(config())] == ["tiny"]


@pytest.mark.parametrize(("table", "number"), [("table1", 7), ("table2", 6)])
def test_a_table_of_the_crd_benchmark_is_its_pairs(table, number):
    """Each experiment is the config of its pair alone: the same directory, methods in the same order."""
    found = experiments(cli.load_config(f"configs/cifar100.py:pairs={table}", []))
    assert len(found) == number
    for each in found:
        networks = f"teacher={each.teacher.model},student={each.student.model}"
        alone = resolve(cli.load_config(f"configs/cifar100.py:{networks}", []))
        assert plain(each) == plain(alone)
        assert list(each.methods) == list(alone.methods)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("pairs=table3", "pairs=table3: there are table1, table2, all"),
        ("pairs=all,weights=x", "weights is of one teacher"),
    ],
)
def test_a_table_that_cannot_be_is_refused(given, told):
    with pytest.raises(ValueError, match=told):
        cli.load_config(f"configs/cifar100.py:{given}", [])


@pytest.mark.parametrize(
    ("fields", "only", "told"),
    [
        ({"a": {"studnet": NARROW}}, (), r"unknown config field config\.pairs\.a\.studnet; did you mean 'student'"),
        ({"a": {"epochs": "many"}}, (), r"config\.pairs\.a\.epochs"),
        ({"a": {"epochs": 0}}, (), "epochs must be at least 1"),
        ({"a": {"experiment": "x"}}, (), r"config\.pairs\.a\.experiment: the experiment is called tiny_a"),
        ({"a": {}}, ("aa",), r"--pairs=aa: config\.pairs has none of this name"),
        ({"a/b": {}}, (), "config.experiment names a directory"),
    ],
)
def test_what_is_wrong_is_named(fields, only, told):
    with pytest.raises(ValueError, match=told):
        experiments(config(**fields), only)


def test_a_pair_that_is_no_dictionary():
    made = config()
    made.pairs.a = 3
    with pytest.raises(ValueError, match="must be a dictionary of the fields that differ"):
        experiments(made)


def test_the_teacher_is_the_same_by_what_it_is():
    base = {"student": NARROW}
    same = experiments(config(a=base, b={"data": {"shots": 5}, "metrics": {"own": "x.y"}, "baseline": "stateless"}))
    assert len({pairs.identity(each) for each in same}) == 1  # shots are the student's alone
    for other in (
        {"teacher": {"seed": 1}},
        {"teacher": {"epochs": 2}},
        {"teacher": {"kwargs": {"width": 4}}},
        {"data": {"validation": 0.1}},
        {"dtype": "bfloat16"},
        {"optimizer": {"learning_rate": 0.1}},
    ):
        a, b = experiments(config(a=base, b=other))
        assert pairs.identity(a) != pairs.identity(b), other
    a, b = experiments(config(a={"teacher": {"run": "runs/x/teacher/seed0"}}, b={"teacher": {"model": ""}}))
    assert pairs.identity(a) == pairs.identity(b) == ""


def test_each_teacher_is_trained_once(tmp_path, kdjax, monkeypatch):
    """Also when pairs change places, or are added; and the numbers are those of a teacher trained for itself."""
    made = config(a={"student": NARROW}, b={"teacher": {"seed": 1}}, c={})
    found = pairs.run(made, tmp_path)
    assert [path.name for path in found] == ["tiny_a", "tiny_b", "tiny_c"]
    trained = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/teacher/seed*"))
    assert trained == ["tiny_a/teacher/seed0", "tiny_b/teacher/seed1"]
    digests = [
        {line["config"]["identity"]["teacher"]["sha256"] for line in gather.gather(path) if line["run"][0] == "s"}
        for path in found
    ]
    assert digests[0] == digests[2] != digests[1]
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*/*/result.json")}
    moved = config(d={"data": {"shots": 4}}, c={}, b={"teacher": {"seed": 1}}, a={"student": NARROW})
    assert pairs.run(moved, tmp_path, only=("student",))[0].name == "tiny_d"
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert not (tmp_path / "tiny_d/teacher").exists()
    assert Run(tmp_path / "tiny_d/student/seed0").config()["teacher"]["run"] == str(tmp_path / "tiny_a/teacher/seed0")
    alone = config()
    alone.experiment = "tiny_alone"
    own = experiment.run(alone, tmp_path, only=("stateless",)) / "stateless/seed0"
    assert Run(own).result()["student_sha256"] == Run(tmp_path / "tiny_c/stateless/seed0").result()["student_sha256"]


def test_all_rows_are_looked_at_before_the_first_is_trained(tmp_path):
    wrong = {"methods": {"other": {"teacher": "nobody", "cross_entropy": {"weight": 1.0}}}}
    with pytest.raises(ValueError, match=r"tiny_b: config\.methods\.other\.teacher 'nobody'"):
        pairs.run(config(a={}, b=wrong), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_single_run_refuses_several(tmp_path):
    with pytest.raises(ValueError, match=r"config\.pairs are 2 experiments: kdjax\.experiment\.pairs\.run runs them"):
        experiment.run(config(a={}, b={}), tmp_path)


def test_config_json_does_not_have_the_field(tmp_path):
    directory = experiment.run(config(), tmp_path, only=("student",))
    for path in (directory / "config.json", directory / "student/seed0/config.json"):
        assert "pairs" not in json.loads(path.read_text())


def file(folder, pairs_="config.pairs.a, config.pairs.b = {}, {'data': {'shots': 5}}"):
    """A config file with pairs."""
    path = folder / "several.py"
    path.write_text(
        "from tests import tiny\n\n\ndef get_config():\n"
        "    config = tiny.config(methods=('student', 'stateless'), epochs=1)\n"
        f"    config.seeds, config.teacher.epochs = (0, 1), 1\n    {pairs_}\n    return config\n"
    )
    return path


def test_one_command_runs_them_and_prints_the_grid(tmp_path, kdjax):
    path = file(tmp_path)
    status, out, err = kdjax("run", f"--config={path}", f"--out={tmp_path}/runs", "--dry-run")
    assert (status, err) == (0, "")
    assert "its teacher is that of" in out
    assert not (tmp_path / "runs").exists()
    status, out, err = kdjax("run", f"--config={path}", f"--out={tmp_path}/runs")
    assert (status, err) == (0, "")
    assert "2 columns: average ranks without a test" in out
    assert "tiny_a" in out
    assert "--out=DIRECTORY writes it" in out


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        ("config.pairs.a = {}", ["--pairs=b"], "--pairs=b: config.pairs has none of this name"),
        ("pass", ["--pairs=b"], "this config has none"),
        ("config.pairs.a = {'epoch': 3}", [], "did you mean 'epochs'"),
    ],
)
def test_bad_input(text, options, told, tmp_path, kdjax):
    status, _, err = kdjax("run", f"--config={file(tmp_path, text)}", f"--out={tmp_path}/runs", *options)
    assert status == 2
    assert told in err


def test_old_configs_without_the_field_are_resolved():
    old = plain(config())
    del old["pairs"]
    assert resolve(ConfigDict(old)).pairs == ConfigDict()
