"""A grid as LaTeX no wider than the text, and every number of it as a macro."""

import re
import unicodedata

from kdjax.report import latex as page
from kdjax.report.grid import texts
from kdjax.report.grid.comparison import Comparison
from kdjax.report.grid.texts import Shown
from kdjax.report.wording import DASH, MINUS, clean

PACKAGES = (*page.PACKAGES, "xcolor")
COLUMNS, LINES = 6, 44
"""A tabular has at most so many columns and lines of rows: more go into others, lest they become too small to read."""


def latex(comparison: Comparison) -> str:
    """grid.tex: tabulars with stacked heads, published numbers grey, and what stands below."""
    lines = texts.head(comparison)
    body = texts.body(comparison)
    tables = []
    for left in range(0, len(lines[0][1]), COLUMNS):
        part = slice(left, left + COLUMNS)
        head = [" & ".join([_bold(title), *map(page.escape, own[part])]) + r" \\" for title, own in lines]
        for rows in _fitting([_row(row, cells[part]) for row, cells in body]):
            inner = [r"\toprule", *head, r"\midrule", *rows, r"\bottomrule"]
            tables.append(page.tabular(1 + len(lines[0][1][part]), inner))
    return page.page(tables, texts.below(comparison), [], PACKAGES)


def _fitting(rows: list[list[str]]) -> list[list[str]]:
    """Rows of one to three lines each, in parts of at most LINES lines."""
    parts = [[]]
    for row in rows:
        if len(parts[-1]) + len(row) > LINES:
            parts.append([])
        parts[-1] += row
    return parts


def _bold(title: str) -> str:
    return rf"\textbf{{{page.escape(title)}}}"


def _row(row: str, cells: list[Shown]) -> list[str]:
    """Numbers; below them differences, and what is published in grey, where there are any."""
    lines = [[page.escape(clean(row)), *map(_value, cells)]]
    if any(cell.difference for cell in cells):
        lines.append(["", *(_small(cell.difference) for cell in cells)])
    if any(cell.published for cell in cells):
        grey = lambda text: rf"\textcolor{{gray}}{{{text}}}" if text else ""  # noqa: E731
        lines.append([grey(_small("published")), *(grey(_small(cell.published)) for cell in cells)])
    return [" & ".join(line) + r" \\" for line in lines]


def _small(text: str) -> str:
    return rf"\scriptsize {page.escape(text)}" if text else ""


def _value(cell: Shown) -> str:
    value = page.escape(cell.value)
    if cell.best:
        value = rf"\textbf{{\boldmath {value}}}"
    elif cell.tied:
        value = rf"\underline{{{value}}}"
    return value + page.escape(cell.marks)


# ---- macros

DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


def macros(comparison: Comparison) -> str:
    r"""macros.tex: \newcommand for every number of the grid, as it is printed there, a comment beside each.

    \grid<Experiment><Row><What>: \gridDigitsKdMean, Std, Difference, N, Published; over all columns
    \gridAverageKdMean, Difference, Rank, Ari; \gridFriedman, FriedmanF, FriedmanP, CriticalDifference. Names have
    letters only: digits are spelled out, and of two that would be the same the second ends in B.
    """
    score, found = comparison.task.primary, {}
    sources = _distinct([column.name for column in comparison.columns])
    for row, name in zip(texts.rows(comparison), _distinct(texts.rows(comparison)), strict=True):
        for i, source in enumerate(sources):
            if cell := comparison.cells.get((row, i)):
                where = f"{comparison.columns[i].name}, {row}"
                published = cell.published.get("published")
                values = {"Mean": score.number(cell.mean), "Std": score.number(cell.std)}
                values |= {"Difference": score.signed(cell.difference)}
                values |= {"N": str(cell.n), "Published": score.number(published)}
                found |= {f"{source}{name}{key}": (value, where) for key, value in values.items()}
        if average := comparison.averages.get(row):
            ari = DASH if average.ari is None else f"{100 * average.ari:.1f}".replace("-", MINUS)
            values = {"Mean": score.number(average.mean), "Difference": score.signed(average.difference), "Ari": ari}
            values |= {"Rank": DASH if average.rank is None else f"{average.rank:.2f}"}
            found |= {f"Average{name}{key}": (value, f"over all columns, {row}") for key, value in values.items()}
    if test := comparison.friedman:
        numbers = {"Friedman": test.chi2, "FriedmanF": test.f, "FriedmanP": test.p, "CriticalDifference": test.critical}
        found |= {key: (f"{value:.3g}", "over all columns") for key, value in numbers.items()}
    lines = [
        rf"\newcommand{{\grid{name}}}{{{page.escape(value)}}} % {_ascii(where)}"
        for name, (value, where) in found.items()
        if value != DASH
    ]
    unit = ": in percent, differences in points" if score.unit == "%" else f": {_ascii(score.measured)}"
    return "\n".join([f"% of kdjax grid{unit}", *lines]) + "\n"


def _distinct(names: list[str]) -> list[str]:
    """Letters only; "average" is taken."""
    taken = {"Average": None}
    for name in names:
        plain, number = _letters(name), 1
        spelled = plain
        while spelled in taken:
            spelled, number = plain + _suffix(number), number + 1
        taken[spelled] = None
    return list(taken)[1:]


def _suffix(number: int) -> str:
    """B, C, ... Z, BB, ..."""
    return chr(ord("A") + number) if number < 26 else _suffix(number // 26) + _suffix(number % 26)


def _letters(name: str) -> str:
    """ "kd,kd.temperature=2.0" -> "KdKdTemperatureTwoZero"."""
    plain = unicodedata.normalize("NFKD", name)
    words = re.findall(r"[A-Za-z]+|[0-9]", plain)
    return "".join(DIGITS[int(word)] if word.isdigit() else word[0].upper() + word[1:] for word in words) or "Unnamed"


def _ascii(text: str) -> str:
    return clean(text).encode("ascii", "replace").decode()
