"""What the README says is done as it says, and its tables are those of results/."""

import re
import shlex
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from kdjax import cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = dict(re.findall(r"```python (\w+\.py)\n(.*?)```", README, re.DOTALL))


def commands() -> list[str]:
    """The commands of all blocks in the order of the README, a loop's once, without comments."""
    text = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL)).replace("\\\n", " ")
    return [" ".join(re.sub(r"\s#.*", "", line).split()) for line in text.splitlines() if line]


QUICK = ["--config.epochs=1", "--config.teacher.epochs=1", "--seeds=0", "--config.data.train_examples=200"]
PLAN = ["--dry-run", "--only=student,kd", "--config.batch_size=4"]
PLAIN = []
HERE = {  # command -> what makes it quick
    "kdjax check my_losses.cosine": PLAIN,
    "kdjax run --config=my_config.py": QUICK,
    "kdjax run --config=my_config.py --config.student.model=my_models.Small --config.experiment=small": [
        *QUICK,
        "--only=student,cosine",
    ],
    "kdjax run --config=my_config.py --config.metrics.top2=my_metrics.top2 --config.experiment=measured": [
        *QUICK,
        "--only=student",
    ],
    "kdjax list": PLAIN,
    "kdjax run --config=configs/digits.py --dry-run": PLAIN,
    "kdjax run --config=configs/digits.py": [*QUICK, "--only=student,kd"],
    "kdjax run --config=configs/digits.py --only=student,kd,rkd --seeds=0-1 --config.epochs=10 "
    "--config.experiment=quick": QUICK,
    "kdjax table runs/digits --out=results/digits": PLAIN,
    "kdjax table runs": PLAIN,
    "kdjax table runs/digits --bayes": PLAIN,
    "kdjax plan runs/digits --detect=0.5": PLAIN,
    "kdjax doctor runs/digits": PLAIN,
    "kdjax explain runs/digits kd": PLAIN,
    "kdjax choose runs/digits --keep=0.95": PLAIN,
    "kdjax status runs/digits": PLAIN,
    "kdjax report runs/digits --out=report.html": PLAIN,
    "kdjax diff runs/digits runs/quick": PLAIN,
    "kdjax clean runs --keep=last --dry-run": PLAIN,
    "kdjax cite runs/digits": PLAIN,
    "kdjax export runs/digits/kd/seed0 student.safetensors": PLAIN,
    "kdjax run --config=configs/digits.py --config.experiment=again --config.teacher.weights=student.safetensors "
    "--config.teacher.kwargs.widths=4,8,16": [*QUICK, "--only=student,kd"],
    "kdjax export runs/digits/kd/seed0 student.onnx": PLAIN,
    "kdjax predict student.onnx photo.jpg folder/ --top=3": PLAIN,
    "kdjax cost convnet lenet --teacher=resnet20": PLAIN,
    "kdjax run --config=configs/queries.py": ["--dry-run"],
    "kdjax list csv": PLAIN,
    "kdjax run --config=configs/interactions.py": ["--dry-run"],
    "kdjax list interactions": PLAIN,
    "kdjax run --config=configs/digits_small.py": ["--dry-run"],
    "kdjax run --config=configs/folder.py:path=/data/products,size=64,teacher=resnet56,student=resnet8": PLAN,
    "kdjax run --config=configs/products.py:path=/data/products,size=64,teacher=resnet18,student=mobilenetv2": PLAN,
    "for shots in 1 2 5 10 0; do kdjax run --config=configs/products_fewshot.py:path=/data/products,shots=$shots; "
    "done": [*PLAN, "--config.teacher.run=", "--config.teacher.model=resnet8"],  # its teacher is one that ran before
}
ELSEWHERE = {  # command -> where else it is run, or what it needs
    "kdjax grid runs/digits runs/digits_fewshot10 --out=results/grid": "tests/report/test_grid.py",
    "kdjax tune --config=configs/digits_fewshot.py --trials=16": "tests/experiment/test_tune.py",
    "kdjax run --config=configs/digits_fewshot.py --tuned": "tests/experiment/test_tune.py",
    "scripts/demo": "installs",
    "kdjax track runs/digits --to=tensorboard:logs": "tests/report/test_track.py",
    "scripts/test": "installs",
    "pip install -e '.[export]'": "installs",
    "kdjax table runs/products_shots* --out=results/products_fewshot": "tests/report/test_plots_drawn.py",
    "kdjax run --config=configs/cifar10.py:teacher=resnet20,student=resnet8,weights=resnet20_cifar10.safetensors "
    "--config.teacher.kwargs.shortcut=A --config.data.mean=0.485,0.456,0.406 --config.data.std=0.229,0.224,0.225": (
        "CIFAR-10 and the file"
    ),
    "kdjax sizes runs/digits_small/{teacher,student,kd,kd_longer,kd_pruned,kd_qat,kd_pruned_qat}/seed* "
    "--out=results/digits_small": "tests/ship/test_sizes.py",
    "kdjax run --config=configs/cifar100.py --launcher=slurm --launcher.partition=gpu --launcher.time=12:00:00 "
    "--launcher.mem=32GB --launcher.account=lab": "a cluster",
}


def test_every_command_is_run_or_said_to_be_elsewhere():
    assert sorted(commands()) == sorted([*HERE, *ELSEWHERE])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as a reader's: the code blocks, configs/, some photographs."""
    folder = tmp_path_factory.mktemp("readme")
    for name, text in BLOCKS.items():
        (folder / name).write_text(text)
    shutil.copytree(ROOT / "configs", folder / "configs")
    rng = np.random.default_rng(0)
    for split, name, number in ((s, c, n) for s in ("train", "test") for c in "abcd" for n in range(10)):
        path = folder / "products" / split / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    shutil.copytree(folder / "products/test/a", folder / "folder")
    Image.new("RGB", (40, 30), "red").save(folder / "photo.jpg")
    return folder


def argument_lists(command: str, folder: Path):
    """The arguments of kdjax that a command stands for, those of each turn of a loop."""
    loop = re.fullmatch(r"for (\w+) in (.*?); do (.*); done", command)
    turns = [loop[3].replace(f"${loop[1]}", value) for value in loop[2].split()] if loop else [command]
    for turn in turns:
        yield [part.replace("/data/products", str(folder / "products")) for part in shlex.split(turn)[1:]]


@pytest.fixture
def kdjax(capsys, monkeypatch, folder):
    """Runs a command as the README has it: what it printed."""
    monkeypatch.chdir(folder)

    def call(command):
        for arguments in argument_lists(command, folder):
            with pytest.raises(SystemExit) as exit_:
                cli.main([*arguments, *HERE[command]])
            printed = capsys.readouterr()
            assert exit_.value.code == 0, f"{command}\n{printed.out}{printed.err}"
        return printed.out

    return call


def test_a_loss_and_a_model_of_ones_own(kdjax):
    out = kdjax("kdjax check my_losses.cosine")
    assert "The contract is kept." in out
    assert "projection/kernel" in out
    out = kdjax("kdjax run --config=my_config.py")
    rows = [line for line in out.splitlines() if "cosine" in line]
    assert len([row for row in rows if "seed" not in row]) >= 3  # itself and two ablated weights
    own = [command for command in HERE if "my_models.Small" in command]
    assert "my_models.Small" in kdjax(*own)


def test_what_it_does_from_python(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    quick = '"epochs=1", "teacher.epochs=1", "data.train_examples=200", '
    text = (folder / "compare.py").read_text().replace('"epochs=10", ', quick).replace("(0, 1)", "(0,)")
    assert quick in text
    exec(compile(text, "compare.py", "exec"), {})
    printed = capsys.readouterr().out
    assert "cosine 1" in printed
    assert "Δ student" in printed


@pytest.mark.slow
def test_the_other_commands(kdjax):
    for command in HERE:  # in this order: some read what others have written
        if "my_" not in command:
            with jax.numpy_dtype_promotion("standard"):  # optax's adam counts steps in int32
                kdjax(command)


def test_its_tables_are_those_of_the_results():
    for path, shown in re.findall(r"<!-- begin (\S+) -->\n(.*?)<!-- end -->", README, re.DOTALL):
        assert shown.strip() == (ROOT / path).read_text().strip(), f"run scripts/readme: {path} has changed"


def test_its_pictures_and_files_exist():
    for path in re.findall(r"\]\(([^)h][^)]*)\)", README) + re.findall(r"`(configs/[\w/]+\.py)", README):
        assert (ROOT / path).exists(), path


def test_results_are_what_their_runs_say(tmp_path):
    """Every committed table is made again from its runs.jsonl, byte for byte."""
    from kdjax.report import table

    found = sorted((ROOT / "results").glob("*/runs.jsonl"))
    assert found
    for source in found:
        out = tmp_path / source.parent.name
        table.write_texts(table.read(source), out)
        for name in ("table.md", "table.csv", "table.tex"):
            assert (out / name).read_text() == (source.parent / name).read_text(), source.parent / name
