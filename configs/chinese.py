"""Chinese reviews by characters, which need no segmenter: a wide text CNN, or a BiLSTM, teaches a narrow text CNN.

Data: a file with a review and a label a row, as waimai_10k (11,987 orders of food, one in three praised).

    kdjax run --config=configs/chinese.py:path=waimai_10k.csv
    kdjax run --config=configs/chinese.py:path=waimai_10k.csv,teacher=bilstm,student=bag_of_words
    kdjax tune --config=configs/chinese.py:path=waimai_10k.csv --trials=6

Cost: some four minutes of one CPU core. Expected (results/chinese, three seeds): teacher 89.0 %, student 88.1 +- 0.5,
kd 87.6, logit_mse 87.9: a teacher that is hardly better than its student has nothing to give, as `kdjax doctor` says,
and TF-IDF of characters with logistic regression is at 90.6 %.
"""

from kdjax import methods
from kdjax.config import default, parse_arg

TEACHERS = {
    "textcnn": {"embedding": 64, "filters": 100},
    "bilstm": {"embedding": 128, "width": 128, "dropout": 0.4},
}
STUDENTS = {
    "bag_of_words": {"embedding": 32},
    "textcnn": {"embedding": 32, "filters": 16},
    "bilstm": {"embedding": 32, "width": 16},
}
"""Network -> its arguments."""


def get_config(arg=""):
    args = parse_arg(arg, path="", teacher="textcnn", student="textcnn", epochs=4)
    config = default()
    config.experiment = f"chinese_{args.student}"
    config.seeds = (0, 1, 2)
    config.epochs = args.epochs
    config.batch_size = 64
    config.data.source, config.data.path = "csv", args.path
    config.data.columns.text = "review"
    config.data.validation = 0.1
    config.data.tokenizer = "characters"
    config.data.length, config.data.buckets = 64, 1  # 94 of 100 reviews are shorter
    config.references = ("tfidf",)
    config.execution.teach_once = True
    config.teacher.model, config.teacher.kwargs = args.teacher, TEACHERS[args.teacher]
    config.teacher.optimizer = {"learning_rate": 3e-3}
    config.student.model, config.student.kwargs = args.student, STUDENTS[args.student]
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 5e-3
    config.optimizer.weight_decay = 1e-2
    config.optimizer.warmup_epochs = 1.0
    for name in ("student", "kd", "logit_mse"):
        config.methods[name] = methods.recipe(name)
    return config
