"""What a protocol says of the teacher: what it is, where it comes from, how it sees."""

from kdjax.config.fields import completed, origin
from kdjax.report.footnotes import example, spec_of
from kdjax.report.records import Experiment
from kdjax.report.wording import captured, counted, last_parts, listed, optimizer, setting
from kdjax.runs.schema import TEACHER
from kdjax.runs.task import TOP1, Task


def sentences(shared: dict, experiment: Experiment) -> str:
    """What a protocol says of the experiment's teacher."""
    records, spec = experiment.records, shared.get("teacher") or {}
    chained = any(spec_of(line).get("teacher") for line in experiment.lines)
    if not records or records[0]["method"] != TEACHER:
        return "No teacher but those that notes name." if chained else "No teacher."
    name, primary = records[0]["model"] or spec.get("model", ""), experiment.task.primary.key
    others = ", of all rows whose notes name no other" if chained else ""
    known = "is measured here" if records[0].get(primary) is not None or not origin(spec) else "is not known"
    measured = f"its {goodness(experiment.task)} {known}.{_sight(shared.get('data') or {}, spec)}"
    whence = _origin(spec) or _trained_teacher(shared, experiment)
    return f"Teacher{others}: {name}, {whence}{captured(spec)}; {measured}{_once(shared, experiment.lines)}"


def _origin(spec: dict) -> str:
    """Where a teacher comes from that was not trained here; "" where it was."""
    if spec.get("run"):
        paths = [last_parts(path, 3) for path in spec["run"].split("+")]
        return f"the student{'s' * (len(paths) > 1)} of {listed(paths)}"
    told = {
        "weights": f"with weights of {last_parts(spec.get('weights', ''), 1)}",
        "onnx": "an ONNX file that onnxruntime runs",
        "function": "a function of any library",
        "outputs": "a file of what it said of the examples",
    }
    return told.get(origin(spec), "")


def _once(shared: dict, lines: list[dict]) -> str:
    """That the teacher was not run on each batch, where it was not."""
    away = origin(shared.get("teacher") or {}) in ("onnx", "function", "outputs")
    if not (away or (shared.get("execution") or {}).get("teach_once")):
        return ""
    of = f"view of a training {example(lines)}" if (shared.get("data") or {}).get("views") else example(lines)
    return f" What it says of each {of} was computed once and looked up."


def _sight(data: dict, spec: dict) -> str:
    """How the teacher sees what students see, where it is otherwise."""
    size, students = spec.get("image_size"), data.get("image_size")
    parts = [f"at {size} x {size} pixels (students: {students} x {students})"] if size and size != students else []
    parts += [
        f"normalised with {name} {setting(spec[name])} (students: {setting(data.get(name) or ())})"
        for name in ("mean", "std")
        if spec.get(name) and list(spec[name]) != list(data.get(name) or ())
    ]
    return f" It sees the views that students see, {', '.join(parts)}." if parts else ""


def _classifies(task: Task) -> bool:
    return task.primary.key == TOP1.key


def goodness(task: Task) -> str:
    """What a network is measured by, in words."""
    return "accuracy" if _classifies(task) else task.primary.title


def _trained_teacher(shared: dict, experiment: Experiment) -> str:
    """How a teacher of the experiment's own was trained: by its run's config, or as the students' says of it."""
    spec = shared.get("teacher") or {}
    own = next((line for line in experiment.lines if line["config"].get("method") == TEACHER), None)
    config = own["config"] if own and own["config"].get("spec") else _as_configured(shared, spec)
    begun = f" from {last_parts(spec['start'], 1)}, its classifier afresh," if spec.get("start") else ""
    counts = (own["result"] or {}).get("train_counts") if own else None
    one = f"labelled training {example(experiment.lines)}"
    images = counted(sum(counts), one) if counts else f"{one}s"
    by = " by cross-entropy" if _classifies(experiment.task) else ""
    noun = ("pass over them", "passes over them") if shared.get("steps_per_epoch") else ("epoch",)
    epochs = counted(config.get("epochs") or 0, *noun)  # where a student's epoch is a number of steps, its are not
    parts = [f"trained here{begun} on all {images}{by}", epochs]
    if config.get("batch_size") != shared.get("batch_size"):
        parts.append(f"batch size {config.get('batch_size')}")
    if completed(config).get("optimizer") != completed(shared).get("optimizer"):
        parts.append(optimizer(config.get("optimizer") or {}))
    return f"{', '.join(parts)}, seed {spec.get('seed', 0)}, for all seeds of the students"


def _as_configured(shared: dict, spec: dict) -> dict:
    """What config.teacher changes of the students' training, as kdjax.config.rows.override changes it."""
    base, changes = shared.get("optimizer") or {}, spec.get("optimizer") or {}
    changed = {**base, **changes}
    if changes.get("name", base.get("name")) != base.get("name"):
        changed["kwargs"] = changes.get("kwargs", {})
        if changed["name"] == "sgd":
            changed["kwargs"] = {"momentum": 0.9, **changed["kwargs"]}
    if changes.get("schedule", base.get("schedule")) != base.get("schedule"):
        changed["schedule_kwargs"] = changes.get("schedule_kwargs", {})
    sizes = {name: spec.get(name) or shared.get(name) for name in ("epochs", "batch_size")}
    return {**sizes, "optimizer": changed}
