"""What a task is: what is predicted, how it is scored, and what its table shows. Nothing here needs JAX."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np


@dataclass(frozen=True)
class Task:
    """A way to score predictions. One's own is a value of this class, named by its import path in config.task.

    Scores are of single examples, so that means over them, best epoch, tests over seeds and bootstraps over examples
    read one thing; what needs a whole split (F1, a rank correlation) is in `report`.
    """

    name: str
    primary: str  # the score that chooses the best epoch, that methods are compared by: one of `scores`
    higher_is_better: bool
    unit: str  # of the primary score; "%": a share in 0..1, shown times 100; "": a plain number
    columns: tuple[tuple[str, str, str], ...]  # (key in what `report` returns, title, unit) of what its table shows
    loss: str  # in kdjax.losses: what a teacher that is trained here is trained by
    outputs: Callable  # (number of classes, or of the items of a catalogue) -> K, the number of outputs that a model is
    # made with: its logits
    scores: Callable  # (logits [B, K] float32, target [B, ...]) -> {name: [B] float32}, NaN where one does not count
    report: Callable  # (logits [N, K], target, teacher's logits or None), on the host -> {name: value} for JSON
    agreement: Callable  # (student's logits [N, K], teacher's, target), on the host -> [N]
    check_data: Callable  # (dataset) -> None; a ValueError where its targets are not of this task
    strata: Callable = lambda target: np.zeros(len(target), np.int64)  # (target) -> [N] integers: what parts of a split
    # are to have equal shares of; by itself nothing, where targets are no classes
    lists: bool = False  # logits and targets are [B, L], of the items of lists, whatever number of outputs a model has
    reads: str = "logits"  # the field of Outputs that is scored, [B, K] or [B, D]: called logits wherever it is kept
    whole: bool = False  # scores are made of a whole split at once, on the host, as each depends on all examples
    catalogue: bool = False  # every document of a Dataset is ranked for each query (kdjax.training.searching): `keep`
    # has (blocks of scores, items, target), `scores` (what is kept, target, number of documents), all on the host
    protocol: str = ""  # what a reader of its tables should know of its scores, a sentence or more
    less_is_better: tuple[str, ...] = ()  # keys of `report`, besides the primary
    keep: Callable | None = None  # (logits [B, K], target), where K is too large to keep them all -> what is kept in
    # their place and given to `report` and `agreement`: [B, ...] float32, NaN where logits are not finite

    def describe(self, metrics: Mapping[str, Callable] = MappingProxyType({})) -> dict:
        """What result.json says of the task and of metrics of one's own, and a table needs to know."""
        columns = [*map(list, self.columns), *([name, name, ""] for name in metrics)]
        less = [name for name, fn in metrics.items() if getattr(fn, "less_is_better", False)]
        own = {"name": self.name, "primary": self.primary, "unit": self.unit}
        told = {"protocol": self.protocol} if self.protocol else {}
        direction = {"higher_is_better": self.higher_is_better, "less_is_better": [*self.less_is_better, *less]}
        return {**own, **direction, "columns": columns, **told}

    def shown(self, value: float, digits: int = 2) -> str:
        """A primary score in words, "93.41 %" or "0.8731"."""
        return (
            f"{100 * value:.{digits}f} %"
            if self.unit == "%"
            else f"{value:.{digits + 2}f}{self.unit and ' '}{self.unit}"
        )
