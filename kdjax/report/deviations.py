"""Where the hyperparameters of rows differ from their papers', and what rows without a paper consist of."""

import json

from kdjax.config.fields import plain
from kdjax.config.recipes import RECIPES, TEXT, VARIANTS, numbers
from kdjax.report.wording import with_settings
from kdjax.runs.schema import TEACHER

NOTED = ("data", "prune", "quantize", "start", "student", "teacher")
"""Keys of a method that its footnote tells of: they are no hyperparameters of a paper's recipe."""

SETUP = (*NOTED, "first_stage", "freeze", "from_teacher", "optimizer")
"""Keys of a method that are no loss terms."""


def hyperparameters(students: list[dict]) -> str:
    """Which rows have the numbers of kdjax.config.recipes, which others, and what those are that it lacks."""
    changed, own, known = {}, {}, set()
    for line in students:
        config = line["config"]
        method, spec = config.get("method"), config.get("spec")
        if spec is None or config.get("ablation"):  # the name of an ablated row says what it changes
            continue
        if method not in RECIPES | VARIANTS | TEXT:
            own.setdefault(objective(spec), {})[method] = None
            continue
        known.add(method)
        changes = deviations(spec, numbers(method, *_pair(line)))
        if changes:
            changed[method] = changes
    parts = []
    if known:
        text = "those of kdjax/config/recipes.py, which names the source of each"
        listed = "; ".join(f"{method} ({', '.join(changes)})" for method, changes in changed.items())
        parts.append(text + (f", except, paper -> here, {listed}" if changed else ""))
    parts += [f"{', '.join(methods)}: as in the config, {terms}" for terms, methods in own.items()]
    return f"Hyperparameters: {'; '.join(parts)}." if parts else ""


def _pair(line: dict) -> tuple[str, str]:
    """The names of teacher and student, for which a recipe may have numbers of its own."""
    config, result = line["config"], line["result"] or {}
    measured = (result.get(TEACHER) or {}).get("model")
    return measured or (config.get(TEACHER) or {}).get("model", ""), (config.get("student") or {}).get("model", "")


def deviations(spec: dict, paper: dict) -> list[str]:
    """What differs in a row's spec from a recipe: "kd.temperature: 4.0 -> 2.0", "plus crd (weight 0.8)"."""
    spec, paper = _filled(spec), _filled(paper)
    found = []
    for key in [*paper, *(key for key in spec if key not in paper)]:
        if key not in spec:
            found.append(f"without {key}")
        elif key not in paper:
            found.append(f"plus {with_settings(key, spec[key])}" if isinstance(spec[key], dict) else f"plus {key}")
        else:
            found += _changes(paper[key], spec[key], key)
    return found


def _changes(old, new, path: str) -> list[str]:
    if old == new:
        return []
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [f"{path}: {old} -> {new}"]
    pairs = {key: (old.get(key, "default"), new.get(key, "default")) for key in [*old, *new]}
    return [line for key, pair in pairs.items() for line in _changes(*pair, f"{path}.{key}")]


def _filled(spec: dict) -> dict:
    """`spec` as config.json has it, without what is empty or told in footnotes."""
    spec = {key: value for key, value in json.loads(json.dumps(plain(spec))).items() if key not in NOTED}
    if "first_stage" in spec:
        spec["first_stage"] = {key: value for key, value in spec["first_stage"].items() if value}
    return {key: value for key, value in spec.items() if value or key not in SETUP}


def objective(spec: dict) -> str:
    """The terms of a row: "cross_entropy (weight 1.0) + mine (fn my_file.mine, weight 2.0)"."""
    terms = {name: term for name, term in spec.items() if name not in SETUP and isinstance(term, dict)}
    return " + ".join(with_settings(name, term) for name, term in terms.items())
