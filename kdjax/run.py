"""One run = one directory: config.json first, metrics.jsonl as it goes, checkpoints/, result.json last."""

import json
import os
from pathlib import Path

from kdjax.config import differences


class Run:
    """The files of one run. `result.json` exists if and only if the run is finished."""

    def __init__(self, path: Path):
        self.path = Path(path)

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def begin(self, config: dict) -> None:
        """Writes config.json, or checks that the one here says the same.

        Raises:
          ValueError: the directory holds a run of another config; the message lists the differing fields.
        """
        stored = self.config()
        if stored is None:
            write_json(self.path / "config.json", config)
            return
        changed = differences(_compared(stored), _compared(config))
        if changed:
            shown = "\n  ".join(changed[:20])
            raise ValueError(
                f"{self.path} holds a run of another config (stored -> now):\n  {shown}\n"
                "Restore these fields, give config.experiment another name, or remove the directory."
            )

    def config(self) -> dict | None:
        return read_json(self.path / "config.json")

    def result(self) -> dict | None:
        return read_json(self.path / "result.json")

    def finished(self) -> tuple[dict, dict]:
        """config.json and result.json of a run that came to a good end.

        Raises:
          ValueError: there is no run here, or it is unfinished, diverged or damaged.
        """
        try:
            config, result = self.config(), self.result()
        except (OSError, ValueError) as error:
            raise ValueError(f"{self.path} is damaged: config.json or result.json cannot be read: {error}") from error
        if not isinstance(config, dict) or "method" not in config:
            raise ValueError(f"{self.path} holds no run; give a directory runs/<experiment>/<method>/seed<k>")
        if result is None:
            raise ValueError(f"{self.path} holds no finished run; the command that began it continues it")
        if not isinstance(result, dict) or "status" not in result:
            raise ValueError(f"{self.path} is damaged: result.json has no status")
        if result["status"] != "done":
            raise ValueError(f"{self.path} is {result['status']}: its student is of no use")
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
        try:
            lines = (self.path / "metrics.jsonl").read_text("utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return rows
        for line in lines:
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return rows

    def truncate(self, epoch: int) -> None:
        """Drops the rows after `epoch`: those of steps that were lost with a crash and will be taken again."""
        path = self.path / "metrics.jsonl"
        if path.exists():
            kept = [json.dumps(row) + "\n" for row in self.history() if row["epoch"] <= epoch]
            write_text(path, "".join(kept))


def _compared(config: dict) -> dict:
    return {key: value for key, value in config.items() if key != "execution"}


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all: a temporary file beside it, then a rename."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value) -> None:
    """Writes JSON whole or not at all. Non-finite numbers are refused: a result holds none."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> dict | None:
    """The JSON of a file, or None when there is no such file."""
    try:
        return json.loads(Path(path).read_text("utf-8"))
    except FileNotFoundError:
        return None
