"""The comparison table: lines of runs.jsonl -> markdown, CSV, LaTeX, terminal. The same lines give the same bytes.

Everything is computed once, as `records` of full precision, which are the rows of the CSV; the other forms print them.
"""

import csv as csvlib
import io
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdjax import classes, identity, protocol, published, statistics
from kdjax.gather import TEACHER, done
from kdjax.gather import gather as gather
from kdjax.gather import read as read
from kdjax.run import write_text

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
METRICS = ("precision", "recall", "f1", "agreement", "nll", "ece")
"""Those of the last epoch on the test split, beside top1."""
COSTS = ("parameters", "flops", "bytes", "latency_1_ms", "latency_64_ms")


@dataclass(frozen=True)
class Grid:
    """A table of finished strings; the first column is text, the others are numbers."""

    header: list[str]
    rows: list[list[str]]


# ---- numbers


def experiments(runs: list[dict]) -> dict[str, list[dict]]:
    """Experiment -> its lines, in the order of the first of each.

    Raises:
      ValueError: a run is given twice.
    """
    grouped = {}
    for line in runs:
        grouped.setdefault(line["config"].get("experiment", ""), []).append(line)
    for name, lines in grouped.items():
        run, times = Counter(line["run"] for line in lines).most_common(1)[0]
        if times > 1:
            raise ValueError(f"the run {name}/{run} is given {times} times; a table takes each experiment once")
    return grouped


def records(runs: list[dict]) -> list[dict]:
    """A dictionary a row, teacher first: what the CSV has. Accuracies and the like are fractions, None is unknown.

    `row` is the name shown; n runs are done of those expected; difference, low, high, p and p_holm compare last-epoch
    top-1 with the baseline's over common seeds; best is the test top-1 of the epoch chosen on the validation split,
    peak the highest of any epoch; seconds are those of training one run; `published...` is of the paper.
    """
    return [record for lines in experiments(runs).values() for record in _records(lines)]


def _records(lines: list[dict]) -> list[dict]:
    grouped = {}
    for line in lines:
        grouped.setdefault(line["config"].get("method", ""), []).append(line)
    own = grouped.pop(TEACHER, [])
    baseline = _top1(grouped.get(lines[0]["config"].get("baseline"), []))
    rows = [_student(group, baseline) for group in grouped.values()]
    for row, p in zip(rows, statistics.holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = p
    return _teacher(own, [line for group in grouped.values() for line in group]) + rows


def _top1(lines: list[dict]) -> dict:
    """Seed -> last-epoch top-1."""
    return {result["seed"]: result["last"]["top1"] for result in done(lines)}


def _student(lines: list[dict], baseline: dict) -> dict:
    config, results = lines[0]["config"], done(lines)
    record = _record(config, results, [result.get("student") for result in results])
    if config.get("method") != config.get("baseline"):
        test = statistics.paired(_top1(lines), baseline)
        record |= {"pairs": test.pop("n"), **test}
    diverged = sum(1 for line in lines if line["result"]) - len(results)
    return _with_published(config, record | {"expected": len(lines), "diverged": diverged})


def _teacher(own: list[dict], others: list[dict]) -> list[dict]:
    """The record of the experiment's teacher, its accuracy as measured here; none if there is no teacher."""
    taught = [line for line in others if not (line["config"].get("spec") or {}).get("teacher")]
    measured = [result["teacher"] for result in done(taught) if result.get("teacher")]
    if not own and not measured:
        return []
    results = done(own)
    config = {**(own or taught)[0]["config"], "method": TEACHER, "row": TEACHER}
    record = _record(config, [], measured or [result.get("student") for result in results])
    tops = [*(model.get("top1") for model in measured), *_top1(own).values()]
    seconds = results[0].get("seconds") if results else None
    record |= {"n": min(len(tops), 1), "top1": tops[0] if tops else None, "seconds": seconds}
    diverged = sum(1 for line in own if line["result"]) - len(results)
    return [_with_published(config, record | {"expected": 1, "diverged": diverged})]


def _record(config: dict, results: list[dict], models: list[dict | None]) -> dict:
    names = {"experiment": config.get("experiment", ""), "method": config.get("method", "")}
    record = {
        **names,
        "row": config.get("row", names["method"]),
        "n": len(results),
        "expected": 0,
        "diverged": 0,
        **_mean("top1", [result["last"]["top1"] for result in results]),
        **dict.fromkeys(("pairs", "difference", "low", "high", "p", "p_holm")),
    }
    for name in ("best", "peak"):
        record |= _mean(name, [(result.get(name) or {}).get("top1") for result in results])
    for name in METRICS:
        record |= _mean(name, [result["last"].get(name) for result in results])
    return record | _mean("seconds", [result.get("seconds") for result in results]) | _cost(models)


def _mean(name: str, values: list) -> dict:
    """{name: mean, name_std: ...}; None unless every run has the value."""
    summary = statistics.summary([] if any(value is None for value in values) else values)
    return {name: summary["mean"], f"{name}_std": summary["std"]}


def _cost(models: list[dict | None]) -> dict:
    """The model's name and costs: medians over the runs, in each of which they were measured."""
    models = [model for model in models if model]
    row = {"model": models[0].get("model", "") if models else ""}
    for name in COSTS:
        values = [model[name] for model in models if model.get(name) is not None]
        row[name] = (float if "latency" in name else int)(np.median(values)) if values else None
    return row


def _with_published(config: dict, record: dict) -> dict:
    """`record` and the paper's number, if the config names a benchmark; fractions, as ours."""
    spec = config.get("published", {})
    names = [spec.get(name, "") for name in ("benchmark", "teacher", "student")]
    found = published.lookup(*names, config["method"]) if names[0] else None
    found = None if config.get("ablation") else found
    value, std = ((found or {}).get(name) for name in ("value", "std"))
    epoch = (found or {}).get("epoch")
    ours = record["peak" if epoch == "best" else "top1"]
    return record | {
        "published": None if value is None else value / 100,
        "published_std": None if std is None else std / 100,
        "published_n": (found or {}).get("trials"),
        "published_epoch": epoch,
        "published_difference": None if None in (value, ours) else ours - value / 100,
        "published_protocol": (found or {}).get("protocol"),
        "published_source": (found or {}).get("source"),
    }


def csv(runs: list[dict]) -> str:
    """`records` as CSV: a line a row, full precision, empty where something is unknown."""
    rows, marks, _ = _with_notes(runs)
    return _as_csv([{**row, "notes": " ".join(notes)} for row, notes in zip(rows, marks, strict=True)])


def class_records(runs: list[dict]) -> list[dict]:
    """A dictionary a method and class, which are the rows of classes.csv: means over the seeds that are done.

    `recall` is the accuracy on the images of a class. It, precision and F1 are None for a class without test images.
    """
    found = []
    for name, lines in experiments(runs).items():
        grouped = {}
        for line in lines:
            if done([line]) and line["result"]["last"].get("confusion"):
                grouped.setdefault((line["config"]["method"], line["config"]["row"]), []).append(line["result"])
        for (_, row), results in grouped.items():
            found += _of_classes({"experiment": name, "row": row, "n": len(results)}, results)
    return found


def _of_classes(shared: dict, results: list[dict]) -> list[dict]:
    matrices = [classes.confusion(result) for result in results]
    scores = [classes.scores(matrix) for matrix in matrices]
    means = {name: np.mean([score[name] for score in scores], axis=0).tolist() for name in scores[0]}
    tests = matrices[0].sum(1).astype(int).tolist()
    trains = [result.get("train_counts") for result in results]
    trains = np.mean(trains, axis=0).tolist() if all(trains) else [None] * len(tests)
    return [
        {
            **shared,
            "class": name,
            "train_images": trains[k],
            "test_images": tests[k],
            **{score: values[k] if tests[k] else None for score, values in means.items()},
        }
        for k, name in enumerate(results[0]["classes"])
    ]


def _as_csv(rows: list[dict]) -> str:
    """A line a row, full precision, empty where something is unknown."""
    file = io.StringIO()
    writer = csvlib.writer(file, lineterminator="\n")
    writer.writerow(rows[0] if rows else [])
    writer.writerows(["" if value is None else value for value in row.values()] for row in rows)
    return file.getvalue()


# ---- the tables as text


def _with_notes(runs: list[dict]) -> tuple[list[dict], list[list[str]], list[str]]:
    """(records, the notes of each, all notes without repetition)."""
    grouped, rows, notes = experiments(runs), [], []
    for lines in grouped.values():
        for record in _records(lines):
            rows.append(record)
            notes.append(protocol.notes(lines, record))
    return rows, notes, list(dict.fromkeys(note for of_row in notes for note in of_row))


def methods(runs: list[dict]) -> Grid:
    """The methods table; columns of papers' numbers if any config names a benchmark."""
    rows, marks, notes = _with_notes(runs)
    several = len(experiments(runs)) > 1
    baselines = {line["config"]["baseline"] for line in runs if "baseline" in line["config"]}
    against = f"Δ {baselines.pop()}" if len(baselines) == 1 else "Δ baseline"
    header = ["method", "n", "top-1", f"{against} [95 %]", "p", "best epoch", "precision", "recall", "F1", "agreement"]
    with_published = any((line["config"].get("published") or {}).get("benchmark") for line in runs)
    header += ["published", "Δ published"] if with_published else []
    cells = []
    for row, of_row in zip(rows, marks, strict=True):
        numbers = sorted(notes.index(note) + 1 for note in of_row)
        name = f"{row['experiment']}: {row['row']}" if several else row["row"]
        cells.append([clean(name) + _superscript(numbers), *_cells(row), *(_published(row) if with_published else [])])
    return Grid(header, cells)


def _cells(row: dict) -> list[str]:
    count = str(row["n"]) if row["n"] == row["expected"] else f"{row['n']} of {row['expected']}"
    return [
        count,
        _spread(row["top1"], row["top1_std"]),
        _difference(row),
        _p(row["p"]),
        _spread(row["best"], row["best_std"]),
        *(_percent(row[name]) for name in METRICS[:4]),
    ]


def _published(row: dict) -> list[str]:
    if row["published"] is None:
        return [DASH, DASH]
    trials = f" (n {row['published_n']})" if row["published_n"] else ""
    best = " best" if row["published_epoch"] == "best" else ""
    return [_spread(row["published"], row["published_std"]) + trials + best, _signed(row["published_difference"])]


def costs(runs: list[dict]) -> Grid:
    """Teacher beside student: a row for each model of different size."""
    found = {}
    for record in records(runs):
        if record["parameters"] is not None:
            role = TEACHER if record["method"] == TEACHER else "student"
            key = (record["experiment"], role, *(record[name] for name in ("model", *COSTS[:3])))
            found.setdefault(key, []).append(record)
    several = len({key[0] for key in found}) > 1
    teachers = {key[0]: key[3] for key in found if key[1] == TEACHER}
    names = Counter(key[:3] for key in found)
    rows = []
    for key, group in found.items():
        experiment, role, model, parameters = key[:4]
        rows_of = ", ".join(record["row"] for record in group) if names[key[:3]] > 1 else ""
        name = f"{experiment}: " * several + f"{role}: {model}" + (f" ({rows_of})" if rows_of else "")
        ratio = f"{teachers[experiment] / parameters:.1f}" if teachers.get(experiment) and parameters else DASH
        numbers = [_count(value) for value in key[3:]]
        times = [_time([record[name] for record in group]) for name in COSTS[3:]]
        rows.append([clean(name), *numbers, *times, ratio])
    header = ["model", "parameters", "FLOPs", "bytes", "ms, 1 image", "ms, 64 images", "compression"]
    return Grid(header, rows)


def groups(runs: list[dict]) -> Grid:
    """Mean accuracy of the classes with few, medium and many training images, where their numbers differ."""
    several, rows, sizes = len(experiments(runs)) > 1, [], {}
    for name, lines in experiments(runs).items():
        grouped = {}
        for line in lines:
            if line["config"].get("method") != TEACHER and done([line]) and classes.uneven(line["result"]):
                grouped.setdefault((line["config"]["method"], line["config"]["row"]), []).append(line["result"])
        for (_, row), results in grouped.items():
            label = clean(f"{name}: {row}" if several else row)
            rows.append([label, *(_group(results, number) for number in range(len(classes.GROUPS)))])
            sizes.setdefault(name, results)
    first = next(iter(sizes.values()), [])
    header = [f"{g}: {classes.group_sizes(first, i)}" if len(sizes) == 1 else g for i, g in enumerate(classes.GROUPS)]
    return Grid(["classes by training images", *header], rows)


def _group(results: list[dict], number: int) -> str:
    values = [classes.group_accuracy(result, number) for result in results]
    summary = statistics.summary([value for value in values if np.isfinite(value)])
    return _spread(summary["mean"], summary["std"])


def _superscript(numbers: list[int]) -> str:
    digits = str.maketrans("0123456789,", "⁰¹²³⁴⁵⁶⁷⁸⁹˒")
    return ",".join(str(number) for number in numbers).translate(digits)


def _percent(value: float | None) -> str:
    return DASH if value is None else f"{100 * value:.2f}"


def _signed(value: float | None) -> str:
    return DASH if value is None else f"{100 * value:+.2f}".replace("-", MINUS)


def _spread(mean: float | None, std: float | None) -> str:
    return _percent(mean) if std is None else f"{_percent(mean)} ± {_percent(std)}"


def _difference(row: dict) -> str:
    if row["difference"] is None:
        return DASH
    interval = DASH if row["low"] is None else f"{_signed(row['low'])}, {_signed(row['high'])}"
    return f"{_signed(row['difference'])} [{interval}]"


def _p(value: float | None) -> str:
    return DASH if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def _count(value: int | None) -> str:
    return DASH if value is None else f"{value:,}"


def _time(values: list[float | None]) -> str:
    values = [value for value in values if value is not None]
    return f"{np.median(values):.3g}" if values else DASH


def clean(text: str) -> str:
    """`text` on one line, without control characters: names come from configs and folders."""
    return "".join(c for c in " ".join(str(text).split()) if c.isprintable())


# ---- forms


def markdown(runs: list[dict]) -> str:
    """The methods table, teacher beside student, groups of classes, footnotes and protocol, for GitHub."""
    parts = [_markdown(methods(runs)), _markdown(costs(runs)), _markdown(groups(runs))]
    parts.append("  \n".join(_escape_markdown(note) for note in _footnotes(runs)))
    parts.append("\n".join(f"- **{_escape_markdown(title)}.** {_escape_markdown(t)}" for title, t in _protocol(runs)))
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown(grid: Grid) -> str:
    if not grid.rows:
        return ""
    rows = [[_escape_markdown(cell) for cell in row] for row in (grid.header, *grid.rows)]
    widths = [max(2, *(len(row[i]) for row in rows)) for i in range(len(grid.header))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [[_pad(cell, width, i) for i, (cell, width) in enumerate(zip(row, widths, strict=True))] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:]))


def _pad(cell: str, width: int, column: int) -> str:
    return cell.rjust(width) if column else cell.ljust(width)


def _escape_markdown(text: str) -> str:
    text = re.sub(r"([\\|*`<])", r"\\\1", text)
    text = re.sub(r"\](?=[(\[:])", r"\]", text)  # else a link
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\_", text)  # inside a word it means nothing


def latex(runs: list[dict]) -> str:
    """Tabulars of the package booktabs, footnotes and protocol below as small text."""
    parts = ["% needs \\usepackage{booktabs}", _latex(methods(runs)), _latex(costs(runs)), _latex(groups(runs))]
    below = [_escape_latex(note) for note in _footnotes(runs)]
    below += [rf"\textbf{{{_escape_latex(title)}.}} {_escape_latex(text)}" for title, text in _protocol(runs)]
    parts.append("{\\footnotesize\n" + "\n\n".join(below) + "\n\\par}")
    return "\n\n".join(part for part in parts if part) + "\n"


def _latex(grid: Grid) -> str:
    if not grid.rows:
        return ""
    lines = [" & ".join(_escape_latex(cell) for cell in row) + r" \\" for row in (grid.header, *grid.rows)]
    columns = "l" + "r" * (len(grid.header) - 1)
    body = [lines[0], r"\midrule", *lines[1:]]
    return "\n".join([rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *body, r"\bottomrule", r"\end{tabular}"])


_LATEX = {
    **{c: "\\" + c for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "[": "{[}",  # after \\ it would open an argument
    "±": r"$\pm$",
    MINUS: "$-$",
    "→": r"$\to$",
    "≤": r"$\le$",
    "Δ": r"$\Delta$",
    DASH: "--",
    **{c: rf"\textsuperscript{{{i}}}" for i, c in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    "˒": r"\textsuperscript{,}",
}


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in text)


@dataclass(frozen=True)
class Terminal:
    """The same for a terminal, as a rich renderable: what a narrow one has no room for is left out."""

    grids: list[Grid]
    notes: list[str]
    paragraphs: list[tuple[str, str]]

    def __rich_console__(self, console, options):
        from rich.text import Text

        for grid in self.grids:
            yield _fitting(grid, console, options)
        for note in self.notes:
            yield Text(note)
        for title, text in self.paragraphs:
            yield Text.assemble((f"{title}. ", "bold"), (text, "dim"))


def terminal(runs: list[dict]) -> Terminal:
    """A rich renderable of methods, costs, groups of classes, footnotes and protocol."""
    return Terminal(
        [grid for grid in (methods(runs), costs(runs), groups(runs)) if grid.rows], _footnotes(runs), _protocol(runs)
    )


SPARE = ("precision", "recall", "bytes", "F1", "agreement", "Δ published", "published", "FLOPs", "best epoch")
"""Columns that a narrow terminal does without, the first to go first. The files have them all."""


def _fitting(grid: Grid, console, options):
    kept, spare = list(range(len(grid.header))), [name for name in SPARE if name in grid.header]
    while True:
        table = _rich(grid, kept)
        if not spare or console.measure(table, options=options.update(width=10_000)).maximum <= options.max_width:
            return table
        kept.remove(grid.header.index(spare.pop(0)))


def _rich(grid: Grid, columns: list[int]):
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for i in columns:
        table.add_column(Text(grid.header[i]), justify="right" if i else "left", no_wrap=True)
    for row in grid.rows:
        table.add_row(*(Text(row[i]) for i in columns))
    return table


def _protocol(runs: list[dict]) -> list[tuple[str, str]]:
    """(title, text) of each paragraph."""
    grouped = experiments(runs)
    return [
        (clean(f"{name}: {title}" if len(grouped) > 1 else title), clean(text))
        for name, lines in grouped.items()
        for title, text in protocol.protocol(lines, _records(lines))
    ]


def _footnotes(runs: list[dict]) -> list[str]:
    """Those of rows with their marks, then those of the whole."""
    _, _, notes = _with_notes(runs)
    whole = [note for lines in experiments(runs).values() for note in protocol.remarks(lines)]
    marked = [f"{_superscript([number])} {note}" for number, note in enumerate(notes, 1)]
    return [clean(note) for note in (*marked, *dict.fromkeys(whole), *identity.across(runs))]


def write(runs: list[dict], out) -> list[Path]:
    """Writes runs.jsonl, table.md, .csv and .tex, classes.csv and the pictures under `out`; returns their paths."""
    from kdjax import plots  # slow to import

    out = Path(out)
    lines = [json.dumps(line, allow_nan=False, separators=(",", ":")) + "\n" for line in runs]
    texts = {
        "runs.jsonl": "".join(lines),
        "table.md": markdown(runs),
        "table.csv": csv(runs),
        "table.tex": latex(runs),
        "classes.csv": _as_csv(class_records(runs)),
    }
    for name, text in texts.items():
        write_text(out / name, text)
    return [*(out / name for name in texts), *plots.write(runs, out)]
