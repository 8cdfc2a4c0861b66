"""`kdjax report`: experiments as one HTML file that needs nothing besides it, to be read, sorted and sent.

The same lines give the same bytes: nothing in it is random, and it has no date. Its script sorts tables and loads
nothing; without scripts everything is readable.
"""

from collections.abc import Mapping
from html import escape
from pathlib import Path

from kdjax.files import write_text
from kdjax.report import diff, doctor, grid, html, records, table
from kdjax.report.plots import pictures
from kdjax.report.wording import DASH, clean
from kdjax.runs import task as tasks


def write(runs: list[dict], out, title: str = "", complain=None, sources: Mapping[str, Path] | None = None) -> Path:
    """Writes the report of lines of runs.jsonl, of one experiment or of several, to the file `out`.

    Args:
      sources: experiment -> its directory, where it has one: the doctor looks at predictions in it.

    Raises:
      ValueError: the file's name does not end in .html.
    """
    out = Path(out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{out}: a report is HTML; give a file like report.html")
    write_text(out, document(runs, title, complain, sources))
    return out


def document(runs: list[dict], title: str = "", complain=None, sources: Mapping[str, Path] | None = None) -> str:
    """The whole page."""
    sources = sources or {}
    experiments = records.experiments(runs)
    title = title or f"kdjax: {', '.join(experiments)}"
    links = "".join(f'<a href="#{_anchor(i)}">{escape(clean(name))}</a>' for i, name in enumerate(experiments))
    sections = [
        _section(i, name, lines, complain, sources.get(name)) for i, (name, lines) in enumerate(experiments.items())
    ]
    together = [_together(experiments)] if len(experiments) > 1 else []
    here = Path(__file__).parent
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            f"<title>{escape(clean(title))}</title>",
            f"<style>\n{(here / 'page.css').read_text('utf-8')}</style>\n</head>",
            f"<body>\n<h1>{escape(clean(title))}</h1>",
            f"<nav>{links}</nav>" if len(experiments) > 1 else "",
            *together,
            *sections,
            f"<script>\n{(here / 'page.js').read_text('utf-8')}</script>\n</body>\n</html>\n",
        ]
    )


def _anchor(number: int) -> str:
    return f"experiment-{number + 1}"


def _section(number: int, name: str, lines: list[dict], complain, source: Path | None) -> str:
    """One experiment: its tables, pictures, what the doctor says, config and runs."""
    drawn = pictures.svgs(lines, complain=complain)
    config = [
        [escape(clean(field)), escape(clean(value))] for field, value in diff.leaves(diff.fields_of(lines)).items()
    ]
    return "\n".join(
        [
            f'<section id="{_anchor(number)}">\n<h2>{escape(clean(name))}</h2>',
            *html.parts(*table.parts(lines)),
            *(_figure(stem, svg) for stem, svg in drawn.items()),
            *_diagnosis(lines, source),
            _folded("Config", html.table_of(["field", "value"], config)),
            _folded(f"Runs ({len(lines)})", html.table_of(*_runs(lines))),
            "</section>",
        ]
    )


def _figure(stem: str, svg: str) -> str:
    caption = pictures.caption(stem)
    return f"<figure>\n{html.picture(svg, caption)}\n<figcaption>{escape(caption)}</figcaption>\n</figure>"


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>\n{content}\n</details>"


def _diagnosis(lines: list[dict], source: Path | None) -> list[str]:
    """What `kdjax doctor` finds, and folded away what is in order or not known; [] where no run is finished."""
    (case,) = doctor.cases(lines, source)
    if not case.students:
        return []
    found, rest = [], []
    for name, verdict in doctor.examine(case).items():
        is_found = verdict.state == doctor.FOUND
        head = f"<b>{escape(name)}</b>" if is_found else f"{escape(name)} ({verdict.state})"
        text = escape(clean(" ".join(filter(None, verdict[1:]))))
        (found if is_found else rest).append(f"<li>{head}: {text}</li>")
    said = [f"<ul>{''.join(found)}</ul>"] if found else [html.paragraph("Nothing is out of order.")]
    return ["<h3>What kdjax doctor says</h3>", *said, _folded("In order, or not known", f"<ul>{''.join(rest)}</ul>")]


def _runs(lines: list[dict]) -> tuple[list[str], list[list[str]]]:
    """(header, a row a run): how it ended, its score, its time, and what made it."""
    score, rows = tasks.common(lines).primary, []
    for line in lines:
        result = line["result"] or {}
        last = (result.get("last") or {}).get(score.key)
        state = result.get("status") or line.get("problem", "not finished")
        seconds = result.get("seconds")
        cells = [line["run"], state, str(line["config"].get("seed", DASH)), score.number(last)]
        cells += [
            DASH if seconds is None else f"{seconds:.1f}",
            result.get("device", DASH),
            result.get("revision", DASH),
        ]
        rows.append([escape(clean(cell)) for cell in cells])
    return ["run", "state", "seed", escape(score.header), "seconds", "device", "revision"], rows


def _together(experiments: dict[str, list[dict]]) -> str:
    """Experiments side by side where they can be compared, and the fields in which their configs differ."""
    shared = {name: diff.leaves(diff.fields_of(lines)) for name, lines in experiments.items()}
    every = dict.fromkeys(field for config in shared.values() for field in config if field != "experiment")
    rows = []
    for field in every:
        values = [clean(str(config.get(field, DASH))) for config in shared.values()]
        if len(set(values)) > 1:
            rows.append([escape(clean(field)), *map(escape, values)])
    header = ["field", *(escape(clean(name)) for name in experiments)]
    parts = [html.table_of(header, rows)] if rows else [html.paragraph("Their configs are the same.")]
    try:
        columns = [grid.column(name, name, lines) for name, lines in experiments.items()]
        grid.check(columns)
        parts.insert(0, html.grid(grid.compare(columns)))
    except ValueError as error:
        parts.insert(0, html.paragraph(f"They cannot stand in one grid: {error}"))
    return "\n".join(["<section>\n<h2>Side by side</h2>", *parts, "</section>"])
