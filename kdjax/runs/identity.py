"""What makes a run this run and stands in no config: the bytes of its data, its teacher's weights, its own code.

A run's config.json has them as "identity", which `of_run` makes, in its runs.jsonl, too. Continuing a run, adding
another to its experiment and putting runs into one table compare them. What config.json of older versions lacks is
not known, and compared with nothing. Nothing here needs JAX.
"""

import hashlib
import importlib.util
from pathlib import Path

import numpy as np

from kdjax.runs.schema import IDENTITY, TEACHER, misfit

SHORT = 12  # characters of a digest in messages


# ---- fingerprints


def of_code(config: dict) -> dict[str, str]:
    """Module -> SHA-256 of its file, of all of one's own that a run's config names: losses, models, sources, ..."""
    data = config.get("data", {})
    names = [*_functions(config.get("spec", {})), *_functions(data.get("augment", {})), data.get("source", "")]
    names += [optimizer.get(key, "") for optimizer in _optimizers(config) for key in ("name", "schedule")]
    names += _functions(data.get("second_augment", {}))
    names += [config.get(role, {}).get("model", "") for role in ("student", TEACHER)]
    names += [config.get(TEACHER, {}).get("function", "")]
    names += [config.get("task", ""), *(config.get("metrics") or {}).values()]
    return of_modules(names)


def of_modules(names: list) -> dict[str, str]:
    """The same of import paths: of those that are neither kdjax's nor without a file."""
    modules = {name.rpartition(".")[0] for name in names if isinstance(name, str) and "." in name}
    found = {}
    for module in sorted(modules - {""}):
        spec = None if module.partition(".")[0] in ("kdjax", "optax") else importlib.util.find_spec(module)
        if spec is not None and spec.has_location:
            found[module] = hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()
    return found


def _optimizers(config: dict) -> list[dict]:
    """The experiment's, and what a method changes of it, in either stage."""
    spec = config.get("spec", {})
    return [of.get("optimizer") or {} for of in (config, spec, spec.get("first_stage") or {})]


def _functions(spec) -> list:
    """All values of "fn", and of the "schedule" of a weight, at any depth."""
    if isinstance(spec, list):
        return [name for value in spec for name in _functions(value)]
    if not isinstance(spec, dict):
        return []
    named = ("fn", "schedule")
    return [name for key, value in spec.items() for name in ([value] if key in named else _functions(value))]


def of_run(config: dict, data: dict, teacher: str = "", start: str = "") -> dict:
    """The identity of a run with this config.json.

    Args:
      data: see `of_data`.
      teacher, start: digests of the variables of its teacher and of those that its student begins with; "": none.
    """
    digests = {name: {"sha256": value} for name, value in ((TEACHER, teacher), ("start", start)) if value}
    return {"data": data, **digests, "code": of_code(config)}


# ---- comparisons


def stored(config: dict | None) -> dict:
    """The identity in a run's config.json; {} where it is not known, or was tampered with."""
    identity = (config or {}).get("identity") or {}
    return {} if misfit(identity, IDENTITY) or not _whole(identity.get("data", {})) else identity


def _whole(data: dict) -> bool:
    splits = data.get("splits", [])
    return data.keys() - {"tokenizer"} == {"classes", "names", "splits"} and all(
        s.keys() >= {"split", "examples", "sha256"} for s in splits
    )


def differences(old: dict, new: dict) -> list[str]:
    """Lines "what: then -> now" for data, teacher and start that both identities know, and that are not the same."""
    lines = other_data(old.get("data") or {}, new.get("data") or {})
    for name in (TEACHER, "start"):
        digests = [(identity.get(name) or {}).get("sha256") for identity in (old, new)]
        if all(digests) and digests[0] != digests[1]:
            lines.append(f"{name}: weights {digests[0][:SHORT]} -> {digests[1][:SHORT]}")
    return lines


def other_data(old: dict, new: dict) -> list[str]:
    """The same for two fingerprints of data."""
    if not old or not new:
        return []
    lines = []
    if old["names"] != new["names"]:
        counts = old["classes"], new["classes"]
        other = "{} -> {}".format(*counts) if counts[0] != counts[1] else "other names, or in another order"
        lines.append(f"classes: {other}")
    splits = [{split["split"]: split for split in data["splits"]} for data in (old, new)]
    for name in dict.fromkeys([*splits[0], *splits[1]]):
        then, now = (each.get(name, {"examples": 0, "sha256": ""}) for each in splits)
        if then["examples"] != now["examples"]:
            lines.append(f"{name}: {then['examples']:,} -> {now['examples']:,} examples")
        elif then["sha256"] != now["sha256"]:
            lines.append(f"{name}: {now['examples']:,} examples with other inputs or labels, or in another order")
    if (then := old.get("tokenizer")) != (now := new.get("tokenizer")):
        lines.append(f"tokenizer: {(then or 'none')[:SHORT]} -> {(now or 'none')[:SHORT]}")
    return lines


def changed_code(old: dict, new: dict) -> list[str]:
    """The modules that both know and whose files differ."""
    then, now = old.get("code") or {}, new.get("code") or {}
    return [module for module in now if then.get(module, now[module]) != now[module]]


def check_data(path, config: dict | None, data: dict) -> None:
    """Raises a ValueError if a run, by its config.json, was trained on other data than that of its experiment now."""
    if lines := other_data(stored(config).get("data") or {}, data):
        shown = "\n  ".join(lines)
        raise ValueError(
            f"{path} was trained on other data (then -> now):\n  {shown}\n"
            "Put the data back, give config.experiment another name, or remove the directory."
        )


def check_teacher(path, config: dict | None, teacher: str, where: str) -> None:
    """Raises a ValueError if a run of this experiment was taught by other weights than its teacher has now."""
    known = (stored(config).get(TEACHER) or {}).get("sha256", teacher)
    if known != teacher:
        raise ValueError(
            f"{path} was taught by another teacher: weights {known[:SHORT]}, and {where} has {teacher[:SHORT]} now. "
            "Put that teacher back, give config.experiment another name, or remove the directory."
        )


def check_continued(path, config: dict, identity: dict, say) -> None:
    """Compares a run that is continued with what it began as; `say` is told of what may be meant.

    Raises:
      ValueError: other data, another teacher or another start: half a run of each would be neither.
    """
    known = stored(config)
    if not known:
        say(f"{path} was begun by an older version, which did not note its data and teacher: taken to be those of now")
    if lines := differences(known, identity):
        shown = "\n  ".join(lines)
        raise ValueError(
            f"{path} was begun with other data or another teacher (then -> now):\n  {shown}\n"
            "Put them back, give config.experiment another name, or remove the directory."
        )
    for module in changed_code(known, identity):
        say(f"{path}: {module} has changed since this run began, which goes on with it as it is now")


# ---- a teacher and the data that it is to teach on


def check_teaches(known: dict, classes, image_shape, mean, std, where: str) -> list[str]:
    """What should be known of a teacher on other images than those that it was trained on, though it may be meant.

    Args:
      known: of the teacher, as far as it is known: "classes" (names in order), "image_shape" (H, W, C), "mean", "std".
      classes, image_shape (None: no images), mean, std: of the data here.

    Returns:
      Sentences, without their full stops.

    Raises:
      ValueError: it tells other classes apart, or the same in another order, or takes images of other channels.
    """
    if known.get("classes") is not None:
        _check_classes(list(known["classes"]), list(classes), where)
    if image_shape is None:  # no images: what they are normalised with says nothing
        return []
    found, shape = [], list(known.get("image_shape") or image_shape)
    if shape[-1] != image_shape[-1]:
        raise ValueError(f"{where}: it takes images of {shape[-1]} channels, the data has {image_shape[-1]}")
    if shape != list(image_shape):
        sizes = ["x".join(map(str, size[:2])) for size in (shape, image_shape)]
        found.append(f"The teacher was trained on images of {sizes[0]} pixels and sees {sizes[1]} here")
    for name, here in (("mean", mean), ("std", std)):
        there = known.get(name)
        if there and not np.array_equal(*np.broadcast_arrays(*(np.ravel(np.float64(v)) for v in (there, here)))):
            found.append(
                f"The teacher was trained on images normalised with {name} {_numbers(there)}, here it is "
                f"{_numbers(here)}: unless that is meant, set config.teacher.{name} to the teacher's"
            )
    return found


def check_tokenizer(known: str | None, here: str | None, where: str) -> None:
    """Raises a ValueError if a teacher learned with other numbers for tokens than the data has; None: not texts."""
    if known == here:
        return
    if here is None:
        raise ValueError(f"{where}: it was trained on texts, and the data has none")
    if known is None:
        raise ValueError(f"{where}: it was not trained on texts, which the data has")
    raise ValueError(
        f"{where}: it was trained with another vocabulary, {known[:SHORT]} and not {here[:SHORT]}: numbers mean "
        "other words to it; train it with the same config.data.tokenizer, min_count, vocabulary and training split"
    )


def check_names(known: dict | None, here: dict, where: str) -> None:
    """Raises a ValueError if a teacher's data has other items or users, or in another order, than the data here."""
    if known and known["names"] != here["names"]:
        raise ValueError(
            f"{where}: it was trained with other items or users, {known['classes']:,} items and here "
            f"{here['classes']:,}: their numbers would be taken for those here; train it on the same files, split alike"
        )


def _check_classes(known: list[str], classes: list[str], where: str) -> None:
    if known == classes:
        return
    if len(known) != len(classes):
        raise ValueError(f"{where}: it tells {len(known)} classes apart, the data has {len(classes)}")
    if sorted(known) == sorted(classes):
        raise ValueError(
            f"{where}: it knows the same classes in another order, so its logits would be taken for others"
        )
    place = next(i for i, names in enumerate(zip(known, classes, strict=True)) if names[0] != names[1])
    raise ValueError(
        f"{where}: it tells other classes apart: its class {place} is {known[place]!r}, the data's {classes[place]!r}"
    )


def _numbers(values) -> str:
    return ", ".join(f"{value:g}" for value in values)


# ---- tables


def notes(own: list[dict]) -> list[str]:
    """What a reader must know of the seeds of one row, lines of runs.jsonl: that they are not of one thing."""
    found = []
    if (parts := _parts(own, _data)) and len(parts) > 1:
        found.append(f"Its seeds were trained on different data: {_listed(parts, _seed)}.")
    if (parts := _parts(own, _teacher)) and len(parts) > 1:
        found.append(f"Its seeds were taught by different teachers: {_listed(parts, _seed)}.")
    if (parts := _parts(own, lambda line: str(stored(line["config"]).get("code") or ""))) and len(parts) > 1:
        found.append(
            f"Its seeds were trained with different versions of the experiment's own code: {_listed(parts, _seed)}."
        )
    return found


def remarks(lines: list[dict]) -> list[str]:
    """The same of the rows of one experiment."""
    found = []
    for what, key in (("trained on different data", _data), ("taught by different teachers", _teacher)):
        parts = _parts(lines, key)
        if len(parts) > 1:
            found.append(f"Rows were {what}, and do not compare: {_listed(parts, _row)}")
    known = [bool(stored(line["config"])) for line in lines if line["result"]]
    if any(known) and not all(known):
        rows = [_row(line) for line in lines if line["result"] and not stored(line["config"])]
        found.append(f"Not known, begun by an older version: data and teacher of {', '.join(dict.fromkeys(rows))}")
    return found


def across(lines: list[dict]) -> list[str]:
    """The same of several experiments, of which one table is made: whether they were tested on one thing."""
    parts = _parts(lines, lambda line: next((s["sha256"] for s in _splits(line) if s["split"] == "test"), ""))
    if len(parts) < 2:
        return []
    return [f"Tested on different data: {_listed(parts, lambda line: line['config'].get('experiment', ''))}."]


def _splits(line: dict) -> list[dict]:
    return (stored(line["config"]).get("data") or {}).get("splits", [])


def _data(line: dict) -> str:
    data = stored(line["config"]).get("data")
    return str(sorted(data.items())) if data else ""


def _teacher(line: dict) -> str:
    """The experiment's teacher, of the runs that it taught."""
    config = line["config"]
    taught = config.get("method") != TEACHER and not (config.get("spec") or {}).get("teacher")
    return (stored(config).get(TEACHER) or {}).get("sha256", "") if taught else ""


def _seed(line: dict) -> str:
    return f"seed {line['config'].get('seed', 0)}"


def _row(line: dict) -> str:
    return line["config"].get("row", "")


def _parts(lines: list[dict], key) -> dict[str, list[dict]]:
    """The lines that have a result by what is known of them."""
    parts = {}
    for line in lines:
        if line["result"] and (known := key(line)):
            parts.setdefault(known, []).append(line)
    return parts


def _listed(parts: dict, name) -> str:
    return "; ".join(", ".join(dict.fromkeys(map(name, lines))) for lines in parts.values())
