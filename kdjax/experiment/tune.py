"""kdjax tune: every method with the same number of trials, chosen on the validation split, frozen in tuned.json.

A trial is an ordinary row of an experiment of its own, <experiment>-tuning, and what was chosen runs as another,
<experiment>-tuned; both have the experiment's teacher. The points are those of kdjax.config.spaces.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from kdjax import config as configs
from kdjax import tasks
from kdjax.config import pairs as paired
from kdjax.config import spaces
from kdjax.config.rows import expand
from kdjax.data import fingerprint
from kdjax.experiment import halving, pairs, runner
from kdjax.experiment.lab import NO_CALLBACKS, named
from kdjax.experiment.plan import run_path
from kdjax.experiment.progress import Display
from kdjax.experiment.sights import sights
from kdjax.files import read_json, write_json
from kdjax.find import nearest
from kdjax.runs import identity
from kdjax.runs.directory import Run
from kdjax.runs.schema import TEACHER
from kdjax.tasks.task import Task
from kdjax.training import processes

SEEDS = (1000, 1001)
"""Of trials, unless others are given: far from those that comparisons begin with."""
FREE = (
    "experiment",
    "seeds",
    "baseline",
    "published",
    "metrics",
    "references",
    "execution",
    "methods",
    "ablate",
    "pairs",
    "tuned",
    "pilot",
)
"""Fields that may differ between tuning and running, and methods, which are compared one by one."""
KEYS = {"trials", "seeds", "score", "config", "data", "methods"}


# ---- tuning


def run(
    config: ConfigDict,
    root="runs",
    trials=16,
    seeds=SEEDS,
    only=(),
    halve=(),
    stop_signal: Callable = lambda: 0,
    display=None,
    siblings=(),
) -> Path:
    """Trains the trials that are missing, chooses, and writes tuned.json; returns its path.

    Args:
      trials: of each method, the first with the config's own values.
      seeds: of every trial, none of them one of config.seeds; only: names of methods, () for all.
      halve: epochs at whose end the better half of a method's trials goes on, see `kdjax.experiment.halving`.
      siblings: experiments of whom it takes the teacher if it is the same and trained. The rest is as in
        `kdjax.experiment.run`.

    Raises:
      ValueError: no validation split, seeds that are the comparison's too, rungs that stop nothing, all trials of a
        method diverged; and what `kdjax.experiment.run` raises, as Stopped, Held and OSError are.
    """
    config = _single(config)
    if trials < 1:
        raise ValueError(f"--trials is at least 1, the recipe's own values; got {trials}")
    configs.check_seeds(tuple(seeds), "--seeds")
    _check_apart(config.seeds, seeds, "config.seeds")
    halving.check(halve, trials, config)
    made = experiment(config, trials, seeds, only)
    if not config.data.validation and sights(config, tasks.named(config.task))[0].dataset.validation is None:
        raise ValueError("trials are chosen on a validation split, and there is none: set config.data.validation=0.1")
    made, going_on = taught(config, made, root, stop_signal, display, siblings), tuple(made.methods)
    directory = Path(root) / made.experiment
    for number, epoch in enumerate((*halve, 0)):
        if number:
            going_on = _going_on(config, directory, trials, seeds, only, halve[:number])
            most = halving.kept(trials, halve)[number - 1]
            _say(display, f"epoch {halve[number - 1]}: {most} of {trials} trials of each method go on")
        runner.run(made, root, going_on, (), display, stop_signal, exact=True, until=epoch)
    chosen = choose(config, directory, trials, seeds, only, halve)
    processes.from_first(lambda: write_json(directory / "tuned.json", chosen))
    return directory / "tuned.json"


def _going_on(config: ConfigDict, directory: Path, trials: int, seeds, only, rungs: Sequence[int]) -> tuple[str, ...]:
    """The rows of the trials that go on after these rungs, the same in all processes."""
    task = tasks.named(config.task)

    def decide():
        rows = {name: [row(name, number) for number in range(trials)] for name in _methods(config, only)}
        out = {name: halving.stopped(halving.runs(directory, rows[name], seeds), task, rungs) for name in rows}
        return [each for name in rows for number, each in enumerate(rows[name]) if number not in out[name]]

    return tuple(processes.from_first(decide))


def _say(display: Display | None, text: str) -> None:
    if processes.first():
        (display or Display()).message(text)


def experiment(config: ConfigDict, trials: int, seeds: Sequence[int], only=()) -> ConfigDict:
    """<experiment>-tuning: a row "<method>,trial=<number>" for each trial of each method; its test split is closed.

    A method that another teaches, or that begins as another, has that one's trial 0 in all of its trials.
    """
    made = configs.resolve(config)  # a copy that keeps the order of augmentations
    made.experiment, made.seeds = f"{config.experiment}-tuning", tuple(seeds)
    made.baseline, made.data.closed = row(config.baseline, 0), True
    made.methods = ConfigDict(sort_keys=False)
    for name, spec in _methods(config, only).items():
        axes = spaces.space(spec, config.optimizer.learning_rate)
        sources = {key: _own_values(spec[key]) for key in ("start", "teacher") if spec.get(key)}
        for number in range(trials):
            made.methods[row(name, number)] = {**spaces.changed(spec, spaces.point(axes, number)), **sources}
    return made


def row(name: str, number: int) -> str:
    """The row of a trial."""
    return f"{name},trial={number}"


def _own_values(names: str) -> str:
    return "+".join(row(name, 0) for name in names.split("+"))


def taught(
    config: ConfigDict, other: ConfigDict, root, stop_signal: Callable = lambda: 0, display=None, siblings=()
) -> ConfigDict:
    """Another experiment of this config, with the config's own teacher, which is trained first if it is missing.

    Args:
      siblings: experiments of whom it takes the teacher if it is the same and trained.
    """
    base, other = with_teacher(config, other, root, siblings)
    own = _teacher(config, root)
    if other.teacher.run == str(own.path) and own.result() is None:
        first = next(iter(config.methods))
        runner.run(base, root, (first,), (), display, stop_signal, exact=True, teacher_only=True)
    return other


def with_teacher(config: ConfigDict, other: ConfigDict, root, siblings=()) -> tuple[ConfigDict, ConfigDict]:
    """A config and another experiment of it, told whose teacher they have; see `taught`, which trains it."""
    there = [each for each in siblings if _teacher(each, root).result()]
    base, other, *_ = pairs.shared([config, other, *there], root)
    return base, other


def _teacher(config: ConfigDict, root) -> Run:
    return Run(run_path(Path(root) / config.experiment, TEACHER, config.teacher.seed))


def choose(config: ConfigDict, directory: Path, trials: int, seeds: Sequence[int], only=(), halve=()) -> dict:
    """What tuned.json says: per method the trial with the best mean validation score at the last epoch, and all scores.

    Of equal ones the first; a trial that diverged with a seed is out, and so is one that was stopped, whose scores are
    those of the epoch at which it was. No trial has seen the test split.

    Raises:
      ValueError: every trial of a method diverged.
    """
    task, found = tasks.named(config.task), {}
    for name, spec in _methods(config, only).items():
        axes = spaces.space(spec, config.optimizer.learning_rate)
        runs = halving.runs(directory, [row(name, number) for number in range(trials)], seeds)
        out, told = halving.stopped(runs, task, halve), []
        for number, of_trial in enumerate(runs):
            at = {"stopped": out[number]} if number in out else {}
            of_seeds = [halving.score(run, task, *at.values()) if at else validation(run, task) for run in of_trial]
            point = {"values": spaces.point(axes, number), "validation": of_seeds, "mean": halving.mean(of_seeds)}
            told.append({**point, **at})
        means = [None if "stopped" in trial else trial["mean"] for trial in told]
        best = _best(means, task.higher_is_better)
        if best is None:
            raise ValueError(f"every trial of {name} diverged: lower its learning rate, or leave it out with --only")
        space = [axis._asdict() for axis in axes]
        found[name] = {"spec": spec, "space": space, "trial": best, "chosen": told[best]["values"], "trials": told}
    score = {"key": task.primary, "unit": task.unit, "higher_is_better": task.higher_is_better}
    own = {"experiment": config.experiment, "trials": trials, "seeds": list(seeds), "score": score}
    if halve:
        own |= {"halve": list(halve), "kept": halving.kept(trials, halve)}
    return {**own, "config": _compared(config), "data": _data(directory, seeds, found), "methods": found}


def validation(run: Run, task: Task) -> float | None:
    """The primary score of a run on the validation split at its last epoch; None if it diverged or has none."""
    result, history = run.result(), run.history()
    if result is None or result["status"] != "done" or not history:
        return None
    return history[-1].get(f"validation_{task.primary}")


def _best(means: list, higher_is_better: bool) -> int | None:
    known = [number for number, mean in enumerate(means) if mean is not None]
    best = max if higher_is_better else min
    return best(known, key=lambda number: means[number], default=None)


def _data(directory: Path, seeds: Sequence[int], methods: dict) -> dict[str, str]:
    """Split -> SHA-256 of the data that the chosen trials have seen: no test split, see config.data.closed."""
    name, told = next(iter(methods.items()))
    known = identity.stored(Run(run_path(directory, row(name, told["trial"]), seeds[0])).config())
    return {split["split"]: split["sha256"] for split in known["data"]["splits"] if split["split"] != "test"}


# ---- running what was chosen


def run_chosen(
    config: ConfigDict,
    file="",
    root="runs",
    only=(),
    seeds=(),
    pair_names=(),
    stop_signal: Callable = lambda: 0,
    display=None,
    callbacks=NO_CALLBACKS,
) -> list[Path]:
    """Runs what was chosen, of a config or of each of its pairs, as `applied`; returns the experiments' directories.

    All choices are looked at before the first is trained. Arguments are those of `applied` and
    `kdjax.experiment.pairs.run`, which say what is raised.
    """
    found = chosen(config, file, root, only, seeds, pair_names)
    siblings = paired.experiments(config)
    for own, made in found:
        with named(made.experiment):  # whose teacher it has is asked now: one before it may have trained it
            made = taught(own, made, root, stop_signal, display, siblings)
            runner.run(made, root, only, seeds, display, stop_signal, callbacks=callbacks)
    return [Path(root) / made.experiment for _, made in found]


def chosen(config: ConfigDict, file="", root="runs", only=(), seeds=(), pair_names=()) -> list[tuple]:
    """(the experiment that was tuned, what runs of it, see `applied`) of a config or of each of its pairs."""
    return [(own, applied(own, file, root, only, seeds)) for own in experiments(config, pair_names)]


def applied(config: ConfigDict, file, root="runs", only=(), seeds=()) -> ConfigDict:
    """<experiment>-tuned: the config with what a tuned.json has chosen, of the methods of `only`, () for all.

    Args:
      file: its path; "" for that of `run` under `root`.
      seeds: to be run; () for config.seeds.

    Raises:
      ValueError: there is none, it is of another config or lacks a method (with what differs), or its seeds are these.
    """
    config = _single(config)
    path = Path(file) if file else Path(root) / f"{config.experiment}-tuning" / "tuned.json"
    tuned, methods = read(path), _methods(config, only)
    lines = configs.differences(_compared(configs.completed(tuned["config"])), _compared(config), "config")
    for name, spec in methods.items():
        where = f"config.methods.{name}"
        known = tuned["methods"].get(name)
        lines += configs.differences(known["spec"], spec, where) if known else [f"{where}: not tuned"]
    if lines:
        shown = "\n  ".join(lines[:20])
        raise ValueError(
            f"{path} was tuned for another config (tuned -> now):\n  {shown}\nTune again, or restore these."
        )
    _check_apart(seeds or config.seeds, tuned["seeds"], "--seeds" if seeds else "config.seeds")
    made = configs.resolve(config)
    made.experiment = f"{config.experiment}-tuned"
    made.methods = ConfigDict(sort_keys=False)
    for name, spec in methods.items():
        made.methods[name] = spaces.changed(spec, tuned["methods"][name]["chosen"])
    told = {key: tuned[key] for key in ("trials", "seeds", "score", "data", "halve", "kept") if key in tuned}
    made.tuned = ConfigDict({**told, "sha256": fingerprint.of_file(str(path))})
    return configs.resolve(made)


def read(path: Path) -> dict:
    """A tuned.json.

    Raises:
      ValueError: there is no such file, or it is another.
    """
    try:
        tuned = read_json(path)
    except (ValueError, IsADirectoryError) as error:
        raise ValueError(f"{path} is no tuned.json of kdjax tune: {error}") from error
    if tuned is None:
        raise ValueError(f"there is no {path}: kdjax tune, with the same --config, chooses and writes it")
    if not isinstance(tuned, dict) or not tuned.keys() >= KEYS:
        raise ValueError(f"{path} is no tuned.json of kdjax tune: it lacks {', '.join(sorted(KEYS - {*tuned}))}")
    return tuned


# ---- both


def experiments(config: ConfigDict, pair_names=()) -> list[ConfigDict]:
    """What is tuned one by one: the experiments of config.pairs, or the config itself. The rows of all are looked at.

    Args:
      pair_names: names of pairs, () for all.

    Raises:
      ValueError: as `kdjax.config.pairs.experiments`, or what is wrong with a row.
    """
    found = paired.experiments(config, pair_names)
    for each in found:
        with named(each.experiment):
            expand(each)
    return found


def _single(config: ConfigDict) -> ConfigDict:
    """The resolved config, of one experiment of methods alone."""
    config = configs.resolve(config)
    if len(config.pairs):
        raise ValueError(
            f"config.pairs are several experiments, of which kdjax.experiment.tune.run tunes one; those of "
            f"{config.experiment} are kdjax.experiment.tune.experiments(config)"
        )
    if len(config.ablate):
        swept = ", ".join(config.ablate)
        raise ValueError(f"config.ablate sweeps {swept} besides what is tuned: leave it out of a config that is tuned")
    return config


def _methods(config: ConfigDict, only=()) -> dict[str, dict]:
    """Name -> plain dictionaries of the methods of `only`, () for all."""
    for name in only:
        if name not in config.methods:
            raise ValueError(f"--only: there is no method {name!r}{nearest(name, config.methods.keys())}")
    return {name: configs.plain(config.methods[name]) for name in config.methods if not only or name in only}


def _compared(config: Mapping) -> dict:
    return {key: value for key, value in configs.plain(config).items() if key not in FREE}


def _check_apart(seeds: Sequence[int], tuning: Sequence[int], what: str) -> None:
    if both := sorted({*seeds} & {*tuning}):
        raise ValueError(
            f"{what} and the seeds of trials both have {', '.join(map(str, both))}: what is chosen on a seed is not "
            f"compared on it; trials have {', '.join(map(str, tuning))}, kdjax tune --seeds= gives them others"
        )
