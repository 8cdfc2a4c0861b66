"""Who took what: wide vectors of users and items teach narrow ones, which a shop can keep in memory.

Data: 600 made up shoppers and 400 items (kdjax/data/interactions/generate.py), nothing is downloaded; or a file or
folder of yours, `user item [rating] [time]` a line. The last item of each user is the test, the one before it the
validation split; every item that the user has not had is ranked. Teacher and student are matrix factorisations, 64 and
4 numbers a vector; the row popularity gives everybody the same list.

    kdjax run --config=configs/interactions.py
    kdjax run --config=configs/interactions.py:path=u.data,batch=256
    kdjax run --config=configs/interactions.py:model=sasrec          # transformers that read the last items in order
    kdjax run --config=configs/interactions.py:model=lightgcn        # sums over the graph of users and items

Cost: a teacher and 7 methods x 3 seeds in under two minutes of one CPU core, compilation included.
Expected, nDCG@10, three seeds: teacher 0.243, popularity 0.066, student 0.194 +- 0.004, bpr 0.153 +- 0.010, kd 0.201 +-
0.003 (p 0.04), rd 0.187 +- 0.015, rrd 0.204 +- 0.011, de 0.196 +- 0.008: of these weights, not tuned ones, kd's alone
stands out.
"""

from kdjax.config import default, parse_arg

WIDTHS = {"matrix_factorisation": (64, 4), "lightgcn": (64, 4), "sasrec": (64, 8)}
"""Model -> numbers of a vector, of the teacher and of the student."""


def get_config(arg=""):
    args = parse_arg(arg, path="", model="matrix_factorisation", batch=64, epochs=60)
    config = default()
    config.experiment = "interactions"
    config.task = "recommendation"
    config.seeds = (0, 1, 2)
    config.epochs = args.epochs
    config.batch_size = args.batch  # users
    config.eval_every_epochs = 5
    config.data.source = "interactions" if args.path else "shoppers"
    config.data.path = args.path
    config.data.validation = 0.1
    if args.model == "sasrec":
        config.data.augment.next_item = {}
    wide, narrow = WIDTHS[args.model]
    config.teacher.model = config.student.model = args.model
    config.teacher.kwargs = {"width": wide}
    config.student.kwargs = {"width": narrow}
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 1e-2
    config.optimizer.weight_decay = 1e-1
    config.teacher.optimizer = {"weight_decay": 2.0}  # wide vectors learn single users by heart without it
    taken = {"weight": 1.0}
    config.methods.popularity = {"item_softmax": taken, "student": {"model": "popularity", "kwargs": {}}}
    config.methods.student = {"item_softmax": taken}
    config.methods.bpr = {"bpr": {"weight": 1.0, "negatives": 4}}
    config.methods.kd = {"item_softmax": {"weight": 0.5}, "kd": {"weight": 0.5, "temperature": 1.0}}
    config.methods.rd = {"item_softmax": taken, "rd": {"weight": 0.5}}
    config.methods.rrd = {"item_softmax": taken, "rrd": {"weight": 0.02, "top": 20, "others": 40}}
    config.methods.de = {"item_softmax": taken, "de": {"weight": 0.01}}
    return config
