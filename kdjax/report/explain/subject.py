"""A method to explain: its kept predictions beside those of the baseline and of the teacher, seed by seed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdjax.config.fields import origin
from kdjax.find import nearest
from kdjax.runs import gather, predictions
from kdjax.runs import task as tasks
from kdjax.runs.gather import done
from kdjax.runs.schema import TEACHER


@dataclass(frozen=True)
class Subject:
    """Logits on the test split, float64 [N, K]."""

    experiment: str
    method: str  # the row
    baseline: str
    classes: tuple[str, ...]
    labels: np.ndarray  # [N]
    teacher: np.ndarray
    before: dict[int, np.ndarray]  # seed -> the baseline's
    after: dict[int, np.ndarray]  # seed -> the method's
    paths: dict[str, Path]  # "teacher", "before", "after": the directories of the runs of the first seed

    @property
    def seeds(self) -> list[int]:
        return sorted(self.after)


def read(directory, method: str, against: str = "") -> Subject:
    """What an experiment's directory has kept.

    Args:
      method: a row; against: another, "": the baseline of the experiment.

    Raises:
      ValueError: no such row, no seed that both have finished, no classifiers, or predictions that were not kept.
    """
    directory = Path(directory)
    if not directory.is_dir() or (directory / "runs.jsonl").is_file():
        raise ValueError(f"{directory}: give an experiment's directory, runs/x; predictions lie beside its results")
    if gather.is_folder(directory):
        raise ValueError(
            f"{directory} holds experiments: give one of {' '.join(map(str, gather.experiments(directory)))}"
        )
    lines = [line for line in gather.gather(directory) if line["config"].get("method") != TEACHER]
    rows = list(dict.fromkeys(line["config"]["row"] for line in lines))
    baseline = against or next((line["config"].get("baseline", "") for line in lines), "")
    for name in (method, baseline):
        if name not in rows:
            raise ValueError(f"{directory} has no row {name!r}{nearest(name, rows)}")
    if method == baseline:
        raise ValueError(f"{method} is what others are compared with: give another row, of {', '.join(rows)}")
    runs = {
        name: {line["result"]["seed"]: line for line in lines if line["config"]["row"] == name and done([line])}
        for name in (method, baseline)
    }
    seeds = sorted(runs[method].keys() & runs[baseline].keys())
    if not seeds:
        raise ValueError(f"{directory}: no seed of both {method} and {baseline} is finished: nothing to explain yet")
    first = runs[method][seeds[0]]
    if tasks.of(first["result"]).name != tasks.CLASSIFICATION.name:
        raise ValueError(
            f"{directory}: only classifiers are explained so far; this is {tasks.of(first['result']).name}"
        )
    at = {name: {seed: directory / runs[name][seed]["run"] for seed in seeds} for name in runs}
    teaching = taught_by(directory, first["config"], seeds[0])
    kept = predictions.read(at[method][seeds[0]])
    labels = kept["target"]
    logits = {name: {seed: _logits(path, labels) for seed, path in at[name].items()} for name in runs}
    return Subject(
        experiment=first["config"]["experiment"],
        method=method,
        baseline=baseline,
        classes=tuple(first["result"]["classes"]),
        labels=labels,
        teacher=_logits(teaching, labels),
        before=logits[baseline],
        after=logits[method],
        paths={TEACHER: teaching, "before": at[baseline][seeds[0]], "after": at[method][seeds[0]]},
    )


def taught_by(directory: Path, config: dict, seed: int) -> Path:
    """The run whose student teaches a row.

    Raises:
      ValueError: none does, or it left no predictions: weights of elsewhere, several as an ensemble.
    """
    spec = config.get("teacher") or {}
    own = (config.get("spec") or {}).get("teacher", "")
    run = own or spec.get("run") or ""
    if "+" in run or origin(spec) not in ("", "run"):
        raise ValueError(
            f"{directory}: the teacher is {run or spec[origin(spec)]}; the predictions of weights of elsewhere and of "
            "ensembles are not kept, so nobody can say what was passed on"
        )
    if not run and not spec.get("model"):
        raise ValueError(f"{directory}: there is no teacher, so nothing was passed on")
    if own:
        return directory / own / f"seed{seed}"
    return Path(run.strip()) if run else directory / TEACHER / f"seed{spec.get('seed', 0)}"


def _logits(run: Path, labels: np.ndarray) -> np.ndarray:
    kept = predictions.read(run)
    if not np.array_equal(kept["target"], labels):
        raise ValueError(f"{run / predictions.NAME} is of another test split than the other runs' of this comparison")
    return kept["logits"].astype(np.float64)
