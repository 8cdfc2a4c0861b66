"""A grid as markdown, CSV and for a terminal."""

from dataclasses import dataclass

from kdjax import tables
from kdjax.report import forms
from kdjax.report.cells import superscript
from kdjax.report.grid.comparison import KD, Cell, Comparison, tested
from kdjax.report.wording import DASH, MINUS, clean
from kdjax.runs.schema import TEACHER
from kdjax.runs.task import Score

OVER = ("average", "rank", "ARI")
"""Columns over all experiments."""


@dataclass(frozen=True)
class Shown:
    """A cell in words: its number; its difference and what is published, "" where there is none."""

    value: str
    difference: str = ""
    published: str = ""
    marks: str = ""  # of footnotes
    best: bool = False
    tied: bool = False


def shown(cell: Cell | None, score: Score, numbers: dict[str, int]) -> Shown:
    if cell is None or (cell.mean is None and not cell.notes):
        return Shown(DASH)
    published = cell.published.get("published")
    return Shown(
        score.spread(cell.mean, cell.std),
        "" if cell.difference is None else score.signed(cell.difference),
        "" if published is None else score.spread(published, cell.published["published_std"]),
        superscript([numbers[note] for note in cell.notes]),
        cell.best,
        cell.tied,
    )


def over(comparison: Comparison) -> list[str]:
    """Those of OVER that some row has a number for."""
    averages = comparison.averages.values()
    have = [any(getattr(each, name) is not None for each in averages) for name in ("mean", "rank", "ari")]
    return [name for name, there in zip(OVER, have, strict=True) if there]


def averaged(comparison: Comparison, row: str) -> list[Shown]:
    """The cells of a row below `over`."""
    known, score = comparison.averages.get(row), comparison.task.primary
    if known is None:
        return [Shown(DASH) for _ in over(comparison)]
    rank = DASH if known.rank is None else f"{known.rank:.2f}"
    ari = DASH if known.ari is None else f"{100 * known.ari:.1f} %".replace("-", MINUS)
    difference = "" if known.difference is None else score.signed(known.difference)
    found = dict(zip(OVER, (Shown(score.number(known.mean), difference), Shown(rank), Shown(ari)), strict=True))
    return [found[name] for name in over(comparison)]


def rows(comparison: Comparison) -> list[str]:
    """The teacher if there is any, then the methods."""
    taught = any((TEACHER, i) in comparison.cells for i in range(len(comparison.columns)))
    return [TEACHER] * taught + comparison.rows


def body(comparison: Comparison) -> list[tuple[str, list[Shown]]]:
    """The rows of the grid: a cell a column, then those over all of them."""
    notes = {note: number for number, note in enumerate(cell_notes(comparison), 1)}
    columns, score = range(len(comparison.columns)), comparison.task.primary
    return [
        (row, [*(shown(comparison.cells.get((row, i)), score, notes) for i in columns), *averaged(comparison, row)])
        for row in rows(comparison)
    ]


def head(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Title and texts of every line of the head, with those over all columns."""
    names = over(comparison)
    blank = [""] * len(names)
    return [(title, [*own, *(blank if i else names)]) for i, (title, own) in enumerate(comparison.heads)]


def cell_notes(comparison: Comparison) -> list[str]:
    """The footnotes of cells, without repetition, in the order of the grid."""
    order = [(row, i) for row in rows(comparison) for i in range(len(comparison.columns))]
    return list(dict.fromkeys(note for key in order if key in comparison.cells for note in comparison.cells[key].notes))


def below(comparison: Comparison) -> list[str]:
    """What stands under the grid: footnotes of cells with their marks, how to read it, what concerns the whole."""
    marked = [f"{superscript([number])} {note}" for number, note in enumerate(cell_notes(comparison), 1)]
    return [clean(text) for text in (*marked, *legend(comparison), *tested(comparison), *comparison.notes)]


def legend(comparison: Comparison) -> list[str]:
    """Only of what is there."""
    every, task, score = comparison.cells.values(), comparison.task, comparison.task.primary
    unit = f" in {score.unit}" if score.unit else ""
    direction = "" if task.higher_is_better else "; less is better"
    found = [f"{score.sentence} on the test split{unit}, last epoch, mean ± standard deviation over seeds{direction}."]
    if any(cell.difference is not None for cell in every):
        points = ", in points" if score.unit == "%" else unit and f",{unit}"
        found.append(f"Signed: difference to {comparison.reference} over common seeds{points}.")
    if any(cell.published.get("published") is not None for cell in every):
        found.append("Published: the paper's number, see the CSV for its source.")
    if any(cell.p_best is not None for cell in every):
        found.append(
            "Bold (*): the best of a column; underlined (~): what cannot be told from it (paired t test over seeds, "
            "Holm's method within the column, 5 %): together they hold the truly best in 95 % of columns."
        )
    elif any(cell.best for cell in every):
        found.append("Bold (*): the best of a column.")
    if "ARI" in over(comparison):
        found.append(
            f"ARI: average relative improvement over {KD}, the mean over columns of (row - {KD}) / ({KD} - student) "
            "(CRD, Tian et al. 2020; SimKD, Chen et al. 2022)."
        )
    return found


# ---- markdown


def markdown(comparison: Comparison) -> str:
    """For GitHub: lines of a cell by <br>, underlined by <ins>."""
    lines = head(comparison)
    header = ["<br>".join(forms.escape(title) for title, _ in lines)]
    header += [
        "<br>".join(filter(None, map(forms.escape, texts))) for texts in zip(*(t for _, t in lines), strict=True)
    ]
    rows_ = [[forms.escape(clean(row)), *map(_markdown, cells)] for row, cells in body(comparison)]
    return tables.markdown([header, *rows_]) + "\n\n" + "  \n".join(map(forms.escape, below(comparison))) + "\n"


def _markdown(cell: Shown) -> str:
    value = f"**{cell.value}**" if cell.best else f"<ins>{cell.value}</ins>" if cell.tied else cell.value
    published = f"<sub>published {cell.published}</sub>" if cell.published else ""
    return "<br>".join(filter(None, (value + cell.marks, cell.difference, published)))


# ---- CSV


def csv(comparison: Comparison) -> str:
    """A line a cell, full precision, then a line a row over all columns."""
    return tables.csv(records(comparison))


def records(comparison: Comparison) -> list[dict]:
    """The same as dictionaries; None is unknown."""
    found, key = [], comparison.task.primary.key
    for row in rows(comparison):
        for i, column in enumerate(comparison.columns):
            if cell := comparison.cells.get((row, i)):
                found.append(_line(comparison.label(i), column.name, row, cell, key))
    for row, average in comparison.averages.items():
        cell = Cell(0, 0, average.mean, None, average.difference, rank=average.rank)
        line = {**_line("average", "", row, cell, key), "ari": average.ari, "ari_columns": average.ari_columns or None}
        found.append({key: None if key in ("n", "expected", "best", "tied") else line[key] for key in line})
    return found


PUBLISHED = ("published", "published_std", "published_n", "published_epoch", "published_difference", "published_source")


def _line(label: str, experiment: str, row: str, cell: Cell, key: str) -> dict:
    own = {
        **{"column": label, "experiment": experiment, "row": row, "n": cell.n, "expected": cell.expected},
        **{key: cell.mean, f"{key}_std": cell.std, "difference": cell.difference, "low": cell.low, "high": cell.high},
        **{"p": cell.p, "p_holm": cell.p_holm, "best": int(cell.best), "p_best_holm": cell.p_best},
        **{"tied": int(cell.tied), "rank": cell.rank, "ari": None, "ari_columns": None},
    }
    return {**own, **{name: cell.published.get(name) for name in PUBLISHED}, "notes": " ".join(cell.notes)}


# ---- the terminal


@dataclass(frozen=True)
class Terminal:
    """A grid as a rich renderable: as many columns side by side as there is room for, the others below."""

    comparison: Comparison

    def __rich_console__(self, console, options):
        from rich.text import Text

        lines, rows_ = head(self.comparison), body(self.comparison)
        measure = lambda *columns: console.measure(_rich(lines, rows_, columns), options=options.update(width=10_000))  # noqa: E731
        names, part, width = measure().maximum, [], 0
        for i in range(len(lines[0][1])):
            more = measure(i).maximum - names
            if part and names + width + more > options.max_width:
                yield _rich(lines, rows_, part)
                part, width = [], 0
            part, width = [*part, i], width + more
        yield _rich(lines, rows_, part)
        for text in below(self.comparison):
            yield Text(text)


def _rich(lines, rows_, columns):
    """Methods and some columns."""
    heads = ["\n".join(title for title, _ in lines), *("\n".join(texts[i] for _, texts in lines) for i in columns)]
    return tables.terminal(heads, ([clean(row), *(_text(cells[i]) for i in columns)] for row, cells in rows_))


def _text(cell: Shown):
    from rich.text import Text

    text = Text(cell.value, style="bold" if cell.best else "underline" if cell.tied else "")
    text.append(f" {cell.difference}" if cell.difference else "", style="not bold not underline")
    text.append({(True, False): " *", (False, True): " ~"}.get((cell.best, cell.tied), ""), style="not underline")
    text.append(cell.marks, style="not bold not underline")
    if cell.published:
        text.append(f"\n{cell.published} published", style="bright_black not bold not underline")
    return text
