"""What may be asked of a launcher, as --launcher.name=value."""

import re
import shlex

from kdjax.find import nearest

LOCAL = {"methods_per_job": 0, "array_parallelism": 1, "gpus": ()}
"""Options of --launcher=local: at most so many methods in a job, 0 for all of a seed; jobs at a time; or the numbers
of GPUs, each of which has one job at a time to itself."""
SLURM = {"methods_per_job": 0, "max_num_timeout": 20, "time": 240, "gpus_per_node": 1, "cpus_per_task": 4}
SLURM |= {"signal_delay_s": 90, "python": ""}
"""Options of --launcher=slurm that are not submitit's or whose defaults differ: how often the time limit may end a job
and it continues; the time limit in minutes; how long before it a job is told; jobs' interpreter, "" for this one."""
OF_THE_EXPERIMENT = ("methods_per_job", "array_parallelism", "max_num_timeout", "python")
"""Options that the teacher's job cannot have for itself."""
NOT_OPTIONS = {"additional_parameters", "num_gpus", "stderr_to_stdout", "use_srun"}
"""Parameters of submitit that are set here, or obsolete."""
SET_HERE = {"signal": "signal_delay_s", "array": "methods_per_job", "output": "", "error": "", "open_mode": ""}
"""Options of sbatch that the launcher sets, and by which of its own they are chosen."""
INSTEAD = {"gpus_per_node": ("gres", "gpus", "gpus_per_task", "gpus_per_socket"), "cpus_per_task": ("cpus_per_gpu",)}
"""Defaults that another option takes the place of."""
COUNTS = ("methods_per_job", "array_parallelism", "max_num_timeout", "nodes", "ntasks_per_node", "cpus_per_task")
COUNTS += ("cpus_per_gpu", "signal_delay_s")
GPUS = ("gpus_per_node", "gpus_per_task")
EARLY_SECONDS = 60
"""Slurm may announce the time limit by so much earlier than asked (sbatch's manual, --signal)."""
START_SECONDS = 120
"""What a job has at least for its start and some steps: without, it would be requeued for ever with nothing saved."""


def parse(launcher: str, given: list[str], submitit) -> dict:
    """The options of a launcher, ["--launcher.time=2-00:00:00"], as {name: value} over the defaults.

    Names are those of submitit or of sbatch, with - or _, and with or without `sbatch.` before them; what submitit
    does not know is passed to sbatch as it is ("additional_parameters"). `--launcher.teacher.name=value` is for the
    teacher's job alone ("teacher").

    Raises:
      ValueError: an unknown option (with the valid ones), a value of another type, or a time limit so near to the
        signal before it that a job would never get anywhere.
    """
    if launcher == "local":
        return dict(LOCAL) | _values(given, {*LOCAL}, launcher)[0]
    valid = {*SLURM, *submitit.SlurmExecutor._valid_parameters()} - NOT_OPTIONS
    of_teacher = [argument for argument in given if argument.startswith("--launcher.teacher.")]
    options = _over(SLURM, *_values([a for a in given if a not in of_teacher], valid, launcher))
    own = [argument.replace("--launcher.teacher.", "--launcher.", 1) for argument in of_teacher]
    values, sbatch = _values(own, valid - {*OF_THE_EXPERIMENT}, launcher)
    options["teacher"] = _over({k: v for k, v in options.items() if k not in OF_THE_EXPERIMENT}, values, sbatch)
    for who, chosen in (("", options), ("teacher.", options["teacher"])):
        _check_time(chosen["time"], chosen["signal_delay_s"], who)
    return options


def _values(given: list[str], valid: set[str], launcher: str) -> tuple[dict, dict]:
    """({option: value}, {option of sbatch: text})."""
    options, sbatch = {}, {}
    for argument in given:
        name, equals, text = argument.removeprefix("--launcher.").partition("=")
        if not equals:
            raise ValueError(f"{argument}: options of the launcher have the form --launcher.name=value")
        passed_on = launcher == "slurm" and name.startswith("sbatch.")
        key = name.removeprefix("sbatch.").replace("-", "_") if launcher == "slurm" else name
        if launcher == "slurm" and key in SET_HERE:
            instead = f"; use --launcher.{SET_HERE[key]}" if SET_HERE[key] else ""
            raise ValueError(f"--launcher.{name}: --{key.replace('_', '-')} of sbatch is set by the launcher{instead}")
        if key in valid:
            value = _value(key, text)
            options[key] = options.get(key, []) + value if isinstance(value, list) else value
        elif passed_on:
            sbatch[key.replace("_", "-")] = text
        else:
            more = "; --launcher.sbatch.name=value passes any option of sbatch on" if launcher == "slurm" else ""
            raise ValueError(f"--launcher.{name}: --launcher={launcher} has no such option{nearest(key, valid)}{more}")
    return options, sbatch


def _over(defaults: dict, options: dict, sbatch: dict) -> dict:
    """The defaults with these options over them; without those that another option takes the place of."""
    before = defaults.get("additional_parameters", {})
    given = {*options, *(name.replace("-", "_") for name in sbatch)}
    replaced = {name for name, others in INSTEAD.items() if given & {*others} and name not in options}
    kept = {name: value for name, value in defaults.items() if name not in replaced}
    return {**kept, **options, "additional_parameters": {**before, **sbatch}}


def _value(name: str, text: str):
    if name == "time":
        return minutes(text)
    if name in GPUS and not text.isdecimal():
        if not re.fullmatch(r"[\w.-]+:\d+", text):
            raise ValueError(f"--launcher.{name} is a number of GPUs, 2, or with their type, a100:2; got {text!r}")
        return text
    if name in (*COUNTS, *GPUS):
        if not text.isdecimal():
            raise ValueError(f"--launcher.{name} must be a whole number, got {text!r}")
        return int(text)
    if name == "gpus":
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if name in ("setup", "teardown"):
        return [text]
    if name == "srun_args":
        return shlex.split(text)
    return {"true": True, "false": False}.get(text.lower(), text)


def minutes(text: str) -> int:
    """A time limit in any form of sbatch's --time, in whole minutes, rounded up.

    90 (minutes), 90:30 (minutes:seconds), 1:30:00 (hours:minutes:seconds), 2-12 (days-hours), 2-12:30, 2-12:30:00.
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if not match:
        raise ValueError(
            "--launcher.time is one of minutes, minutes:seconds, hours:minutes:seconds, days-hours, "
            f"days-hours:minutes and days-hours:minutes:seconds; got {text!r}"
        )
    days, first, second, third = match.groups()
    if days is not None or third is not None:
        seconds = ((int(days or 0) * 24 + int(first)) * 60 + int(second or 0)) * 60 + int(third or 0)
    else:
        seconds = int(first) * 60 + int(second or 0)
    return -(-seconds // 60)


def _check_time(limit: int, delay: int, who: str) -> None:
    least = delay + EARLY_SECONDS + START_SECONDS
    if limit * 60 < least:
        raise ValueError(
            f"--launcher.{who}time: {limit} minutes are too near to the signal {delay} s before the limit, at times "
            f"{EARLY_SECONDS} s earlier, after which a job checkpoints and is requeued: it would never get past its "
            f"start. Ask for {-(-least // 60)} minutes or more, or for a smaller --launcher.{who}signal_delay_s"
        )
