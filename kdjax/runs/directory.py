"""One run = one directory: config.json first, metrics.jsonl as it goes, checkpoints/, result.json last."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

from kdjax.config.fields import completed, differences
from kdjax.files import read_json, write_json, write_text
from kdjax.runs.lock import Lock
from kdjax.runs.schema import TEACHER

_TEMPORARY = re.compile(r"\.(config\.json|gradients\.json|metrics\.jsonl|result\.json)\.[0-9]+\.tmp")
"""What `write_bytes` leaves in a run's directory when it is killed."""


class Run:
    """The files of one run. `result.json` exists if and only if the run is finished."""

    def __init__(self, path: Path):
        self.path = Path(path)
        self.lock = Lock(self.path / "lock")

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def check(self, config: dict) -> None:
        """Raises a ValueError, which lists the differing fields, if config.json is that of another run."""
        stored = self.config()
        if stored is None:
            return
        changed = differences(_compared(stored), _compared(config))
        if changed:
            shown = "\n  ".join(changed[:20])
            raise ValueError(
                f"{self.path} holds a run of another config (stored -> now):\n  {shown}\n"
                "Restore these fields, give config.experiment another name, or remove the directory."
            )

    def _check_flags(self, config: dict) -> None:
        """Refuses to continue under flags of XLA that round otherwise: a run has one rounding from end to end."""
        old, new = self.config()["flags"], config["flags"]
        if old != new:
            raise ValueError(
                f"{self.path} was begun under other flags of XLA, which round otherwise (stored -> now):\n"
                f"  {' '.join(old) or 'none'} -> {' '.join(new) or 'none'}\n"
                f"To continue it, set XLA_FLAGS='{' '.join(old)}' for this command; or remove the directory."
            )

    def begin(self, config: dict, checkpoint: Path | None, say: Callable[[str], None]) -> None:
        """Puts the files of an unfinished run where its newest whole checkpoint, if it has one, left them.

        config.json and metrics.jsonl are made equal to the copies in the checkpoint: rows of steps that were lost are
        dropped, rows that were damaged come back. `say` is told of what was damaged.

        Raises:
          ValueError: the directory holds a run of another config, or one begun under other flags of XLA.
        """
        for leftover in leftovers(self.path):
            leftover.unlink()
        begun = self.history() or (self.path / "config.json").exists()
        if self.config() is None and checkpoint is not None:
            say(f"{self.path}: config.json is missing or damaged; the copy in checkpoint {checkpoint.name} is used")
            write_text(self.path / "config.json", (checkpoint / "config.json").read_text("utf-8"))
        self.check(config)
        if (self.path / "result.json").exists():
            say(f"{self.path}: result.json or the checkpoint that it describes is damaged; it will be measured again")
            (self.path / "result.json").unlink()
        if self.config() is None or checkpoint is None:  # what starts over does so as it is executed now
            write_json(self.path / "config.json", config)
        elif "flags" in self.config():
            self._check_flags(config)
        else:
            say(f"{self.path}: begun by an older kdjax, which did not record XLA's flags; continues under today's")
        rows = (checkpoint / "metrics.jsonl").read_text("utf-8") if checkpoint is not None else ""
        if begun and checkpoint is None:
            say(f"{self.path}: no whole checkpoint; starts over")
        elif not self._rows().startswith(rows):
            say(f"{self.path}: metrics.jsonl is damaged; the copy in checkpoint {checkpoint.name} is used")
        if self._rows() != rows:
            write_text(self.path / "metrics.jsonl", rows)

    def files(self) -> dict[str, bytes]:
        """What a checkpoint keeps a copy of, as it is now."""
        return {"config.json": (self.path / "config.json").read_bytes(), "metrics.jsonl": self._rows().encode()}

    def _rows(self) -> str:
        try:
            return (self.path / "metrics.jsonl").read_text("utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def config(self) -> dict | None:
        """config.json; None if it is missing or damaged."""
        return _object(self.path / "config.json", "method")

    def result(self) -> dict | None:
        """result.json; None if it is missing or damaged: then the run is not finished."""
        return _object(self.path / "result.json", "status")

    def gradients(self, what: str) -> dict | None:
        """The "ratios" or "cosines" of `training.gradients`; None if they were not measured, or are damaged."""
        return (_object(self.path / "gradients.json", "ratios") or {}).get(what)

    def generation(self) -> int:
        """That of a finished run as a student, see `kdjax.streams`; -1 for what was trained as a teacher."""
        return -1 if self.config()["method"] == TEACHER else self.result().get("generation", 0)

    def finished(self) -> tuple[dict, dict]:
        """config.json and result.json of a run that came to a good end.

        Raises:
          ValueError: there is no run here, or it is unfinished, diverged or damaged.
        """
        if not self.checkpoints.is_dir() and not (self.path / "result.json").exists():
            raise ValueError(f"{self.path} holds no run; give a directory runs/<experiment>/<method>/seed<k>")
        config, result = self.config(), self.result()
        for name, value in (("config.json", config), ("result.json", result)):
            if value is None and (self.path / name).exists():
                raise ValueError(f"{self.path} is damaged: {name} cannot be read; the command that made it repairs it")
        if config is None:
            raise ValueError(f"{self.path} is damaged: config.json is missing; the command that made it repairs it")
        if result is None:
            raise ValueError(f"{self.path} holds no finished run; the command that began it continues it")
        if result["status"] != "done":
            how = ", ".join(f"{name} {value}" for name, value in (result.get("diverged") or {}).items())
            raise ValueError(f"{self.path} is {result['status']}{f' ({how})' * bool(how)}: its student is of no use")
        return config, result

    def finish(self, result: dict) -> None:
        write_json(self.path / "result.json", result)

    def append(self, row: dict) -> None:
        """Adds one line to metrics.jsonl."""
        with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def history(self) -> list[dict]:
        """The rows of metrics.jsonl; a line cut short by a crash and what follows it are left out."""
        rows = []
        for line in self._rows().splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                break
            if not isinstance(row, dict) or not isinstance(row.get("epoch"), int):
                break
            rows.append(row)
        return rows


def leftovers(path: Path) -> list[Path]:
    """What a process that was killed has left half written in a run's directory, beside its checkpoints."""
    return [each for each in path.iterdir() if _TEMPORARY.fullmatch(each.name)] if path.is_dir() else []


NOT_COMPARED = ("execution", "flags", "identity", "pilot")
"""Fields of a config.json that may differ between what is stored and what goes on."""


def _compared(config: dict) -> dict:
    return {key: value for key, value in completed(config).items() if key not in NOT_COMPARED}


def _object(path: Path, key: str) -> dict | None:
    """The object in a JSON file if it is one and has `key`, else None."""
    try:
        value = read_json(path)
    except (ValueError, RecursionError):  # no JSON, no UTF-8
        return None
    return value if isinstance(value, dict) and key in value else None
