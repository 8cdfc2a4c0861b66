"""Public judgments of shops' searches, in the files that they come in: Wayfair's WANDS and Amazon's ESCI."""

from pathlib import Path

from kdjax.data.arrays import Dataset
from kdjax.data.search.judged import Draw, Judged, Judgment, dataset, texts_by_name
from kdjax.data.search.trec import file
from kdjax.data.text import files, splits
from kdjax.data.text.texts import missing, refuse, wrong_text
from kdjax.find import nearest

WANDS = {"Exact": 2.0, "Partial": 1.0, "Irrelevant": 0.0}
"""Label -> grade; the ratios of its authors, whose gains are 1, 0.5 and 0 (Chen et al. 2022, ECIR)."""

ESCI = {"E": 1.0, "S": 0.1, "C": 0.01, "I": 0.0}
"""Exact, substitute, complement, irrelevant -> grade: the gains of Reddy et al. 2022, arXiv:2206.06588."""


def wands(config, fields: tuple[str, ...], draw: Draw) -> Dataset:
    """The data set of a folder with query.csv, product.csv and label.csv; see `kdjax.data.sources.wands`.

    Raises:
      ValueError: a file or column is missing, or rows cannot be used; those are named, up to a bound.
    """
    folder = _folder(config.path, "wands reads one with query.csv, product.csv and label.csv")
    problems = []
    rows = {name: files.read(file(folder, "path", f"{name}.csv"), "tsv") for name in ("query", "product", "label")}
    queries = _texts(rows["query"], "query_id", ("query",), problems)
    documents = _texts(rows["product"], "product_id", fields, problems)
    judgments = []
    _check(rows["label"], ("query_id", "product_id", "label"))
    for place, row in rows["label"]:
        if row["label"] not in WANDS:
            problems.append(f"{place}: the label is {row['label']!r}; labels are {', '.join(WANDS)}")
        else:
            judgments.append(Judgment(row["query_id"], row["product_id"], WANDS[row["label"]], place))
    refuse(problems)
    return dataset(Judged("WANDS", queries, documents, judgments), config, draw)


def esci(config, fields: tuple[str, ...], locale: str, small: bool, draw: Draw) -> Dataset:
    """The data set of a folder with the two parquet files of ESCI; see `kdjax.data.sources.esci`.

    Raises:
      ValueError: a file or column is missing, there is no row of the locale, or rows cannot be used.
    """
    folder = _folder(config.path, "esci reads one with shopping_queries_dataset_examples.parquet and ..._products")
    version = {"small_version": 1} if small else {"large_version": 1}
    examples = _selected(
        file(folder, "path", "shopping_queries_dataset_examples.parquet"),
        ("query_id", "query", "product_id", "esci_label", "split"),
        {"product_locale": locale, **version},
    )
    products = _selected(
        file(folder, "path", "shopping_queries_dataset_products.parquet"),
        ("product_id", *fields),
        {"product_locale": locale},
    )
    problems, judgments, queries = [], [], {}
    documents = _texts(products, "product_id", fields, problems)
    for place, row in examples:
        told = wrong_text(row["query"], "query")
        if row["esci_label"] not in ESCI:
            told = f"the label is {row['esci_label']!r}; labels are {', '.join(ESCI)}"
        elif splits.named(row["split"]) is None:
            told = f"the split is {row['split']!r}; the splits are {', '.join(splits.NAMES)}"
        if told:
            problems.append(f"{place}: {told}")
            continue
        query = queries.setdefault(str(row["query_id"]), row["query"])
        if query != row["query"]:
            problems.append(f"{place}: query {row['query_id']} is {row['query']!r} here and {query!r} before")
        grade, split = ESCI[row["esci_label"]], splits.named(row["split"])
        judgments.append(Judgment(str(row["query_id"]), str(row["product_id"]), grade, place, split))
    refuse(problems)
    shown = {each.document for each in judgments}
    documents = {name: text for name, text in documents.items() if name in shown}
    return dataset(Judged(f"ESCI {locale}", queries, documents, judgments), config, draw)


def _folder(path: str, what: str) -> Path:
    folder = Path(path).expanduser()
    if not path or not folder.is_dir():
        raise ValueError(f"config.data.path {path!r} is no folder; {what}")
    return folder


def _check(rows: files.Rows, names: tuple[str, ...]) -> None:
    for name in names:
        if rows and name not in rows.columns:
            raise ValueError(f"{rows.path.name} has no column {name!r}{nearest(name, rows.columns)}")


def _texts(rows: files.Rows, key: str, fields: tuple[str, ...], problems: list[str]) -> dict[str, str]:
    """id -> the texts of some columns, those that there are, joined by spaces."""
    _check(rows, (key, *fields))
    problems += rows.problems
    joined = lambda row: " ".join(str(row[field]).strip() for field in fields if not missing(row[field]))  # noqa: E731
    named = ((place, str(row[key]).strip(), joined(row), " and ".join(fields)) for place, row in rows)
    return texts_by_name(named, key, problems)


def _selected(path: Path, columns: tuple[str, ...], wanted: dict) -> files.Rows:
    """The rows of a parquet file with these values, their columns alone: a million products have long descriptions."""
    rows = files.Rows(path)
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ValueError("config.data.source 'esci' needs pyarrow: pip install pyarrow") from error
    try:
        there = parquet.read_schema(path).names
        for name in (*columns, *wanted):
            if name not in there:
                raise ValueError(f"{path.name} has no column {name!r}{nearest(name, there)}")
        table = parquet.read_table(path, columns=list(columns), filters=[(k, "=", v) for k, v in wanted.items()])
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise ValueError(f"cannot read {str(path)!r} as parquet: {error}") from error
    rows.columns = tuple(table.column_names)
    told = ", ".join(f"{name} {value}" for name, value in wanted.items())
    rows += [(f"{path.name}, row {number} of {told}", row) for number, row in enumerate(table.to_pylist(), 1)]
    if not rows:
        raise ValueError(f"{path.name} has no row of {told}")
    return rows
