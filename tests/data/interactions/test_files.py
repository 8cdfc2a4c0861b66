"""Files of interactions in the forms that there are, and every fault by its file and line."""

import numpy as np
import pytest

from kdjax.data.interactions import files


def read(tmp_path, text: str, name="log.txt", **options):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return files.read([path], **options)


def rows(found) -> list[tuple]:
    times = [None] * len(found) if found.time is None else found.time.tolist()
    return [
        (found.users[u], found.items[i], t)
        for u, i, t in zip(found.user.tolist(), found.item.tolist(), times, strict=True)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "10\t7\t5\t100\n9\t7\t3\t50\n",  # u.data
        "10::7::5::100\n9::7::3::50\n",  # ratings.dat
        "10 7 5 100\r\n\n9 7 3 50\n",
        "\N{BYTE ORDER MARK}userId,movieId,rating,timestamp\n10,7,5,100\n9,7,3,50",
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n10\t7\t5\t100\n9\t7\t3\t50\n",  # RecBole
        "timestamp,item,shop,user\n100,7,a,10\n50,7,b,9\n",
    ],
    ids=["tabs", "colons", "blanks", "csv", "inter", "other columns"],
)
def test_all_forms_hold_the_same(tmp_path, text):
    found = read(tmp_path, text)
    assert rows(found) == [("10", "7", 100.0), ("9", "7", 50.0)]
    assert found.users == ("9", "10"), "whole numbers in the order of their values"


def test_a_list_without_times_is_in_their_order(tmp_path):
    found = read(tmp_path, "1 5\n1 3\n2 5\n")
    assert found.time is None
    assert rows(found) == [("1", "5", None), ("1", "3", None), ("2", "5", None)]
    assert found.place(1) == "log.txt, line 2"


def test_columns_that_their_number_does_not_tell_are_named(tmp_path):
    found = read(tmp_path, "1 5 100\n2 5 90\n", names=("user", "item", "time"))
    np.testing.assert_array_equal(found.time, [100, 90])
    with pytest.raises(ValueError, match="line 1: 5 fields; without a header"):
        read(tmp_path, "1 2 3 4 5\n")
    with pytest.raises(ValueError, match="has no column 'item', only user, time"):
        read(tmp_path, "1 5\n", names=("user", "time"))


def test_every_bad_line_is_told(tmp_path):
    text = "1\t5\t4\t100\n\t5\t4\t100\n1\t \t4\t100\n1\t6\tgood\t100\n1\t7\t4\tnan\n1\t8\n"
    with pytest.raises(ValueError) as error:
        read(tmp_path, text)
    assert str(error.value).splitlines() == [
        "5 lines cannot be used:",
        "  log.txt, line 2: the user is empty",
        "  log.txt, line 3: the item is empty",
        "  log.txt, line 4: the rating 'good' is no finite number",
        "  log.txt, line 5: the time 'nan' is no finite number",
        "  log.txt, line 6: 2 fields, but there are 4 columns, user, item, rating, time",
    ]


def test_bytes_that_are_no_text_and_files_that_are_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"log\.txt, line 2: byte 0xff at place 1 is no UTF-8"):
        read(tmp_path, b"1 2\n\xff 2\n")
    with pytest.raises(ValueError, match="is empty"):
        read(tmp_path, "\n\n")
    with pytest.raises(ValueError, match="cannot read"):
        files.read([tmp_path / "none.txt"])


def test_low_ratings_are_left_out(tmp_path):
    text = "1 5 4 1\n1 6 2 2\n2 6 5 3\n"
    assert rows(read(tmp_path, text, least_rating=4)) == [("1", "5", 1.0), ("2", "6", 3.0)]
    with pytest.raises(ValueError, match="no interaction with a rating of at least 6"):
        read(tmp_path, text, least_rating=6)
    with pytest.raises(ValueError, match=r"least_rating is 3, but log\.txt has no ratings"):
        read(tmp_path, "1 5\n", least_rating=3)
