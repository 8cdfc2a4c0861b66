"""Run directories -> lines of runs.jsonl, from which alone tables and pictures are made."""

import json
from pathlib import Path

from kdjax.find import chosen
from kdjax.run import Run, read_json

TEACHER = "teacher"
"""The method name of the teacher's own run."""


def read(path) -> list[dict]:
    """The lines of an experiment's directory or of a runs.jsonl (or of a directory that holds one).

    Raises:
      ValueError: the path is neither, or a line of the file is no run.
    """
    path = Path(path)
    if path.is_dir():
        return read(path / "runs.jsonl") if (path / "runs.jsonl").is_file() else gather(path)
    if not path.is_file():
        raise ValueError(f"{path}: there is no such directory or file; give runs/<experiment> or a runs.jsonl")
    lines = []
    for number, text in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1):
        if text.strip():
            lines.append(_line(text, f"{path}, line {number}"))
    if not lines:
        raise ValueError(f"{path} holds no run; a runs.jsonl has one JSON object a line")
    return lines


def select(lines: list[dict], only) -> list[dict]:
    """The lines of the rows that `only` asks for (`kdjax.find.chosen`), and of teachers; () for all.

    Raises:
      ValueError: there is no row of a name.
    """
    names = [line["config"].get("row") or line["config"].get("method", "") for line in lines]
    wanted = {*chosen(names, only), TEACHER}
    return [line for line, name in zip(lines, names, strict=True) if name in wanted]


def is_folder(path) -> bool:
    """Whether a path is no experiment but a folder that holds some, as runs/ does."""
    path = Path(path)
    return path.is_dir() and not (path / "runs.jsonl").is_file() and not _holds_runs(path) and bool(experiments(path))


def experiments(folder) -> list[Path]:
    """The directories of experiments in a folder, in the order of their names."""
    return [path for path in sorted(Path(folder).iterdir()) if path.is_dir() and _holds_runs(path)]


def _holds_runs(directory: Path) -> bool:
    experiment, _ = _load(directory / "config.json")
    return _is_experiment(experiment or {}) or any(path.is_dir() for path in directory.glob("*/seed*"))


def begun(lines: list[dict], seeds=()) -> list[dict]:
    """The lines of rows that have a result, for one seed at least; of seeds other than `seeds`, only those that do."""
    row = lambda line: (line["config"].get("experiment"), line["config"].get("row"))  # noqa: E731
    known = {row(line) for line in lines if line["result"]}
    asked = lambda line: not seeds or line["result"] or line["config"].get("seed") in seeds  # noqa: E731
    return [line for line in lines if row(line) in known and asked(line)]


def _line(text: str, where: str) -> dict:
    try:
        line = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is no JSON ({error.msg}); a runs.jsonl has one JSON object a line") from None
    kinds = {"run": str, "config": dict, "result": dict | None, "history": list}
    for key, kind in kinds.items():
        if not isinstance(line, dict) or not isinstance(line.get(key), kind):
            raise ValueError(f"{where} is no run: it must be an object with {', '.join(kinds)}; {key} is wrong")
    for name, problem in (
        ("config", misfit(line["config"], CONFIG)),
        ("result", damage(line["result"]) if line["result"] is not None else ""),
        ("result", _stray(line["result"], line["run"]) if line["result"] is not None else ""),
        ("history", misfit(line["history"], [HISTORY])),
    ):
        if problem:
            raise ValueError(f"{where}: {name} {problem}")
    return line


def gather(directory) -> list[dict]:
    """The runs of an experiment in the order of its table, the teacher's own first, each as a line of runs.jsonl.

    A line is {"run": "kd/seed0", "config", "result", "history"}. What could not be read has result None and "problem":
    "missing", "unfinished" or "damaged: <file>"; "remark" says what a reader should know besides. A run that the
    experiment does not expect is listed if it is finished.

    Raises:
      ValueError: the directory holds neither an experiment's config.json nor runs.
    """
    directory = Path(directory)
    experiment, problem = _load(directory / "config.json")
    if experiment is not None and not _is_experiment(experiment):
        experiment, problem = None, "damaged: config.json"
    expected = _expected(experiment) if experiment else {}
    found = {str(path.relative_to(directory)): {} for path in sorted(directory.glob("*/seed*"), key=_order)}
    if not expected and not found:
        raise ValueError(f"{directory} holds no runs; an experiment's directory has config.json and <method>/seed<k>/")
    lines = [_run(directory, name, {**found, **expected}[name]) for name in {**expected, **found}]
    if problem:
        lines[0]["remark"] = f"{directory.name}/config.json is {problem.split(':')[0]}: missing runs are not known"
    return [line for line in lines if line["run"] in expected or line["result"] or (problem and line["config"])]


def _is_experiment(config: dict) -> bool:
    rows = config.get("rows")
    return not misfit(config, EXPERIMENT) and rows is not None and all("method" in row for row in rows)


def _order(path: Path):
    """Teacher first, then by method; seeds as numbers."""
    seed = path.name.removeprefix("seed")
    return path.parent.name != TEACHER, path.parent.name, int(seed) if seed.isdecimal() else -1, seed


def _expected(experiment: dict) -> dict[str, dict]:
    """Run -> the config it will have as far as the experiment's own says, in table order."""
    shared = {k: v for k, v in experiment.items() if k not in ("rows", "seeds", "methods", "ablate")}
    teacher, expected = experiment.get("teacher", {}), {}
    if teacher.get("model") and not teacher.get("weights") and not teacher.get("run"):
        seed = teacher.get("seed", 0)
        own = {"method": TEACHER, "row": TEACHER, "ablation": {}, "seed": seed}
        expected[f"{TEACHER}/seed{seed}"] = {**own, **shared}
    for row in experiment["rows"]:
        for seed in experiment.get("seeds", []):
            expected[f"{row['method']}/seed{seed}"] = {**row, "seed": seed, **shared}
    return expected


def _run(directory: Path, name: str, expected: dict) -> dict:
    run = Run(directory / name)
    config, config_problem = _load(run.path / "config.json")
    if config is not None and misfit(config, CONFIG):
        config, config_problem = None, "damaged: config.json"
    result, result_problem = _load(run.path / "result.json")
    if result is not None and (damage(result) or _stray(result, name)):
        result, result_problem = None, "damaged: result.json"
    history = _history(run)
    named = {**_named(name, directory), **expected}
    line = {"run": name, "config": {**named, **(config or {})}, "result": result, "history": history}
    if result is None:
        problems = [p for p in (config_problem, result_problem) if p.startswith("damaged")]
        line["problem"] = (problems or ["missing" if config is None else "unfinished"])[0]
    elif config is None:
        line["remark"] = f"config.json of {name} is {config_problem.split(':')[0]}: its result is taken as it stands"
    elif (not history or history[-1]["epoch"] < result["epochs"]) and done([line]):
        line["remark"] = f"metrics.jsonl of {name} is cut short: its learning curve is incomplete"
    return line


def done(lines: list[dict]) -> list[dict]:
    """The results of the runs that ended well."""
    return [line["result"] for line in lines if line["result"] and line["result"]["status"] == "done"]


def _named(name: str, directory: Path) -> dict:
    """What the place of a run says of its config, for a run whose config.json was lost."""
    method, _, seed = name.rpartition("/seed")
    experiment = directory.resolve().name
    return {"experiment": experiment, "method": method, "row": method, "seed": int(seed) if seed.isdecimal() else 0}


def _history(run: Run) -> list[dict]:
    """The rows of metrics.jsonl up to the first that is damaged."""
    try:
        rows = run.history()
    except OSError:
        return []
    sound = []
    for row in rows:
        if misfit(row, HISTORY) or "epoch" not in row or not finite(row):
            break
        sound.append(row)
    return sound


def _load(path: Path) -> tuple[dict | None, str]:
    """(the object in a JSON file, "") or (None, what is wrong)."""
    try:
        value = read_json(path)
    except (OSError, ValueError, RecursionError):
        return None, f"damaged: {path.name}"
    if value is None:
        return None, f"damaged: {path.name}" if path.exists() else "missing"
    return (value, "") if isinstance(value, dict) and finite(value) else (None, f"damaged: {path.name}")


def finite(value) -> bool:
    """Whether JSON can hold it: no NaN and no infinity in it."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def damage(result: dict) -> str:
    """What is wrong with a result; "" if every field that tables read is of its type."""
    missing = {"status", "seed", "epochs", "last", "classes"} - result.keys()
    if missing:
        return f"lacks {', '.join(sorted(missing))}"
    wrong = misfit(result, RESULT)
    if wrong:
        return wrong
    if result["status"] not in ("done", "diverged"):
        return f"has status {result['status']!r}; valid: done, diverged"
    scores = [result["last"] or {}] if result["status"] == "done" else []
    scores += [result[name] for name in ("best", "peak") if result.get(name) is not None]
    if not all("top1" in score for score in scores):
        return "lacks a top1"
    return _misclassified(result)


def _misclassified(result: dict) -> str:
    """Where the classes of a result do not agree with each other; "" if nowhere."""
    classes = len(result["classes"])
    for cell in (result["last"] or {}).get("confusion") or []:
        if len(cell) != 3 or not (0 <= cell[0] < classes and 0 <= cell[1] < classes and cell[2] > 0):
            return f"has a cell {cell} in last.confusion; it is [true, predicted, count] of {classes} classes"
    counts = result.get("train_counts")
    if counts is not None and (len(counts) != classes or min(counts, default=0) < 0):
        return f"has {len(counts)} train_counts for {classes} classes, or one below 0"
    return ""


def _stray(result: dict, name: str) -> str:
    """What is wrong with a result that stands in the directory of another run, as after a careless copy."""
    method, _, seed = name.rpartition("/seed")
    own = result.get("method", method), str(result.get("seed", seed))
    return "" if own == (method, seed) else f"is of {own[0]}/seed{own[1]}, not of {name}"


def misfit(value, schema, path: str = "") -> str:
    """Where a value is not of its schema, "" if nowhere: a dictionary may lack keys and have others."""
    if isinstance(schema, tuple):  # (None, schema): may be null
        return "" if value is None else misfit(value, schema[1], path)
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            return f"has no object at {path or 'its top'}"
        found = (misfit(value[key], schema[key], f"{path}.{key}".lstrip(".")) for key in schema if key in value)
        return next(filter(None, found), "")
    if isinstance(schema, list):
        if not isinstance(value, list):
            return f"has no list at {path}"
        return next(filter(None, (misfit(each, schema[0], path) for each in value)), "")
    if schema is FRACTION:
        return "" if _is(value, NUMBER) and 0 <= value <= 1 else f"has no fraction at {path}"
    return "" if _is(value, schema) else f"has a wrong value at {path}"


def _is(value, kind) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


NUMBER = int | float
HISTORY = {"epoch": int, **dict.fromkeys(("test_top1", "validation_top1"), (None, NUMBER))}
"""Types of the fields of a row of metrics.jsonl that pictures read."""
FRACTION = "a number between 0 and 1"
_COST = dict.fromkeys(("parameters", "flops", "bytes", "latency_1_ms", "latency_64_ms"), (None, NUMBER))
_SCORES = dict.fromkeys(("nll", "precision", "recall", "f1", "ece", "agreement"), (None, NUMBER))
RESULT = {
    "status": str,
    "method": str,
    "seed": int,
    "epochs": int,
    "steps": (None, int),
    "image_shape": (None, [int]),
    "last": (None, {"top1": FRACTION, **_SCORES, "confusion": (None, [[int]])}),
    "best": (None, {"top1": FRACTION}),
    "peak": (None, {"top1": FRACTION}),
    "teacher": (None, {"model": str, "top1": FRACTION, **_SCORES, **_COST}),
    "student": (None, {"model": str, "trained_parameters": (None, int), **_COST}),
    "gradients": (None, {}),
    "dataset": str,
    "classes": [str],
    "train_counts": (None, [int]),
    "seconds": (None, NUMBER),
    "versions": (None, {}),
    "device": (None, str),
    "revision": (None, str),
    "diverged": (None, {"step": int, "term": str, "learning_rate": (None, NUMBER), "split": str, "example": int}),
    "warnings": (None, [str]),
}
"""Types of the fields of a result that tables read."""

_DIGEST = {"sha256": str}
IDENTITY = {
    "data": {"classes": int, "names": str, "splits": [{"split": str, "examples": int, **_DIGEST}]},
    **dict.fromkeys(("teacher", "start"), _DIGEST),
    "code": {},
}
"""The same of what kdjax.identity notes of a run."""

CONFIG = {
    **dict.fromkeys(("experiment", "method", "row", "baseline", "dtype"), str),
    **dict.fromkeys(("seed", "epochs", "batch_size", "steps_per_epoch"), int),
    "ablation": {},
    "spec": {"teacher": str, "first_stage": {"epochs": int}, "optimizer": {}},
    "data": {
        **dict.fromkeys(("source", "name"), str),
        **dict.fromkeys(("shots", "imbalance", "validation"), NUMBER),
        "augment": {},
    },
    "teacher": {**dict.fromkeys(("model", "weights", "run"), str), **dict.fromkeys(("seed", "epochs"), int)},
    "student": {"model": str},
    "optimizer": {
        **dict.fromkeys(("name", "schedule"), str),
        **dict.fromkeys(("learning_rate", "weight_decay", "factor", "warmup_epochs", "clip_norm"), NUMBER),
        "milestones": [NUMBER],
        "kwargs": {},
    },
    "published": dict.fromkeys(("benchmark", "teacher", "student"), str),
    "identity": IDENTITY,
}
"""The same of a run's config."""

EXPERIMENT = {**CONFIG, "rows": [{"method": str, "row": str, "ablation": {}}], "seeds": [int]}
"""The same of an experiment's config."""
