"""The digits demo: all of `kdjax run --config=configs/digits.py`, against the same experiment in plain PyTorch.

Both are commands: start of the interpreter, teacher, every method and seed, evaluation of both splits after every
epoch. kdjax runs with an empty and with a filled compilation cache.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time

from bench_kdjax import ROOT, where, write

from kdjax.training import parallel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="names of methods; all when left out")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--quick", action="store_true", help="an epoch of two methods, to see that it runs; no figures")
    parser.add_argument("--torch", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.quick:
        args.only, args.seeds, args.epochs = "student,kd", "0", 1
    if args.torch:
        plain(args)
        return
    own = [f"--seeds={args.seeds}", *([f"--only={args.only}"] if args.only else [])]
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("cold", "warm"):
            seconds[name] = timed(
                *("-m", "kdjax.cli", "run", f"--config={ROOT / 'configs/digits.py'}", f"--out={folder}/{name}", *own),
                f"--config.epochs={args.epochs}",
                cache=folder,
            )
    seconds["torch"] = timed(__file__, "--torch", *own, f"--epochs={args.epochs}")
    if args.quick:
        print(seconds)
        return
    import torch

    parallel.setup()
    write("digits", {"seconds": seconds, **vars(args), "torch": torch.__version__}, markdown)


def timed(*command, cache: str = "") -> float:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if cache:
        environment["JAX_COMPILATION_CACHE_DIR"] = f"{cache}/xla"
    start = time.perf_counter()
    subprocess.run([sys.executable, *command], env=environment, check=True, stdout=subprocess.DEVNULL)
    print(command[0], command[1], time.perf_counter() - start, flush=True)
    return time.perf_counter() - start


def plain(args) -> None:
    """The experiment as one would write it without kdjax: one method after another, one seed after another."""
    sys.path.insert(0, str(ROOT / "configs"))
    import bench_torch as loops
    import digits
    import torch

    from kdjax import config as configs
    from kdjax import data

    config = configs.resolve(digits.get_config())
    dataset = data.load(config.data)
    splits = [loops.whole(split, config.data) for split in (dataset.validation, dataset.test)]
    train = loops.Images(dataset.train.input, dataset.train.target, config.data.mean, config.data.std, 1, False)
    batches = loops.loader(train, config.batch_size, loops.Options())

    def fit(training):
        steps = args.epochs * len(batches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(training.optimizer, steps)
        for _ in range(args.epochs):
            training.student.train()
            for batch in batches:
                training.step(*batch)
                schedule.step()
            scores = [loops.accuracy(training.student, *split) for split in splits]
        return scores

    torch.manual_seed(0)
    make = loops.ConvNet
    teacher = make(tuple(config.teacher.kwargs["widths"]), 10)
    fit(loops.Training(loops.student, teacher, None, loops.Options()))
    for seed in map(int, args.seeds.split(",")):
        for name in args.only.split(",") if args.only else digits.METHODS:
            torch.manual_seed(seed)
            student = make(tuple(config.student.kwargs["widths"]), 10)
            taught = None if name == "student" else teacher
            weight = dict(digits.WEIGHTS).get(name)
            scores = fit(loops.training(name, student, taught, loops.Options(), weight))
            print(name, seed, [round(score, 4) for score in scores])


def markdown(record: dict) -> str:
    cold, warm, torch = (record["seconds"][name] for name in ("cold", "warm", "torch"))
    lines = [
        "| | seconds | PyTorch's over it |",
        "|---|---:|---:|",
        f"| `kdjax run`, empty compilation cache | {cold:.1f} | {torch / cold:.2f} |",
        f"| `kdjax run`, filled compilation cache | {warm:.1f} | {torch / warm:.2f} |",
        f"| plain PyTorch script | {torch:.1f} | 1 |",
    ]
    text = (
        " ".join(__doc__.split("\n\n")[1].split())
        + f" Seeds {record['seeds']}, {record['epochs']} epochs, {record['only'] or 'twelve methods'}. kdjax also "
        "writes checkpoints, learning curves and results, and measures costs. PyTorch "
        f"{record['torch']}. " + where(record)
    )
    return "\n".join([*lines, "", text, ""])


if __name__ == "__main__":
    main()
