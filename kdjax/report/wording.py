"""Numbers and parts of a config in words, alike in tables, footnotes and the protocol."""

from collections.abc import Iterable, Mapping

from kdjax.config.decay import decay_kind
from kdjax.config.fields import SCHEDULES
from kdjax.runs.task import DASH as DASH
from kdjax.runs.task import MINUS as MINUS


def clean(text: str) -> str:
    """`text` on one line, without control characters: names come from configs and folders."""
    return "".join(c for c in " ".join(str(text).split()) if c.isprintable())


def counted(number, noun: str, plural: str = "") -> str:
    """ "1 epoch", "1,150 images", "0.5 epochs"."""
    shown = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{shown} {noun if number == 1 else plural or noun + 's'}"


def span(numbers: Iterable[int], noun: str) -> str:
    """ "1,150 images", or "90 to 100 images" for numbers that differ."""
    numbers = sorted(numbers)
    return ("" if numbers[0] == numbers[-1] else f"{numbers[0]:,} to ") + counted(numbers[-1], noun)


def listed(parts: Iterable) -> str:
    """ "a", "a and b", "a, b and c"."""
    *first, last = map(str, parts)
    return f"{', '.join(first)} and {last}" if first else last


def setting(value) -> str:
    """A value of a config: numbers as they are, lists in parentheses, dictionaries as "key value, key value"."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {setting(inner)}" for key, inner in value.items()) or "as it stands"
    if isinstance(value, list | tuple):
        return f"({', '.join(map(setting, value))})"
    return str(value)


def with_settings(name: str, settings: Mapping) -> str:
    """ "kd (weight 0.9, temperature 4.0)", or "kd"."""
    return f"{name} ({setting(settings)})" if settings else name


def last_parts(path: str, number: int) -> str:
    """The end of a path: where its beginning lies concerns nobody else."""
    return "/".join(path.strip().replace("\\", "/").rstrip("/").split("/")[-number:])


def optimizer(spec: Mapping) -> str:
    """ "sgd (momentum 0.9), learning rate 0.05, cosine schedule, weight decay 0.0005 (L2)", of config.optimizer."""
    kwargs = {key: value for key, value in (spec.get("kwargs") or {}).items() if not key.startswith("weight_decay")}
    parts = [with_settings(spec.get("name") or "an optimizer", kwargs)]
    parts += [f"learning rate {spec.get('learning_rate', 0):g}", _schedule(spec)]
    if spec.get("warmup_epochs"):
        parts.append(f"{counted(spec['warmup_epochs'], 'epoch')} of warm-up")
    parts.append(_decay(spec))
    if spec.get("clip_norm"):
        parts.append(f"gradients clipped to norm {spec['clip_norm']:g}")
    if spec.get("rates"):
        parts.append(f"times the learning rate: {listed(f'{path} {rate:g}' for path, rate in spec['rates'].items())}")
    if spec.get("frozen_batch_norm"):
        parts.append("BatchNorm frozen as it begins (statistics, scale and shift)")
    return ", ".join(parts)


def captured(spec: Mapping) -> str:
    """ ", the layers a and b for features", of config.student or config.teacher; "" where a network says its own."""
    return f", the layers {listed(spec['capture'])} for features" if spec.get("capture") else ""


def _schedule(spec: Mapping) -> str:
    name, milestones = spec.get("schedule", "constant"), spec.get("milestones") or ()
    if name == "step" and milestones:
        after = "after epoch" + "s" * (len(milestones) > 1)
        return f"times {spec.get('factor', 0.1):g} {after} {listed(milestones)}"
    if name in SCHEDULES:
        return f"{'constant' if name == 'step' else name} schedule"
    return f"times {with_settings(name, spec.get('schedule_kwargs') or {})}"


def _decay(spec: Mapping) -> str:
    kwargs = spec.get("kwargs") or {}
    amount = spec.get("weight_decay") or kwargs.get("weight_decay") or kwargs.get("weight_decay_rate") or 0
    kind = decay_kind(spec)
    return "no weight decay" if kind == "none" or not amount else f"weight decay {amount:g} ({kind})"


def negatives(spec: dict, begin: str) -> str:
    """What config.data.negatives, or a method's, put into training lists; `begin`: whose these are."""
    hard, random, skip = (spec.get(name, 0) for name in ("hard", "random", "skip"))
    after = f" after the first {skip}" if skip else ""
    parts = [f"{counted(hard, 'hard negative')}, of the teacher's first documents{after}"] if hard else []
    parts += [f"{random} random {'ones' if hard else 'negatives'} besides"] if random else []
    return f"{begin} {', and '.join(parts)}." if parts else ""
