"""TREC's files: judgments `query 0 document grade` (qrels), runs `query Q0 document rank score name`, and texts.

Queries and documents are files of `id <tab> text` (.tsv, .txt), or of rows with the columns id and text (.csv, .jsonl,
.parquet), as of MS MARCO and BEIR.
"""

from pathlib import Path

from kdjax.data.arrays import Dataset
from kdjax.data.search.judged import Draw, Judged, Judgment, dataset, texts_by_name
from kdjax.data.text import files
from kdjax.data.text.texts import finite, refuse

COLUMNS = ("id", "text")


def read(config, named: dict[str, str], queries: str, documents: str, run: str, draw: Draw) -> Dataset:
    """The data set of the folder config.data.path; see `kdjax.data.sources.trec`.

    Args:
      named: split -> its file of judgments, "": there is none; one alone, train, is split by query.
      queries, documents: files of texts; run: a file whose documents stand in the lists of its queries, too, with
        grade 0 where they were not judged; "": there is none.

    Raises:
      ValueError: a file is missing, or lines are wrong, each named.
    """
    folder = Path(config.path).expanduser()
    if not config.path or not folder.is_dir():
        raise ValueError(
            f"config.data.path {config.path!r} is no folder; trec reads one with queries, documents and qrels"
        )
    problems, judgments = [], []
    for split, name in named.items():
        alone = split == "train" and not named["test"]
        judgments += qrels(file(folder, split, name), None if alone else split, problems) if name else []
    if not judgments and not problems:
        raise ValueError("config.data.kwargs.train names the file of judgments, or train and test name two")
    judgments += _run(file(folder, "run", run), judgments, problems) if run else []
    texts = [texts_of(file(folder, role, name), problems) for role, name in _roles(queries, documents)]
    refuse(problems, "lines")
    return dataset(Judged(folder.resolve().name, *texts, judgments), config, draw)


def _roles(queries: str, documents: str):
    return ("queries", queries), ("documents", documents)


def file(folder: Path, role: str, name: str) -> Path:
    """A file of a folder; a ValueError that names the field where it is not there."""
    if not (folder / name).is_file():
        raise ValueError(f"config.data.kwargs.{role}: there is no file {folder / name}")
    return folder / name


def texts_of(path: Path, problems: list[str]) -> dict[str, str]:
    """id -> text; what is wrong with rows enters `problems`."""
    form = files.FORMS.get(path.suffix.lower(), "tsv")
    rows = files.read(path, form, COLUMNS if form == "tsv" else ())
    if missing := [name for name in COLUMNS if rows and name not in rows.columns]:
        raise ValueError(f"{path.name} has no column {missing[0]!r}; texts are rows of id and text")
    problems += rows.problems
    names = (str(row.get("id")).strip() for _, row in rows)
    named = ((place, name, row.get("text"), f"text of {name}") for name, (place, row) in zip(names, rows, strict=True))
    return texts_by_name(named, "the id", problems)


def qrels(path: Path, split: str | None, problems: list[str]) -> list[Judgment]:
    """The judgments of a file; what is wrong with lines enters `problems`."""
    found = []
    for place, fields in _lines(path):
        grade = finite(fields[3]) if len(fields) == 4 else None
        if grade is None:
            problems.append(f"{place}: expected `query 0 document grade`, got {' '.join(fields)[:80]!r}")
        else:
            found.append(Judgment(fields[0], fields[2], grade, place, split))
    return found


def _run(path: Path, judgments: list[Judgment], problems: list[str]) -> list[Judgment]:
    """The documents that a run found for judged queries and that were not judged, with grade 0."""
    split = {each.query: each.split for each in judgments}
    known = {(each.query, each.document) for each in judgments}
    found, seen = [], {}
    for place, fields in _lines(path):
        if len(fields) != 6 or finite(fields[4]) is None:
            told = f"expected `query Q0 document rank score name`, got {' '.join(fields)[:80]!r}"
            problems.append(f"{place}: {told}")
            continue
        pair = fields[0], fields[2]
        if pair in seen:
            problems.append(f"{place}: document {pair[1]!r} again for query {pair[0]!r}, it stands at {seen[pair]}")
        elif pair[0] in split and pair not in known:
            found.append(Judgment(*pair, 0.0, place, split[pair[0]]))
        seen[pair] = place
    return found


def _lines(path: Path):
    """Yields (place, fields) of the lines that have any."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                if fields := line.split():
                    yield f"{path.name}, line {number}", fields
    except OSError as error:
        raise ValueError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
