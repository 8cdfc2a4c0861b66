"""How the numbers of a table were made, in paragraphs that are generated from the rows' resolved configs."""

from kdjax.report import paired, pilot, power, teacher, tuning
from kdjax.report.deviations import hyperparameters
from kdjax.report.footnotes import example, shared_config, spec_of, students_of
from kdjax.report.records import Experiment
from kdjax.report.wording import DASH, captured, counted, last_parts, listed, negatives, optimizer, span
from kdjax.runs import identity
from kdjax.runs.gather import done
from kdjax.runs.task import CLASSIFICATION, Task

OTHERWISE = ("data", "first_stage", "from_teacher", "optimizer", "start")
"""Keys of a method by which its training differs from the others': its footnotes say how."""


def protocol(experiment: Experiment, columns) -> list[tuple[str, str]]:
    """(title, text) of paragraphs about one experiment: how it was trained, what the numbers are, where it was run.

    Args:
      columns: headers of all tables that are shown; what is not among them is not explained.
    """
    students, where = students_of(experiment.lines), ("Machine", _where(experiment.lines))
    if not students:
        return [where]
    shared = shared_config(experiment.lines)
    training = [_data(shared, students), _training(shared, students), hyperparameters(students)]
    training.append(teacher.sentences(shared, experiment))
    paragraphs = [("Protocol", _joined(training)), *tuning.paragraph(shared, experiment.task)]
    paragraphs += pilot.paragraph(shared, experiment.task)
    paragraphs += [("Numbers", _numbers(shared, students, experiment, columns))]
    paragraphs += _probabilities(shared, experiment, columns)
    return [*paragraphs, *_papers(shared, experiment.records), where]


def _joined(sentences) -> str:
    return " ".join(sentence for sentence in sentences if sentence)


# ---- training


def _data(shared: dict, students: list[dict]) -> str:
    results = [line["result"] for line in students if line["result"]]
    first, spec = results[0] if results else {}, shared.get("data") or {}
    name = first.get("dataset") or spec.get("name") or spec.get("source") or "data"
    sizes = [counted(len(first["classes"]), "class", "classes")] if first.get("classes") else []
    shape = first.get("image_shape")
    sizes += [f"images of {' x '.join(map(str, shape))}"] if shape else []
    train, tests = _counted(students, "train"), _counted(students, "test")
    noun = example(students)
    sizes += [span(train, f"labelled training {noun}")] if train else []
    sizes.append(_validation(spec, results))
    sizes += [span(tests, f"test {noun}")] if tests else []
    own = negatives(spec.get("negatives") or {}, " Training lists of students have")
    return f"{name}: {', '.join(sizes)}.{_part(spec, noun)}{_few(spec, noun)}{own}"


def _counted(students: list[dict], split: str) -> set[int]:
    """How many examples a split has: by what results count of classes, else by the identity of their data."""
    if split == "train":
        counts = {sum(r["train_counts"]) for line in students if (r := line["result"]) and r.get("train_counts")}
    else:
        counts = {sum(n for *_, n in r["last"]["confusion"]) for r in done(students) if r["last"].get("confusion")}
    told = [line for line in students if "task" in (line["result"] or {})]
    data = [identity.stored(line["config"]).get("data") or {} for line in told]
    return counts or {each["examples"] for of in data for each in of.get("splits", ()) if each["split"] == split}


def _validation(spec: dict, results: list[dict]) -> str:
    fraction = spec.get("validation")
    if not any(result.get("best") for result in results):
        return "no validation split" if results and not fraction else "a validation split"
    part = f", or else {100 * fraction:g} % of the training split" if fraction else ""
    return f"a validation split (the data's own{part})"


def _part(spec: dict, noun: str) -> str:
    others = f" Texts without labels: those of {last_parts(spec['transfer'], 1)}." if spec.get("transfer") else ""
    if not spec.get("train_examples"):
        return others
    return f" Of the training split a stratified part of {counted(spec['train_examples'], noun)} is used.{others}"


def _few(spec: dict, noun: str) -> str:
    """Which of the training examples students see with a label, if not all."""
    shots, imbalance = spec.get("shots"), spec.get("imbalance")
    if not shots and not imbalance:
        return ""
    text = f" Students see {counted(shots, f'labelled {noun}')} a class." if shots else ""
    if imbalance:
        largest = f" from {counted(shots, f'labelled {noun}')} of the largest class on" if shots else ""
        text = f" Students see a long tail{largest}, {imbalance:g} to 1 among classes of one size."
    return text + (f" The other training {noun}s are used without labels." if spec.get("unlabelled") else "")


def _training(shared: dict, students: list[dict]) -> str:
    if len({line["config"].get("method") for line in students}) == 1:
        whom = "Trained for"
    elif _generations(students) > 1 or any(spec_of(line).get(key) for line in students for key in OTHERWISE):
        whom = "Every method, but for what notes say of single ones:"
    else:
        whom = "Every method:"
    epochs = f"{counted(shared.get('epochs', 0), 'epoch')}{_steps(shared, students)}"
    number = "" if shared.get("dtype", "float32") == "float32" else f", computed in {shared['dtype']}"
    student = shared.get("student") or {}
    how = optimizer(shared.get("optimizer") or {}) + _start(student) + captured(student)
    return f"{whom} {epochs}, batch size {shared.get('batch_size', '?')}{number}, {how}; {_alike(shared, students)}."


def _start(student: dict) -> str:
    """The weights of another domain that students begin from."""
    path = student.get("start")
    return f", beginning from {last_parts(path, 1)}, the classifier afresh" if path else ""


def _generations(students: list[dict]) -> int:
    """How many kinds of initial weights there are: rows that other rows teach begin with others (kdjax.streams)."""
    return len({result.get("generation", 0) for result in done(students)})


def _steps(shared: dict, students: list[dict]) -> str:
    steps = {result["steps"] / result["epochs"] for result in done(students) if result.get("steps")}
    known = shared.get("steps_per_epoch") or (round(min(steps)) if len(steps) == 1 and min(steps) % 1 == 0 else 0)
    last = ", the smaller last batch of an epoch among them" if _keeps_last(shared) else ""
    return f" of {counted(known, 'step')}{last}" if known else last


def _keeps_last(config: dict) -> bool:
    return bool(config.get("keep_last_batch") and not config.get("steps_per_epoch"))


def _alike(shared: dict, students: list[dict]) -> str:
    """What rows of a seed have in common besides the optimizer: batches, augmentation, initial weights."""
    data = shared.get("data") or {}
    augment = listed(data.get("augment") or ["none"])
    if data.get("second_augment"):
        augment += f"; with {listed(data['second_augment'])} in the second view of losses that look at two"
    if data.get("augment") and data.get("views"):
        augment += f", {counted(data['views'], 'view')} of each {example(students)}, which epochs take in turn"
    if len({line["config"].get("method") for line in students}) == 1:
        return f"augmentation: {augment}"
    text = f"the same batches, augmentation ({augment}) and initial weights per seed"
    if len({str(line["config"].get("student")) for line in students}) > 1:
        text += ", the weights where the network is the same"
    return text


# ---- numbers


def _numbers(shared: dict, students: list[dict], experiment: Experiment, columns) -> str:
    results, task = done(students), experiment.task
    text = f"{task.primary.measured} at the last epoch ({shared.get('epochs', '?')})"
    if not results:
        return f"{text}; no run is finished."
    sentences = [f"{text}, {_over(students)}.", _comparison(shared, experiment, columns)]
    sentences += [paired.sentence(experiment.records, columns), _detectable(shared, experiment, columns)]
    sentences.append(_chosen(shared, results, experiment, columns))
    return _joined([*sentences, *_means(columns, task, example(experiment.lines)), task.protocol])


def _over(students: list[dict]) -> str:
    """Mean and spread over the seeds that have run."""
    by_row = {}
    for line in students:
        if done([line]):
            by_row.setdefault(line["config"].get("method"), set()).add(line["result"]["seed"])
    seeds, most = sorted(set().union(*by_row.values())), max(map(len, by_row.values()))
    named = f"({', '.join(map(str, seeds))})"
    if most == 1:
        return f"of one seed {named}" if len(seeds) == 1 else f"of one seed a row, of {named}"
    spread = "mean ± sample standard deviation over "
    same = all(len(of_row) == len(seeds) for of_row in by_row.values())
    return f"{spread}{counted(len(seeds), 'seed')} {named}" if same else f"{spread}n seeds of {named}"


def _comparison(shared: dict, experiment: Experiment, columns) -> str:
    """What stands in the columns of differences and p values."""
    known = [record for record in experiment.records if record["difference"] is not None]
    if not known or not any(name.startswith("Δ") and "published" not in name for name in columns):
        return ""
    score = experiment.task.primary
    unit = f" in{score.difference_unit}" if score.unit else ""
    text = f"Δ: difference to {shared.get('baseline', 'student')}{unit} over the seeds that both have"
    text += "" if experiment.task.higher_is_better else ", below 0 where the row is better"
    text += ", with its 95 % interval" if any(record["low"] is not None for record in known) else ""
    if "p" not in columns or not experiment.compared:
        return f"{text}."
    test = f"{text}; p: of a two-sided paired t-test over seeds"
    if experiment.compared == 1:
        return f"{test}, the only one of the experiment."
    shown = sum(record["p"] is not None for record in known)
    family = f"{experiment.compared} comparisons of the experiment"
    family += f", of which {shown} {'is' if shown == 1 else 'are'} shown" if shown < experiment.compared else ""
    return f"{test}, not corrected for the {family}; after Holm, over all of these, it is in table.csv."


def _detectable(shared: dict, experiment: Experiment, columns) -> str:
    """What the table could have seen, where it shows differences."""
    if not _comparison(shared, experiment, columns):
        return ""
    spread = experiment.spread
    text = "Smallest difference that a paired t-test detects with 80 % power, two-sided at 5 %:"
    if not spread:
        return f"{text} {DASH}, as no method has several seeds whose differences vary."
    score = experiment.task.primary
    seen = score.number(power.detectable(spread.n, spread.std)) + score.difference_unit
    whose = (
        f"the median over {spread.methods} methods" if spread.methods > 1 else "that of the only method with so many"
    )
    return (
        f"{text} {seen}, at {counted(spread.n, 'seed')} and a standard deviation of the paired "
        f"differences of {score.number(spread.std)}, {whose}; each method's own is in table.csv."
    )


def _chosen(shared: dict, results: list[dict], experiment: Experiment, columns) -> str:
    """How the best epoch was chosen."""
    if not any(result.get("best") for result in results):
        optimistic = any(record["published_epoch"] == "best" for record in experiment.records)
        return f"No validation split, so no best epoch{'' if optimistic else '; no epoch is chosen on the test split'}."
    if "best epoch" not in columns:
        return ""
    every = shared.get("eval_every_epochs") or 1
    among = f", of every {every} epochs and the last" if every > 1 else ""
    task = experiment.task
    best = "highest" if task.higher_is_better else "lowest"
    where = f"the first epoch with the {best} {teacher.goodness(task)} on the validation split{among}"
    return f"Best epoch: test {task.primary.title} at {where}."


def _means(columns, task: Task, noun: str) -> list[str]:
    """What the columns of other scores are, those of classification first."""
    shown = [score for score in task.columns if score.header in columns]
    known = [score for score in shown if score in CLASSIFICATION.columns and task.name == CLASSIFICATION.name]
    own = [score for score in shown if score not in known]
    told = f"{listed(score.measured for score in own)}: means over seeds at the last epoch." if own else ""
    return [_of_classes([score.title for score in known], noun), told]


def _of_classes(names: list[str], noun: str) -> str:
    macro = [name for name in names if name != "agreement"]
    parts = [f"{listed(macro)} {'are macro averages' if len(macro) > 1 else 'is the macro average'}"] if macro else []
    if "agreement" in names:
        parts.append(f"agreement is the share of test {noun}s on which a student and its teacher name the same class")
    text = f"{', '.join(parts)}; means over seeds, in percent, at the last epoch."
    return text[0].upper() + text[1:] if parts else ""


def _probabilities(shared: dict, experiment: Experiment, columns) -> list[tuple[str, str]]:
    """What better, equal and worse are (kdjax.report.effects.posterior)."""
    if experiment.rope is None or "worse" not in columns:
        return []
    score, up = experiment.task.primary, experiment.task.higher_is_better
    text = (
        f"How probable it is, in percent, that a method's mean {score.title} over all possible seeds lies more than "
        f"{score.difference(experiment.rope)} {'above' if up else 'below'} that of "
        f"{shared.get('baseline', 'student')} (better), no more than that from it (equal) or more "
        f"{'below' if up else 'above'} (worse), given the seeds that both have: the Bayesian paired t-test, with prior "
        "1/σ (Benavoli et al. 2017, their correlated t-test with correlation 0)."
    )
    return [("Probabilities", text)]


def costs(columns, noun: str) -> list[tuple[str, str]]:
    """What the columns of costs are, and the only time in table.csv; of all experiments together."""
    meaning = {
        "FLOPs": f"FLOPs are of the logits of one {noun}, an addition and a multiplication counted each",
        "bytes": "bytes are those of the parameters in float32",
        f"ms, 1 {noun}": "ms are the median time of a forward pass",
        "compression": "compression is the teacher's parameters over the model's",
    }
    parts = [text for name, text in meaning.items() if name in columns]
    share = "seconds_share in table.csv is the wall time of a seed's methods, trained together, over their number"
    return [("Costs", f"{'; '.join([*parts, share])}.")] if parts else []


def _papers(shared: dict, records: list[dict]) -> list[tuple[str, str]]:
    """What the column of published numbers is, and the sources of its rows."""
    spec = shared.get("published") or {}
    if not spec.get("benchmark"):
        return []
    found = [record for record in records if record["published"] is not None]
    pair = f"{spec['benchmark']}, {spec.get('teacher', '')} → {spec.get('student', '')}"
    if not found:
        return [("Published", f"No number is known for {pair}.")]
    best = ""
    if any(record["published_epoch"] == "best" for record in found):
        best = "; a number marked best is that of the best epoch on the test split and stands against the same of ours"
    other = next((record["published_score"] for record in found if "published_score" in record), None)
    text = (
        f"{pair}, {other or 'top-1 in percent'} ± standard deviation and number of runs where the source prints them. "
        f"Δ published: ours at the last epoch minus the paper's{best}. {_sources(found, 'protocol')}. "
        f"Sources: {_sources(found, 'source')}."
    )
    return [("Published", text)]


def _sources(records: list[dict], name: str) -> str:
    """Each text that the records have, with its rows if there are several texts."""
    grouped = {}
    for record in records:
        grouped.setdefault(record[f"published_{name}"] or "not stated", []).append(record["row"])
    single = len(grouped) == 1
    return "; ".join(text if single else f"{', '.join(rows)}: {text}" for text, rows in grouped.items())


# ---- where


def _where(lines: list[dict]) -> str:
    results = [line["result"] for line in lines if line["result"]]
    if not results:
        return "No run is finished."
    devices = _distinct(result.get("device") for result in results)
    versions = _distinct(
        ", ".join(f"{name} {version}" for name, version in (result.get("versions") or {}).items()) for result in results
    )
    revisions = _distinct(result.get("revision") for result in results)
    revision = f" Revision{'s' * (len(revisions) > 1)} {', '.join(revisions)}." if revisions else ""
    return f"{'; '.join(devices) or 'an unknown device'} with {'; '.join(versions) or 'unknown versions'}.{revision}"


def _distinct(values) -> list[str]:
    return list(dict.fromkeys(value for value in values if value))
