"""The CRD benchmark on CIFAR-100, complete (Tian et al. 2020, arXiv:1910.10699, Tables 1 and 2).

A pair of networks and every method with its paper's recipe; the table has a column with the published number, its
spread and protocol, and the difference to ours.

    kdjax run --config=configs/cifar100.py:teacher=resnet32x4,student=resnet8x4
    kdjax run --config=configs/cifar100.py:teacher=vgg13,student=vgg8 --only=student,kd,crd --seeds=0,1,2
    kdjax run --config=configs/cifar100.py:pairs=table1          # all seven pairs, each teacher trained once
    kdjax grid runs/cifar100_* --out=table1                      # the paper's table, published numbers in grey

Recipe: 240 epochs of batch 64 with the last, smaller batch kept, SGD with momentum 0.9 and weight decay 5e-4,
learning rate 0.05 (0.01 for MobileNetV2 and the ShuffleNets) divided by 10 after epochs 150, 180 and 210; crops with
4 black pixels around, flips; no validation split, the last epoch is reported. The teacher is trained by the same
recipe unless `weights` names a .safetensors file of PyTorch weights, such as RepDistiller's.

TFDS_DATA_DIR says where the data lies. Cost: a run of kd for resnet32x4 -> resnet8x4 took the authors' successors
2.4 hours on an RTX 3070 Ti in PyTorch; CRD 6.3. Expected: CRD's Table 1, the published column; not yet run here.
"""

from kdjax import methods
from kdjax.config import default, parse_arg

TABLE_1 = (
    *(("wrn_40_2", "wrn_16_2"), ("wrn_40_2", "wrn_40_1"), ("resnet56", "resnet20"), ("resnet110", "resnet20")),
    *(("resnet110", "resnet32"), ("resnet32x4", "resnet8x4"), ("vgg13", "vgg8")),
)
TABLE_2 = (
    *(("vgg13", "mobilenetv2"), ("resnet50_cifar", "mobilenetv2"), ("resnet50_cifar", "vgg8")),
    *(("resnet32x4", "shufflenetv1"), ("resnet32x4", "shufflenetv2"), ("wrn_40_2", "shufflenetv1")),
)
METHODS = (
    *("student", "kd", "fitnet", "attention", "similarity", "correlation", "vid", "rkd", "pkt", "activation_boundary"),
    *(
        "factor_transfer",
        "fsp",
        "nst",
        "kdsvd",
        "crd",
        "crd_kd",
        "overhaul",
        "reviewkd",
        "srrl",
        "simkd",
        "dkd",
        "dist",
    ),
    *("nkd", "wsld", "kd_standardized", "mlkd", "ctkd", "ttm", "wttm", "rld"),
    *("hard_target", "binary_kd", "logit_mse"),
)
SAME_WIDTHS = ("fsp", "kdsvd")
"""Methods for teachers and students with maps of the same shapes; the benchmark has no numbers for others."""


TABLES = {"table1": TABLE_1, "table2": TABLE_2, "all": TABLE_1 + TABLE_2}


def get_config(arg: str = ""):
    args = parse_arg(arg, teacher="resnet32x4", student="resnet8x4", weights="", pairs="")
    if args.pairs:
        return _table(args)
    if (args.teacher, args.student) not in TABLES["all"]:
        pairs = ", ".join(f"{teacher} -> {student}" for teacher, student in TABLES["all"])
        raise ValueError(f"{args.teacher} -> {args.student} is no pair of the CRD benchmark; these are {pairs}")
    return _pair(args.teacher, args.student, args.weights)


def _table(args):
    """All pairs of a table; each is the config of that pair alone, and has its directory."""
    if args.pairs not in TABLES:
        raise ValueError(f"pairs={args.pairs}: there are {', '.join(TABLES)}")
    if args.weights:
        raise ValueError("weights is of one teacher: give it with teacher= and student=")
    alone = {f"{teacher}_{student}": _pair(teacher, student) for teacher, student in TABLES[args.pairs]}
    config = _pair(*TABLES[args.pairs][0])
    config.experiment = "cifar100"
    for name, own in alone.items():
        config.pairs[name] = {
            "teacher": {"model": own.teacher.model, "optimizer": own.teacher.optimizer.to_dict()},
            "student": {"model": own.student.model},
            "optimizer": {"learning_rate": own.optimizer.learning_rate},
            "published": own.published.to_dict(),
            "methods": {method: own.methods.get(method) for method in METHODS},
        }
    return config


def _pair(teacher: str, student: str, weights: str = ""):
    config = default()
    config.experiment = f"cifar100_{teacher}_{student}"
    config.seeds = (0, 1, 2, 3, 4)
    config.epochs = 240
    config.batch_size = 64
    config.keep_last_batch = True
    config.data.source = "tfds"
    config.data.name = "cifar100"
    config.data.mean, config.data.std = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
    config.data.augment.random_crop = {"padding": 4}
    config.data.augment.flip = {}
    config.teacher.model = teacher
    config.teacher.weights = weights
    config.student.model = student
    config.optimizer.learning_rate = methods.learning_rate(student)
    config.optimizer.schedule = "step"
    config.optimizer.milestones = (150, 180, 210)
    config.teacher.optimizer = {"learning_rate": methods.learning_rate(teacher)}
    config.published = {"benchmark": "cifar100", "teacher": teacher, "student": student}
    for name in METHODS:
        if name not in SAME_WIDTHS or _same_widths(teacher, student):
            config.methods[name] = methods.recipe(name, teacher, student)
    return config


def _same_widths(teacher: str, student: str) -> bool:
    return (teacher, student) in TABLE_1 and (teacher, student) != ("wrn_40_2", "wrn_40_1")
