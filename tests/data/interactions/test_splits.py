"""Splits of interactions: what is held out, what is told, and what of it networks are given."""

import jax
import numpy as np
import pytest

from kdjax.config import default
from kdjax.data import load
from kdjax.data.interactions import files, splits
from kdjax.data.interactions.core import core
from kdjax.data.interactions.prepare import next_item, popular_places
from kdjax.tasks import named, ranked

TASK = named("recommendation")
LOG = """\
a x 1 10
a y 1 20
a z 1 30
a w 1 40
b x 1 10
b z 1 50
b y 1 50
c y 1 5
d w 1 60
d x 1 70
d q 1 80
"""


def parts(tmp_path, text=LOG, how="leave_one_out", validation=0.1, test=0.2, seed=0):
    path = tmp_path / "log.txt"
    path.write_text(text)
    return splits.parts(files.read([path]), how, validation, test, seed)


def held(found, split: int) -> dict[str, list[str]]:
    """User -> items of a split, in the order of time."""
    data, result = found.data, {}
    for number in np.flatnonzero(found.split == split):
        result.setdefault(data.users[data.user[number]], []).append(data.items[data.item[number]])
    return result


def loaded(tmp_path, text=LOG, **fields):
    path = tmp_path / "log.txt"
    path.write_text(text)
    config = default().data
    config.source, config.path, config.validation = "interactions", str(path), 0.1
    for name, value in fields.items():
        config[name] = value
    return load(config, task=TASK)


def test_the_last_item_is_the_test_and_the_one_before_it_the_validation_split(tmp_path):
    found = parts(tmp_path)
    assert held(found, splits.TRAIN) == {"a": ["x", "y"], "b": ["x"], "c": ["y"], "d": ["w"]}
    assert held(found, splits.VALIDATION).keys() == held(found, splits.TEST).keys() == {"a", "b", "d"}
    assert (held(found, splits.VALIDATION)["a"], held(found, splits.TEST)["a"]) == (["z"], ["w"])
    assert held(parts(tmp_path, validation=0.0), splits.TRAIN)["a"] == ["x", "y", "z"]


def test_ties_in_time_are_ordered_by_the_seed_and_not_by_the_file(tmp_path):
    last = [held(parts(tmp_path, seed=seed), splits.TEST)["b"] for seed in range(12)]
    assert sorted(map(tuple, last)).count(("y",)) not in (0, 12)
    turned = "\n".join(reversed(LOG.splitlines()))
    assert [held(parts(tmp_path, turned, seed=seed), splits.TEST)["b"] for seed in range(12)] == last
    found = parts(tmp_path)
    (told,) = [remark for remark in found.remarks if "at one time" in remark]
    assert told.startswith("1 of 3 users have their last interactions at one time: a hash of config.data.split_seed")


def test_the_time_of_a_cut_is_one_for_all(tmp_path):
    found = parts(tmp_path, how="time", validation=0.1, test=0.5)
    tested = held(found, splits.TEST)
    assert {user: sorted(items) for user, items in tested.items()} == {"a": ["w"], "b": ["y", "z"]}
    assert held(found, splits.VALIDATION) == {"a": ["z"]}
    (told,) = [remark for remark in found.remarks if "not tested" in remark]
    assert told.startswith(
        "1 users have no training interaction and are not tested (3 interactions, first log.txt, line 9"
    )
    with pytest.raises(ValueError, match=r"log\.txt: no interaction is left for the test split"):
        parts(tmp_path, how="time", validation=0.0, test=0.3)
    with pytest.raises(ValueError, match="needs times"):
        parts(tmp_path, "a x\na y\n", how="time")


def test_a_ratio_of_each_users_items_is_drawn(tmp_path):
    text = "".join(f"{user} {item}\n" for user in range(4) for item in range(10))
    found = parts(tmp_path, text, how="ratio", validation=0.1, test=0.3)
    counts = [np.bincount(found.data.user[found.split == split]) for split in range(3)]
    np.testing.assert_array_equal(counts, np.repeat([[6], [1], [3]], 4, 1))
    other = parts(tmp_path, text, how="ratio", validation=0.1, test=0.3, seed=1)
    assert held(found, splits.TEST) != held(other, splits.TEST)


def test_what_is_repeated_counts_once_and_is_told(tmp_path):
    found = parts(tmp_path, LOG + "a x 1 99\n")
    assert held(found, splits.TRAIN) == held(parts(tmp_path), splits.TRAIN)
    assert "1 of 12 interactions are left out, as the user has the item already (log.txt, line 12, repeats log.txt, " \
        "line 1: user 'a', item 'x')" in found.remarks  # fmt: skip


def test_items_that_nobody_is_trained_on_are_told(tmp_path):
    (told,) = [remark for remark in parts(tmp_path).remarks if "no training interaction has" in remark][-1:]
    assert told.startswith("2 of 3 test interactions are with items that no training interaction has")
    assert "line 6, item 'z'" in told


def test_a_core_holds_users_and_items_that_have_enough_of_each_other(tmp_path):
    """By its definition, over all parts of a few interactions, of which one is repeated."""
    text = "".join(f"{pair}\n" for pair in ("a x", "a y", "a y", "b x", "b y", "c y", "c z", "d z", "a w"))
    path = tmp_path / "log.txt"
    path.write_text(text)
    data = files.read([path])
    found = core(data, 2)
    assert [(found.users[u], found.items[i]) for u, i in zip(found.user, found.item, strict=True)] == [
        *(("a", "x"), ("a", "y"), ("a", "y"), ("b", "x"), ("b", "y"))
    ], "c has y and z, of which only d has z, who has nothing else"
    assert (found.users, found.items) == (("a", "b"), ("x", "y"))
    assert found.line.tolist() == [1, 2, 3, 4, 5]
    assert core(data, 1) is data
    with pytest.raises(ValueError, match=r"log.txt: no interaction is in a 3-core \(config.data.kwargs.core\)"):
        core(data, 3)
    assert loaded(tmp_path, text, kwargs={"core": 2}, validation=0.0).catalogue == ("x", "y")


def test_unknown_ways_to_split_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"config\.data\.kwargs\.split 'leave_one'.*leave_one_out"):
        parts(tmp_path, how="leave_one")


def test_examples_hold_what_is_to_be_found_first_and_what_was_had_behind_it(tmp_path):
    found = loaded(tmp_path, kwargs={"length": 3})
    x, y, z, w = (found.catalogue.index(item) for item in "xyzw")
    assert found.users == ("a", "b", "c", "d")
    np.testing.assert_array_equal(found.train.target[0], [x, y])
    np.testing.assert_array_equal(found.train.input["history"][0], [-1, x, y])
    np.testing.assert_array_equal(found.test.input["user"], [0, 1, 3])
    np.testing.assert_array_equal(found.test.target[0], [w, -2 - x, -2 - y, -2 - z])
    np.testing.assert_array_equal(found.test.input["history"][0], [x, y, z])
    np.testing.assert_array_equal(found.validation.target[0], [z, -2 - x, -2 - y])
    np.testing.assert_array_equal(found.validation.input["history"][0], [-1, x, y])
    np.testing.assert_array_equal(found.train.target[2], [y, -1])
    assert {**found.known, "graph": None} == {"users": 4, "graph": None}
    assert found.choices == len(found.catalogue) == 5


def test_files_may_say_the_splits(tmp_path):
    for name, text in (("train.txt", "a x\na y\nb x\n"), ("valid.txt", "a z\n"), ("test.txt", "a w\nb y\nc x\n")):
        (tmp_path / name).write_text(text)
    config = default().data
    config.source, config.path = "interactions", str(tmp_path)
    found = load(config, task=TASK)
    assert (len(found.train), len(found.validation), len(found.test)) == (2, 1, 2)
    assert any("test.txt, line 3, user 'c'" in warning for warning in found.warnings)
    (tmp_path / "test.txt").write_text("b y\na x\n")
    with pytest.raises(ValueError, match=r"test\.txt, line 2: user 'a' has item 'x' in train\.txt, line 1, too"):
        load(config, task=TASK)
    (tmp_path / "test.txt").unlink()
    with pytest.raises(ValueError, match=r"has no file test\.txt"):
        load(config, task=TASK)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"augment": {"shift": {}}}, "config.data.augment.shift"),
        ({"augment": {"next_item": {"a": 1}}}, "has no arguments, got a"),
        ({"train_examples": 2}, "networks have a vector for each user"),
        ({"kwargs": {"split": "time"}, "path": "/nowhere"}, "cannot read"),
        ({"kwargs": {"length": 0}}, "length is at least 1"),
        ({"shots": 1}, "are of classes"),
    ],
)
def test_what_interactions_do_not_have_is_refused(tmp_path, fields, message):
    with pytest.raises(ValueError, match=message):
        loaded(tmp_path, **fields)


def test_generated_shoppers_are_a_function_of_their_seed():
    config = default().data
    config.source, config.kwargs, config.validation = "shoppers", {"users": 40, "items": 30, "mean": 8}, 0.1
    one, again = load(config, task=TASK), load(config, task=TASK)
    assert one.fingerprint == again.fingerprint
    config.kwargs.seed = 1
    assert load(config, task=TASK).fingerprint != one.fingerprint
    assert (one.train.target >= 0).sum(1).min() >= 3
    (told,) = one.warnings
    assert "Recommending what most users took" in told


@pytest.mark.parametrize("split", ["leave_one_out", "ratio"])
def test_what_the_popular_items_reach_is_counted_once_for_all(split):
    """As by the task itself, of scores that are how often an item was taken."""
    config = default().data
    config.source, config.kwargs = "shoppers", {"users": 40, "items": 30, "mean": 8, "split": split}
    config.validation = 0.1
    found = load(config, task=TASK)
    taken, target = found.train.target, found.test.target
    count = np.bincount(taken[taken >= 0], minlength=30).astype(np.float32)
    scores = jax.jit(TASK.scores)(np.tile(count, (len(target), 1)), target)
    place = popular_places(found)
    for name, metric in (("ndcg@10", ranked.ndcg), ("hr@10", ranked.hit_rate), ("mrr@10", ranked.mrr)):
        np.testing.assert_allclose(metric(place, 10), scores[name], rtol=1e-5, atol=1e-6)


def test_the_next_item_follows_its_history():
    target = np.array([[4, 7, 2, 9], [3, 8, -1, -1], [5, -1, -1, -1]], np.int32)
    inputs = {"user": np.arange(3, dtype=np.int32), "history": np.zeros((3, 2), np.int32)}
    seen = set()
    step = jax.jit(next_item)
    for number in range(20):
        made, asked = step(jax.random.key(number), inputs, target)
        for row, items in enumerate(([4, 7, 2, 9], [3, 8], [5])):
            (place,) = np.flatnonzero(asked[row] >= 0)
            seen.add((row, int(place)))
            assert asked[row, place] == items[place]
            assert sorted(np.delete(asked[row], place).tolist()) == sorted(
                [-2 - item for at, item in enumerate(items) if at != place] + [-1] * (4 - len(items))
            )
            before = [-1, -1, *items[:place]][-2:]
            np.testing.assert_array_equal(made["history"][row], before)
    assert seen == {(0, 1), (0, 2), (0, 3), (1, 1), (2, 0)}
