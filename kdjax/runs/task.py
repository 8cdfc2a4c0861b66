"""What the numbers of a result are: the one place where its "task" is read, for tables, pictures, messages and checks.

    "task": {"name": "regression", "primary": "spearman", "higher_is_better": true, "unit": "",
             "columns": [["spearman", "Spearman", ""], ["mae", "MAE", ""]], "less_is_better": ["mae"]}

A result without it is of classification, as all were before there were other tasks.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

RESERVED = (
    *("experiment", "method", "row", "n", "trials", "expected", "diverged", "best", "peak", "model", "seconds_share"),
    *("notes", "parameters", "flops", "bytes", "latency_1_ms", "latency_64_ms"),
    *("pairs", "difference", "low", "high", "p", "p_holm", "difference_std", "detectable"),
    *("d_z", "d_z_low", "d_z_high", "rope", "better", "equal", "worse"),
    *("examples", "low_examples", "high_examples", "p_examples", "p_holm_examples", "low_both", "high_both"),
    *("pair_seeds", "fixed", "broken", "p_mcnemar"),
)
"""Other columns of table.csv, and those that begin with "published": names that no score may have."""
LESS = ("nll", "ece", "mae", "rmse")
"""Scores of which less is better, in results that do not say it."""
DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


class Score(NamedTuple):
    """A number of result["last"] and how it is shown: one of unit "%" is a share, shown times 100."""

    key: str
    title: str
    unit: str = ""

    @property
    def scale(self) -> int:
        """What is shown is so many times the stored number."""
        return 100 if self.unit == "%" else 1

    @property
    def digits(self) -> int:
        """After the point."""
        return 2 if self.unit == "%" else 4

    def number(self, value: float | None) -> str:
        return DASH if value is None else f"{self.scale * value:.{self.digits}f}"

    def signed(self, value: float | None) -> str:
        return DASH if value is None else f"{self.scale * value:+.{self.digits}f}".replace("-", MINUS)

    def spread(self, mean: float | None, std: float | None) -> str:
        return self.number(mean) if std is None else f"{self.number(mean)} ± {self.number(std)}"

    @property
    def header(self) -> str:
        """Of its column: "top-1", whose numbers are known to be percent, "MAE (eV)"."""
        return f"{self.title} ({self.unit})" if self.unit not in ("", "%") else self.title

    @property
    def sentence(self) -> str:
        """At the beginning of one: "Top-1", "nDCG@10"."""
        return self.title if self.title[1:2].isupper() else self.title[:1].upper() + self.title[1:]

    @property
    def measured(self) -> str:
        """ "Top-1 in percent", "Spearman", "MAE in eV"."""
        unit = "percent" if self.unit == "%" else self.unit
        return self.sentence + (f" in {unit}" if unit else "")

    @property
    def difference_unit(self) -> str:
        """Of differences, after a space: " percentage points", "", " eV"."""
        return " percentage points" if self.unit == "%" else f" {self.unit}" if self.unit else ""

    def difference(self, value: float) -> str:
        """One that was given, in words: "0.5 percentage points", "0.01"."""
        shown = self.scale * value
        unit = self.difference_unit
        return f"{shown:g}{unit[:-1] if self.unit == '%' and shown == 1 else unit}"


@dataclass(frozen=True)
class Task:
    name: str
    primary: Score  # what is compared: best epoch, difference, test, pictures
    higher_is_better: bool
    columns: tuple[Score, ...]  # what its tables show besides
    unshown: tuple[str, ...] = ()  # keys that only the CSV has
    protocol: str = ""  # what a reader should know of its scores
    less: tuple[str, ...] = LESS  # keys, besides the primary, of which less is better

    @property
    def sign(self) -> int:
        """Times this, more is better."""
        return 1 if self.higher_is_better else -1

    @property
    def keys(self) -> tuple[str, ...]:
        """Of what its CSV has besides the primary."""
        return (*(score.key for score in self.columns), *self.unshown)

    def more_is_better(self, key: str) -> bool:
        """Of one of its scores."""
        return self.higher_is_better if key == self.primary.key else key not in self.less


TOP1 = Score("top1", "top-1", "%")
_SHARES = {"precision": "precision", "recall": "recall", "f1": "F1", "agreement": "agreement"}
CLASSIFICATION = Task(
    "classification", TOP1, True, tuple(Score(*names, "%") for names in _SHARES.items()), ("nll", "ece")
)


def refuse(name: str, what: str) -> None:
    """Raises a ValueError where `what` has a name that is another column's of a table."""
    if name in RESERVED or name.startswith("published"):
        raise ValueError(f"{what} is called {name!r}, as is another column of table.csv; give it another name")


def of(result: dict) -> Task:
    """The task of a result, whose "task" is of kdjax.runs.schema.TASK if it has one."""
    told = result.get("task")
    if told is None:
        return CLASSIFICATION
    columns = [Score(*column) for column in told["columns"]]
    title = next((score.title for score in columns if score.key == told["primary"]), told["primary"])
    primary = Score(told["primary"], title, told["unit"])
    others = tuple(score for score in columns if score.key != primary.key)
    shown = {score.key for score in others}
    known = CLASSIFICATION.unshown if told["name"] == CLASSIFICATION.name else ()
    unshown = tuple(key for key in known if key not in shown)
    less = tuple(told.get("less_is_better", LESS))
    return Task(told["name"], primary, told["higher_is_better"], others, unshown, told.get("protocol", ""), less)


def example(results: list[dict]) -> str:
    """What an input is called: image, as all were before results had tasks, or example."""
    images = not results or any(result.get("image_shape") or "task" not in result for result in results)
    return "image" if images else "example"


def common(lines: Iterable[dict]) -> Task:
    """The task of lines of runs.jsonl, with the columns of all; classification where none has a result.

    Raises:
      ValueError: they are of different tasks.
    """
    found = {}
    for line in lines:
        if line["result"] is not None:
            found.setdefault(of(line["result"]), line["run"])
    first, *others = found or [CLASSIFICATION]
    columns = {score.key: score for score in first.columns}
    for other in others:
        if (other.primary, other.higher_is_better) != (first.primary, first.higher_is_better):
            raise ValueError(
                f"{found[first]} is scored by {first.primary.title} ({first.name}), {found[other]} by "
                f"{other.primary.title} ({other.name}): the runs of an experiment share one task"
            )
        columns |= {score.key: score for score in other.columns if score.key not in columns}
    return replace(first, columns=tuple(columns.values())) if others else first
