"""Run directories -> lines of runs.jsonl, from which alone tables and pictures are made."""

import json
import math
from pathlib import Path

from kdjax.config.fields import origin
from kdjax.files import read_json
from kdjax.find import chosen
from kdjax.runs.directory import Run
from kdjax.runs.schema import CONFIG, EXPERIMENT, HISTORY, TEACHER, damage, finite, misfit


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
    if teacher.get("model") and not origin(teacher):
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
        infinite = any(type(value) is float and not math.isfinite(value) for value in row.values())
        if misfit(row, HISTORY) or "epoch" not in row or infinite:
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


def _stray(result: dict, name: str) -> str:
    """What is wrong with a result that stands in the directory of another run, as after a careless copy."""
    method, _, seed = name.rpartition("/seed")
    own = result.get("method", method), str(result.get("seed", seed))
    return "" if own == (method, seed) else f"is of {own[0]}/seed{own[1]}, not of {name}"
