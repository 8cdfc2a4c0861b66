"""What a reader should know of single rows of a table, and what concerns all of them."""

from kdjax.config.fields import completed, differences
from kdjax.config.recipes import PRUNE
from kdjax.report.deviations import objective
from kdjax.report.statistics import summary
from kdjax.report.wording import counted, last_parts, listed, negatives, setting, with_settings
from kdjax.runs import caution, identity
from kdjax.runs import task as tasks
from kdjax.runs.gather import done
from kdjax.runs.schema import TEACHER
from kdjax.runs.task import TOP1, Task

BUDGET = ("epochs", "batch_size", "steps_per_epoch", "keep_last_batch", "dtype", "data", "teacher", "optimizer")
"""Fields of a run's config that all rows of a table have in common."""


REFERENCE = (
    "No network: it was learned from the labelled examples that students see, of each seed, and compared with nothing."
)
SEARCHED = "No network: it compares texts by what it has counted in the catalogue, and is compared with nothing."
"""Of the rows below the methods (config.references); of searches."""


def reference(task: Task) -> str:
    """The footnote of the rows below the methods."""
    return SEARCHED if task.name == "search" else REFERENCE


def students_of(lines: list[dict]) -> list[dict]:
    """The lines that are not the teacher's own."""
    return [line for line in lines if line["config"].get("method") != TEACHER]


def shared_config(lines: list[dict]) -> dict:
    """The config of the first row that has no view of the data for itself: what rows have in common."""
    students = students_of(lines)
    without = [line for line in students if not spec_of(line).get("data")]
    return next((line["config"] for line in without or students), {})


def example(lines: list[dict]) -> str:
    """What an input is called, see kdjax.runs.task.example."""
    return tasks.example([line["result"] for line in lines if line["result"]])


def spec_of(line: dict) -> dict:
    return line["config"].get("spec") or {}


def notes(lines: list[dict], record: dict, task: Task) -> list[str]:
    """The footnotes of one row, a sentence each.

    Args:
      lines: the experiment's that are shown; record: of the row (kdjax.report.records).
      task: the experiment's.
    """
    own = [line for line in lines if line["config"].get("method", "") == record["method"]]
    found = [*_unfinished(own), *_other_config(own, lines), *identity.notes(own)]
    if record["method"] == TEACHER:
        return found + _bad_teacher(record, lines, task)
    found += [*_differs(own, _other_weights(own, lines)), *_learning(own, task), *_doubtful(own, record, task)]
    if record["n"] == 1:
        found.append("A single seed: no standard deviation and no test.")
    if record["pairs"] is not None and record["pairs"] < record["n"]:
        seeds = f"{counted(record['pairs'], 'seed')} that both have finished"
        found.append(f"Compared with the baseline over the {seeds}.")
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
    if told.get("split") and told.get("example") is not None:
        text += f": its logits of example {told['example']} of the {told['split']} split are not finite"
    return text


def _other_config(own: list[dict], lines: list[dict]) -> list[str]:
    """Rows of another budget or data: an experiment's directory may hold runs that its config no longer has."""
    shared, found = _budget(shared_config(lines)), []
    for line in students_of(own):
        if line["result"] and "spec" in line["config"]:
            one, other = shared, _budget(line["config"])
            view = spec_of(line).get("data") or {}  # what a row has for itself is told as such
            if isinstance(other.get("data"), dict):
                other["data"] = {**other["data"], **{k: (one.get("data") or {}).get(k) for k in view}}
            found += differences(one, other)
    if not found:
        return []
    return [f"Trained with another config than the first row: {', '.join(dict.fromkeys(found))}."]


def _budget(config: dict) -> dict:
    """The fields of BUDGET, as a config of today has them."""
    config = completed(config)
    return {key: config[key] for key in BUDGET if key in config}


# ---- what a row does otherwise than the others


def _other_weights(own: list[dict], lines: list[dict]) -> bool:
    """Whether a row's initial weights are drawn from others than those of rows that no row teaches (kdjax.streams)."""
    generations = [{result.get("generation", 0) for result in done(part)} for part in (own, students_of(lines))]
    return bool(generations[0]) and max(generations[0]) > min(generations[1])


def _differs(own: list[dict], other_weights: bool) -> list[str]:
    spec = next((spec_of(line) for line in own if spec_of(line)), {})
    found = []
    if spec.get("student"):
        network = next(line["config"].get("student") or {} for line in own)
        begun = f", beginning from {last_parts(network['start'], 1)}" if network.get("start") else ""
        found.append(f"Its network is {with_settings(network.get('model', ''), network.get('kwargs') or {})}{begun}.")
    found += _trained_beside(own)
    if spec.get("data"):
        found.append(_view(spec["data"], example(own)))
    if spec.get("first_stage"):
        found.append(_first_stage(spec["first_stage"]))
    if spec.get("teacher"):
        weights = ", from initial weights of its own" if other_weights and not spec.get("start") else ""
        found.append(f"Taught by the student of {listed(spec['teacher'].split('+'))} with the same seed{weights}.")
    if spec.get("start"):
        found.append(f"Begins as the student of {spec['start']} with the same seed: trained that much longer in all.")
    if spec.get("from_teacher"):
        parts = [f"{own_part} as {source}" for own_part, source in spec["from_teacher"].items()]
        found.append(f"Some of its parameters begin as the teacher's: {listed(parts)} there.")
    if spec.get("freeze"):
        after = " after its first stage" if spec.get("first_stage") else ""
        found.append(f"Frozen{after}: {listed(spec['freeze'])}.")
    return [note for note in (*found, *_compressed(spec)) if note]


def _trained_beside(own: list[dict]) -> list[str]:
    """Networks that are trained and do not ship."""
    for result in done(own):
        student = result.get("student") or {}
        if student.get("trained_parameters"):
            return [
                f"Trains {counted(student['trained_parameters'], 'parameter')}, of which the first network's ship; it "
                "alone is evaluated and counted as the student."
            ]
    return []


def _view(view: dict, noun: str) -> str:
    parts = []
    if "unlabelled" in view:
        parts.append(f"{'sees' if view['unlabelled'] else 'does not see'} the training {noun}s without labels")
    if view.get("augment"):
        names = [with_settings(name, hyper or {}) for name, hyper in view["augment"].items()]
        parts.append(f"has {listed(names)} besides the others' augmentation, or in place of what has the same name")
    found = [f"Its view of the data is another: it {listed(parts)}."] if parts else []
    return " ".join([*found, *filter(None, [negatives(view.get("negatives") or {}, "Its training lists have")])])


def _first_stage(stage: dict) -> str:
    text = f"Has a first stage of {counted(stage.get('epochs', 1), 'epoch')} more than the others"
    text += f", on {objective(stage.get('terms') or {})}" if stage.get("terms") else ""
    text += f", at {setting(stage['optimizer'])}" if stage.get("optimizer") else ""
    text += f", with {listed(stage['freeze'])} frozen" if stage.get("freeze") else ""
    return f"{text}."


def _compressed(spec: dict) -> list[str]:
    found = []
    if "prune" in spec:
        zeros = {**PRUNE, **(spec["prune"] or {})}["sparsity"]
        found.append(f"Pruned: {100 * zeros:g} % of the weights of its kernels are 0; its costs count them.")
    if spec.get("quantize"):
        text = f"Trained and evaluated with weights and activations rounded to {spec['quantize']}"
        found.append(f"{text}; its costs are those without rounding.")
    if spec.get("optimizer"):
        found.append(f"Has an optimizer of its own: {setting(spec['optimizer'])}.")
    return found


# ---- what is doubtful


def _learning(own: list[dict], task: Task) -> list[str]:
    """Classifiers at chance, see `caution.learned_nothing`."""
    results = done(own)
    if task.primary.key != TOP1.key or not results:
        return []
    classes = max(len(results[0]["classes"]), 1)
    most, words = caution.learned_nothing(classes)
    seeds = [str(result["seed"]) for result in results if result["last"]["top1"] <= most]
    if not seeds:
        return []
    return [f"Seed{'s' * (len(seeds) > 1)} {', '.join(seeds)} never learned: {words} ({100 / classes:.3g} %)."]


def _doubtful(own: list[dict], record: dict, task: Task) -> list[str]:
    """Its teacher against the row itself, and gradients that are far apart."""
    results = done(own)
    teachers = [result["teacher"] for result in results if result.get("teacher")]
    found = caution.gradients([result.get("gradients") for result in results])
    if teachers:
        found.append(caution.larger({"parameters": record["parameters"]}, teachers[0]))
        key = task.primary.key
        scores = [
            teacher[key] for teacher in teachers if teacher.get(key) is not None
        ]  # one of elsewhere may have none
        taught = summary(scores)["mean"]
        found.append(caution.better(record[key], taught, task))
    return [text for text in found if text]


def _bad_teacher(record: dict, lines: list[dict], task: Task) -> list[str]:
    if task.primary.key != TOP1.key:
        return []
    classes = next((len(line["result"]["classes"]) for line in lines if line["result"]), 0)
    if record["top1"] is None or not classes or record["top1"] >= 1 / classes:
        return []
    return [f"The teacher is worse than chance ({100 / classes:.3g} %)."]


# ---- what concerns no single row


def remarks(lines: list[dict], records: list[dict]) -> list[str]:
    """Warnings about the data, damaged files, a baseline that is not there."""
    baseline = shared_config(lines).get("baseline")
    found = [*(line["remark"] for line in lines if line.get("remark")), *identity.remarks(lines)]
    others = [record for record in records if record["n"] and record["method"] not in (TEACHER, baseline)]
    if others and all(record["difference"] is None for record in others):
        found.append(f"The baseline {baseline} has no finished run on the same seeds, so there are no differences")
    for line in lines:
        found += (line["result"] or {}).get("warnings") or []
    return list(dict.fromkeys(f"{text.rstrip('.')}." for text in found))
