"""The command line: what works prints what it should, bad input gives one message and exit status 2."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kdjax import arguments, cli
from kdjax.config import overrides

CONFIG = Path(__file__).with_name("tiny_config.py")


def run(kdjax, out, *overrides, arg=""):
    return kdjax("run", f"--config={CONFIG}{arg}", f"--out={out}", *overrides)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An experiment that has run: student and stateless, seed 0."""
    out = tmp_path_factory.mktemp("finished")
    with pytest.raises(SystemExit) as exit_:
        cli.main(["run", f"--config={CONFIG}", f"--out={out}"])
    assert exit_.value.code == 0
    return out


def test_run_prints_the_table_and_does_nothing_twice(kdjax, finished):
    before = {path: path.stat().st_mtime_ns for path in finished.glob("*/*/*/*.json*")}
    status, out, err = run(kdjax, finished)
    assert (status, err) == (0, "")
    assert "stateless" in out
    assert {path: path.stat().st_mtime_ns for path in finished.glob("*/*/*/*.json*")} == before


def test_table_writes_its_files(kdjax, finished, tmp_path):
    status, out, _ = kdjax("table", finished / "tiny", f"--out={tmp_path}")
    assert status == 0
    assert "stateless" in out
    written = {path.name for path in tmp_path.iterdir()}
    assert {"runs.jsonl", "table.md", "table.csv", "table.tex", "accuracy.png"} <= written
    status, out_again, _ = kdjax("table", tmp_path / "runs.jsonl")
    assert (status, out_again) == (0, out)
    status, out, _ = kdjax("table", tmp_path / "runs.jsonl", "--only=stateless")
    assert status == 0
    assert "stateless" in out
    assert "student  " not in out


@pytest.mark.parametrize("what", ["methods", "losses", "models", "datasets", None])
def test_list(kdjax, what):
    status, out, _ = kdjax("list", *filter(None, [what]))
    assert status == 0
    assert {"methods": "dkd", "losses": "temperature=4.0", "models": "resnet20"}.get(what, "tfds") in out


def test_check_tells_good_losses_from_bad(kdjax):
    assert kdjax("check", "tests.tiny.remembered")[0] == 0
    status, out, _ = kdjax("check", "tests.tiny.vector")
    assert status == 1
    assert "take the mean over the batch" in out
    status, out, _ = kdjax("check", "tests.tiny.asks_for_more")
    assert status == 1
    assert "momentun" in out


BAD_INPUT = {
    "no such file": (("--config=nowhere.py",), "there is no file 'nowhere.py'"),
    "unknown field": (("--config.epoch=3",), "unknown config field config.epoch; did you mean 'epochs'"),
    "unknown part": (("--config.optimzer.name=sgd",), "there is no field 'optimzer'"),
    "type of a field": (("--config.epochs=many",), "epochs"),
    "range of a field": (("--config.epochs=0",), "config.epochs must be at least 1"),
    "field without config": (("--epochs=3",), "unknown argument --epochs=3; did you mean --config.epochs=3?"),
    "two such fields": (("--kwarg={}",), "did you mean --config.data.kwargs={} or --config.student.kwargs={} or"),
    "singular": (("--seed=3",), "unknown argument --seed=3; did you mean --seeds=3?"),
    "unknown argument": (("--zzz",), "unknown argument --zzz; a field of the config is set by --config.field=value"),
    "another file": (("tests/tiny_config.py",), "give one config"),
    "near file": (("--config=configs/digit.py",), "no file 'configs/digit.py'; did you mean 'configs/digits.py'?"),
    "file elsewhere": (("--config=digits_small.py",), "did you mean 'configs/digits_small.py'?"),
    "config argument": ((f"--config={CONFIG}:epoch=3",), "did you mean 'epochs'"),
    "unknown method": (("--only=stateles",), "there is no method 'stateles'; did you mean 'stateless'"),
    "seeds": (("--seeds=a",), "--seeds takes integers like 0,1,2 or 0-4, got 'a'"),
    "seeds backwards": (("--seeds=4-0",), "--seeds takes integers like 0,1,2 or 0-4, got '4-0'"),
    "too many seeds": (("--seeds=0-4294967295",), "--seeds takes integers like 0,1,2 or 0-4"),
    "negative seed": (("--seeds=-1",), "--seeds must be different integers from 0"),
    "a seed twice": (("--seeds=0,0",), "--seeds must be different integers from 0"),
    "unknown model": (("--config.student.model=convnt",), "config.student.model 'convnt'; did you mean 'convnet'"),
    "model's module": (("--config.student.model=no.such.Net",), "there is no module 'no.such'"),
    "model's attribute": (("--config.student.model=tests.tiny.Nett",), "no 'Nett'; did you mean 'Net'"),
    "model's argument": (("--config.teacher.kwargs.wdth=3",), "Net takes no 'wdth'; did you mean 'width'?"),
    "dataset": (("--config.data.source=digit",), "config.data.source 'digit'; did you mean 'digits'"),
    "folder": (("--config.data.source=folder", "--config.data.path=/nowhere"), "/nowhere"),
    "batch": (("--config.batch_size=4096",), "larger than the 128 training images"),
    "optimizer": (("--config.optimizer.name=sdg",), "gradients alone; did you mean 'sgd'"),
    "weights": (("--config.teacher.weights=net.pth",), "safetensors"),
    "teacher's run": (("--config.teacher.run=runs/none",), "holds no run"),
    "classes": (("--config.student.model=tests.tiny.FourClasses",), "the task asks for 10"),
    "teacher's classes": (("--config.teacher.model=tests.tiny.FourClasses",), "logits have shape (4,) an example"),
    "no teacher": (("--config.teacher.model=",), "this loss needs a teacher"),
    "array": ((f"--config={CONFIG}:methods=layered", "--config.student.model=tests.tiny.LogitsOnly"), "layered"),
    "vector": ((f"--config={CONFIG}:methods=vector",), "config.methods.vector.vector: a loss returns a scalar"),
    "context": ((f"--config={CONFIG}:methods=asks_for_more",), "'momentun'"),
    "weight's type": (("--config.methods.student.cross_entropy.weight=abc",), "weight"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_before_any_training(kdjax, tmp_path, case):
    overrides, message = BAD_INPUT[case]
    status, _, err = run(kdjax, tmp_path, *overrides)
    assert status == 2
    assert message in err
    assert err.startswith("kdjax: ")
    assert "Traceback" not in err
    assert not list(tmp_path.glob("*/*/*/checkpoints"))


TERMS = {
    "unknown loss": ({"kdd": {"weight": 1.0}}, "'kdd'; did you mean 'kd'"),
    "misspelt hyperparameter": ({"kd": {"weight": 1.0, "temprature": 2.0}}, "did you mean 'temperature'"),
    "type of a hyperparameter": ({"kd": {"weight": 1.0, "temperature": "hot"}}, "must be of type float"),
    "layer out of range": ({"similarity": {"weight": 1.0, "layer": 7}}, "similarity"),
    "no weight": ({"kd": {"temperature": 2.0}}, "has no weight"),
    "no term": ({"first_stage": {"epochs": 1}}, "has no loss"),
    "teaching method": ({"kd": {"weight": 1.0}, "teacher": "studnt"}, "did you mean 'student'"),
    "schedule": ({"kd": {"weight": {"schedule": "linear"}}}, "linear_schedule"),
    "frozen": ({"kd": {"weight": 1.0}, "freeze": ("regressor",)}, "no parameters at"),
}


@pytest.mark.parametrize("case", TERMS)
def test_bad_methods(case, tmp_path):
    from kdjax import experiment
    from tests import tiny

    spec, message = TERMS[case]
    config = tiny.config(methods=("student",))
    config.methods.wrong = spec
    with pytest.raises(ValueError, match=message):
        experiment.run(config, tmp_path)
    assert not list(tmp_path.glob("*/*/*/checkpoints"))


CONFIG_FILES = {
    "no get_config": ("x = 1", 2, "no attribute 'get_config'"),
    "no config": ("def get_config(): return 3", 2, "a config is a ConfigDict"),
    "syntax": ("def get_config( return", 2, "invalid syntax (own.py, line 1)"),
    "an error of its own": ("raise RuntimeError('mine')", 1, "unexpected RuntimeError: mine (kdjax --debug run"),
}


@pytest.mark.parametrize("case", CONFIG_FILES)
def test_bad_config_files(kdjax, tmp_path, case):
    text, expected, message = CONFIG_FILES[case]
    (tmp_path / "own.py").write_text(text)
    status, _, err = kdjax("run", f"--config={tmp_path / 'own.py'}", f"--out={tmp_path}")
    assert (status, err.count("\n")) == (expected, 1)
    assert message in err


COMMANDS = {
    "no command": ((), "the following arguments are required: command"),
    "unknown command": (("frobnicate",), "invalid choice: 'frobnicate'"),
    "run without config": (("run",), "the following arguments are required: --config"),
    "run of two configs": (("run", "configs/digits.py", "configs/products.py"), "unknown argument configs/products.py"),
    "run of a directory": (("run", "--config=tests"), "there is no file 'tests'"),
    "run of no Python": (("run", "--config=README.md"), "README.md"),
    "tune without config": (("tune",), "the following arguments are required: --config"),
    "tune by a launcher": (("tune", "digits", "--launcher.time=1"), "kdjax tune works here"),
    "tune on the seeds of the config": (
        ("tune", "digits", "--seeds=4"),
        "config.seeds and the seeds of trials both have 4",
    ),
    "run of what is not tuned": (("run", "digits", "--tuned={tmp}/none"), "there is no {tmp}/none: kdjax tune"),
    "table of nothing": (("table",), "the following arguments are required: runs"),
    "table of no path": (("table", "{tmp}/none"), "there is no such directory or file"),
    "table of an empty directory": (("table", "{tmp}"), "holds no runs"),
    "table of another file": (("table", "pyproject.toml"), "pyproject.toml, line 1 is no JSON"),
    "table into a file": (("table", "{finished}/tiny", "--out={tmp}/file"), "{tmp}/file: File exists"),
    "table with a wrong option": (("table", "{finished}/tiny", "--into=x"), "unknown argument --into=x"),
    "list of what": (("list", "los"), "there is nothing named 'los'; did you mean"),
    "check of an unknown loss": (("check", "kdd"), "unknown loss 'kdd'; did you mean 'kd'"),
    "check of no module": (("check", "no.such"), "there is no module 'no'"),
    "cost of an unknown model": (("cost", "resnet21"), "unknown model 'resnet21'"),
    "cost of no pixels": (("cost", "resnet20", "--image-size=0"), "--image-size must be at least 1"),
    "export of no run": (("export", "{tmp}", "{tmp}/x.safetensors"), "holds no run"),
    "export into nowhere": (("export", "{finished}/tiny/student/seed0", "{tmp}/none/x.safetensors"), "{tmp}/none"),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_bad_commands(kdjax, finished, tmp_path, case):
    (tmp_path / "file").write_text("x")
    argv, message = COMMANDS[case]
    status, _, err = kdjax(*(part.format(tmp=tmp_path, finished=finished) for part in argv))
    assert status == 2
    assert message.format(tmp=tmp_path) in err
    assert "Traceback" not in err


def test_a_directory_of_another_config(kdjax, finished):
    status, _, err = run(kdjax, finished, "--config.batch_size=16")
    assert status == 2
    assert "batch_size: 32 -> 16" in err


def test_missing_tfds_data(kdjax, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    status, _, err = run(kdjax, tmp_path, "--config.data.source=tfds", "--config.data.name=cifar10")
    assert status == 2
    assert str(tmp_path) in err


def test_weights_that_do_not_fit(kdjax, tmp_path):
    from kdjax.models import weights

    source = tmp_path / "net.safetensors"
    import jax.numpy as jnp

    weights.save(source, {"params": {"conv0": {"kernel": jnp.ones((3, 3, 1, 5))}}}, {"model": "x", "kwargs": {}})
    status, _, err = run(kdjax, tmp_path, f"--config.teacher.weights={source}")
    assert status == 2
    assert "net.safetensors" in err


def test_damaged_run_is_no_traceback(kdjax, finished, tmp_path):
    shutil.copytree(finished / "tiny", tmp_path / "tiny")
    (tmp_path / "tiny/student/seed0/result.json").write_text("{")
    status, out, _ = kdjax("table", tmp_path / "tiny")
    assert status == 0
    assert "stateless" in out


def test_debug_shows_the_traceback(kdjax):
    with pytest.raises(ValueError, match="nowhere"):
        cli.main(["--debug", "run", "--config=nowhere.py"])


def test_the_installed_command_from_another_directory(finished, tmp_path):
    """A process of its own, as a user starts it."""
    command = [Path(sys.executable).with_name("kdjax"), "table", finished / "tiny", "--out=x"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "x/runs.jsonl").read_text().splitlines()[0])["run"]


def test_the_examples_of_help_are_commands(kdjax):
    _, out, _ = kdjax("--help")
    examples = re.findall(r"^  kdjax (.*?)(?:  |$)", out.partition("examples:")[2], re.MULTILINE)
    assert len(examples) > 8
    for example in examples:
        args, rest = cli.parser().parse_known_args(example.split())
        assert args.command in ("run", "tune") or not rest, example
        assert not getattr(args, "config", "").startswith("digits") or args.config in overrides.shipped()


def test_version(kdjax):
    status, out, _ = kdjax("--version")
    assert (status, out.split()[0]) == (0, "kdjax")


def test_a_dry_run_tells_the_plan_and_writes_nothing(kdjax, finished, tmp_path):
    status, out, _ = run(kdjax, tmp_path, "--dry-run", "--seeds=0-2", arg=":methods=student+stateless")
    assert status == 0
    assert re.search(r"stateless +1 +4 +0, 1, 2: to train", out)  # 128 images, 32 a batch
    assert re.search(r"teacher +1 +4 +0: to train", out)
    assert "7 runs to train" in out  # the teacher is one
    assert not list(tmp_path.iterdir())
    before = sorted(finished.rglob("*"))
    status, out, _ = run(kdjax, finished, "--dry-run", "--seeds=0,1", "--only=stateless")
    assert status == 0
    assert re.search(r"stateless +1 +4 +0: done; 1: to train", out)
    assert re.search(r"teacher +1 +4 +0: done", out)
    assert "1 run to train" in out
    assert sorted(finished.rglob("*")) == before


def test_a_dry_run_finds_what_a_run_would(kdjax, tmp_path):
    status, _, err = run(kdjax, tmp_path, "--dry-run", arg=":methods=vector")
    assert status == 2
    assert "config.methods.vector.vector: a loss returns a scalar" in err


def test_the_config_may_stand_alone(kdjax, finished):
    status, out, _ = kdjax("run", CONFIG, f"--out={finished}", "--config.epochs", "1", "--dry-run")
    assert status == 0
    assert "everything is finished" in out


def test_a_part_of_an_experiment_is_shown_with_its_baseline(kdjax, finished, tmp_path):
    shutil.copytree(finished / "tiny", tmp_path / "tiny")
    part = ("--only=stateless", "--seeds=0")
    status, out, _ = run(kdjax, tmp_path, *part, arg=":methods=student+stateless+layered+noisy")
    assert status == 0
    assert "stateless" in out
    assert "student" in out
    assert "layered" not in out
    assert " of " not in out.partition("model")[0]  # as many seeds as were asked for


ROWS = ["student", "kd", "kd,kd.temperature=2.0", "kd,kd.temperature=8.0"]
ONLY = {
    (): ROWS,
    ("kd",): ROWS[1:],
    ("student", "kd"): ROWS,
    ("kd", "kd.temperature=2.0"): ROWS[2:3],  # one name, split at its comma
    ("student", "kd", "kd.temperature=8.0"): [ROWS[0], ROWS[3]],
}


@pytest.mark.parametrize("only", ONLY)
def test_only_means_the_same_for_training_and_for_tables(only, tmp_path):
    from kdjax.config.rows import expand
    from kdjax.experiment.plan import missing
    from kdjax.runs import gather
    from tests import tiny

    config = tiny.config(methods=("student",))
    config.methods.kd = {"cross_entropy": {"weight": 0.5}, "kd": {"weight": 0.5, "temperature": 4.0}}
    config.ablate["kd.kd.temperature"] = (2.0, 8.0)
    unfinished = missing(config, tmp_path, expand(config), only, (0,))
    lines = [{"run": row, "config": {"method": row, "row": row}, "result": None} for row in ROWS]
    assert [row.row for _, row in unfinished] == ONLY[only]
    assert [line["run"] for line in gather.select(lines, only)] == ONLY[only]


@pytest.mark.parametrize(
    ("text", "seeds"), [("0,1,2", (0, 1, 2)), ("0-4", (0, 1, 2, 3, 4)), ("7,0-1", (7, 0, 1)), ("", ())]
)
def test_seeds(text, seeds):
    assert arguments.integers(text, "--seeds") == seeds


def test_a_folder_of_experiments_is_listed(kdjax, finished, tmp_path):
    shutil.copytree(finished / "tiny", tmp_path / "a b")
    shutil.copytree(finished / "tiny", tmp_path / "c")
    shutil.rmtree(tmp_path / "c/stateless")
    (tmp_path / "notes").mkdir()
    status, out, _ = kdjax("table", tmp_path)
    assert status == 0
    assert out.splitlines() == [
        f"{tmp_path}/a b: 2 methods, 2 of 2 runs finished; kdjax table '{tmp_path}/a b'",
        f"{tmp_path}/c: 2 methods, 1 of 2 runs finished; kdjax table {tmp_path}/c",
    ]
    status, _, err = kdjax("table", tmp_path, f"--out={tmp_path}/x")
    assert status == 2
    assert f"'{tmp_path}/a b' {tmp_path}/c" in err


@pytest.mark.parametrize(
    ("name", "told"),
    [("kd", "arXiv:1503.02531"), ("crd_kd", "arXiv:1910.10699"), ("resnet20", "MODEL"), ("tfds", "SOURCE")],
)
def test_list_tells_of_one(kdjax, name, told):
    status, out, _ = kdjax("list", name)
    assert status == 0
    assert told in out
    assert len(out.splitlines()) < 20


def test_a_name_like_no_other_is_told_each_valid_one_once(kdjax):
    _, _, err = kdjax("list", "zzz")
    valid = err.strip().partition("valid are ")[2].split(", ")
    assert "kd" in valid
    assert len(valid) == len(set(valid))


def test_a_model_anew_has_no_arguments_of_the_old(capsys):
    kwargs = lambda *overrides: cli.load_config(str(CONFIG), list(overrides)).teacher.kwargs.to_dict()  # noqa: E731
    assert kwargs() == {"width": 8}
    assert kwargs("--config.teacher.model=tests.tiny.Net") == {"width": 8}
    assert capsys.readouterr().err == ""
    assert kwargs("--config.teacher.model=convnet") == {}
    told = capsys.readouterr().err
    assert (
        "config.teacher.model is convnet now: the config's arguments of tests.tiny.Net are left out (width=8)" in told
    )
    assert kwargs("--config.teacher.model", "convnet", "--config.teacher.kwargs.widths=4,8") == {"widths": (4, 8)}


def test_tables_are_made_without_jax(finished, tmp_path):
    """In a process of its own; simkd's row has a student made of other networks."""
    sources = [str(finished / "tiny"), str(CONFIG.parent.parent / "results/cifar10_short/runs.jsonl")]
    program = (
        "import sys; from kdjax import arguments, cli\n"
        f"try: cli.main(['table', *{sources!r}, '--out={tmp_path}'])\n"
        "finally: print(sorted({'jax', 'flax', 'optax', 'sklearn'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "simkd" in done.stdout


def test_help_has_examples_that_are_commands(kdjax, capsys):
    status, out, _ = kdjax("--help")
    assert status == 0
    examples = [line.split()[1] for line in out.splitlines() if line.startswith("  kdjax ")]
    assert {"run", "table", "report", "export"} <= set(examples)
    for command in set(examples):
        assert kdjax(command, "--help")[0] == 0


def test_a_config_that_comes_with_kdjax_is_found_anywhere(tmp_path, monkeypatch):
    from kdjax.config.overrides import load_config, shipped

    monkeypatch.chdir(tmp_path)
    assert {"digits", "cifar10", "ablations/weight"} <= set(shipped())
    assert load_config("digits", ["--config.epochs=2"]).epochs == 2
    assert load_config("ablations/weight", []).experiment == "weight"
    assert load_config("digits_fewshot:shots=20", []).data.shots == 20
    with pytest.raises(ValueError, match="did you mean 'digits'"):
        load_config("digit", [])
    (tmp_path / "digits").write_text("1/0")  # a file of one's own is meant first
    with pytest.raises(ZeroDivisionError):
        load_config("digits", [])
