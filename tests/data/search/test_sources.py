"""Queries and documents from files: what stands in lists, splits by query, and what is told of files that are wrong."""

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from kdjax.config import default
from kdjax.data import kinds, load
from kdjax.tasks import ranking, search

ROWS = [(f"query {q}", f"document {q} {d}", (q + d) % 3) for q in range(12) for d in range(5)]
TABLE = "query,document,grade\n" + "\n".join(f"{q},{d},{g}" for q, d, g in ROWS) + "\n"
COLUMNS = {"text": "query", "second": "document", "label": "grade"}


def loaded(source, path, task=search.TASK, columns=COLUMNS, validation=0.0, part=0.25, **kwargs):
    data = default().data
    data.source, data.path, data.min_count, data.validation, data.test = source, str(path), 1, validation, part
    data.columns.update(columns)
    data.kwargs.update(kwargs)
    return load(data, task=task)


def write(path, **files):
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)
    return path


def judged(data, split: str) -> list[tuple]:
    """(query, document, grade) of the lists of a split, in order."""
    arrays, queries = data.splits[split], data.texts[split]
    return [
        (queries[row], data.texts["documents"][item], grade)
        for row in range(len(arrays))
        for item, grade in zip(arrays.input["items"][row], arrays.target[row], strict=True)
        if item >= 0
    ]


def test_a_query_is_in_one_split_with_all_that_was_judged(tmp_path):
    data = loaded("query_documents", write(tmp_path, table__csv=TABLE) / "table.csv", validation=0.25)
    sides = {name: {query for query, *_ in judged(data, name)} for name in ("train", "validation", "test")}
    assert [len(of) for of in sides.values()] == [7, 2, 3]
    assert len(set.union(*sides.values())) == 12
    known = {(q, d): g for q, d, g in ROWS}
    assert {(q, d): g for q, d, g in judged(data, "test")} == {k: g for k, g in known.items() if k[0] in sides["test"]}
    assert all(known[q, d] == grade for q, d, grade in judged(data, "train"))
    assert all(grade > 0 for *_, grade in judged(data, "train"))  # no negatives were asked for
    assert len(data.texts["documents"]) == 60
    np.testing.assert_array_equal(data.test.input["items"] >= 0, data.test.target >= 0)


def test_a_training_list_has_so_many_of_both_kinds(tmp_path):
    path = write(tmp_path, table__csv=TABLE) / "table.csv"
    data = loaded("query_documents", path, relevant=2, negatives=6)
    assert data.train.target.shape == (9, 8)
    np.testing.assert_array_equal((data.train.target > 0).sum(1), 2)
    np.testing.assert_array_equal((data.train.target == 0).sum(1), 6)
    known = {(q, d): g for q, d, g in ROWS}
    drawn = [(q, d) for q, d, grade in judged(data, "train") if (q, d) not in known]
    own = [(q, d) for q, d, grade in judged(data, "train") if grade == 0 and (q, d) in known]
    assert len(drawn) + len(own) == 54
    assert len(own) == sum(
        known[q, d] == 0 for q in data.texts["train"] for d in data.texts["documents"] if (q, d) in known
    )
    for row in range(9):
        assert len(set(data.train.input["items"][row])) == 8
    assert any("relevant documents of training queries are in no training list" in told for told in data.warnings)
    again = loaded("query_documents", path, relevant=2, negatives=6)
    np.testing.assert_array_equal(data.train.input["items"], again.train.input["items"])


def test_what_networks_take_has_each_document_at_its_place(tmp_path):
    data = loaded("query_documents", write(tmp_path, table__csv=TABLE) / "table.csv")
    made = kinds.KINDS["search"].transform(None, data)(data.test.input)
    assert made["documents"]["tokens"].shape == (*data.test.target.shape, data.documents["tokens"].shape[1])
    np.testing.assert_array_equal(made["mask"], data.test.target >= 0)
    item = data.test.input["items"][1, 2]
    np.testing.assert_array_equal(made["documents"]["tokens"][1, 2], data.documents["tokens"][item])
    assert not np.asarray(made["documents"]["mask"])[~np.asarray(made["mask"])].any()
    assert kinds.spec(data, None)["documents"]["tokens"].shape == (data.train.target.shape[1], 8)


def test_columns_without_a_grade_and_with_a_split(tmp_path):
    rows = [(f"q{q}", f"d{q} {d}", split) for q, split in enumerate(("train", "train", "test")) for d in range(2)]
    text = "\n".join(["a\tb\tc", *("\t".join(row) for row in rows), "\t".join(rows[0])])
    path = write(tmp_path, table__tsv=text) / "table.tsv"
    data = loaded("query_documents", path, columns={"text": "a", "second": "b", "label": "", "split": "c"})
    assert list(data.texts["test"]) == ["q2"]
    np.testing.assert_array_equal(data.train.target[:, :2], 1)
    assert "1 judgments stand there twice, alike, and count once" in data.warnings


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("query 1,document 1 9,-1", "table.csv, line 62: the relevance must be a number of 0 or more, got -1"),
        ("query 1,document 1 9,high", "table.csv, line 62: the relevance 'grade' is 'high', which is no number"),
        ("query 1,document 1 9,nan", "line 62: the relevance 'grade' is 'nan', which is no number"),
        ("query 1,,1", "table.csv, line 62: 'document' is empty"),
        (" ,document 1 9,1", "table.csv, line 62: 'query' is empty"),
        ("query 0,document 0 0,2", "'document 0 0' has relevance 2 for 'query 0', and 0 at table.csv, line 2"),
    ],
)
def test_rows_that_cannot_be_used_are_told_with_their_place(tmp_path, row, message):
    with pytest.raises(ValueError, match=message):
        loaded("query_documents", write(tmp_path, table__csv=f"{TABLE}{row}\n") / "table.csv")


def test_queries_without_a_relevant_document(tmp_path):
    """Told, and left out of training; where no query of a split has one there is nothing to measure."""
    text = f"{TABLE}lonely,document 1 1,0\n"
    data = loaded("query_documents", write(tmp_path, table__csv=text) / "table.csv")
    assert any(
        "without a relevant document (the first: 'lonely', table.csv, line 62), which are left" in w
        for w in data.warnings
    )
    assert "lonely" not in data.texts["train"]
    none = "q,d,s\n" + "a,b,1\n" + "c,d,0\n"
    with pytest.raises(ValueError, match=r"of 2 queries, of which 1 have 3 relevant documents|leaves a split"):
        loaded(
            "query_documents",
            write(tmp_path, few__csv=none) / "few.csv",
            columns={"text": "q", "second": "d", "label": "s"},
            least=3,
        )


@pytest.mark.parametrize(
    ("columns", "kwargs", "message"),
    [
        ({"text": "querry"}, {}, "columns.text: table.csv has no column 'querry'; did you mean 'query'"),
        ({"label": "g"}, {}, 'columns.label: .* where every row is relevant it is ""'),
        ({"second": ""}, {}, "text and second name the columns of queries and of documents"),
        ({}, {"relevant": 0}, "relevant and least are 1 or more, negatives 0 or more"),
        ({}, {"negative": 1}, "takes no 'negative'|negatives"),
    ],
)
def test_configs_that_make_no_sense(tmp_path, columns, kwargs, message):
    with pytest.raises(ValueError, match=message):
        loaded("query_documents", write(tmp_path, table__csv=TABLE) / "table.csv", columns=COLUMNS | columns, **kwargs)


def test_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"is no file of queries and documents, which ends in .csv"):
        loaded("query_documents", tmp_path)


def test_other_data_have_another_fingerprint(tmp_path):
    made = lambda text: loaded("query_documents", write(tmp_path, table__csv=text) / "table.csv").fingerprint  # noqa: E731
    first, others = made(TABLE), made(TABLE.replace("document 3 1", "document 3 one"))
    assert first == made(TABLE)
    assert first["names"] != others["names"]
    assert first["splits"] != made(TABLE.replace("query 3", "query three"))["splits"]


# ---- TREC


QUERIES = "q1\tred shoes\nq2\tblue hat\nq3\tgreen coat\n"
DOCUMENTS = "d1\tshoes in red\nd2\ta hat\nd3\tcoats\nd4\tsocks\n"
QRELS = "q1 0 d1 2\nq1 0 d2 0\nq2 0 d2 1\nq3 0 d3 1\n"
RUN = "q3 Q0 d3 1 9.5 bm25\nq3 Q0 d4 2 8.5 bm25\nq9 Q0 d4 1 8.5 bm25\n"


def folder(path, **files):
    given = {"queries__tsv": QUERIES, "documents__tsv": DOCUMENTS, "a__qrels": QRELS, "found__run": RUN, **files}
    return write(path, **given)


def test_judgments_texts_and_a_run(tmp_path):
    folder(tmp_path, b__qrels="q3 0 d3 1\n", a__qrels=QRELS.replace("q3 0 d3 1\n", ""))
    data = loaded("trec", tmp_path, train="a.qrels", test="b.qrels", run="found.run", negatives=1)
    assert judged(data, "test") == [("green coat", "coats", 1.0), ("green coat", "socks", 0.0)]
    assert set(data.texts["train"]) == {"red shoes", "blue hat"}
    assert ("red shoes", "a hat", 0.0) in judged(data, "train")
    alone = loaded("trec", folder(tmp_path), train="a.qrels", test="", part=0.34)
    assert (len(alone.train), len(alone.test)) == (2, 1)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a__qrels": "q1 0 d1\n"}, "a.qrels, line 1: expected `query 0 document grade`, got 'q1 0 d1'"),
        ({"a__qrels": f"{QRELS}q1 0 d3 -1\n"}, "a.qrels, line 5: the relevance must be a number of 0 or more, got -1"),
        ({"a__qrels": f"{QRELS}q7 0 d3 1\n"}, "a.qrels, line 5: there is no query 'q7'"),
        ({"a__qrels": f"{QRELS}q1 0 d9 1\n"}, "a.qrels, line 5: there is no document 'd9'"),
        ({"queries__tsv": f"{QUERIES}q1\tagain\n"}, "queries.tsv, line 4: the id 'q1' again, it stands at .* line 1"),
        ({"documents__tsv": f"{DOCUMENTS}d5\t \n"}, "documents.tsv, line 5: 'text of d5' is empty"),
        ({"found__run": f"{RUN}q3 Q0 d3 1 9.5 bm25\n"}, "found.run, line 4: document 'd3' again for query 'q3'"),
        ({"found__run": "q3 d3 1\n"}, "found.run, line 1: expected `query Q0 document rank score name`"),
        ({"documents__tsv": f"{DOCUMENTS}d5 no tab\n"}, "documents.tsv, line 5: 1 fields, but there are 2 columns"),
    ],
)
def test_lines_that_cannot_be_used_are_told_with_their_place(tmp_path, files, message):
    with pytest.raises(ValueError, match=message):
        loaded("trec", folder(tmp_path, **files), train="a.qrels", run="found.run", test="")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"config.data.kwargs.train: there is no file .*none.qrels"):
        loaded("trec", folder(tmp_path), train="none.qrels", test="")


# ---- shops


def wands(path, **files):
    given = {
        "query__csv": "query_id\tquery\tquery_class\n" + "".join(f"{q}\tsofa {q}\tx\n" for q in range(4)),
        "product__csv": "product_id\tproduct_name\tproduct_class\n"
        + "".join(f'{p}\tsofa {p} 6" wide\t{"" if p else "Sofas"}\n' for p in range(4)),
        "label__csv": "id\tquery_id\tproduct_id\tlabel\n"
        + "".join(
            f"{4 * q + p}\t{q}\t{p}\t{('Exact', 'Partial', 'Irrelevant')[p % 3]}\n" for q in range(4) for p in range(4)
        ),
    }
    return write(path, **{**given, **files})


def test_wands(tmp_path):
    data = loaded("wands", wands(tmp_path), task=ranking.TASK, fields="product_name+product_class")
    assert data.texts["documents"].tolist() == [
        'sofa 0 6" wide Sofas',
        'sofa 1 6" wide',
        'sofa 2 6" wide',
        'sofa 3 6" wide',
    ]
    np.testing.assert_array_equal(data.test.target, [[2, 1, 0, 2]])
    with pytest.raises(ValueError, match=r"label.csv, line 2: the label is 'exact'; labels are Exact, Partial"):
        loaded("wands", wands(tmp_path, label__csv="id\tquery_id\tproduct_id\tlabel\n0\t0\t0\texact\n"))
    with pytest.raises(ValueError, match=r"product.csv has no column 'title'"):
        loaded("wands", wands(tmp_path), fields="title")
    twice = "product_id\tproduct_name\n0\ta\n0\tb\n"
    with pytest.raises(
        ValueError, match=r"product.csv, line 3: product_id '0' again, it stands at product.csv, line 2"
    ):
        loaded("wands", wands(tmp_path, product__csv=twice))


def test_esci(tmp_path):
    rows = [
        {
            "query_id": q,
            "query": f"query {q}",
            "product_id": f"B{p}",
            "product_locale": "us" if q < 3 else "jp",
            "esci_label": "ESCI"[p],
            "small_version": 1,
            "large_version": 1,
            "split": "train" if q < 2 else "test",
        }
        for q in range(4)
        for p in range(4)
    ]
    products = [{"product_id": f"B{p}", "product_title": f"title {p}", "product_locale": "us"} for p in range(6)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "shopping_queries_dataset_examples.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(products), tmp_path / "shopping_queries_dataset_products.parquet")
    data = loaded("esci", tmp_path)
    assert (len(data.train), len(data.test), len(data.texts["documents"])) == (2, 1, 4)  # two were judged by nobody
    np.testing.assert_allclose(data.test.target, [[1, 0.1, 0.01, 0]], rtol=1e-6)
    with pytest.raises(ValueError, match=r"has no row of product_locale es"):
        loaded("esci", tmp_path, locale="es")
    with pytest.raises(ValueError, match=r"products.parquet has no column 'product_brand'"):
        loaded("esci", tmp_path, fields="product_title+product_brand")
