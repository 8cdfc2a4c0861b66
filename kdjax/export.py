"""A finished run's student as a file that can be moved: weights, and a JSON that says what they are."""

from pathlib import Path

from kdjax import checkpoint
from kdjax.find import nearest
from kdjax.models import weights
from kdjax.run import Run


def export(run, target, format: str = "safetensors") -> dict:
    """Writes the student of a finished run to `target` and its description to <target with .json>.

    An earlier export to the same name is replaced. What kdjax.models.torch.load reads back are the same bits. The
    description names model and kwargs (the architecture), dtype, classes, image_shape, normalisation (of pixels scaled
    to 0..1), dataset, accuracy (measured after the last epoch), parameters, run (where they come from) and versions.

    Args:
      run: a run's directory, runs/<experiment>/<method>/seed<k>.
      target: the file to write; its name ends in .safetensors and its folder exists.
      format: a key of FORMATS.

    Returns:
      The description.

    Raises:
      ValueError: unknown format; no run, or one that is unfinished, diverged or damaged; a target that cannot be
        written or that is a file of something else.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}{nearest(format, FORMATS)}")
    run, target = Run(run), Path(target)
    config, result = run.finished()
    try:
        description = {**_description(config, result), "weights": target.name}
        fingerprint = result["student_sha256"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{run.path} is damaged or older than this kdjax: its JSON files lack {error}") from error
    variables = checkpoint.student(run.checkpoints, fingerprint)
    _check_target(target, f".{format}")
    try:
        FORMATS[format](target, variables, description)
    except OSError as error:
        raise ValueError(f"{target}: cannot be written: {error.strerror or error}") from error
    return description


FORMATS = {"safetensors": weights.save}
"""Format, which is also the suffix of its files -> what writes (target, variables, description)."""


def _check_target(target: Path, suffix: str) -> None:
    """Raises a ValueError if the name is wrong or a file stands there that no earlier export to this name wrote."""
    if target.suffix != suffix:
        raise ValueError(f"{target}: the name must end in {suffix}")
    if not target.parent.is_dir():
        raise ValueError(f"{target}: there is no directory {target.parent}")
    for path in (target, target.with_suffix(".json")):
        if path.exists() and not _exported(target):
            raise ValueError(f"{path} exists and is no export of kdjax; remove it or give another name")


def _exported(target: Path) -> bool:
    try:
        return weights.describe(target).get("weights") == target.name
    except ValueError:
        return False


def _description(config: dict, result: dict) -> dict:
    return {
        "model": config["student"]["model"],
        "kwargs": config["student"]["kwargs"],
        "dtype": config["dtype"],
        "classes": result["classes"],
        "image_shape": result["image_shape"],
        "normalisation": {"mean": config["data"]["mean"], "std": config["data"]["std"]},
        "dataset": result["dataset"],
        "accuracy": {"top1": result["last"]["top1"], "split": "test", "epoch": result["last"]["epoch"]},
        "parameters": result["student"]["parameters"],
        "run": {key: result[key] for key in ("experiment", "method", "seed", "revision")},
        "versions": result["versions"],
    }
