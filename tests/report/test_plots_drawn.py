"""What pictures show, by the data that is drawn: positions, order, faces of markers, arrows, ticks, limits."""

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from kdjax.report import classes, table
from kdjax.report.plots import canvas, style, subject
from kdjax.report.plots.ablation import ablation
from kdjax.report.plots.accuracy import accuracy
from kdjax.report.plots.confusion import confusion, confusion_difference
from kdjax.report.plots.curves import curves
from kdjax.report.plots.forest import forest
from kdjax.report.plots.groups import groups
from kdjax.report.plots.shots import sets, shots
from kdjax.report.plots.terms import terms
from kdjax.runs.task import TOP1
from tests.fabricated import METHODS, by_method, diverge, fabricate, set_top1


def of(draw, lines, shown=None) -> Figure:
    return draw(subject.experiments(lines, lines if shown is None else shown)[0])


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def marks(axes: Axes, marker: str) -> list:
    return [line for line in axes.lines if line.get_marker() == marker]


def names(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


# ---- forest

FAMILY = {
    "student": (0.80, 0.82, 0.84, 0.81, 0.83),
    "better": (0.85, 0.871, 0.889, 0.861, 0.879),
    "worse": (0.75, 0.771, 0.789, 0.761, 0.779),
    "unsure": (0.80, 0.86, 0.82, 0.85, 0.84),
}


def family() -> list[dict]:
    return set_top1(fabricate(dict.fromkeys(FAMILY, 0.8)), **FAMILY)


def test_forest_is_sorted_and_shows_the_records_of_the_table():
    lines = family()
    records = {record["method"]: record for record in table.records(lines)}
    axes = of(forest, lines).axes[0]
    assert names(axes) == ["better", "unsure", "worse"]
    points = marks(axes, "o")
    assert [line.get_ydata()[0] for line in points] == [0, 1, 2]
    for line, name in zip(points, names(axes), strict=True):
        assert line.get_xdata()[0] == pytest.approx(100 * records[name]["difference"])
    caps = sorted(line.get_xdata()[0] for line in marks(axes, "|"))
    ends = [100 * records[name][end] for name in names(axes) for end in ("low", "high")]
    assert caps == pytest.approx(sorted(ends))
    assert any(line.get_xdata() == [0, 0] for line in axes.lines if len(line.get_xdata()) == 2)  # the line at 0
    assert axes.get_xlim()[0] < 0 < axes.get_xlim()[1]
    assert f"{TOP1.signed(records['better']['difference'])}  [" in " ".join(texts(axes.figure))


def test_forest_fills_what_is_significant_over_the_whole_family():
    """Also where only some rows are shown: p of `better` alone is below 0.05, over ten comparisons it is not."""
    lines = family()
    faces = [to_hex(line.get_markerfacecolor()) for line in marks(of(forest, lines).axes[0], "o")]
    assert faces == [style.MAIN.lower(), "#ffffff", style.MAIN.lower()]
    close = {"student": FAMILY["student"], "near": (0.81, 0.84, 0.86, 0.81, 0.86)}
    close |= {f"m{k}": FAMILY["unsure"] for k in range(9)}
    lines = set_top1(fabricate(dict.fromkeys(close, 0.8)), **close)
    record = next(record for record in table.records(lines) if record["method"] == "near")
    assert record["p"] < 0.05 < record["p_holm"]
    shown = [run for run in lines if run["config"]["method"] in ("student", "near")]
    figure = of(forest, lines, shown)
    assert names(figure.axes[0]) == ["near"]
    assert to_hex(marks(figure.axes[0], "o")[0].get_markerfacecolor()) == "#ffffff"
    assert "p < 0.05, Holm over 10 comparisons" in texts(figure)
    assert to_hex(marks(of(forest, shown).axes[0], "o")[0].get_markerfacecolor()) == style.MAIN.lower()


def test_forest_of_one_seed_and_of_lost_runs():
    lines = fabricate({**METHODS, "fitnet": 0.9}, seeds=1)
    diverge(by_method(lines)["fitnet"][0])
    figure = of(forest, lines)
    assert names(figure.axes[0])[-1] == "fitnet"
    assert not marks(figure.axes[0], "|")
    assert "(1 diverged)" in texts(figure)
    assert any("no test" in text for text in texts(figure))
    assert of(forest, fabricate({"student": 0.9})) is None


def test_a_whisker_cut_by_the_frame_has_an_arrow():
    axes = Figure().subplots()
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 10)
    canvas.whisker(axes, 5, -3, 8)
    assert [(line.get_marker(), *line.get_xdata()) for line in axes.lines[1:]] == [("<", 0), ("|", 8)]
    canvas.whisker(axes, 5, 2, 11, upright=True)
    assert [(line.get_marker(), *line.get_ydata()) for line in axes.lines[4:]] == [("_", 2), ("^", 10)]
    canvas.whisker(axes, 5, 12, 13)
    assert len(axes.lines) == 6  # nothing of it is inside


def test_forest_cuts_an_interval_that_would_squeeze_the_others():
    values = {"student": (0.8, 0.81, 0.8), "kd": (0.82, 0.83, 0.825), "wild": (0.6, 0.99, 0.9)}
    axes = of(forest, set_top1(fabricate(dict.fromkeys(values, 0.8), seeds=3), **values)).axes[0]
    low, high = axes.get_xlim()
    assert high - low < 40
    assert [line.get_xdata()[0] for line in (*marks(axes, "<"), *marks(axes, ">"))] == [low, high]


# ---- titles and colours


def test_every_title_names_experiment_teacher_and_student():
    lines = fabricate({**METHODS, "kd,kd.temperature=2.0": 0.92}, seeds=2, epochs=3, train_counts=(5, 20, 80))
    for draw in (forest, accuracy, curves, terms, ablation, confusion, confusion_difference, groups):
        title = " ".join(of(draw, lines).get_suptitle().split())
        assert title.startswith("digits: ")
        assert "resnet20 → lenet on Digits 8x8, 2 seeds, last epoch (3)" in title


def test_a_title_is_never_wider_than_its_figure():
    figure = Figure(figsize=(4, 4))
    subject.wide(figure, "word " * 60)
    figure.draw_without_rendering()
    assert figure._suptitle.get_window_extent().width < figure.bbox.width


def test_the_teachers_colour_is_no_methods():
    looks = style.looks([f"m{k}" for k in range(280)], "m3")
    assert len(set(looks.values())) == 280
    assert style.TEACHER not in {look.colour for look in looks.values()}
    assert len({looks[f"m{k}"].colour for k in range(8)}) == 8
    assert len({looks[f"m{k}"].marker for k in range(8)} | {"o"}) >= 7


def test_long_names_keep_both_ends():
    assert style.short("a" * 30 + "b" * 30, 20) == "a" * 10 + "…" + "b" * 9
    assert style.short("two\nlines  here") == "two lines here"


# ---- accuracy


def test_a_method_far_below_is_pointed_out():
    lines = fabricate({**METHODS, "attention": 0.32, "fitnet": 0.92}, spread=0.004)
    figure = of(accuracy, lines)
    low, high = figure.axes[0].get_xlim()
    assert 85 < low < 90
    assert 94 < high < 100
    shown = [text for text in texts(figure) if text.startswith("32.")]
    assert len(shown) == 2  # at the arrow and at the right
    assert shown[0] == shown[1]


def test_accuracy_tells_lost_runs():
    lines = fabricate({**METHODS, "fitnet": 0.9, "rkd": 0.9}, seeds=3)
    for run in lines:
        if run["config"]["method"] == "fitnet" or run["run"] == "kd/seed1":
            diverge(run)
        if run["config"]["method"] == "rkd" or run["run"] == "dkd/seed2":
            run["result"], run["history"] = None, []
    shown = texts(of(accuracy, lines))
    assert "(3 diverged)" in shown
    assert "(3 missing)" in shown
    assert sum("(1 diverged)" in text for text in shown) == 1
    assert any("2 to 3 seeds" in text for text in shown)


@pytest.mark.parametrize(("teacher", "seen"), [(0.945, True), (0.60, False), (0.999, False)])
def test_a_teacher_far_off_does_not_squeeze_the_methods(teacher, seen):
    lines = fabricate({"student": 0.90, "kd": 0.93}, spread=0.002)
    for run in lines:
        run["result"]["teacher"]["top1"] = teacher
    figure = of(accuracy, lines)
    low, high = figure.axes[0].get_xlim()
    assert (low <= 100 * teacher <= high) == seen
    assert any("off the axis" in text for text in texts(figure)) != seen
    points = np.concatenate([line.get_xdata() for line in marks(figure.axes[0], "o")])
    assert np.ptp(points) > 0.5 * (high - low)


@pytest.mark.parametrize(
    ("values", "floor"),
    [
        ([94, 95, 96], 94),
        ([30, 94, 95, 96], 94),
        ([20, 40, 94, 95, 96, 96], 94),
        ([20, 60, 94, 95, 96, 96], 94),
        ([30, 30, 95, 96], 30),  # as many below as above: both matter
        ([60, 65, 70, 75, 80], 60),
        ([90, 95, 95.5, 96], 90),  # five points are no reason to cut
        ([95], 95),
    ],
)
def test_floor_of_the_axis(values, floor):
    assert canvas.floor(np.array(values, float)) == floor


def test_perfect_and_equal_accuracies_have_an_axis():
    lines = fabricate({"student": 1.0, "kd": 1.0}, spread=0.0)
    for run in lines:
        run["history"] = [{"epoch": epoch, "loss": 0.0, "loss/kd": 0.0, "test_top1": 1.0} for epoch in (1, 2)]
    for draw in (forest, accuracy, curves, terms):
        for axes in of(draw, lines).axes:
            assert np.ptp(axes.get_xlim()) > 0
            assert np.ptp(axes.get_ylim()) != 0


# ---- curves and terms


def test_curves_in_one_axes_or_in_many():
    few = of(curves, fabricate())
    many = of(curves, fabricate({**METHODS, **{f"m{k}": 0.9 for k in range(7)}}, seeds=2))
    assert len(few.axes) == 2  # top-1, and the training loss beside it
    assert [line.get_label() for line in few.axes[0].lines] == list(METHODS)
    np.testing.assert_allclose(few.axes[1].lines[0].get_ydata(), 3.0 / np.arange(1, 31))
    assert len([axes for axes in many.axes if axes.get_visible()]) == 10


def test_curves_average_the_epochs_that_all_seeds_have():
    lines = fabricate({"student": 0.9}, seeds=2)
    first = [{"epoch": -1, "loss": 9.0, "loss/fsp": 9.0}]  # of a first stage
    lines[0]["history"] = first + [{"epoch": e, "loss": 1.0, "test_top1": 0.5} for e in (1, 2, 3, 4)]
    lines[1]["history"] = first + [{"epoch": e, "loss": 1.0, "test_top1": 0.7} for e in (2, 4)]
    drawn = of(curves, lines).axes[0].lines[0]
    np.testing.assert_allclose(drawn.get_xdata(), [2, 4])
    np.testing.assert_allclose(drawn.get_ydata(), [60, 60])


@pytest.mark.parametrize("epochs", [2, 3, 4, 30, 240])
def test_epochs_are_whole_and_fill_the_axis(epochs):
    figure = of(curves, fabricate(seeds=1, epochs=epochs))
    for axes in figure.axes:
        assert axes.get_xlim() == (1, epochs)
        ticks = axes.get_xticks()
        assert len(ticks) > 1
        assert np.all(ticks == np.round(ticks))
        assert not any("." in axes.xaxis.get_major_formatter()(tick, 0) for tick in ticks)


@pytest.mark.parametrize("top1", [0.3, 0.9, 0.999])
def test_the_data_fills_the_axis_of_top1(top1):
    axes = of(curves, fabricate({"student": top1}, epochs=20)).axes[0]
    there = axes.yaxis.get_transform().transform
    values = np.concatenate([path.vertices[:, 1] for band in axes.collections for path in band.get_paths()])
    low, high = there(np.array(axes.get_ylim()))
    assert np.ptp(there(np.array([values.min(), values.max()]))) > 0.85 * (high - low)
    ticks = there(np.asarray(axes.get_yticks(), float))
    assert np.all(np.diff(ticks) > (high - low) / 8)  # names of ticks do not overlap


def test_terms_stand_beside_top1():
    lines = fabricate()
    for run in by_method(lines)["student"]:
        for row in run["history"]:
            row["loss/cross_entropy"] = row.pop("loss/kd")
    figure = of(terms, lines)
    assert len(figure.axes) == 2 * len(METHODS)
    right = dict(zip(METHODS, figure.axes[1::2], strict=True))
    assert [line.get_label() for line in right["kd"].lines] == ["loss", "kd"]
    assert [line.get_label() for line in right["student"].lines] == ["loss", "cross_entropy"]
    np.testing.assert_allclose(right["kd"].lines[1].get_ydata(), 2.0 / np.arange(1, 31))
    assert figure.axes[2].get_title() == "kd: top-1"


# ---- ablation


def test_ablation_has_a_panel_per_path_and_takes_the_own_value_in():
    rows = {f"kd,kd.temperature={t}": 0.9 + 0.01 * i for i, t in enumerate((1.0, 2.0, 8.0, 16.0))}
    rows |= {f"kd,kd.weight={w}": 0.92 for w in (0.6, 0.3)}
    lines = fabricate({**METHODS, **rows})
    figure = of(ablation, lines)
    temperature, weight = figure.axes[:2]
    assert temperature.get_xscale() == "log"
    assert [label.get_text() for label in temperature.get_xticklabels()] == ["1", "2", "4", "8", "16"]
    assert weight.get_xscale() == "linear"
    assert [label.get_text() for label in weight.get_xticklabels()] == ["0.3", "0.6", "0.9"]
    assert "the method's own value" in texts(figure)
    means = {record["method"]: 100 * record["top1"] for record in table.records(lines)}
    own = [line for line in marks(temperature, "d") if line.get_markerfacecolor() == "white" and len(line.get_xdata())]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in own] == [(4.0, pytest.approx(means["kd"]))]


def test_ablation_of_text_and_without_a_baseline():
    figure = of(ablation, fabricate({"rkd,rkd.layer='last'": 0.9, "rkd,rkd.layer='all'": 0.91, "rkd": 0.9}))
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["last", "all"]


# ---- classes


def test_confusion_is_of_the_best_method_and_normalised():
    lines = fabricate({"student": 0.5, "kd": 0.9}, classes=3)
    for run in lines:
        run["result"]["last"]["confusion"] = [[0, 0, 3], [0, 1, 1], [1, 1, 4]]  # no image of class 2
    figure = of(confusion, lines)
    assert any("confusion of kd" in text for text in texts(figure))
    image = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(image[:2].filled(-1), [[75, 25, 0], [0, 100, 0]])
    assert image[2].mask.all()
    assert any("25 %  class 0 → class 1" in text for text in texts(figure))


def test_difference_of_confusions_is_student_minus_baseline_over_common_seeds():
    lines = fabricate({"student": 0.9, "kd": 0.5}, classes=2, seeds=2)  # the baseline may be the best
    rows = by_method(lines)
    rows["student"][1]["result"] = None  # only seed 0 is common
    rows["student"][0]["result"]["last"]["confusion"] = [[0, 0, 4], [1, 0, 1], [1, 1, 3]]
    rows["kd"][0]["result"]["last"]["confusion"] = [[0, 0, 3], [0, 1, 1], [1, 1, 4]]
    rows["kd"][1]["result"]["last"]["confusion"] = [[0, 1, 4], [1, 0, 4]]
    figure = of(confusion_difference, lines)
    np.testing.assert_allclose(figure.axes[0].images[0].get_array().filled(9), [[-25, 25], [-25, 25]])
    assert "confusion of kd minus that of student" in figure.get_suptitle()
    low, high = figure.axes[0].images[0].get_clim()
    assert (low, high) == (-25, 25)  # 0 is white
    assert of(confusion_difference, fabricate({"student": 0.9})) is None


def test_groups_of_classes():
    lines = fabricate({"kd": 0.9}, seeds=2, classes=6, train_counts=(2, 2, 10, 10, 50, 50))
    for run in lines:
        run["result"]["last"]["confusion"] = [[0, 1, 4], [1, 1, 4], [2, 2, 4], [3, 3, 4], [4, 4, 3], [4, 5, 1]]
    accuracies = [classes.group_accuracy(lines[0]["result"], number) for number in range(3)]
    assert accuracies == [0.5, 1, 0.75]  # class 5 has no test images
    figure = of(groups, lines)
    assert "few: 2 images, 2 classes" in texts(figure)
    assert [marks(axes, "d")[0].get_xdata()[0] for axes in figure.axes] == [50, 100, 75]
    assert of(groups, fabricate(train_counts=(111, 117))) is None


# ---- shots


def shop(methods=("student", "kd"), gains=((5, 0.2), (0, 0.0)), seeds=3) -> list[dict]:
    return [
        run
        for shots_, gain in gains
        for run in fabricate(dict.fromkeys(methods, 0.9 - gain), seeds, 2, 3, f"shop{shots_}", shots_, (100,))
    ]


def all_sets(lines) -> list[dict]:
    return sets(subject.experiments(lines, lines))


def test_shots_over_experiments():
    lines = shop()
    figure = shots(all_sets(lines)[0])
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["5", "all (100)"]
    assert figure.get_suptitle().startswith("shop5, shop0: ")
    assert "resnet20 → lenet on Digits 8x8, 3 seeds, last epoch (3)" in figure.get_suptitle()
    means = {(r["experiment"], r["method"]): 100 * r["top1"] for r in table.records(lines)}
    kd = next(line for line in axes.lines if line.get_label() == "kd")
    assert kd.get_ydata() == pytest.approx([means["shop5", "kd"], means["shop0", "kd"]])
    assert not all_sets(fabricate(shots=5))


def test_more_methods_than_colours_are_told_apart():
    figure = shots(all_sets(shop([*METHODS, *(f"m{k}" for k in range(6))], seeds=1))[0])
    lines = [line for line in figure.axes[0].lines if not line.get_label().startswith("_")]
    looks = [(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines]
    assert len(set(looks)) == len(lines) == 10  # nine methods and the teacher
    many = shots(all_sets(shop([f"m{k}" for k in range(14)], seeds=1))[0])
    assert len([axes for axes in many.axes if axes.get_visible()]) == 14


def test_experiments_on_different_data_do_not_share_an_axes():
    lines = fabricate(experiment="a", shots=5, seeds=1) + fabricate(experiment="b", shots=10, seeds=1)
    assert len(all_sets(lines)) == 1
    for run in lines[len(lines) // 2 :]:
        run["result"]["dataset"] = "another"
    assert all_sets(lines) == []
