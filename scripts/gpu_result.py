"""The part of scripts/gpu with a real result: CIFAR-10 (JPEG), configs/cifar10_gpu.py, over as many calls as it takes.

A call goes on where the files that an earlier one left in its folder end (--resume), and leaves its own: the runs so
far as result.jsonl (a table of them: `kdjax table result.jsonl`), and what continues them as runs-*.tar.gz. Checkpoints
that are too large to travel (crd's memory of all images, until it is finished) stay behind: that run starts over.

`gpu_result.py FILE` writes FILE, the data set without TFDS' own formats, from TFDS_DATA_DIR.
"""

import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

import numpy as np
from gpu_forms import Options, Skipped

ROOT = Path(__file__).resolve().parent.parent
PIECE = 15 * 2**20
"""Bytes of files in one archive at most; 16 MiB of one file is what may come back from some machines."""
PIECES = 4
TINY = ("--config.optimizer.schedule=constant", "--config.student.model=convnet", "--config.teacher.model=convnet")


def result(options: Options, save) -> dict:
    """Runs the experiment until the time is up, and packs what there is."""
    out = Path(options.out)
    with tempfile.TemporaryDirectory() as folder:
        data, own = options.data, ("--only=student,kd", "--seeds=0", *TINY)
        if options.form == "tiny":
            data = f"{folder}/tiny.npz"
            write(data, _tiny())
        else:
            own = (f"--seeds={options.seeds}", *([f"--only={options.only}"] if options.only else []))
            if not data and not os.environ.get("TFDS_DATA_DIR"):
                raise Skipped("neither --data=FILE (made by --pack) nor TFDS_DATA_DIR says where CIFAR-10 is")
        runs = Path(folder) / "runs"
        unpack(Path(options.resume), runs) if options.resume else None
        config = f"configs/cifar10_gpu.py:data={data},epochs={1 if options.form == 'tiny' else 24}"
        command = [sys.executable, "-m", "kdjax.cli", "run", f"--config={config}", f"--out={runs}", *own]
        status = _until(command, options.seconds - 30)
        lines, left = _lines(runs), pack(runs, out)
        (out / "result.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        if status not in (0, 128 + signal.SIGTERM):
            raise RuntimeError(f"kdjax run ended with status {status}")
    rows = [
        {"run": line["run"], "top1": line["result"]["last"]["top1"] if line["result"]["last"] else None}
        for line in lines
        if line["result"]
    ]
    return {"finished": rows, "unfinished": [line["run"] for line in lines if not line["result"]], "left": left}


def _until(command: list[str], seconds: float) -> int:
    """The status of a command that is asked to stop when its time is up."""
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.terminate()
        return process.wait()


def _lines(runs: Path) -> list[dict]:
    from kdjax.runs import gather

    return [line for directory in sorted(runs.glob("*")) for line in gather.gather(directory)]


# ---- from call to call


def pack(runs: Path, out: Path) -> list[str]:
    """Writes runs-0.tar.gz, ... and returns the directories whose checkpoint was too large for them."""
    for old in out.glob("runs-*.tar.gz"):
        old.unlink()
    pieces, left = [[]], []
    for directory in [*runs.glob("*"), *sorted(runs.glob("*/*/seed*"))]:
        files = [path for path in directory.glob("*.json*") if path.is_file()]
        if directory.parent != runs:
            kept = _checkpoint(directory)
            if sum(path.stat().st_size for path in kept) > PIECE:
                left.append(str(directory.relative_to(runs)))
                continue
            files += kept
        size = sum(path.stat().st_size for path in (*pieces[-1], *files))
        if size > PIECE and len(pieces) == PIECES:
            left.append(str(directory.relative_to(runs)))
            continue
        pieces += [[]] if size > PIECE else []
        pieces[-1] += files
    for number, files in enumerate(pieces):
        with tarfile.open(out / f"runs-{number}.tar.gz", "w:gz") as archive:
            for path in files:
                archive.add(path, str(path.relative_to(runs)))
    return left


def _checkpoint(directory: Path) -> list[Path]:
    """The files of a run's newest checkpoint, if anything still needs it: the teacher's, and an unfinished run's."""
    numbers = [path for path in (directory / "checkpoints").glob("*") if path.name.isdecimal()]
    if not numbers or (directory.parent.name != "teacher" and (directory / "result.json").exists()):
        return []
    newest = max(numbers, key=lambda path: int(path.name))
    return [path for path in newest.rglob("*") if path.is_file()]


def unpack(folder: Path, runs: Path) -> None:
    for path in sorted(folder.glob("runs-*.tar.gz")):
        with tarfile.open(path) as archive:
            archive.extractall(runs, filter="data")


# ---- the data set as one file


def write(path, splits: dict) -> None:
    """{"train", "test": (files' bytes, labels)} and {"classes", "name"} as an .npz, see configs/cifar10_gpu.py."""
    arrays = {}
    for split in ("train", "test"):
        items, label = splits[split]
        arrays[f"{split}_bytes"] = np.frombuffer(b"".join(items), np.uint8)
        arrays[f"{split}_ends"] = np.cumsum([len(item) for item in items])
        arrays[f"{split}_label"] = np.asarray(label, np.int32)
    np.savez_compressed(path, **arrays, classes=np.array(splits["classes"]), name=np.array(splits["name"]))


def _tiny() -> dict:
    from PIL import Image

    rng, splits = np.random.default_rng(0), {"classes": [f"class {c}" for c in range(10)], "name": "noise"}
    for split, number in (("train", 128), ("test", 32)):
        items = []
        for _ in range(number):
            file = BytesIO()
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(file, "JPEG")
            items.append(file.getvalue())
        splits[split] = (items, np.arange(number) % 10)
    return splits


def main(path: str) -> None:
    from kdjax.data.images.tfds import read

    found = read("cifar10", Path(os.environ["TFDS_DATA_DIR"]), 0, {"train": "", "validation": "", "test": ""})
    train, test = ((list(part.input.items), part.target) for part in (found.train, found.test))
    write(path, {"train": train, "test": test, "classes": found.classes, "name": found.name})
    print(f"{path}: {os.path.getsize(path) / 2**20:.1f} MiB")


if __name__ == "__main__":
    main(sys.argv[1])
