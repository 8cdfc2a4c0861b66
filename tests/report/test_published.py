"""Published numbers: the primary record of a cell, known copying errors, names of methods and models."""

import pytest

from kdjax import losses
from kdjax.config import recipes
from kdjax.report import published
from kdjax.tasks import drawn


@pytest.mark.parametrize(
    ("cell", "value", "std", "trials"),
    [
        (("cifar100", "resnet32x4", "resnet8x4", "kd"), 73.33, 0.25, 5),  # CRD Table 1, not later re-runs
        (("cifar100", "resnet32x4", "resnet8x4", "crd"), 75.51, 0.18, 5),
        (("cifar100", "resnet32x4", "resnet8x4", "crd_kd"), 75.46, 0.25, 5),
        (("cifar100", "resnet32x4", "resnet8x4", "student"), 72.50, None, 5),
        (("cifar100", "resnet32x4", "resnet8x4", "teacher"), 79.42, None, None),
        (("cifar100", "resnet32x4", "resnet8x4", "dkd"), 76.32, None, 5),  # mdistiller
        (("cifar100", "resnet50_cifar", "mobilenetv2", "kd"), 67.35, 0.32, 3),  # CRD Table 2
        (("cifar100", "resnet110", "resnet20", "kd"), 70.67, 0.27, 5),  # another README copied 70.66
        (("imagenet", "resnet34", "resnet18", "dkd"), 71.7, None, None),
        (("imagenet", "resnet34", "resnet18", "crd"), 71.17, None, None),
        (("sst2", "bert_base", "distilbert", "distilbert"), 91.3, None, 5),  # the dev set
        (("sst2", "bert_large", "bilstm", "logit_mse"), 90.7, None, None),  # the test set
        (("citeulike", "bpr200", "bpr20", "rrd"), 38.79, None, 1),  # nDCG@10 among 499, not top-1
    ],
)
def test_primary_record(cell, value, std, trials):
    found = published.lookup(*cell)
    assert (found["value"], found["std"], found["trials"]) == (value, std, trials)
    assert found["source"]
    assert found["protocol"]


def test_capitals_do_not_matter():
    pair = "cifar100", "ResNet50", "MobileNetV2", "kd"
    assert published.lookup(*pair) == published.lookup("cifar100", "resnet50_cifar", "mobilenetv2", "kd")


@pytest.mark.parametrize(
    "cell",
    [
        ("digits", "resnet32x4", "resnet8x4", "kd"),
        ("cifar100", "resnet8", "resnet8x4", "kd"),
        ("cifar100", "resnet32x4", "resnet8x4", "mine"),
        ("cifar100", "wrn_40_2", "wrn_40_1", "fsp"),  # n/a in CRD, 0.00 in copies
        ("cifar100", "resnet50_cifar", "vgg8", "reviewkd"),  # one value printed for two methods
    ],
)
def test_unknown_is_none(cell):
    assert published.lookup(*cell) is None


def test_best_epoch_is_told():
    assert published.lookup("cifar100", "resnet32x4", "resnet8x4", "kd_standardized")["epoch"] == "best"
    assert published.lookup("cifar100", "resnet32x4", "resnet8x4", "kd")["epoch"] == "last"


def test_what_is_published_is_top1_unless_the_benchmark_says_otherwise():
    assert published.score("cifar100") == "top1"
    assert published.score("citeulike") in [key for key, *_ in drawn.TASK.columns]


def test_file_is_sound():
    data = published.load()
    assert set(data["scores"]) <= set(data["records"])
    for pairs in data["records"].values():
        for cells in pairs.values():
            for record in cells.values():
                assert 0 < record["value"] < 100
                assert 0 <= record["source"] < len(data["sources"])
                assert record["protocol"] in data["protocols"]
                assert record.get("epoch") in ("last", "best", None)


def test_methods_of_the_benchmark_are_named():
    named = published.load()["methods"]
    crd = ("fitnet", "attention", "similarity", "correlation", "vid", "rkd", "pkt", "activation_boundary", "fsp")
    assert {"teacher", *crd, "factor_transfer", "nst", "crd", "kd", "dkd", "reviewkd"} <= named.keys()
    lists = (fn.__name__ for fn in losses.FAMILIES["recommendation"])
    ours = {"teacher", *recipes.RECIPES, *recipes.VARIANTS, *recipes.TEXT, *lists}
    assert [name for name in named if name not in ours and name.removesuffix("_kd") not in ours] == []


def test_crd_tables_are_complete():
    """All pairs of its tables 1 and 2, with every method that they compare."""
    pairs = (
        "wrn_40_2 wrn_16_2, wrn_40_2 wrn_40_1, resnet56 resnet20, resnet110 resnet20, resnet110 resnet32, "
        "resnet32x4 resnet8x4, vgg13 vgg8, vgg13 mobilenetv2, resnet50_cifar mobilenetv2, resnet50_cifar vgg8, "
        "resnet32x4 shufflenetv1, resnet32x4 shufflenetv2, wrn_40_2 shufflenetv1"
    )
    names = "teacher student kd fitnet attention similarity correlation vid rkd pkt activation_boundary nst crd crd_kd"
    for pair in pairs.split(", "):
        for method in names.split():
            found = published.lookup("cifar100", *pair.split(), method)
            assert "(CRD)" in found["source"], (pair, method)
