"""What was submitted of an experiment: jobs/submitted.jsonl, a line a job, in the order of submission."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Submitted:
    """A job that Slurm has taken."""

    job: str  # its number, "12", or in an array "12_0"
    what: str  # what it trains, in words
    log: str
    runs: tuple[tuple[int, str], ...]  # (seed, method) of every one that it is to finish
    teacher: bool = False  # the others wait for it
    after: str = ""  # the numbers of the jobs that it waits for, joined by :

    @property
    def directory(self) -> Path:
        """The experiment's."""
        return Path(self.log).parent.parent

    @property
    def number(self) -> str:
        """What scancel takes: the number without that in the array."""
        return self.job.partition("_")[0]


def path(directory: Path) -> Path:
    return directory / "jobs" / "submitted.jsonl"


def read(directory: Path) -> list[Submitted]:
    """The jobs that were submitted; a line that was cut short is left out."""
    try:
        lines = path(directory).read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    jobs = []
    for line in lines:
        try:
            row = json.loads(line)
            jobs.append(Submitted(**{**row, "runs": tuple((seed, name) for seed, name in row["runs"])}))
        except (ValueError, TypeError, KeyError):
            continue
    return jobs


def add(directory: Path, jobs: Iterable[Submitted]) -> None:
    """Notes jobs, at once when Slurm has taken them: what is in the queue is never forgotten."""
    path(directory).parent.mkdir(parents=True, exist_ok=True)
    with open(path(directory), "a", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(job)) + "\n" for job in jobs)
        file.flush()
        os.fsync(file.fileno())
