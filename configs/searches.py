"""Ranking: made up searches of a shop, twenty products each; what shoppers did teaches a network that cannot see it.

Data: 400 queries to learn from and 1,000 to test on, generated from a seed (kdjax/data/ranking/searches.py); nothing is
downloaded. A grade is the opinion of one shopper, with noise. The teacher is larger and sees four features more, what
many shoppers did with a product, which is not known of a new one; the students see the other 16. The label loss is
listnet; the others learn from the teacher's scores of the same lists.

    kdjax run --config=configs/searches.py
    kdjax run --config=configs/searches.py:path=/data/MSLR-WEB10K/Fold1    # files of learning to rank, see letor

Cost: a teacher and 6 methods x 5 seeds in about two minutes on two CPU cores.
Expected, nDCG@10, five seeds (results/searches): teacher 0.781, student 0.729 +- 0.010, margin_mse 0.740, rankdistil
0.741, list_kl 0.738, ranknet 0.734; score_mse does not help.
"""

from kdjax.config import default, parse_arg

LABELS = {"listnet": {"weight": 1.0}}


def get_config(arg=""):
    args = parse_arg(arg, path="")
    config = default()
    config.experiment = "searches"
    config.task = "ranking"
    config.seeds = tuple(range(5))
    config.epochs = 20
    config.eval_every_epochs = 5
    config.batch_size = 32
    config.data.source = "letor" if args.path else "searches"
    config.data.path = args.path
    config.data.validation = 0.2
    config.teacher.epochs = 8  # later its validation nDCG falls: 320 queries are few
    config.teacher.model = "scorer"
    config.teacher.kwargs = {"widths": (64, 64), "log1p": bool(args.path)}
    config.student.model = "scorer"
    config.student.kwargs = {"widths": (32,), **({"log1p": True} if args.path else {"seen": 16})}
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 3e-3
    config.optimizer.weight_decay = 1e-2
    config.methods.student = LABELS
    config.methods.list_kl = {"listnet": {"weight": 0.5}, "list_kl": {"weight": 0.5}}
    config.methods.margin_mse = {"listnet": {"weight": 0.5}, "margin_mse": {"weight": 0.5}}
    config.methods.score_mse = {"listnet": {"weight": 0.5}, "score_mse": {"weight": 0.5}}
    config.methods.ranknet = {"listnet": {"weight": 0.5}, "ranknet": {"weight": 0.5, "order": "teacher"}}
    config.methods.rankdistil = {"listnet": {"weight": 0.5}, "rankdistil": {"weight": 0.5}}
    return config
