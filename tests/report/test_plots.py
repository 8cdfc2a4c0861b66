"""Which pictures are written, and how: equal bytes for equal lines, in bounds, what no longer applies removed."""

import copy
import os
import subprocess
import sys
import tracemalloc

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from kdjax.report import plots
from kdjax.report.plots import confusions, pictures, style, subject
from tests.fabricated import METHODS, diverge, fabricate


def stems(paths) -> list[str]:
    """Names of the PNG files without their ending."""
    return [path.stem for path in paths if path.suffix == ".png"]


def apply(lines) -> list[str]:
    """The pictures that apply to the lines: nothing is rendered."""
    drawn = []
    with matplotlib.style.context(["default", style.RC]):
        for stem, draw, about in pictures._pictures(subject.experiments(lines, lines)):
            drawn += [stem] if draw(about) is not None else []
    return drawn


SMALL = {"student": 0.9, "kd": 0.93}, 2, 4, 5
"""Methods, seeds, classes and epochs of the experiment that is rendered."""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(folder, files) of a plain experiment, written once."""
    out = tmp_path_factory.mktemp("pictures") / "made" / "here"
    return out, plots.write(fabricate(*SMALL), out, complain=pytest.fail)


def test_each_picture_is_written_in_three_forms(written):
    out, paths = written
    assert stems(paths) == ["forest", "accuracy", "curves", "terms", "confusion", "confusion_difference"]
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in paths)
    for stem in stems(paths):
        assert (out / f"{stem}.svg").read_bytes().startswith(b"<?xml")
        assert (out / f"{stem}.pdf").read_bytes().startswith(b"%PDF")
        height, width = imread(out / f"{stem}.png").shape[:2]
        assert 300 < height < 3000
        assert 600 < width < 3000


SAME = """
import pathlib, sys
from kdjax.report import plots
from tests.fabricated import fabricate
from tests.report.test_plots import SMALL
plots.write(fabricate(*SMALL), pathlib.Path(sys.argv[1]))
"""


def test_same_lines_same_bytes_in_another_process(written, tmp_path):
    """Whatever Python's hash seed, a user's matplotlibrc and the clock say; and lines are not changed."""
    (tmp_path / "matplotlibrc").write_text("font.size: 30\nlines.linewidth: 9\n")
    changed = {"PYTHONHASHSEED": "77", "MATPLOTLIBRC": str(tmp_path), "SOURCE_DATE_EPOCH": "86400"}
    command = [sys.executable, "-c", SAME, str(tmp_path / "b")]
    subprocess.run(command, check=True, env={**os.environ, **changed}, timeout=900)
    for path in written[1]:
        assert (tmp_path / "b" / path.name).read_bytes() == path.read_bytes(), path.name


def test_no_picture_tells_date_or_version(written):
    for path in written[1]:
        content = path.read_bytes()
        for word in (b"CreationDate", b"dc:date", matplotlib.__version__.encode()):
            assert word not in content, (path.name, word)


def test_lines_are_left_as_they_are():
    lines = fabricate(train_counts=(5, 20, 80))
    untouched = copy.deepcopy(lines)
    apply(lines)
    assert lines == untouched


@pytest.mark.parametrize("lines", [[], [{"run": "teacher/seed0", "config": {"method": "teacher"}, "result": None}]])
def test_nothing_to_draw(tmp_path, lines):
    assert plots.write(lines, tmp_path / "out") == []
    assert not (tmp_path / "out").exists()


def test_no_finished_run():
    lines = fabricate(seeds=2)
    for run in lines:
        diverge(run)
    assert apply(lines) == ["curves", "terms"]
    for run in lines:
        run["result"], run["history"] = None, []
    assert apply(lines) == []


def test_one_seed_one_epoch_and_no_teacher():
    lines = fabricate({"student": 0.5, "kd,kd.temperature=2.0": 0.6}, seeds=1, epochs=1, classes=2, train_counts=(3, 9))
    for run in lines:
        run["result"]["teacher"] = None
    assert apply(lines) == ["forest", "accuracy", "ablation", "confusion", "confusion_difference", "groups"]


def test_lines_of_older_runs():
    lines = fabricate()
    for run in lines:
        run["config"] = {key: run["config"][key] for key in ("experiment", "method", "row", "seed")}
        del run["result"]["last"]["confusion"], run["result"]["train_counts"], run["result"]["student"]
        run["history"] = [{"epoch": row["epoch"], "test_top1": row["test_top1"]} for row in run["history"]]
    assert apply(lines) == ["accuracy", "curves"]


def test_missing_runs():
    lines = fabricate({**METHODS, "rkd": 0.9}, seeds=3)
    for run in lines:
        if run["config"]["method"] == "rkd":
            run["result"], run["history"] = None, []
    assert apply(lines) == ["forest", "accuracy", "curves", "terms", "confusion", "confusion_difference"]


# ---- files


def blank(_):
    return Figure(figsize=(2, 2))


@pytest.fixture
def only_blank(monkeypatch):
    """Pictures that are quickly drawn."""
    monkeypatch.setattr(pictures, "PICTURES", {blank: "blank"})
    monkeypatch.setattr(pictures, "shots", blank)


def test_pictures_that_no_longer_apply_are_removed(only_blank, tmp_path):
    two = fabricate(experiment="a", seeds=1) + fabricate(experiment="b", seeds=1)
    assert stems(plots.write(two, tmp_path)) == ["blank-a", "blank-b"]
    strangers = {"blank-mine.png": b"\x89PNG of somebody", "blank-notes.md": b"kdjax", "mine.png": b"Software\0kdjax"}
    for name, content in strangers.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "blank-folder.png").mkdir()
    plots.write(two[: len(two) // 2], tmp_path)
    own = {"blank.png", "blank.svg", "blank.pdf"}
    assert {path.name for path in tmp_path.iterdir()} == own | strangers.keys() | {"blank-folder.png"}


def test_two_experiments_never_share_a_file(only_blank, tmp_path):
    """Nor a picture: names that differ only in what a file's name cannot hold, or in case."""
    lines = [run for name in ("a/b", "a_b", "A_B") for run in fabricate(experiment=name, seeds=1)]
    assert stems(plots.write(lines, tmp_path)) == ["blank-a_b", "blank-a_b_2", "blank-A_B_3"]


def test_a_picture_that_cannot_be_drawn_is_told_in_one_line(only_blank, monkeypatch, tmp_path, capsys):
    def broken(_):
        raise MemoryError("too\nlarge")

    monkeypatch.setattr(pictures, "PICTURES", {broken: "", blank: ""})
    assert stems(plots.write(fabricate(seeds=1), tmp_path)) == ["blank"]
    assert capsys.readouterr().err == "kdjax: the picture broken cannot be drawn: MemoryError: too large\n"


def test_characters_that_the_font_lacks_are_told_in_one_line(only_blank, monkeypatch, tmp_path):
    def foreign(_):
        figure = Figure(figsize=(2, 2))
        figure.text(0.5, 0.5, "\N{CJK UNIFIED IDEOGRAPH-4E00}\N{CJK UNIFIED IDEOGRAPH-4E8C} $5 note")
        return figure

    monkeypatch.setattr(pictures, "PICTURES", {foreign: ""})
    told = []
    assert stems(plots.write(fabricate(seeds=1), tmp_path, complain=told.append)) == ["foreign"]
    assert told == ["the picture foreign: its font lacks 一二 and shows boxes instead"]


# ---- bounds


@pytest.mark.parametrize("classes", [1000, 10_000])
def test_many_classes_take_little_memory_and_a_bounded_picture(classes):
    """A dense matrix of 10,000 classes has 800 MB; and only the classes of the largest confusions are drawn."""
    lines = fabricate({"student": 0.7, "kd": 0.8}, seeds=1, classes=2)
    for run in lines:
        run["result"]["classes"] = [f"A class with a long name, number {k}, and some more" for k in range(classes)]
        run["result"]["train_counts"] = [10] * classes
        pairs = [[k, (k + 1) % classes, 1] for k in range(classes)]
        run["result"]["last"]["confusion"] = [[k, k, 3] for k in range(classes)] + pairs
    lines[1]["result"]["last"]["confusion"] += [[700, 3, 9], [5, 900, 8]]
    found = subject.experiments(lines, lines)[0]
    tracemalloc.start()
    cells = [confusions.add([run["result"]]) for run in lines]
    changed = confusions.difference(*cells)
    for each in (*cells, changed):
        confusions.matrix(each, confusions.chosen(each))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6
    figures = [pictures.confusion(found), pictures.confusion_difference(found)]
    for figure in figures:
        assert max(figure.get_size_inches()) < 22
    assert [figure.axes[0].images[0].get_array().shape[0] for figure in figures] == [confusions.LARGEST, 4]
    names = [label.get_text() for label in figures[1].axes[0].get_yticklabels()]
    assert [name[-16:] for name in names] == [f"{k}, and some more"[-16:] for k in (3, 5, 700, 900)]


def test_many_methods_take_a_bounded_picture():
    methods = {"student": 0.5, **{f"m{k}": 0.9 - k / 1000 for k in range(200)}}
    lines = fabricate(methods, seeds=1, epochs=2, classes=2, spread=0.0)
    found = subject.experiments(lines, lines)[0]
    shown = list(found.strongest())
    assert shown == list(methods)[: subject.MOST_ROWS]
    figure = pictures.accuracy(found)
    assert max(figure.get_size_inches()) < 25
    assert "60 of 201 methods" in figure.get_suptitle()


def test_cells_add_up_to_the_dense_matrix():
    rng = np.random.default_rng(0)
    dense = rng.integers(0, 4, [3, 5, 5])
    results = []
    for counts in dense:
        cells = [[int(t), int(p), int(counts[t, p])] for t, p in np.argwhere(counts)]
        results.append({"classes": list("abcde"), "last": {"confusion": cells}})
    total = confusions.add(results)
    whole = np.arange(5)
    np.testing.assert_allclose(
        confusions.matrix(total, whole), 100 * dense.sum(0) / dense.sum(0).sum(1, keepdims=True), rtol=1e-12
    )
    one, other = confusions.add(results[:1]), confusions.add(results[1:2])
    changed = confusions.difference(one, other)
    found = np.zeros([5, 5])
    found[changed.true, changed.predicted] = changed.count
    np.testing.assert_array_equal(found, dense[0] - dense[1])
    order = confusions.largest(changed)
    sizes = np.abs((dense[0] - dense[1])[changed.true[order], changed.predicted[order]])
    assert sizes.tolist() == sorted(np.abs((dense[0] - dense[1])[~np.eye(5, dtype=bool)]).tolist())[::-1][: len(order)]
