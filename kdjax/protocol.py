"""What stands under a table: how the numbers were made, and what a reader should know of single rows."""

import json

from kdjax import identity
from kdjax.compress import PRUNE
from kdjax.config import completed, differences, plain
from kdjax.gather import TEACHER, done
from kdjax.methods import RECIPES, VARIANTS, recipe

BUDGET = ("epochs", "batch_size", "steps_per_epoch", "keep_last_batch", "dtype", "data", "teacher", "optimizer")
"""Fields of a run's config that all rows of a table have in common."""


def protocol(lines: list[dict], records: list[dict]) -> list[tuple[str, str]]:
    """(title, text) of paragraphs about one experiment: how it was trained, what the numbers are, where it was run.

    Args:
      lines: the experiment's, of runs.jsonl; records: the rows of its table (kdjax.table.records).
    """
    students = [line for line in lines if line["config"].get("method") != TEACHER]
    where = ("Machine", _where(lines))
    if not students:
        return [where]
    config = students[0]["config"]
    training = f"{_data(config, students)} {_training(config)} {_hyperparameters(students)} {_teacher(config, records)}"
    numbers = _statistics(config, students, records)
    return [("Protocol", training), ("Numbers", numbers), *_papers(config, records), where]


def _data(config: dict, students: list[dict]) -> str:
    results = [line["result"] for line in students if line["result"]]
    data, spec = results[0] if results else {}, config.get("data") or {}
    name = data.get("dataset") or spec.get("name") or spec.get("source") or "data"
    sizes = [f"{len(data['classes'])} classes"] if data else []
    train = sorted({sum(result["train_counts"]) for result in results if result.get("train_counts")})
    sizes += [f"{_span(train)} labelled training images"] if train else []
    sizes += [_validation(spec, results)]
    tests = {sum(n for *_, n in result["last"]["confusion"]) for result in done(students) if _confusion(result)}
    sizes += [f"{_span(sorted(tests))} test images"] if tests else []
    return f"{name}: {', '.join(sizes)}.{_few(spec)}"


def _few(spec: dict) -> str:
    """Which of the training images students see with a label, if not all."""
    shots, imbalance = spec.get("shots"), spec.get("imbalance")
    if not shots and not imbalance:
        return ""
    text = f" Students see {shots} labelled images a class."
    if imbalance:
        largest = f" from {shots} labelled images of the largest class on" if shots else ""
        text = f" Students see a long tail{largest}, {imbalance:g} to 1 among classes of one size."
    return text + (" The other training images are used without labels." if spec.get("unlabelled") else "")


def _confusion(result: dict):
    return result["last"].get("confusion")


def _span(numbers: list) -> str:
    return f"{numbers[0]:,}" if len(numbers) == 1 else f"{numbers[0]:,} to {numbers[-1]:,}"


def _validation(spec: dict, results: list[dict]) -> str:
    if not any(result.get("best") for result in results):
        return "no validation split" if results and not spec.get("validation") else "a validation split"
    fraction = spec.get("validation")
    return f"{100 * fraction:g} % of the training split for validation" if fraction else "its own validation split"


def _training(config: dict) -> str:
    steps = f" of {config['steps_per_epoch']} steps" if config.get("steps_per_epoch") else ""
    number = "" if config.get("dtype", "float32") == "float32" else f", computed in {config['dtype']}"
    augment = ", ".join((config.get("data") or {}).get("augment") or {}) or "none"
    return (
        f"Every method: {config.get('epochs', '?')} epochs{steps}, batch size {config.get('batch_size', '?')}{number}, "
        f"{describe_optimizer(config.get('optimizer') or {})}; the same batches, augmentation ({augment}) and initial "
        "weights per seed."
    )


def describe_optimizer(spec: dict) -> str:
    """ "sgd (momentum 0.9), learning rate 0.05, cosine schedule, weight decay 0.0005"."""
    kwargs = ", ".join(f"{key} {value}" for key, value in (spec.get("kwargs") or {}).items())
    schedule = spec.get("schedule", "constant")
    if schedule == "step":
        schedule = f"times {spec.get('factor', 0.1):g} after epochs {', '.join(map(str, spec.get('milestones', [])))}"
    else:
        schedule = f"{schedule} schedule"
    warmup = f", {spec['warmup_epochs']:g} epochs of warm-up" if spec.get("warmup_epochs") else ""
    clip = f", gradients clipped to norm {spec['clip_norm']:g}" if spec.get("clip_norm") else ""
    name = f"{spec.get('name', '')} ({kwargs})" if kwargs else spec.get("name", "")
    rate, decay = spec.get("learning_rate", 0.0), spec.get("weight_decay", 0.0)
    return f"{name}, learning rate {rate:g}, {schedule}{warmup}, weight decay {decay:g}{clip}"


def _hyperparameters(students: list[dict]) -> str:
    """Which methods have the papers' numbers, and what differs in the others."""
    changed, own = {}, []
    for line in students:
        config = line["config"]
        method, spec = config.get("method"), config.get("spec")
        if spec is None or config.get("ablation"):
            continue
        if method not in RECIPES | VARIANTS:
            own.append(method)
            continue
        paper = recipe(method, *((config.get(role) or {}).get("model", "") for role in (TEACHER, "student")))
        changes = differences(_filled(paper), _filled(spec))
        if changes:
            changed[method] = [change.replace("'(absent)'", "default") for change in changes]
    text = "Hyperparameters: the papers' (kdjax/methods.py)"
    if changed:
        listed = "; ".join(f"{method} ({', '.join(changes)})" for method, changes in changed.items())
        text += f", except, paper -> here, {listed}"
    if own:
        text += f"; {', '.join(dict.fromkeys(own))}: as in the config"
    return f"{text}."


def _filled(spec: dict) -> dict:
    """`spec` as config.json has it, without what is empty."""
    spec = json.loads(json.dumps(plain(spec)))
    if "first_stage" in spec:
        spec["first_stage"] = {key: value for key, value in spec["first_stage"].items() if value}
    return spec


def _teacher(config: dict, records: list[dict]) -> str:
    if not records or records[0]["method"] != TEACHER:
        return "No teacher."
    record, spec = records[0], config.get("teacher") or {}
    name = record["model"] or spec.get("model", "")
    if spec.get("weights"):
        origin = f"with weights of {_last_parts(spec['weights'], 1)}"
    elif spec.get("run"):
        origin = "the student of " + " and ".join(_last_parts(path, 3) for path in spec["run"].split("+"))
    else:
        epochs = spec.get("epochs") or config.get("epochs")
        begun = f" from {_last_parts(spec['start'], 1)}, its classifier afresh," if spec.get("start") else ""
        origin = f"trained here{begun} on all training images, {epochs} epochs, seed {spec.get('seed', 0)}"
    return f"Teacher: {name}, {origin}; its accuracy is measured here."


def _last_parts(path: str, number: int) -> str:
    """The end of a path: where its beginning lies concerns nobody else."""
    return "/".join(path.strip().replace("\\", "/").rstrip("/").split("/")[-number:])


def _statistics(config: dict, students: list[dict], records: list[dict]) -> str:
    seeds = sorted({line["config"].get("seed", 0) for line in students})
    baseline = config.get("baseline", "student")
    compared = sum(record["p"] is not None for record in records)
    n = f"{len(seeds)} seeds" if len(seeds) != 1 else "one seed"
    best = (
        "Best epoch: test top-1 at the first epoch with the highest accuracy on the validation split."
        if any(result.get("best") for result in done(students))
        else "No validation split, so no best epoch; nothing is chosen on the test split."
    )
    return (
        f"Top-1 in percent at the last epoch ({config.get('epochs', '?')}), mean ± sample standard deviation over {n} "
        f"({', '.join(map(str, seeds))}). Δ: difference to {baseline} in percentage points with its 95 % interval, p "
        f"from a two-sided paired t-test over seeds, not corrected for the number of comparisons ({compared}); p "
        f"values after Holm are in table.csv. {best} Precision, recall and F1 are macro averages, agreement the share "
        "of test images on which student and teacher name the same class; means over seeds, in percent, at the last "
        "epoch."
    )


def _papers(config: dict, records: list[dict]) -> list[tuple[str, str]]:
    """What the column of published numbers is, and the sources of its rows."""
    spec = config.get("published") or {}
    if not spec.get("benchmark"):
        return []
    found = [record for record in records if record["published"] is not None]
    pair = f"{spec['benchmark']}, {spec.get('teacher', '')} → {spec.get('student', '')}"
    if not found:
        return [("Published", f"No number is known for {pair}.")]
    text = (
        f"{pair}, top-1 in percent ± standard deviation and number of runs where the source prints them. Δ published: "
        "ours at the last epoch minus the paper's; a number marked best is that of the best epoch on the test split "
        f"and stands against the same of ours. {_listed(found, 'protocol')}. Sources: {_listed(found, 'source')}."
    )
    return [("Published", text)]


def _listed(records: list[dict], name: str) -> str:
    """Each text that the records have, with its rows if there are several texts."""
    grouped = {}
    for record in records:
        grouped.setdefault(record[f"published_{name}"] or "not stated", []).append(record["row"])
    single = len(grouped) == 1
    return "; ".join(text if single else f"{', '.join(rows)}: {text}" for text, rows in grouped.items())


def _where(lines: list[dict]) -> str:
    results = [line["result"] for line in lines if line["result"]]
    if not results:
        return "No run is finished."
    devices = _distinct(result.get("device") for result in results)
    versions = _distinct(
        ", ".join(f"{name} {version}" for name, version in (result.get("versions") or {}).items()) for result in results
    )
    revisions = _distinct(result.get("revision") for result in results)
    revision = f" Revision {', '.join(revisions)}." if revisions else ""
    return f"{'; '.join(devices) or 'an unknown device'} with {'; '.join(versions) or 'unknown versions'}.{revision}"


def _distinct(values) -> list[str]:
    return list(dict.fromkeys(value for value in values if value))


# ---- footnotes


def notes(lines: list[dict], record: dict) -> list[str]:
    """The footnotes of one row, a sentence each."""
    own = [line for line in lines if line["config"].get("method", "") == record["method"]]
    found = [
        *_unfinished(own),
        *_other_config(own, lines),
        *_stages(own),
        *_learning(own, record),
        *identity.notes(own),
    ]
    if record["method"] == TEACHER:
        found += _bad_teacher(record, lines)
    elif record["n"] == 1:
        found.append("A single seed: no standard deviation and no test.")
    if record["pairs"] is not None and record["pairs"] < record["n"]:
        found.append(f"Compared with the baseline over the {record['pairs']} seeds that both have finished.")
    return found


def _unfinished(own: list[dict]) -> list[str]:
    found, seeds = [], {}
    for line in own:
        seed = line["config"].get("seed", 0)
        if line["result"] is None:
            seeds.setdefault(line.get("problem", "missing"), []).append(str(seed))
        elif line["result"]["status"] == "diverged":
            found.append(f"Seed {seed} diverged{_divergence(line['result'].get('diverged') or {})}; it is left out.")
    for problem, of_problem in seeds.items():
        several = len(of_problem) > 1
        found.append(f"Seed{'s' * several} {', '.join(of_problem)} {'are' if several else 'is'} {problem}.")
    return found


def _divergence(told: dict) -> str:
    parts = {"step": "at step {}", "term": "in {}", "learning_rate": "at learning rate {:g}"}
    text = "".join(" " + form.format(told[name]) for name, form in parts.items() if told.get(name) is not None)
    if told.get("split") is None or told.get("example") is None:
        return text
    return f"{text}: its logits of example {told['example']} of the {told['split']} split are not finite"


def _other_config(own: list[dict], lines: list[dict]) -> list[str]:
    """Rows of another budget or data: an experiment's directory may hold runs that its config no longer has."""
    first = next((line["config"] for line in lines if line["config"].get("method") != TEACHER), {})
    found = []
    for line in own:
        config = line["config"]
        if config.get("method") != TEACHER and line["result"] and "spec" in config:
            shared = [{key: c[key] for key in BUDGET if key in c} for c in map(completed, (first, config))]
            found += differences(*shared)
    if not found:
        return []
    return [f"Trained with another config than the first row: {', '.join(dict.fromkeys(found))}."]


def _stages(own: list[dict]) -> list[str]:
    spec = next((line["config"]["spec"] for line in own if line["config"].get("spec")), {})
    found = []
    if spec.get("first_stage"):
        found.append(f"Has a first stage of {spec['first_stage'].get('epochs', 1)} epochs more than the others.")
    if spec.get("teacher"):
        found.append(f"Taught by the student of {spec['teacher'].replace('+', ' and ')} with the same seed.")
    if spec.get("start"):
        found.append(f"Begins as the student of {spec['start']} with the same seed: trained that much longer in all.")
    if "prune" in spec:
        zeros = {**PRUNE, **spec["prune"]}["sparsity"]
        found.append(f"Pruned: {100 * zeros:g} % of the weights of its kernels are 0.")
    if spec.get("quantize"):
        found.append(f"Trained and evaluated with weights and activations rounded to {spec['quantize']}.")
    if spec.get("optimizer"):
        changes = ", ".join(f"{key} {value}" for key, value in spec["optimizer"].items())
        found.append(f"Has an optimizer of its own: {changes}.")
    return found


def _learning(own: list[dict], record: dict) -> list[str]:
    """Runs at chance: 1.5 times or less the accuracy of a guess."""
    results = done(own)
    seeds = [str(r["seed"]) for r in results if r["last"]["top1"] <= 1.5 / max(len(r["classes"]), 1)]
    if not seeds or record["method"] == TEACHER:
        return []
    chance = 100 / max(len(results[0]["classes"]), 1)
    return [
        f"Seed{'s' * (len(seeds) > 1)} {', '.join(seeds)} never learned: at most 1.5 times chance ({chance:.3g} %)."
    ]


def _bad_teacher(record: dict, lines: list[dict]) -> list[str]:
    classes = next((len(line["result"]["classes"]) for line in lines if line["result"]), 0)
    if record["top1"] is None or not classes or record["top1"] >= 1 / classes:
        return []
    return [f"The teacher is worse than chance ({100 / classes:.3g} %)."]


def remarks(lines: list[dict]) -> list[str]:
    """What concerns no single row: warnings about the data, damaged files, a baseline that is not there."""
    config = next((line["config"] for line in lines if line["config"].get("method") != TEACHER), {})
    baseline = config.get("baseline")
    known = {line["config"].get("method") for line in lines}
    found = [*(line["remark"] for line in lines if line.get("remark")), *identity.remarks(lines)]
    if baseline and baseline not in known:
        found.append(f"The baseline {baseline} is not among the methods, so there are no differences.")
    for line in lines:
        found += (line["result"] or {}).get("warnings") or []
    return list(dict.fromkeys(f"{text.rstrip('.')}." for text in found))
