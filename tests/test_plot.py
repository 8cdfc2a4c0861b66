"""Pictures from fabricated lines of runs.jsonl: which are drawn, what they show, equal bytes for equal lines."""

import ast
import copy

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread

from kdjax import classes, plot

METHODS = {"student": 0.90, "kd": 0.93, "dkd": 0.94}


def fabricate(
    methods=METHODS, seeds=5, classes=10, epochs=30, experiment="digits", shots=0, train_counts=(100,), spread=0.006
):
    """Lines of finished runs whose top-1 lies around the given one, with histories and confusion matrices to match."""
    lines, rng = [], np.random.default_rng(7)
    for name, top1 in methods.items():
        for seed in range(seeds):
            reached = float(np.clip(top1 + spread * rng.standard_normal(), 0, 1))
            lines.append(line(name, seed, reached, rng, classes, epochs, experiment, shots, train_counts))
    return lines


def line(name, seed, top1, rng, classes, epochs, experiment, shots, train_counts) -> dict:
    method, _, ablated = name.partition(",")
    path, _, value = ablated.partition("=")
    spec = {"cross_entropy": {"weight": 0.1}, "kd": {"weight": 0.9, "temperature": 4.0}}
    config = {
        "experiment": experiment,
        "method": name,
        "row": name,
        "ablation": {path: ast.literal_eval(value)} if ablated else {},
        "seed": seed,
        "baseline": "student",
        "spec": spec if method == "kd" else {"cross_entropy": {"weight": 1.0}},
        "data": {"source": "digits", "shots": shots},
        "teacher": {"model": "convnet"},
    }
    counts = np.resize([shots] if shots else train_counts, classes).tolist()
    result = {
        "status": "done",
        "epochs": epochs,
        "last": {"epoch": epochs, "top1": top1, "confusion": confused(rng, classes, top1)},
        "teacher": {"model": "convnet", "top1": 0.99},
        "student": {"model": "convnet"},
        "dataset": "Digits 8x8",
        "classes": [f"class {k}" for k in range(classes)],
        "train_counts": counts,
    }
    steps = np.arange(1, epochs + 1)
    learnt = top1 + (0.1 - top1) * np.exp(-6 * steps / epochs) + 0.01 * rng.standard_normal(epochs)
    history = [
        {"epoch": int(e), "loss": 1.0, "test_top1": float(np.clip(p, 0, 1))} for e, p in zip(steps, learnt, strict=True)
    ]
    return {"run": f"{name}/seed{seed}", "config": config, "result": result, "history": history}


def confused(rng, classes, top1, images=30) -> list[list[int]]:
    """Sparse confusion counts: errors fall on the few classes after the true one."""
    counts = []
    for true in range(classes):
        wrong = rng.multinomial(images, [top1, *[(1 - top1) / 4] * 4])
        counts += [[true, (true + shift) % classes, int(count)] for shift, count in enumerate(wrong) if count]
    return counts


def diverge(run: dict) -> None:
    run["result"] |= {"status": "diverged", "last": None, "diverged": {"step": 40, "term": "kd", "learning_rate": 0.1}}
    run["history"] = run["history"][:5]


def names(paths) -> list[str]:
    return [path.name for path in paths]


def test_pictures_of_a_plain_experiment(tmp_path):
    written = plot.write(fabricate(), tmp_path / "made" / "here")
    assert names(written) == ["accuracy.png", "curves.png", "confusion.png"]
    assert sorted(path.name for path in (tmp_path / "made" / "here").iterdir()) == sorted(names(written))
    for path in written:
        height, width = imread(path).shape[:2]
        assert 300 < height < 3000
        assert 600 < width < 3000


def test_same_lines_same_bytes(tmp_path):
    lines = fabricate(train_counts=(5, 20, 80))
    untouched = copy.deepcopy(lines)
    first = [path.read_bytes() for path in plot.write(lines, tmp_path / "a")]
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9}):  # a user's own settings
        second = [path.read_bytes() for path in plot.write(lines, tmp_path / "b")]
    assert first == second
    assert lines == untouched
    assert b"tEXtSoftware" not in first[0]


@pytest.mark.parametrize("lines", [[], [{"run": "teacher/seed0", "config": {"method": "teacher"}, "result": None}]])
def test_nothing_to_draw(tmp_path, lines):
    assert plot.write(lines, tmp_path / "out") == []
    assert not (tmp_path / "out").exists()


def test_missing_and_diverged_runs(tmp_path):
    lines = fabricate({**METHODS, "fitnet": 0.9, "rkd": 0.9}, seeds=3)
    for run in lines:
        if run["config"]["method"] == "fitnet" or run["run"] == "kd/seed1":
            diverge(run)
        if run["config"]["method"] == "rkd" or run["run"] == "dkd/seed2":
            run["result"], run["history"] = None, []
    assert names(plot.write(lines, tmp_path)) == ["accuracy.png", "curves.png", "confusion.png"]
    shown = texts(plot.accuracy(lines))
    assert "(3 diverged)" in shown
    assert "(3 missing)" in shown
    assert sum("(1 diverged)" in text for text in shown) == 1
    assert any("2 to 3 seeds" in text for text in shown)


def test_no_finished_run(tmp_path):
    lines = fabricate(seeds=2)
    for run in lines:
        diverge(run)
    assert names(plot.write(lines, tmp_path)) == ["curves.png"]
    for run in lines:
        run["result"], run["history"] = None, []
    assert plot.write(lines, tmp_path) == []


def test_one_seed_one_epoch_and_no_teacher(tmp_path):
    lines = fabricate({"student": 0.5, "kd,kd.temperature=2.0": 0.6}, seeds=1, epochs=1, classes=2, train_counts=(3, 9))
    for run in lines:
        run["result"]["teacher"] = None
    assert names(plot.write(lines, tmp_path)) == ["accuracy.png", "ablation.png", "confusion.png", "groups.png"]


def test_lines_of_older_or_damaged_runs(tmp_path):
    lines = fabricate()
    for run in lines:
        run["config"] = {key: run["config"][key] for key in ("experiment", "method", "row", "seed")}
        del run["result"]["last"]["confusion"], run["result"]["train_counts"]
    assert names(plot.write(lines, tmp_path)) == ["accuracy.png", "curves.png"]


def test_perfect_and_equal_accuracies(tmp_path):
    lines = fabricate({"student": 1.0, "kd": 1.0}, spread=0.0)
    for run in lines:
        run["history"] = [{"epoch": epoch, "test_top1": 1.0} for epoch in (1, 2)]
    assert len(plot.write(lines, tmp_path)) == 3


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def test_a_method_far_below_is_pointed_out():
    lines = fabricate({**METHODS, "attention": 0.32, "fitnet": 0.92}, spread=0.004)
    figure = plot.accuracy(lines)
    low, high = figure.axes[0].get_xlim()
    assert 85 < low < 90
    assert 99 <= high < 102  # the teacher is near enough
    attention = [100 * run["result"]["last"]["top1"] for run in lines if run["config"]["method"] == "attention"]
    assert texts(figure).count(plot._mean_text(attention)) == 2  # at the arrow and at the right


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
    assert plot._floor(np.array(values, float)) == floor


def test_curves_in_one_axes_or_in_many():
    few, many = (
        plot.curves(fabricate()),
        plot.curves(fabricate({**METHODS, **{f"m{k}": 0.9 for k in range(7)}}, seeds=2)),
    )
    assert len(few.axes) == 1
    assert [line.get_label() for line in few.axes[0].lines] == list(METHODS)
    assert len([axes for axes in many.axes if axes.get_visible()]) == 10


def test_curves_average_the_epochs_that_all_seeds_have():
    lines = fabricate({"student": 0.9}, seeds=2)
    lines[0]["history"] = [{"epoch": e, "test_top1": 0.5} for e in (1, 2, 3, 4)] + [{"epoch": 5, "loss": 1.0}]
    lines[1]["history"] = [{"epoch": e, "test_top1": 0.7} for e in (2, 4)]
    drawn = plot.curves(lines).axes[0].lines[0]
    np.testing.assert_allclose(drawn.get_xdata(), [2, 4])
    np.testing.assert_allclose(drawn.get_ydata(), [60, 60])


def test_ablation_has_a_panel_per_path_and_takes_the_own_value_in():
    rows = {f"kd,kd.temperature={t}": 0.9 + 0.01 * i for i, t in enumerate((1.0, 2.0, 8.0, 16.0))}
    rows |= {f"kd,kd.weight={w}": 0.92 for w in (0.6, 0.3)}
    figure = plot.ablation(fabricate({**METHODS, **rows}))
    temperature, weight = figure.axes[:2]
    assert temperature.get_xscale() == "log"
    assert [label.get_text() for label in temperature.get_xticklabels()] == ["1", "2", "4", "8", "16"]
    assert weight.get_xscale() == "linear"
    assert [label.get_text() for label in weight.get_xticklabels()] == ["0.3", "0.6", "0.9"]
    assert "kd's own value" in [text.get_text() for text in weight.get_legend().get_texts()]


def test_ablation_of_text_and_without_a_baseline():
    figure = plot.ablation(fabricate({"rkd,rkd.layer='last'": 0.9, "rkd,rkd.layer='all'": 0.91, "rkd": 0.9}))
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["last", "all"]


def test_confusion_is_of_the_best_method_and_normalised():
    lines = fabricate({"student": 0.5, "kd": 0.9}, classes=3)
    for run in lines:
        run["result"]["last"]["confusion"] = [[0, 0, 3], [0, 1, 1], [1, 1, 4]]  # no image of class 2
    figure = plot.confusion(lines)
    assert any("confusion of kd" in text for text in texts(figure))
    image = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(image[:2].filled(-1), [[75, 25, 0], [0, 100, 0]])
    assert image[2].mask.all()
    assert any("25 %  class 0 → class 1" in text for text in texts(figure))


def test_confusion_of_many_classes(tmp_path):
    lines = fabricate({"student": 0.7}, classes=81, seeds=1)
    lines[0]["result"]["classes"] = [f"Oatly $ Natural_{k}" for k in range(81)]
    assert names(plot.write(lines, tmp_path)) == ["accuracy.png", "curves.png", "confusion.png"]
    assert imread(tmp_path / "confusion.png").shape[1] < 3500


def test_groups_of_classes():
    lines = fabricate({"kd": 0.9}, seeds=2, classes=6, train_counts=(2, 2, 10, 10, 50, 50))
    for run in lines:
        run["result"]["last"]["confusion"] = [[0, 1, 4], [1, 1, 4], [2, 2, 4], [3, 3, 4], [4, 4, 3], [4, 5, 1]]
    accuracies = [classes.group_accuracy(lines[0]["result"], number) for number in range(3)]
    assert accuracies == [0.5, 1, 0.75]  # class 5 has no test images
    assert "few: 2 images, 2 classes" in texts(plot.groups(lines))
    assert plot.groups(fabricate(train_counts=(111, 117))) is None


def test_shots_over_experiments(tmp_path):
    lines = [
        run
        for shots, gain in ((5, 0.2), (0, 0.0))
        for run in fabricate({"student": 0.9 - gain, "kd": 0.92 - gain}, 3, experiment=f"shop{shots}", shots=shots)
    ]
    written = names(plot.write(lines, tmp_path))
    assert written[-1] == "shots.png"
    assert {"accuracy-shop0.png", "accuracy-shop5.png", "curves-shop5.png"} < set(written)
    axes = plot.shots(lines).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["5", "all (100)"]
    assert axes.get_title().endswith("3 seeds, last epoch (30)")
    assert plot.shots(fabricate(shots=5)) is None


def test_experiments_on_different_data_do_not_share_an_axes():
    lines = fabricate(experiment="a", shots=5) + fabricate(experiment="b", shots=10)
    for run in lines[len(lines) // 2 :]:
        run["result"]["dataset"] = "another"
    assert plot.shots(lines) is None
