"""Files of learning to rank as arrays, and what is told of those that are wrong."""

import numpy as np
import pytest

from kdjax.config import default
from kdjax.data import load
from kdjax.tasks import ranking

TRAIN = "2 qid:a 1:0.5 3:-1 # a comment\n0 qid:a 2:4\n\n1 qid:b 1:1e1\n"
TEST = "0 qid:c 4:1\n0 qid:c\n0 qid:c 1:2\n"


def loaded(path, **kwargs):
    data = default().data
    data.source, data.path = "letor", str(path)
    data.kwargs.update(kwargs)
    return load(data, task=ranking.TASK)


def write(path, **files):
    for name, text in files.items():
        (path / f"{name}.txt").write_text(text)
    return path


def test_lists_of_features_and_grades(tmp_path):
    data = loaded(write(tmp_path, train=TRAIN, vali=TEST, test=TEST))
    np.testing.assert_array_equal(data.train.target, [[2, 0, -1], [1, -1, -1]])
    np.testing.assert_array_equal(data.train.input["mask"], [[True, True, False], [True, False, False]])
    features = data.train.input["features"]
    assert features.shape == (2, 3, 4)
    np.testing.assert_array_equal(features[0], [[0.5, 0, -1, 0], [0, 4, 0, 0], [0, 0, 0, 0]])
    assert features[1, 0, 0] == 10
    assert len(data.validation) == len(data.test) == 1
    assert "test has 1 queries of 1 without a relevant item" in data.warnings


def test_sizes_of_queries_beside_a_file(tmp_path):
    """As LightGBM has them."""
    for name in ("rank.train", "rank.test"):
        (tmp_path / name).write_text("1 1:2\n0 1:3\n0 2:1\n")
        (tmp_path / f"{name}.query").write_text("1\n2\n")
    np.testing.assert_array_equal(loaded(tmp_path).test.target, [[1, -1], [0, 0]])
    (tmp_path / "rank.test.query").write_text("1\n1\n")
    with pytest.raises(ValueError, match=r"rank.test.query counts 2 lines, rank.test has 3"):
        loaded(tmp_path)
    (tmp_path / "rank.test.query").write_text("3\n0\n")
    with pytest.raises(ValueError, match=r"rank.test.query, number 2: the size of a query is 1 or more, got '0'"):
        loaded(tmp_path)
    (tmp_path / "rank.test.query").unlink()
    with pytest.raises(ValueError, match=r"rank.test, line 1: no qid, and rank.test.query beside it"):
        loaded(tmp_path)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("-1 qid:c 1:2", r"the grade must be a number of 0 or more, got '-1'"),
        ("nan qid:c 1:2", r"got 'nan'"),
        ("good qid:c 1:2", r"got 'good'"),
        ("1 1:2", r"a qid on some lines and none on others"),
        ("1 qid:a 1:2", r"qid a again, after others; line 2 has it too"),
        ("1 qid:b 0:2", r"a feature from 1 and a finite value, got '0:2'"),
        ("1 qid:b price:2", r"got 'price:2'"),
        ("1 qid:b 1:inf", r"got '1:inf'"),
        ("1 qid:b 3", r"got '3'"),
        ("1 qid:b 3:1 3:2", r"feature 3 stands there twice"),
    ],
)
def test_what_is_wrong_with_a_line_is_told(line, told, tmp_path):
    write(tmp_path, train=f"{TRAIN}{line}\n", test=TEST)
    with pytest.raises(ValueError, match=rf"^train.txt, line 5: .*{told}"):
        loaded(tmp_path)


def test_what_is_wrong_with_files_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"config.data.path '' is no folder; letor reads one with train.txt"):
        loaded("")
    with pytest.raises(ValueError, match=r"has none of train.txt, .*; name the file as config.data.kwargs.train"):
        loaded(tmp_path)
    write(tmp_path, train=TRAIN, test="# nothing\n")
    with pytest.raises(ValueError, match=r"test.txt' has no lines"):
        loaded(tmp_path)
    with pytest.raises(ValueError, match=r"config.data.kwargs.validation: there is no file .*mine.txt"):
        loaded(tmp_path, validation="mine.txt")
    write(tmp_path, test="x qid:1\ny qid:1\n")
    with pytest.raises(ValueError, match=r"2 lines cannot be used:\n  test.txt, line 1: .*\n  test.txt, line 2: "):
        loaded(tmp_path)
