"""Fabricated lines of runs.jsonl whose numbers are known, for the tests of pictures."""

import ast

import numpy as np

METHODS = {"student": 0.90, "kd": 0.93, "dkd": 0.94}


def fabricate(
    methods=METHODS, seeds=5, classes=10, epochs=30, experiment="digits", shots=0, train_counts=(100,), spread=0.006
):
    """Lines of finished runs whose top-1 lies around the given one, with histories and confusion matrices to match."""
    lines, rng = [], np.random.default_rng(7)
    for name, top1 in methods.items():
        for seed in range(seeds):
            reached = float(np.clip(top1 + spread * rng.standard_normal(), 0, 1))
            lines.append(line(name, seed, reached, rng, classes, epochs, experiment, shots, train_counts))
    return lines


def line(name, seed, top1, rng, classes, epochs, experiment, shots, train_counts) -> dict:
    method, _, ablated = name.partition(",")
    path, _, value = ablated.partition("=")
    spec = {"cross_entropy": {"weight": 0.1}, "kd": {"weight": 0.9, "temperature": 4.0}}
    config = {
        "experiment": experiment,
        "method": name,
        "row": name,
        "ablation": {path: ast.literal_eval(value)} if ablated else {},
        "seed": seed,
        "baseline": "student",
        "spec": spec if method == "kd" else {"cross_entropy": {"weight": 1.0}},
        "data": {"source": "digits", "shots": shots},
        "teacher": {"model": "resnet20"},
        "student": {"model": "lenet"},
    }
    counts = np.resize([shots] if shots else train_counts, classes).tolist()
    result = {
        "status": "done",
        "seed": seed,
        "epochs": epochs,
        "last": {"epoch": epochs, "top1": top1, "confusion": confused(rng, classes, top1)},
        "teacher": {"model": "resnet20", "top1": 0.99},
        "student": {"model": "lenet"},
        "dataset": "Digits 8x8",
        "classes": [f"class {k}" for k in range(classes)],
        "train_counts": counts,
    }
    steps = np.arange(1, epochs + 1)
    learnt = top1 + (0.1 - top1) * np.exp(-6 * steps / epochs) + 0.01 * rng.standard_normal(epochs)
    history = [
        {"epoch": int(e), "loss": 3.0 / e, "loss/kd": 2.0 / e, "test_top1": float(np.clip(p, 0, 1))}
        for e, p in zip(steps, learnt, strict=True)
    ]
    return {"run": f"{name}/seed{seed}", "config": config, "result": result, "history": history}


def confused(rng, classes, top1, images=30) -> list[list[int]]:
    """Sparse confusion counts: errors fall on the few classes after the true one."""
    counts = []
    for true in range(classes):
        wrong = rng.multinomial(images, [top1, *[(1 - top1) / 4] * 4])
        counts += [[true, (true + shift) % classes, int(count)] for shift, count in enumerate(wrong) if count]
    return counts


REGRESSION = {
    "name": "regression",
    "primary": "spearman",
    "higher_is_better": True,
    "unit": "",
    "columns": [["spearman", "Spearman", ""], ["mae", "MAE", ""]],
}
LOWER = REGRESSION | {"primary": "mae", "higher_is_better": False}
"""The same numbers, told by the error: less is better."""


def regress(methods, task=REGRESSION, seeds=4, epochs=6, teacher=0.95, **changes) -> list[dict]:
    """Lines of runs of a task without classes, whose Spearman lies around the given one and whose MAE is 1 less it."""
    lines = []
    for line in fabricate(methods, seeds, epochs=epochs, **changes):
        result, spearman = line["result"], line["result"]["last"]["top1"]
        both = lambda value: {"spearman": value, "mae": 1 - value}  # noqa: E731
        for key in ("classes", "train_counts"):
            del result[key]
        result["task"] = task
        result["last"] = {"epoch": epochs, **both(spearman)}
        for name, value in (("best", spearman - 0.01), ("peak", spearman + 0.01)):
            result[name] = {"epoch": epochs - 1, **both(value)}
        result["best"][f"validation_{task['primary']}"] = both(spearman)[task["primary"]]
        result["teacher"] = {"model": "mlp", **both(teacher)}
        for row in line["history"]:
            reached = row.pop("test_top1")
            row |= {f"{split}_{key}": n for split in ("test", "validation") for key, n in both(reached).items()}
        lines.append(line)
    return lines


def diverge(run: dict) -> None:
    run["result"] |= {"status": "diverged", "last": None, "diverged": {"step": 40, "term": "kd", "learning_rate": 0.1}}
    run["history"] = run["history"][:5]


def by_method(lines) -> dict[str, list[dict]]:
    """{method: its lines}."""
    found = {}
    for run in lines:
        found.setdefault(run["config"]["method"], []).append(run)
    return found


def set_top1(lines, **values) -> list[dict]:
    """The lines with last-epoch top-1 of the methods given, a number a seed."""
    for name, numbers in values.items():
        for run, top1 in zip(by_method(lines)[name], numbers, strict=True):
            run["result"]["last"]["top1"] = top1
    return lines
