"""Search by photograph: a query finds the photographs of its class among all others, by the cosine of embeddings.

Data: scikit-learn's digits by itself, in the package; a folder of photographs with path=. Every test image is a query
to all others: mAP, recall@1. The label loss is in_batch, each image against the others of its batch; students learn
from how alike the teacher finds these, too.

    kdjax run --config=configs/photographs.py
    kdjax run --config=configs/photographs.py:path=/data/grocery_store,size=64,teacher=resnet20,student=resnet8

Cost: a teacher and 4 methods x 3 seeds in about a minute on two CPU cores, which other work leaves alone.
Expected, mAP of digits (results/digits_search; weights untuned): teacher 0.968, student 0.836 +- 0.006, similarity
0.886 +- 0.014, in_batch_kl 0.870 +- 0.031, rkd 0.837 +- 0.013.
"""

from kdjax.config import default, parse_arg


def get_config(arg=""):
    args = parse_arg(arg, path="", size=0, teacher="convnet", student="convnet")
    config = default()
    config.experiment = "photographs" if args.path else "digits_search"
    config.task = "retrieval"
    config.seeds = (0, 1, 2)
    config.epochs = 30
    config.eval_every_epochs = 5
    config.batch_size = 128
    config.data.source = "folder" if args.path else "digits"
    config.data.path, config.data.image_size = args.path, args.size
    config.data.validation = 0.2
    config.data.augment.shift = {"pixels": args.size // 16 or 1}
    config.teacher.model, config.student.model = args.teacher, args.student
    if not args.path:
        config.data.mean, config.data.std = (0.3,), (0.38,)
        config.teacher.kwargs = {"widths": (32, 64, 128)}
        config.student.kwargs = {"widths": (4, 8, 16)}
    config.optimizer.learning_rate = 0.05
    config.optimizer.weight_decay = 5e-4
    config.methods.student = {"in_batch": {"weight": 1.0}}
    config.methods.in_batch_kl = {"in_batch": {"weight": 1.0}, "in_batch_kl": {"weight": 1.0}}
    config.methods.rkd = {"in_batch": {"weight": 1.0}, "rkd": {"weight": 0.01}}
    config.methods.similarity = {"in_batch": {"weight": 1.0}, "similarity": {"weight": 1000.0}}
    return config
