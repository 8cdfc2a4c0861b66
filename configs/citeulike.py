"""Who saved which paper on citeULike: vectors of 200 numbers teach vectors of 20, after DE-RRD (arXiv:2012.04357).

Data: split 0 of the authors' leave-one-out protocol, 5,219 users, 25,181 papers, 115,142 interactions, a folder with
train.txt, valid.txt and test.txt (github.com/SeongKu-Kang/DE-RRD_CIKM20). All papers that a user has not had are
ranked. Beside that stand scores among 499 drawn papers, as the authors report them: theirs are of one draw, ours the
mean over all draws (kdjax/tasks/drawn.py).

    kdjax run --config=configs/citeulike.py:path=/data/citeulike_loo

Two epochs teach nothing here: an epoch is one pass over users, forty steps, and Adam moves a number by no more than
its learning rate a step (docs/how-to/interactions.md has what was tried). Expected of the teacher, 14 epochs, on the
test split: nDCG@10 0.091, and among 499 drawn papers HR@5 0.480, nDCG@5 0.376, HR@10 0.570, nDCG@10 0.405; the authors'
student alone has .449, .335, .556 and .369. Students, three seeds, nDCG@10: alone 0.058, rrd 0.084, de 0.065
(results/citeulike/table.md). The weights of rrd and de are not tuned, and the students' 12 epochs are few, as theirs
had hundreds. Cost: some ten minutes a seed on two slow cores.
"""

from kdjax.config import default, parse_arg


def get_config(arg=""):
    args = parse_arg(arg, path="", epochs=12)
    config = default()
    config.experiment = "citeulike"
    config.task = "recommendation_499"
    config.seeds = (0, 1, 2)
    config.epochs = args.epochs
    config.batch_size = 128  # users
    config.eval_every_epochs = 20  # an evaluation takes as long as an epoch
    config.data.source = "interactions"
    config.data.path = args.path
    config.data.validation = 0.1  # the folder's own
    config.data.kwargs.length = 1  # matrix factorisation reads no history
    config.teacher.model = config.student.model = "matrix_factorisation"
    config.teacher.kwargs = {"width": 200}
    config.student.kwargs = {"width": 20}
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 0.03
    config.optimizer.weight_decay = 0.1
    config.teacher.epochs = 14
    config.teacher.optimizer = {"learning_rate": 0.01, "weight_decay": 1.0}
    config.published = {"benchmark": "citeulike", "teacher": "bpr200", "student": "bpr20"}
    config.execution.eval_batch_size = 256  # users times 25,181 items
    base = {"weight": 1.0}
    config.methods.popularity = {"item_softmax": base, "student": {"model": "popularity", "kwargs": {}}}
    config.methods.student = {"item_softmax": base}
    config.methods.rrd = {"item_softmax": base, "rrd": {"weight": 0.02, "top": 40, "others": 40}}
    config.methods.de = {"item_softmax": base, "de": {"weight": 0.1}}
    return config
