"""The papers' recipes as data: `config.methods.dkd = recipe("dkd", teacher="resnet56", student="resnet20")`.

A recipe is {"<term>": {"weight": w, hyperparameters}, ...}; the total loss is the weighted sum of its terms. A term
may have `fn`, the loss if it is not that of the term's name, and `warmup_epochs`, over which its weight grows.
Besides terms a recipe may hold

  first_stage  epochs, terms, freeze and optimizer of a stage before; parameters of terms of one name are shared
  freeze       paths of parameters that the main stage leaves as they are, with the statistics of BatchNorm there
  from_teacher paths of the student's parameters that begin as the teacher's, {student's: teacher's}; numbered layers
               by name, {"encoder_layer_*": "uniform"}, see kdjax/losses/layers.py
  optimizer    fields of config.optimizer that differ
  prune        magnitude pruning, see PRUNE: {"sparsity": 0.8, "end_epochs": 10.0}
  quantize     "int8": the forward pass is rounded to int8 while training and when evaluated
  start        the method whose finished student of the same seed this one begins as
  student      another network than config.student

Numbers are those of the CRD benchmark on CIFAR-100 (Tian et al. 2020; RepDistiller, scripts/run_cifar_distill.sh and
the defaults of train_student.py) unless another source is named. It has no KD term beside the losses on features.
"""

import copy
import functools

from kdjax.find import find, nearest

PRUNE = {"sparsity": 0.8, "begin_epochs": 0.0, "end_epochs": 0.0, "every_steps": 10}
"""A method's `prune`: final fraction of zeros, when pruning begins and ends (0: half of the epochs), how often."""

QUANTIZE = ("int8",)
"""What a method's `quantize` may be."""

_LABELS = {"cross_entropy": {"weight": 1.0}}
_KD = {"kd": {"weight": 1.0, "temperature": 4.0}}
_CRD = {"weight": 0.8, "dim": 128, "negatives": 16384, "temperature": 0.07, "momentum": 0.5}

RECIPES = {
    "student": _LABELS,
    # Hard-label distillation of DeiT, arXiv:2012.12877 section 4: halves.
    "hard_target": {"cross_entropy": {"weight": 0.5}, "hard_target": {"weight": 0.5}},
    "kd": {"cross_entropy": {"weight": 0.1}, "kd": {"weight": 0.9, "temperature": 4.0}},
    # These two have no published recipe for this benchmark: labels and teacher weigh the same.
    "binary_kd": {**_LABELS, "binary_kd": {"weight": 1.0}},
    "logit_mse": {**_LABELS, "logit_mse": {"weight": 1.0}},
    # mdistiller, configs/cifar100/dkd: beta depends on the pair.
    "dkd": {**_LABELS, "dkd": {"weight": 1.0, "alpha": 1.0, "beta": 8.0, "temperature": 4.0, "warmup_epochs": 20}},
    # cls_KD, configs/distillers/imagenet/res34_distill_res18_img.py (ImageNet).
    "nkd": {**_LABELS, "nkd": {"weight": 1.0, "gamma": 1.5, "temperature": 1.0}},
    # image_classification_sota, configs/strategies/distill/dist_cifar.yaml.
    "dist": {**_LABELS, "dist": {"weight": 2.0, "beta": 1.0, "gamma": 1.0, "temperature": 4.0}},
    # mmrazor, wsld (ImageNet).
    "wsld": {**_LABELS, "wsld": {"weight": 2.5, "temperature": 2.0}},
    # logit-standardization-KD, tools/train.py: temperature and weight depend on the pair.
    "kd_standardized": {"cross_entropy": {"weight": 0.1}, "kd_standardized": {"weight": 9.0, "temperature": 2.0}},
    # The authors' code: 0.1 (labels of both views) and 0.9, here of one view that counts as both; the rate for ResNets
    # and WRN, others below. Published with 480 epochs and a second, strongly augmented view.
    "mlkd": {
        "cross_entropy": {"weight": 0.2},
        "mlkd": {"weight": 0.9},
        "optimizer": {"learning_rate": 0.025},
    },
    # The same with its two views: config.data.second_augment = {"rand_augment": {"num_ops": 2, "magnitude": 10.0}}.
    "mlkd_views": {
        "cross_entropy": {"weight": 0.1},
        "second_cross_entropy": {"weight": 0.1},
        "mlkd_views": {"weight": 0.9},
        "optimizer": {"learning_rate": 0.025},
    },
    # CTKD, scripts/run_cifar_distill.sh.
    "ctkd": {"cross_entropy": {"weight": 0.1}, "ctkd": {"weight": 0.9, "start": 1.0, "span": 20.0}},
    # The authors' README, vgg13 -> vgg8.
    "ttm": {**_LABELS, "ttm": {"weight": 45.0, "power": 0.1}},
    # The same; its only numbers of WTTM are those beside CRD.
    "wttm": {**_LABELS, "wttm": {"weight": 4.0, "power": 0.2}},
    # The authors' README and mdistiller/engine/cfg.py, all temperatures alike (--same-t).
    "rld": {
        **_LABELS,
        "rld": {
            **{"weight": 1.0, "alpha": 1.0, "beta": 8.0, "temperature": 4.0, "confidence_temperature": 4.0},
            "warmup_epochs": 20,
        },
    },
    # big_vision, configs/proj/distill/bit_i1k.py: no labels, mixup, very long. Beyer et al. 2022, arXiv:2106.05237.
    "function_matching": {"kd": {"weight": 1.0, "temperature": 1.0}},
    "fitnet": {**_LABELS, "fitnet": {"weight": 100.0}},
    "attention": {**_LABELS, "attention": {"weight": 1000.0, "power": 2}},
    "nst": {**_LABELS, "nst": {"weight": 50.0}},
    "vid": {**_LABELS, "vid": {"weight": 1.0, "initial_variance": 5.0}},
    # Yim et al. 2017 and RepDistiller: the Gram matrices first, then labels alone.
    "fsp": {"first_stage": {"epochs": 30, "terms": {"fsp": {"weight": 1.0}}}, **_LABELS},
    # mdistiller, engine/cfg.py; RepDistiller gives no weight.
    "kdsvd": {**_LABELS, "kdsvd": {"weight": 1.0, "rank": 1}},
    # RepDistiller, helper/pretrain.py: for ResNets and WRN of CIFAR the paraphraser's rate is 0.01 (`recipe`), for
    # others the method's own.
    "factor_transfer": {
        "first_stage": {
            "epochs": 30,
            "terms": {"factor_transfer": {"fn": "paraphraser", "weight": 1.0, "rate": 0.5}},
            "freeze": ("student",),
        },
        "freeze": ("factor_transfer/paraphraser",),
        **_LABELS,
        "factor_transfer": {"weight": 200.0, "rate": 0.5},
    },
    # Heo et al. 2019 and RepDistiller: boundaries first, then labels alone.
    "activation_boundary": {
        "first_stage": {"epochs": 30, "terms": {"activation_boundary": {"weight": 1.0, "margin": 1.0}}},
        **_LABELS,
    },
    # mdistiller, engine/cfg.py.
    "overhaul": {**_LABELS, "overhaul": {"weight": 0.001}},
    # mdistiller, configs/cifar100/reviewkd.yaml (resnet32x4 -> resnet8x4); other pairs below.
    "reviewkd": {**_LABELS, "reviewkd": {"weight": 5.0, "warmup_epochs": 20}},
    # SimKD, scripts/run_distill.sh, less the KD term that it adds to every method.
    "srrl": {**_LABELS, "srrl": {"weight": 1.0}},
    # SimKD, scripts/run_distill.sh (-c 0 -d 0 -b 1): no labels, the teacher's classifier, projector of factor 2.
    "simkd": {
        "simkd": {"weight": 1.0},
        "student": {"model": "simkd", "kwargs": {}},
        "from_teacher": {"classifier": "classifier"},
        "freeze": ("student/classifier",),
    },
    # The authors' configs/cifar100/CAT_KD (resnet32x4 -> resnet8x4); other pairs below.
    "cat_kd": {**_LABELS, "cat_kd": {"weight": 15.0, "side": 2, "normalise": False}},
    # The authors' README (--M [1,2,4]) and their defaults, mdistiller's of DKD; the warm-up is the paper's.
    "sdd": {
        **_LABELS,
        "sdd": {
            **{"weight": 1.0, "scales": (1, 2, 4), "alpha": 1.0, "beta": 8.0, "temperature": 4.0, "complementary": 2.0},
            "warmup_epochs": 30,
        },
    },
    # The authors' Cifar100/train_student.sh (resnet32x4 -> resnet8x4).
    "ickd": {**_LABELS, "ickd": {"weight": 2.5}},
    # cls_KD, losses/mgd.py (ImageNet, ResNet-34 -> ResNet-18): the loss is a sum over a map of 7x7x512.
    "mgd": {**_LABELS, "mgd": {"weight": 0.00007, "masked": 0.15}},
    "rkd": {**_LABELS, "rkd": {"weight": 1.0, "distance_weight": 25.0, "angle_weight": 50.0}},
    "similarity": {**_LABELS, "similarity": {"weight": 3000.0}},
    "correlation": {**_LABELS, "correlation": {"weight": 0.02, "dim": 128}},
    "pkt": {**_LABELS, "pkt": {"weight": 30000.0}},
    # The authors' README (wrn_40_2 -> wrn_16_2).
    "itrd": {
        **_LABELS,
        "itrd": {"weight": 1.0, "alpha": 1.01, "correlation_weight": 2.0, "mutual_weight": 1.0},
    },
    "crd": {**_LABELS, "crd": _CRD},
    "crd_kd": {**_LABELS, **_KD, "crd": _CRD},
    # Zhang et al. 2018: two networks of the student's architecture, temperature 1. No teacher.
    "mutual": {**_LABELS, "mutual": {"weight": 1.0}, "student": {"model": "peers", "kwargs": {}}},
    # Zhang et al. 2019, section 4: alpha 0.3, temperature 3. No teacher.
    "self_distillation": {**_LABELS, "self_distillation": {"weight": 1.0, "alpha": 0.3, "temperature": 3.0}},
    # The authors' experiments/base_experiments/base_mobilenetv2/params.json. No teacher.
    "virtual_teacher": {
        "cross_entropy": {"weight": 0.05},
        "virtual_teacher": {"weight": 0.95, "confidence": 0.99, "temperature": 40.0},
    },
}
"""Method -> its recipe."""

VARIANTS = {
    # The paper's section 4.5 has 0.1 for CIFAR, its code 0.07; a reproduction over 5 seeds found 75.21 and 75.33.
    "crd_paper": {**_LABELS, "crd": {**_CRD, "temperature": 0.1}},
    # CRD's section 6.4 has 500, its script 200.
    "factor_transfer_paper": {
        **RECIPES["factor_transfer"],
        "factor_transfer": {"weight": 500.0, "rate": 0.5},
    },
    # The paper has no factor T^2, its code has: 2 / 4^2.
    "dist_paper": {**_LABELS, "dist": {"weight": 0.125, "beta": 1.0, "gamma": 1.0, "temperature": 4.0}},
    # The paper's alpha for ImageNet is 0.5, that of mdistiller's configuration 1.
    "dkd_paper": {**_LABELS, "dkd": {"weight": 1.0, "alpha": 0.5, "beta": 0.5, "temperature": 1.0, "warmup_epochs": 1}},
    # RepDistiller's regressor between maps of equal resolution, 16.8 thousand parameters for resnet32x4 -> resnet8x4.
    "fitnet_1x1": {**_LABELS, "fitnet": {"weight": 100.0, "kernel": 1}},
    # SimKD's tables: every method with the KD term.
    "srrl_kd": {**_LABELS, **_KD, "srrl": {"weight": 1.0}},
}
"""The same where paper and code, or two codes, disagree; `recipe` knows them too."""

_EVERY_LAYER = {"embeddings": "embeddings", "encoder_layer_*": "uniform"}

TEXT = {
    # TinyBERT/task_distill.py: layers first, then logits at temperature 1, without labels. The README has 20 epochs
    # (10 on large sets) and 3, on augmented sentences. Its last loss is divided by the number of classes too.
    "tinybert": {
        "first_stage": {"epochs": 20, "terms": {"tinybert": {"weight": 1.0, "layers": "uniform"}}},
        "kd": {"weight": 1.0, "temperature": 1.0},
    },
    # Sun et al. 2019, section 4: alpha, temperature and beta are searched in {0.2, 0.5, 0.7}, {5, 10, 20} and {10, 100,
    # 500, 1000}. The code's soft loss is divided by the number of classes too, and its student begins as the teacher's
    # first layers.
    "pkd": {
        "cross_entropy": {"weight": 0.5},
        "kd": {"weight": 0.5, "temperature": 10.0},
        "pkd": {"weight": 100.0, "layers": "skip"},
        "from_teacher": _EVERY_LAYER,
    },
    # transformers' distiller.py and its README: 5, 2 and 1, labels here in the place of masked words; layers spread.
    "distilbert": {
        "cross_entropy": {"weight": 2.0},
        "kd": {"weight": 5.0, "temperature": 2.0},
        "distilbert": {"weight": 1.0},
        "from_teacher": _EVERY_LAYER,
    },
    # Wang et al. distil before a task is known and train on its labels then; the number of epochs is not theirs.
    "minilm": {"first_stage": {"epochs": 10, "terms": {"minilm": {"weight": 1.0}}}, **_LABELS},
    "minilm2": {"first_stage": {"epochs": 10, "terms": {"minilm2": {"weight": 1.0}}}, **_LABELS},
    # No published weights: labels and teacher weigh the same.
    "attention_mse": {**_LABELS, "attention_mse": {"weight": 1.0, "layers": "uniform"}},
    "attention_kl": {**_LABELS, "attention_kl": {"weight": 1.0, "layers": "uniform"}},
}
"""The same for encoders of texts: student and teacher are `bert`, or what gives as much; `recipe` knows them too."""

_CIFAR_RESNETS = (
    *("resnet8", "resnet14", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "resnet8x4", "resnet32x4"),
    *("wrn_16_1", "wrn_16_2", "wrn_40_1", "wrn_40_2"),
)
_DKD_IMAGENET = {"temperature": 1.0, "warmup_epochs": 1}
_RLD_IMAGENET = {**_DKD_IMAGENET, "confidence_temperature": 1.0}
_REVIEW_IMAGENET = {"warmup_epochs": 1, "student_preacts": True}
_KD_IMAGENET = {"cross_entropy": {"weight": 0.5}, "kd": {"weight": 0.5, "temperature": 1.0}}

PAIRS = {
    # mdistiller, configs/imagenet/*/kd.yaml.
    "kd": {("resnet34", "resnet18"): _KD_IMAGENET, ("resnet50", "mobilenetv1"): _KD_IMAGENET},
    # mdistiller, configs/cifar100/dkd/*.yaml and configs/imagenet/*/dkd.yaml.
    "dkd": {
        ("resnet56", "resnet20"): {"dkd": {"beta": 2.0}},
        ("resnet110", "resnet32"): {"dkd": {"beta": 2.0}},
        ("wrn_40_2", "wrn_16_2"): {"dkd": {"beta": 6.0}},
        ("wrn_40_2", "wrn_40_1"): {"dkd": {"beta": 6.0}},
        ("vgg13", "vgg8"): {"dkd": {"beta": 6.0}},
        ("vgg13", "mobilenetv2"): {"dkd": {"beta": 6.0}},
        ("resnet34", "resnet18"): {"dkd": {"beta": 0.5, **_DKD_IMAGENET}},
        ("resnet50", "mobilenetv1"): {"dkd": {"beta": 2.0, **_DKD_IMAGENET}},
    },
    # CAT-KD, configs/cifar100/CAT_KD/*.yaml and configs/imagenet/CAT-KD/r34_r18.yaml.
    "cat_kd": {
        ("resnet56", "resnet20"): {"cat_kd": {"weight": 0.7}},
        ("resnet110", "resnet32"): {"cat_kd": {"weight": 1.8}},
        ("vgg13", "vgg8"): {"cat_kd": {"weight": 4.5}},
        ("resnet34", "resnet18"): {"cat_kd": {"weight": 0.5, "side": 4}},
    },
    # RLD, configs/imagenet/*/rld.yaml.
    "rld": {
        ("resnet34", "resnet18"): {"rld": {"beta": 0.5, **_RLD_IMAGENET}},
        ("resnet50", "mobilenetv1"): {"rld": {"beta": 2.0, **_RLD_IMAGENET}},
    },
    # image_classification_sota, configs/strategies/distill/resnet_dist.yaml.
    "dist": {
        ("resnet34", "resnet18"): {"dist": {"temperature": 1.0}},
        ("resnet50", "mobilenetv1"): {"dist": {"temperature": 1.0}},
    },
    # logit-standardization-KD, names of the logs/KD; its ImageNet row is torchdistill's port, kd_w_ls.
    "kd_standardized": {
        ("vgg13", "vgg8"): {"kd_standardized": {"temperature": 3.0, "weight": 9.0}},
        ("resnet110", "resnet20"): {"kd_standardized": {"temperature": 4.0, "weight": 12.0}},
        ("resnet50_cifar", "mobilenetv2"): {"kd_standardized": {"temperature": 3.0, "weight": 1.0}},
        ("resnet34", "resnet18"): {"cross_entropy": {"weight": 0.5}},
    },
    # The rates of logit-standardization-KD, configs/cifar100/mlkd.
    "mlkd": {
        ("vgg13", "vgg8"): {"optimizer": {"learning_rate": 0.01}},
        ("vgg13", "mobilenetv2"): {"optimizer": {"learning_rate": 0.01}},
        ("resnet50_cifar", "mobilenetv2"): {"optimizer": {"learning_rate": 0.01}},
        ("wrn_40_2", "mobilenetv2"): {"optimizer": {"learning_rate": 0.005}},
        ("wrn_40_2", "shufflenetv1"): {"optimizer": {"learning_rate": 0.01}},
        ("resnet32x4", "shufflenetv1"): {"optimizer": {"learning_rate": 0.01}},
        ("resnet32x4", "shufflenetv2"): {"optimizer": {"learning_rate": 0.01}},
    },
    # torchdistill on ImageNet: the last two stages.
    "attention": {("resnet34", "resnet18"): {"attention": {"layers": (3, 4)}}},
    # mdistiller, configs/imagenet/r50_mv1/ofd.yaml.
    "overhaul": {("resnet50", "mobilenetv1"): {"overhaul": {"weight": 0.0001}}},
    # dvlab-research/ReviewKD, CIFAR-100/script/reviewKD.sh (with batch 128 and learning rate 0.1 there); ImageNet from
    # its README and mdistiller's configuration.
    "reviewkd": {
        ("resnet32x4", "shufflenetv2"): {"reviewkd": {"weight": 8.0}},
        ("resnet56", "resnet20"): {"reviewkd": {"weight": 0.6}},
        ("resnet110", "resnet32"): {"reviewkd": {"weight": 1.0}},
        ("resnet34", "resnet18"): {"reviewkd": {"weight": 1.0, **_REVIEW_IMAGENET}},
        ("resnet50", "mobilenetv1"): {"reviewkd": {"weight": 8.0, **_REVIEW_IMAGENET}},
    },
}
"""Method -> (teacher, student) -> what differs from its recipe."""


def recipe(name: str, teacher: str = "", student: str = "") -> dict:
    """A copy of a method's recipe, with the numbers that its source has for this teacher and student.

    Args:
      name: a key of RECIPES, VARIANTS or TEXT.
      teacher, student: names in kdjax.models; where a source has no numbers for a pair, the recipe is the general one.
        Those of simkd and mutual are complete only with them: their students are made of other networks.

    Raises:
      ValueError: no recipe of that name.
    """
    found = numbers(name, teacher, student)
    if name == "simkd" and teacher and student:
        found["student"]["kwargs"] = {"student": student, "channels": _channels(teacher)}
    if name == "mutual" and student:
        found["student"]["kwargs"] = {"members": (student, student)}
    return found


def numbers(name: str, teacher: str = "", student: str = "") -> dict:
    """The same but for the arguments of a student of its own; looks at no network, and so needs no JAX."""
    recipes = RECIPES | VARIANTS | TEXT
    if name not in recipes:
        raise ValueError(f"there is no recipe {name!r}{nearest(name, recipes)}")
    found = copy.deepcopy(recipes[name])
    for term, changes in PAIRS.get(name, {}).get((teacher, student), {}).items():
        found[term] = {**found[term], **changes}
    if name.startswith("factor_transfer") and student in _CIFAR_RESNETS:
        found["first_stage"]["optimizer"] = {"learning_rate": 0.01}
    return found


@functools.cache
def _channels(model: str) -> int:
    """Channels of the last map of a network of kdjax.models."""
    import jax
    import jax.numpy as jnp

    import kdjax.models

    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    network = find(model, kdjax.models, "model")(num_classes=1)
    return jax.eval_shape(network.init_with_output, jax.random.key(0), image)[0].preacts[-1].shape[-1]


def learning_rate(student: str) -> float:
    """The CRD benchmark's learning rate on CIFAR-100, batches of 64: lower for its MobileNet and its ShuffleNets."""
    return 0.01 if student in ("mobilenetv2", "shufflenetv1", "shufflenetv2") else 0.05
