"""Tables of queries and documents as texts: csv, tsv, jsonl and parquet files, a judgment a row."""

from pathlib import Path

from kdjax.data.arrays import Dataset
from kdjax.data.search.judged import Draw, Judged, Judgment, dataset
from kdjax.data.text import files, splits
from kdjax.data.text.texts import finite, refuse, wrong_text
from kdjax.find import nearest


def read(config, draw: Draw) -> Dataset:
    """The data set of config.data.path, one file; see `kdjax.data.sources.query_documents`.

    config.data.columns: `text` is the query, `second` the document, `label` the relevance ("": every row is relevant,
    with grade 1), `group` what tells queries apart ("": their texts do), `split`. Documents of one text are one.

    Raises:
      ValueError: there is no such file or column, or rows cannot be used; those are named, up to a bound.
    """
    path = Path(config.path).expanduser()
    if not config.path or not path.is_file() or path.suffix.lower() not in files.FORMS:
        raise ValueError(
            f"config.data.path {config.path!r} is no file of queries and documents, which ends in "
            f"{', '.join(files.FORMS)}"
        )
    table = files.read(path, files.FORMS[path.suffix.lower()], tuple(config.columns.names))
    _check_columns(table, config.columns)
    judged, problems = Judged(path.resolve().stem, {}, {}, []), list(table.problems)
    for place, row in table:
        problems += [f"{place}: {told}" for told in _add(judged, place, row, config.columns)]
    refuse(problems)
    return dataset(judged, config, draw)


def _check_columns(table: files.Rows, columns) -> None:
    if not columns.text or not columns.second:
        raise ValueError("config.data.columns: text and second name the columns of queries and of documents")
    for role in ("text", "second", "label", "group", "split"):
        name = columns[role]
        if name and name not in table.columns and (table or not table.problems):
            raise ValueError(
                f"config.data.columns.{role}: {table.path.name} has no column {name!r}{nearest(name, table.columns)}"
                + ("" if role != "label" else '; where every row is relevant it is ""')
            )


def _add(judged: Judged, place: str, row: dict, columns) -> list[str]:
    """Adds a row to what is judged; what is wrong with it."""
    query, document = row.get(columns.text), row.get(columns.second)
    wrong = [wrong_text(query, columns.text), wrong_text(document, columns.second)]
    grade = finite(str(row.get(columns.label))) if columns.label else 1.0
    if grade is None:
        wrong.append(f"the relevance {columns.label!r} is {row.get(columns.label)!r}, which is no number")
    split = splits.named(row.get(columns.split)) if columns.split else None
    if columns.split and split is None:
        wrong.append(f"{columns.split!r} is {row.get(columns.split)!r}; the splits are {', '.join(splits.NAMES)}")
    if wrong := [told for told in wrong if told]:
        return wrong
    name = str(row.get(columns.group)) if columns.group else query
    if judged.queries.setdefault(name, query) != query:
        return [f"query {name!r} is {query!r} here and {judged.queries[name]!r} before"]
    judged.documents.setdefault(document, document)
    judged.judgments.append(Judgment(name, document, grade, place, split))
    return []
