"""What README and docs/ say is done as they say, and their tables are those of results/."""

import io
import json
import os
import re
import shlex
import shutil
import tarfile
from pathlib import Path

import jax
import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from kdjax import cli
from kdjax.cli.run import given_config
from kdjax.config import resolve

ROOT = Path(__file__).parent.parent
PAGES = {path: path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))}
WORDS = 1200
"""README is read in five minutes; what does not fit is in docs/."""


def fenced(language: str) -> list[tuple[str, str]]:
    """(what stands behind the language, text) of the blocks of all pages."""
    every = [re.findall(r"^```(\S+) ?(.*)\n((?:.*\n)*?)```$", page, re.MULTILINE) for page in PAGES.values()]
    return [(rest, text) for blocks in every for found, rest, text in blocks if found == language]


BLOCKS = {rest.removeprefix('title="').removesuffix('"'): text for rest, text in fenced("python")}
"""File -> its text."""


def commands() -> list[str]:
    """The commands of all blocks, each once, in the order of the pages, a loop's once, without comments."""
    text = "\n".join(text for _, text in fenced("sh")).replace("\\\n", " ")
    return list(dict.fromkeys(" ".join(re.sub(r"\s#.*", "", line).split()) for line in text.splitlines() if line))


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
    "kdjax run --config=my_config.py --dry-run": PLAIN,
    "kdjax list": PLAIN,
    "kdjax list losses": PLAIN,
    "kdjax list models": PLAIN,
    "kdjax list dkd": PLAIN,
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
    "kdjax list letor": PLAIN,
    "kdjax list query_documents": PLAIN,
    "kdjax run --config=configs/searches.py": ["--dry-run"],
    "kdjax run --config=configs/searches.py --config.execution.teach_once=True": ["--dry-run"],
    "kdjax run --config=configs/digits.py --only=student,kd --config.experiment=nearest --config.data.views=2 "
    "--config.teacher.function=my_teacher.nearest --config.teacher.mean=0.0 "
    "--config.teacher.std=0.00392156862745098": QUICK,
    "kdjax run --config=configs/photographs.py": ["--dry-run"],
    "kdjax run --config=configs/digits_small.py": ["--dry-run"],
    "kdjax run --config=configs/folder.py:path=/data/products,size=64,teacher=resnet56,student=resnet8": PLAN,
    "kdjax run --config=configs/folder.py:path=/data/products.csv,source=manifest,size=64": PLAN,
    "kdjax run --config=configs/folder.py:path=/data/products_shards,source=webdataset,size=64": PLAN,
    "kdjax run --config=configs/folder.py:path=/data/products.npz,source=npz,size=0": PLAN,
    "kdjax run --config=configs/folder.py:path=/data/products_hub,source=huggingface,size=64": PLAN,
    "kdjax run --config=configs/products.py:path=/data/products,size=64,teacher=resnet18,student=mobilenetv2": PLAN,
    "for shots in 1 2 5 10 0; do kdjax run --config=configs/products_fewshot.py:path=/data/products,shots=$shots; "
    "done": [*PLAN, "--config.teacher.run=", "--config.teacher.model=resnet8"],  # its teacher is one that ran before
}
PARSED = {  # command -> which one like it is run; its arguments and its config are read here
    "kdjax run --config=my_config.py --seeds=0-9": "with other seeds",
    "kdjax run --config=configs/digits.py --track=tensorboard:logs": "tests/api/test_tracking.py",
    "kdjax run --config=configs/digits.py --seeds=until:0.5,max=20": "tests/report/test_pilot.py",
    "kdjax run --config=my_config.py --tuned": "tests/experiment/test_tune.py",
    "kdjax tune --config=my_config.py --trials=8": "tests/experiment/test_tune.py",
    "kdjax doctor runs/mine": "runs/digits",
    "kdjax plan runs/mine --detect=1": "runs/digits",
    "kdjax table runs/mine --out=results/mine": "runs/digits",
    "kdjax cite runs/mine": "runs/digits",
    "kdjax report runs/mine --out=report.html": "runs/digits",
    "kdjax table runs/queries --out=results/queries": "runs/digits",
    "kdjax table runs/searches --out=results/searches": "runs/digits",
    "kdjax run --config=configs/queries.py:student=bag_of_words": "another student",
    "kdjax run --config=configs/interactions.py:model=sasrec": "tests/config/test_configs.py",
    "kdjax cost bert textcnn --tokens=64": "tests/models/test_cost.py",
    "kdjax sizes runs/products/{student,kd}/seed* --out=results/products_sizes": "tests/ship/test_sizes.py",
    "kdjax choose runs/products --keep=0.9 --sizes=results/products_sizes/sizes.csv": "tests/report/test_choose.py",
    "kdjax export runs/products/kd/seed0 student.onnx": "runs/digits",
    "kdjax export runs/digits/kd/seed0 student.tflite": "tests/ship/test_export.py",
    "kdjax predict student.tflite photo.jpg folder/ --top=3": "tests/ship/test_predict.py",
    "kdjax sizes runs/digits/{student,kd}/seed* --tflite --out=results/digits_sizes": "tests/ship/test_sizes.py",
    "kdjax export runs/queries/kd/seed0 queries.onnx": "tests/ship/test_texts.py",
    'kdjax predict queries.onnx "table for lamp" queries.txt -': "tests/ship/test_texts.py",
    "kdjax export runs/products_search/student/seed0 search.onnx --catalogue=offers.npz": "tests/ship/test_rankers.py",
    'kdjax predict search.onnx --catalogue=offers.npz "red shoe 42" queries.txt --top=5': "tests/ship/test_rankers.py",
    "kdjax embed search.onnx catalogue.npz titles.txt --dtype=int8": "tests/ship/test_rankers.py",
    "kdjax export runs/searches/rankdistil/seed0 ranker.onnx": "tests/ship/test_rankers.py",
    "kdjax predict ranker.onnx test.txt --top=10": "tests/ship/test_rankers.py",
    "kdjax export runs/digits_search/similarity/seed0 encoder.onnx": "tests/ship/test_rankers.py",
    "kdjax embed encoder.onnx photographs.npz folder/": "tests/ship/test_rankers.py",
    "kdjax predict encoder.onnx --catalogue=photographs.npz photo.jpg": "tests/ship/test_rankers.py",
    "kdjax export runs/sequences/student/seed0 items.onnx": "tests/ship/test_rankers.py",
    'kdjax predict items.onnx "item 3, item 8" --top=10': "tests/ship/test_rankers.py",
    "kdjax export runs/sequences/student/seed0 users.onnx --catalogue=items.npz --dtype=int8": (
        "tests/ship/test_rankers.py"
    ),
    'kdjax predict users.onnx --catalogue=items.npz "item 3, item 8" --top=10': "tests/ship/test_rankers.py",
}
ELSEWHERE = {  # command -> where else it is run, or what it needs
    "kdjax run --config=configs/reviews.py:path=reviews.tsv,encoder=all-MiniLM-L6-v2": "a folder of Hugging Face's",
    "kdjax rewrite --config=configs/reviews.py:path=reviews.tsv --encoder=bert-base-uncased --out=rewritten.txt": (
        "tests/data/text/test_rewrite.py"
    ),
    "kdjax grid runs/digits runs/digits_fewshot10 --out=results/grid": "tests/report/test_grid.py",
    "kdjax tune --config=configs/digits_fewshot.py --trials=16": "tests/experiment/test_tune.py",
    "kdjax run --config=configs/digits_fewshot.py --tuned": "tests/experiment/test_tune.py",
    "kdjax run --config=configs/searches.py:path=/data/MSLR-WEB10K/Fold1": "tests/data/ranking/test_letor.py",
    "kdjax run --config=configs/products_search.py:path=pricerunner_aggregate.csv": "tests/tasks/test_search.py",
    "scripts/demo": "installs",
    "kdjax track runs/digits --to=tensorboard:logs": "tests/report/test_track.py",
    "scripts/test": "installs",
    "pip install -e '.[export]'": "installs",
    "pip install -e '.[litert]'": "installs",
    "pip install --no-deps litert-converter==0.5.0": "installs",
    "kdjax table runs/products_shots* --out=shots": "tests/report/test_plots_drawn.py",
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
    assert sorted(commands()) == sorted([*HERE, *PARSED, *ELSEWHERE])


def test_every_command_is_one_that_kdjax_takes(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    for command in (*HERE, *PARSED):
        for arguments in argument_lists(command, folder):
            args, rest = cli.parser().parse_known_args(arguments)
            if args.command in ("run", "tune"):
                resolve(given_config(args, rest)[0])
            else:
                assert not rest, command


def test_every_block_is_commands_or_a_file_that_is_used():
    """Snippets in other languages would be text that nothing runs."""
    languages = {found for page in PAGES.values() for found in re.findall(r"^```(\S+)", page, re.MULTILINE)}
    assert languages == {"sh", "python"}
    assert len(BLOCKS) == len(fenced("python"))  # a file stands in one place
    assert set(BLOCKS) == {
        "my_losses.py",
        "my_config.py",
        "my_models.py",
        "my_teacher.py",
        "my_metrics.py",
        "compare.py",
    }


def test_the_readme_is_short():
    assert len(PAGES[ROOT / "README.md"].split()) <= WORDS


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
    list_products(folder)
    shutil.copytree(folder / "products/test/a", folder / "folder")
    Image.new("RGB", (40, 30), "red").save(folder / "photo.jpg")
    return folder


def list_products(folder: Path) -> None:
    """The photographs of products/ as a table, as shards, as arrays and as a data set of the hub."""
    found = [(*path.relative_to(folder / "products").parts[:2], path) for path in sorted(folder.rglob("*.png"))]
    table = [{"path": str(path), "label": label, "split": split} for split, label, path in found]
    (folder / "products.csv").write_text(
        "\n".join(",".join(row.values()) for row in [{k: k for k in table[0]}, *table])
    )
    for name in ("products_shards", "products_hub"):
        (folder / name).mkdir()
    arrays = {}
    for split in ("train", "test"):
        own = [(label, path) for of, label, path in found if of == split]
        with tarfile.open(folder / f"products_shards/{split}-000000.tar", "w") as tar:
            for number, (label, path) in enumerate(own):
                tar.add(path, f"{number:06}.png")
                cls = tarfile.TarInfo(f"{number:06}.cls")
                cls.size = len(label)
                tar.addfile(cls, io.BytesIO(label.encode()))
        arrays[f"{split}_images"] = np.stack([np.asarray(Image.open(path)) for _, path in own])
        arrays[f"{split}_labels"] = np.array(["abcd".index(label) for label, _ in own])
        rows = [{"image": {"bytes": path.read_bytes()}, "label": "abcd".index(label)} for label, path in own]
        features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": [*"abcd"]}}
        notes = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
        made = pyarrow.Table.from_pylist(rows).replace_schema_metadata(notes)
        parquet.write_table(made, folder / f"products_hub/{split}-00000-of-00001.parquet")
    np.savez(folder / "products.npz", **arrays)


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
    assert "16 runs to train" in kdjax("kdjax run --config=my_config.py --dry-run")
    out = kdjax("kdjax run --config=my_config.py")
    rows = [line for line in out.splitlines() if "cosine" in line]
    assert len([row for row in rows if "seed" not in row]) >= 3  # itself and two ablated weights
    own = [command for command in HERE if "my_models.Small" in command]
    assert "my_models.Small" in kdjax(*own)


def test_a_teacher_of_ones_own(kdjax):
    (command,) = [command for command in HERE if "my_teacher" in command]
    assert "teacher my_teacher.nearest: " in kdjax(command)


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
    marked = r"<!-- begin (first table of )?(\S+) -->\n(.*?)<!-- end -->"
    found = [match for page in PAGES.values() for match in re.findall(marked, page, re.DOTALL)]
    assert len(found) > 5
    for first, path, shown in found:
        text = (ROOT / path).read_text().strip()
        text = text.partition("\n\n")[0] if first else text
        assert shown.strip() == text, f"run scripts/readme: {path} has changed"


def anchors(page: str) -> set[str]:
    """Of its headings, as GitHub and the site make them."""
    heads = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_its_pictures_and_files_exist():
    linked = set()
    for page, text in PAGES.items():
        for link in re.findall(r"\]\(([^)]+)\)", text):
            if link.startswith(("http:", "https:")):
                continue
            path, _, anchor = link.partition("#")
            target = Path(os.path.normpath(page.parent / path)) if path else page
            assert target.exists(), f"{page.name}: {link}"
            assert not anchor or anchor in anchors(PAGES[target]), f"{page.name}: {link}"
            linked.add(target)
        for path in re.findall(r"`(configs/[\w/]+\.py)", text):
            assert (ROOT / path).exists(), f"{page.name}: {path}"
    assert PAGES.keys() <= linked, "pages that no page leads to"


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
