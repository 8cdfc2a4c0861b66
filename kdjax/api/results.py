"""What is there of an experiment, begun or finished: tables, pictures, and its students as functions of inputs."""

import functools
import io
from pathlib import Path

from kdjax.api import students
from kdjax.arguments import names
from kdjax.find import nearest
from kdjax.runs import gather
from kdjax.runs.schema import TEACHER


def load_experiment(path) -> "Experiment":
    """An experiment that has been run: load_experiment("runs/digits"), or a runs.jsonl, which has no students.

    Raises:
      ValueError: there is none.
    """
    if gather.is_folder(path):
        inside = ", ".join(map(repr, map(str, gather.experiments(path))))
        raise ValueError(f"{path} holds experiments; load one of them: {inside}")
    return Experiment(path)


class Experiment:
    """The runs of an experiment as they were when it was read. In a notebook it shows its table and its picture.

    experiment["kd", 0] is the run of a method and a seed, experiment["teacher", 0] that of a teacher trained here.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.lines = gather.read(path)
        """Of runs.jsonl: {"run", "config", "result" (None: not finished), "history"} each."""

    @property
    def methods(self) -> list[str]:
        """The rows of the table, without the teacher."""
        found = dict.fromkeys(line["config"].get("row", "") for line in self.lines)
        return [name for name in found if name != TEACHER]

    @property
    def seeds(self) -> list[int]:
        return sorted({line["config"]["seed"] for line in self.lines if line["config"].get("row") != TEACHER})

    def __getitem__(self, key) -> students.Student:
        if not isinstance(key, tuple) or len(key) != 2:
            raise KeyError(f"a run is named by method and seed, experiment['kd', 0]; got {key!r}")
        method, seed = key
        of_method = [x for x in self.lines if method in (x["config"].get("row"), x["config"].get("method"))]
        if not of_method:
            known = [*self.methods, *([TEACHER] if any(x["config"].get("row") == TEACHER for x in self.lines) else [])]
            raise KeyError(f"{self.path} has no method {method!r}{nearest(str(method), known)}")
        for line in of_method:
            if line["config"].get("seed") == seed:
                return students.Student(self.path / line["run"], line)
        known = ", ".join(str(line["config"].get("seed")) for line in of_method)
        raise KeyError(f"{self.path} has no seed {seed!r} of {method}, only {known}")

    def table(self, only=(), width: int | None = None) -> str:
        """The table as `kdjax table` prints it.

        Args:
          only: names of methods to show, "kd,rkd" or a list of them; () for all.
          width: columns of characters; None for those of the terminal.
        """
        from kdjax.report import table

        return _printed(table.terminal(self.lines, self._shown(only)), width)

    def rows(self, only=()) -> list[dict]:
        """A dictionary a row of the table, of full precision: what table.csv has."""
        from kdjax.report import table

        return table.rows(self.lines, self._shown(only))

    def frame(self, only=()):
        """`rows` as a pandas DataFrame.

        Raises:
          ImportError: pandas is not installed; `rows` does without.
        """
        return frame(self.rows(only))

    def forest(self, only=()):
        """The picture of differences to the baseline, a matplotlib Figure.

        Raises:
          ValueError: no method can be compared with the baseline yet.
        """
        from kdjax.report.plots import pictures

        return pictures.forest_of(self.lines, self._shown(only))

    def doctor(self, width: int | None = None) -> str:
        """Why distillation did not help, and what to try, as `kdjax doctor` prints it; `width`: as of `table`.

        Raises:
          ValueError: no run is finished yet.
        """
        from kdjax.report import doctor

        return _printed(doctor.terminal(doctor.read(self.path)), width)

    def _shown(self, only) -> list[dict]:
        return gather.select(self.lines, names(only) if isinstance(only, str) else tuple(only))

    def __repr__(self) -> str:
        students_ = [line for line in self.lines if line["config"].get("row") != TEACHER]
        done = sum(1 for line in students_ if line["result"])
        return f"<Experiment {self.path}: {len(self.methods)} methods, {done} of {len(students_)} runs finished>"

    def _repr_html_(self) -> str:
        from kdjax.report import html

        return html.fragment(self.lines)


class Grid:
    """Experiments side by side, see `kdjax grid`."""

    def __init__(self, comparison):
        self.comparison = comparison

    def table(self, width: int | None = None) -> str:
        """The grid as `kdjax grid` prints it."""
        from kdjax.report.grid.texts import Terminal

        return _printed(Terminal(self.comparison), width)

    def rows(self) -> list[dict]:
        """A dictionary a cell, of full precision: what grid.csv has."""
        from kdjax.report.grid import texts

        return texts.records(self.comparison)

    def frame(self):
        """`rows` as a pandas DataFrame."""
        return frame(self.rows())

    def _repr_html_(self) -> str:
        from kdjax.report import html

        return html.grid(self.comparison)


def grid(*experiments, against: str = "") -> Grid:
    """Experiments side by side: pairs, data sets or shots as columns, methods as rows.

    Args:
      experiments: `Experiment`s, or paths as `kdjax grid` takes them.
      against: the row that differences are to; "" for the baseline.
    """
    from kdjax.report import grid as grids

    paths = [each.path if isinstance(each, Experiment) else each for each in experiments]
    return Grid(grids.compare(grids.read(paths), against))


def _printed(renderable, width: int | None) -> str:
    from rich.console import Console

    console = Console(file=io.StringIO(), highlight=False, width=width)
    console.print(renderable)
    return console.file.getvalue()


def frame(rows: list[dict]):
    """Dictionaries as a pandas DataFrame."""
    return _pandas().DataFrame(rows)


@functools.cache
def _pandas():
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise ImportError(
            f"frame() needs {error.name}, which comes with: pip install 'kdjax[notebook]'; rows() has the same numbers "
            "as a list of dictionaries"
        ) from error
    return pandas
