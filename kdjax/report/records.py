"""The numbers of a table: lines of runs.jsonl -> a dictionary a row, of full precision. All forms of it print these."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from kdjax.report import classes, effects, paired, power, published, statistics
from kdjax.runs import task as tasks
from kdjax.runs.gather import done
from kdjax.runs.schema import TEACHER
from kdjax.runs.task import Task

COSTS = ("parameters", "flops", "bytes", "latency_1_ms", "latency_64_ms")
COMPARISON = (
    *("pairs", "difference", "low", "high", "p", "p_holm", "difference_std", "detectable"),
    *("d_z", "d_z_low", "d_z_high", "rope", "better", "equal", "worse"),
)
"""What is known of a row only beside the baseline's."""


@dataclass(frozen=True)
class Experiment:
    """What a table shows of one experiment. Its numbers are computed on all rows, those not shown among them."""

    name: str
    task: Task
    lines: list[dict]  # of runs.jsonl, of the rows that are shown
    records: list[dict]  # the rows that are shown, the teacher's first; without what `sized` adds
    compared: int  # rows with a p value, shown or not: the family of Holm's method
    spread: power.Spread | None  # of paired differences, over all rows
    rope: float | None  # the region of practical equivalence, where the table shows the probabilities
    references: list[dict]  # records of what stands beside the networks, compared with nothing


def experiments(runs: list[dict]) -> dict[str, list[dict]]:
    """Experiment -> its lines, in the order of the first of each.

    Raises:
      ValueError: a run is given twice.
    """
    grouped = {}
    for line in runs:
        grouped.setdefault(line["config"].get("experiment", ""), []).append(line)
    for name, lines in grouped.items():
        run, times = Counter(line["run"] for line in lines).most_common(1)[0]
        if times > 1:
            raise ValueError(f"the run {name}/{run} is given {times} times; a table takes each experiment once")
    return grouped


def selected(runs: list[dict], shown: list[dict] | None = None, rope: float | None = None) -> list[Experiment]:
    """The experiments that have lines among `shown` (None: all are), their numbers computed on all of `runs`.

    So no number depends on what else is shown. `rope`, a fraction, is the region of practical equivalence of tables
    that show probabilities, in the unit of stored numbers; None: they do not, and the records have those of
    `kdjax.report.effects.ROPE` where numbers are shares.
    """
    visible = experiments(runs if shown is None else shown)
    grouped = {name: lines for name, lines in experiments(runs).items() if name in visible}
    return [_experiment(name, lines, visible[name], rope) for name, lines in grouped.items()]


def records(runs: list[dict], shown: list[dict] | None = None) -> list[dict]:
    """A dictionary for each row that is `shown` (see `selected`), teacher first: what the CSV has.

    The primary score of the task at the last epoch stands below its own name, as top1 and top1_std; it and its like
    are fractions, or numbers as results have them (`kdjax.runs.task`); None is unknown. `row` is the name shown; n runs
    are done of those expected; difference, low, high, p and p_holm compare it with the baseline's over common seeds (a
    difference below 0 is better where less is); p_holm is adjusted for all rows of the experiment, shown or not;
    difference_std is the standard deviation of the paired differences, detectable the smallest difference that the
    test sees with 80 % power (`report.power`); d_z with its interval, rope, better, equal and worse are of
    `report.effects`; best is the test score of the epoch chosen on the validation split, peak the best of any epoch;
    seconds_share is the wall time in which a cohort (the methods of one seed, trained together) was trained, divided
    by its methods: no method's own time; `published...` is of the paper.
    """
    return [sized(record) for experiment in selected(runs, shown) for record in experiment.records]


def sized(record: dict) -> dict:
    """`record` with d_z and its interval, which take longest to compute and which only the CSV has."""
    if record["pairs"] is None:
        return record
    return record | effects.cohen(record["pairs"], record["difference"], record["difference_std"])


def _experiment(name: str, lines: list[dict], shown: list[dict], rope: float | None) -> Experiment:
    task = _checked(tasks.common(lines))
    rows = _records(lines, task, effects.rope(task) if rope is None else rope)
    visible = {TEACHER, *(line["config"].get("method", "") for line in shown)}
    compared = sum(row["p"] is not None for row in rows)
    visible_rows = [row for row in rows if row["method"] in visible]
    return Experiment(name, task, shown, visible_rows, compared, power.typical(rows), rope, _references(lines, task))


def _checked(task: Task) -> Task:
    """`task`, none of whose scores has the name of another column of the CSV."""
    for name in (task.primary.key, *task.keys):
        tasks.refuse(name, f"a score of the task {task.name}")
    return task


def _records(lines: list[dict], task: Task, rope: float | None) -> list[dict]:
    grouped = {}
    for line in lines:
        grouped.setdefault(line["config"].get("method", ""), []).append(line)
    own = grouped.pop(TEACHER, [])
    against = grouped.get(lines[0]["config"].get("baseline"), [])
    rows = [_student(group, task, against, rope) for group in grouped.values()]
    for name in ("p", "p_examples"):
        for row, p in zip(rows, statistics.holm([row.get(name) for row in rows]), strict=True):
            if name in row:
                row[name.replace("p", "p_holm", 1)] = statistics.known(p)
    return _teacher(own, task, [line for group in grouped.values() for line in group]) + rows


def scores(lines: list[dict], task: Task) -> dict[int, float]:
    """Seed -> primary score of the last epoch, of the runs of one row that are done."""
    return {result["seed"]: result["last"][task.primary.key] for result in done(lines)}


def _student(lines: list[dict], task: Task, baseline: list[dict], rope: float | None) -> dict:
    config, results = lines[0]["config"], done(lines)
    record = _record(config, task, results, [result.get("student") for result in results])
    if config.get("method") != config.get("baseline"):
        record |= _compared(scores(lines, task), scores(baseline, task), task, rope)
        record |= paired.over_examples(lines, baseline)
        record |= paired.of_classifiers(lines, baseline, task, record["low"], record["high"])
    if trials := (config.get("tuned") or {}).get("trials"):
        record["trials"] = trials  # of its hyperparameters, the same for all methods
    diverged = sum(1 for line in lines if line["result"]) - len(results)
    return _with_published(config, task, record | {"expected": len(lines), "diverged": diverged})


def _compared(values: dict, baseline: dict, task: Task, rope: float | None) -> dict:
    """The COMPARISON of a row, but for p_holm, which takes them all, and what `sized` adds."""
    test = statistics.paired(values, baseline)
    pairs, difference, std = test.pop("n"), test["difference"], test["difference_std"]
    seen = {"pairs": pairs, **test, "detectable": power.detectable(pairs, std)}
    gained = None if difference is None else task.sign * difference
    return seen | effects.posterior(pairs, gained, std, rope)


def _teacher(own: list[dict], task: Task, others: list[dict]) -> list[dict]:
    """The record of the experiment's teacher, with the scores that were measured here; none if there is no teacher."""
    taught = [line for line in others if not (line["config"].get("spec") or {}).get("teacher")]
    measured = [result["teacher"] for result in done(taught) if result.get("teacher")]
    if not own and not measured:
        return []
    results = done(own)
    config = {**(own or taught)[0]["config"], "method": TEACHER, "row": TEACHER}
    record = _record(config, task, [], measured or [result.get("student") for result in results])
    found = [*measured, *(result["last"] for result in results)]
    for name in {task.primary.key, *task.keys} - {
        "agreement"
    }:  # earlier versions say no more of a teacher than its accuracy
        record[name] = next((score[name] for score in found if score.get(name) is not None), None)
    seconds = results[0].get("seconds") if results else None
    record |= {"n": min(len(found), 1), "seconds_share": seconds}
    diverged = sum(1 for line in own if line["result"]) - len(results)
    return [_with_published(config, task, record | {"expected": 1, "diverged": diverged})]


def _references(lines: list[dict], task: Task) -> list[dict]:
    """A record for each of config.references, over the seeds; each result has the scores of its own seed."""
    found = {}
    for result in done(lines):
        for name, scores_ in (result.get("references") or {}).items():
            if isinstance(scores_, dict) and task.primary.key in scores_:
                found.setdefault(name, {})[result["seed"]] = {"last": scores_}
    rows = []
    for name, of_seed in found.items():
        config = {**lines[0]["config"], "method": name, "row": name, "published": {}}
        record = _record(config, task, list(of_seed.values()), [])
        rows.append(_with_published(config, task, record | {"expected": len(of_seed)}))
    return rows


def _record(config: dict, task: Task, results: list[dict], models: list[dict | None]) -> dict:
    primary = task.primary.key
    names = {"experiment": config.get("experiment", ""), "method": config.get("method", "")}
    record = {
        **names,
        "row": config.get("row", names["method"]),
        "n": len(results),
        "expected": 0,
        "diverged": 0,
        **_mean(primary, [result["last"][primary] for result in results]),
        **dict.fromkeys(COMPARISON),
    }
    for name in ("best", "peak"):
        record |= _mean(name, [(result.get(name) or {}).get(primary) for result in results])
    for name in task.keys:
        record |= _mean(name, [result["last"].get(name) for result in results])
    return record | _mean("seconds_share", [result.get("seconds") for result in results]) | _cost(models)


def _mean(name: str, values: list) -> dict:
    """{name: mean, name_std: ...}; None unless every run has the value."""
    summary = statistics.summary([] if any(value is None for value in values) else values)
    return {name: summary["mean"], f"{name}_std": summary["std"]}


def _cost(models: list[dict | None]) -> dict:
    """The model's name and costs: medians over the runs, in each of which they were measured."""
    models = [model for model in models if model]
    row = {"model": models[0].get("model", "") if models else ""}
    for name in COSTS:
        values = [model[name] for model in models if model.get(name) is not None]
        row[name] = (float if "latency" in name else int)(np.median(values)) if values else None
    return row


def _with_published(config: dict, task: Task, record: dict) -> dict:
    """`record` and the paper's number, if the config names a benchmark; fractions, as ours.

    It is of the primary score, or of another that `published_score` names.
    """
    spec = config.get("published", {})
    names = [spec.get(name, "") for name in ("benchmark", "teacher", "student")]
    score = published.score(names[0])
    comparable = names[0] and score in (task.primary.key, *task.keys) and not config.get("ablation")
    found = published.lookup(*names, config["method"]) if comparable else None
    value, std = ((found or {}).get(name) for name in ("value", "std"))
    epoch = (found or {}).get("epoch")
    ours = record.get("peak" if epoch == "best" else score)
    if comparable and score != task.primary.key:
        record = record | {"published_score": score}
    return record | {
        "published": None if value is None else value / 100,
        "published_std": None if std is None else std / 100,
        "published_n": (found or {}).get("trials"),
        "published_epoch": epoch,
        "published_difference": None if None in (value, ours) else ours - value / 100,
        "published_protocol": (found or {}).get("protocol"),
        "published_source": (found or {}).get("source"),
    }


# ---- single classes


def class_records(found: list[Experiment]) -> list[dict]:
    """A dictionary a method and class, which are the rows of classes.csv: means over the seeds that are done.

    `recall` is the accuracy on the images of a class. It, precision and F1 are None for a class without test images.
    """
    rows = []
    for experiment in found:
        grouped = {}
        for line in experiment.lines:
            if done([line]) and line["result"]["last"].get("confusion"):
                grouped.setdefault((line["config"]["method"], line["config"]["row"]), []).append(line["result"])
        for (_, row), results in grouped.items():
            rows += _of_classes({"experiment": experiment.name, "row": row, "n": len(results)}, results)
    return rows


def _of_classes(shared: dict, results: list[dict]) -> list[dict]:
    scores = [classes.class_scores(result) for result in results]
    means = {name: np.mean([score[name] for score in scores], axis=0).tolist() for name in scores[0]}
    tests = classes.totals(results[0])[0].tolist()
    trains = [result.get("train_counts") for result in results]
    trains = np.mean(trains, axis=0).tolist() if all(trains) else [None] * len(tests)
    return [
        {
            **shared,
            "class": name,
            "train_images": trains[k],
            "test_images": tests[k],
            **{score: values[k] if tests[k] else None for score, values in means.items()},
        }
        for k, name in enumerate(results[0]["classes"])
    ]
